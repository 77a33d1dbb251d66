// Using an optimizer in another program. Parameters and gradients are caller-owned typed arrays, and the gradients come
// from hand-written loops. The program uses no tensor, model or device of this package.
//
//   npx tsx examples/plain-javascript.ts
import { AdamW, schedule } from "stepsize";

const steps = 300;
const items = 200;
const width = 16;

// Two interleaved half circles with some noise.
const points = Array.from({ length: items }, (_, i) => {
  const moon = i % 2;
  const angle = (Math.PI * i) / items;
  const [dx, dy] = [0.1 * Math.sin(37 * i), 0.1 * Math.cos(91 * i)];
  const x = moon === 0 ? Math.cos(angle) : 1 - Math.cos(angle);
  const y = moon === 0 ? Math.sin(angle) : 0.5 - Math.sin(angle);
  return { x: x + dx, y: y + dy, moon };
});

// score = Σ outer[j]·tanh(inner[2j]·x + inner[2j + 1]·y + shift[j]) + offset. A score above 0 means the lower moon.
const inner = Float32Array.from({ length: 2 * width }, (_, i) => 1.5 * Math.sin(12.9 * (i + 1)));
const shift = new Float32Array(width);
const outer = Float32Array.from({ length: width }, (_, i) => 0.5 * Math.cos(78.2 * (i + 1)));
const offset = new Float32Array(1);
const parameters = [inner, shift, outer, offset];
const gradients = parameters.map((values) => new Float32Array(values.length));

function score(x: number, y: number, hidden: Float64Array): number {
  let sum = offset[0]!;
  for (let j = 0; j < width; j++) {
    hidden[j] = Math.tanh(inner[2 * j]! * x + inner[2 * j + 1]! * y + shift[j]!);
    sum += outer[j]! * hidden[j]!;
  }
  return sum;
}

/** Returns the mean logistic loss over all points, and writes its gradient to `gradients`. */
function lossAndGradients(): number {
  const [toInner, toShift, toOuter, toOffset] = gradients as [Float32Array, Float32Array, Float32Array, Float32Array];
  for (const gradient of gradients) gradient.fill(0);
  const hidden = new Float64Array(width);
  let loss = 0;
  for (const { x, y, moon } of points) {
    const s = score(x, y, hidden);
    // −log of the probability of the correct moon, and its derivative by the score.
    loss += Math.log1p(Math.exp(moon === 1 ? -s : s)) / items;
    const slope = (1 / (1 + Math.exp(-s)) - moon) / items;
    toOffset[0]! += slope;
    for (let j = 0; j < width; j++) {
      const h = hidden[j]!;
      const through = slope * outer[j]! * (1 - h * h);
      toOuter[j]! += slope * h;
      toShift[j]! += through;
      toInner[2 * j]! += through * x;
      toInner[2 * j + 1]! += through * y;
    }
  }
  return loss;
}

const lr = schedule.uba({ budget: steps, maxLr: 0.05, phi: 2, warmup: 10 });
// Arrays have no names, so groups identify them by their index in the list. Shifts and offset do not decay.
const groups = [{ where: (name: string) => name === "1" || name === "3", weightDecay: 0 }];
const optimizer = new AdamW(parameters, { lr, weightDecay: 0.01, groups });

for (let step = 0; step < steps; step++) {
  const loss = lossAndGradients();
  if (step % 50 === 0) console.log(`step ${step}: loss ${loss.toFixed(4)}, learning rate ${lr(step).toExponential(2)}`);
  // The arrays hold the new values when this call returns.
  optimizer.step(gradients);
}

const hidden = new Float64Array(width);
const right = points.filter(({ x, y, moon }) => score(x, y, hidden) > 0 === (moon === 1)).length;
console.log(`after ${optimizer.iteration} steps: loss ${lossAndGradients().toFixed(4)}, right on ${right} of ${items}`);
// Releases the optimizer's memory, which is two moments per parameter. The arrays are not affected.
optimizer.dispose();
