// A training step in plain float64 code and with the library. The values are compared after each stage. The model is
// one linear layer for three classes, trained with AdamW on the UBA schedule.
//
//   npx tsx examples/one-step.ts
import { AdamW, nn, openDevice, ops, schedule, tensor } from "stepsize";

const [items, features, classes] = [8, 4, 3];
const [budget, maxLr, phi] = [5, 0.1, 4];
const [beta1, beta2, epsilon, weightDecay, clipNorm] = [0.9, 0.999, 1e-8, 0.01, 0.2];

// Arbitrary data and initial weights.
const wave = (length: number, speed: number) => Float64Array.from({ length }, (_, i) => Math.sin(speed * (i + 1)));
const inputs = wave(items * features, 1.7);
const labels = Int32Array.from({ length: items }, (_, i) => (i * i) % classes);
const weight = wave(classes * features, 0.9); // [classes, features], as in PyTorch
const bias = new Float64Array(classes);
// AdamW's two moments of each parameter: the mean of its gradient and of the gradient's square.
const moments = [weight, bias].map(({ length }) => ({ m: new Float64Array(length), v: new Float64Array(length) }));

// The same with the library. The device computes in float32.
const device = await openDevice("cpu");
const x = tensor(device, Float32Array.from(inputs), [items, features]);
const y = tensor(device, labels);
const layer = new nn.Linear(features, classes, { device });
layer.weight.write(Float32Array.from(weight));
layer.bias?.write(Float32Array.from(bias));
const lr = schedule.uba({ budget, maxLr, phi });
const optimizer = new AdamW(layer.parameters(), { lr, betas: [beta1, beta2], epsilon, weightDecay, clipNorm });

let largest = 0;
/** Prints the difference between the library's values and ours, relative to the largest of ours. */
function compare(stage: string, actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  const scale = Math.max(...Array.from(actual, Math.abs));
  const difference = Math.max(...Array.from(actual, (value, i) => Math.abs(value - expected[i]!))) / scale;
  largest = Math.max(largest, difference);
  console.log(`  ${stage.padEnd(14)} ${Array.from(actual).slice(0, 3).map((value) => value.toFixed(6).padStart(10))} …  ${difference.toExponential(1)}`); // biome-ignore format: one line
}

for (let step = 0; step < budget; step++) {
  console.log(`step ${step}: first values, and the relative difference`);

  // 1. The schedule: a pure function of the step. UBA with θ = (2s + 1)·π / (2T), see docs/uba.md.
  const c = Math.cos(((2 * step + 1) * Math.PI) / (2 * budget));
  const rate = (maxLr * 2 * (1 + c)) / (2 * phi + (2 - phi) * (1 + c));
  compare("learning rate", [rate], [lr(step)]);

  // 2. Forward: logits = x·Wᵀ + b, and the mean of −log softmax(logits)[label] over the items.
  const logits = new Float64Array(items * classes);
  for (let i = 0; i < items; i++)
    for (let k = 0; k < classes; k++) {
      let sum = bias[k]!;
      for (let j = 0; j < features; j++) sum += inputs[i * features + j]! * weight[k * features + j]!;
      logits[i * classes + k] = sum;
    }
  let loss = 0;
  const logitGradients = new Float64Array(items * classes);
  for (let i = 0; i < items; i++) {
    const row = logits.subarray(i * classes, (i + 1) * classes);
    const total = row.reduce((sum, logit) => sum + Math.exp(logit), 0);
    loss += (Math.log(total) - row[labels[i]!]!) / items;
    // 3. Backward, first part: d loss / d logits = (softmax(logits) − one-hot(label)) / items.
    for (let k = 0; k < classes; k++)
      logitGradients[i * classes + k] = (Math.exp(row[k]!) / total - Number(k === labels[i])) / items;
  }
  const output = layer.forward(x);
  const cost = ops.crossEntropy(output, y);
  compare("logits", logits, await output.read());
  compare("loss", [loss], [await cost.item()]);

  // 3. Backward: the chain rule through the layer. dW = dLogitsᵀ·x, and db is the sum of dLogits over the items.
  const weightGradient = new Float64Array(weight.length);
  const biasGradient = new Float64Array(bias.length);
  for (let i = 0; i < items; i++)
    for (let k = 0; k < classes; k++) {
      const above = logitGradients[i * classes + k]!;
      biasGradient[k]! += above;
      for (let j = 0; j < features; j++) weightGradient[k * features + j]! += above * inputs[i * features + j]!;
    }
  cost.backward();
  compare("dW", weightGradient, await layer.weight.grad!.read());
  compare("db", biasGradient, await layer.bias!.grad!.read());

  // 4. Clipping: all gradients are scaled so that their common norm is at most `clipNorm`.
  const norm = Math.hypot(...weightGradient, ...biasGradient);
  const clip = Math.min(1, clipNorm / (norm + 1e-6));

  // 5. AdamW's update rule. The fused kernel applies it to all tensors in one pass: native/update/rules.h.
  const t = step + 1;
  for (const [p, parameter] of [weight, bias].entries()) {
    const gradient = p === 0 ? weightGradient : biasGradient;
    const { m, v } = moments[p]!;
    for (let i = 0; i < parameter.length; i++) {
      const g = clip * gradient[i]!;
      m[i] = beta1 * m[i]! + (1 - beta1) * g;
      v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
      const direction = m[i]! / (1 - beta1 ** t) / (Math.sqrt(v[i]! / (1 - beta2 ** t)) + epsilon);
      parameter[i] = parameter[i]! * (1 - rate * weightDecay) - rate * direction;
    }
  }
  optimizer.step(); // enqueues three operations and does not wait for them
  optimizer.zeroGrad();
  compare("gradient norm", [norm], [(await optimizer.stats()).norm]);
  compare("weight", weight, await layer.weight.read());
  compare("bias", bias, await layer.bias!.read());
}
await device.close();
console.log(`largest relative difference: ${largest.toExponential(1)}`);
