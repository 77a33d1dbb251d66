// Classifies two moons with a small network, in an explicit loop: forward, backward, step, zeroGrad. `Trainer` does the
// same, and the host prepares the next step while the device computes the current one.
//
//   npx tsx examples/from-arrays.ts
import { data, models, nn, noGrad, openDevice, ops, SGD, schedule, tensor, tidy } from "stepsize";

const steps = 300;
const items = 400;

// Two interleaved half circles with some noise.
const points = new Float32Array(2 * items);
const labels = new Int32Array(items);
for (let i = 0; i < items; i++) {
  const moon = i % 2;
  const angle = (Math.PI * i) / items;
  const [dx, dy] = [0.1 * Math.sin(37 * i), 0.1 * Math.cos(91 * i)];
  points[2 * i] = (moon === 0 ? Math.cos(angle) : 1 - Math.cos(angle)) + dx;
  points[2 * i + 1] = (moon === 0 ? Math.sin(angle) : 0.5 - Math.sin(angle)) + dy;
  labels[i] = moon;
}

const { train, validation } = data
  .fromArrays({ inputs: points, labels, shape: [2], classes: ["upper", "lower"] })
  .split({ validation: 0.25, seed: 0 });

const device = await openDevice("auto");
const model = models.mlp({ inputs: 2, hidden: [32, 32], classes: 2, device, seed: 0 });
const lr = schedule.uba({ budget: steps, maxLr: 0.3, warmup: 10 });
const optimizer = new SGD(model.parameters(), { lr, momentum: 0.9 });

const batches = train.batches({ size: 50, seed: 0 }).from(0);
for (let step = 0; step < steps; step++) {
  const { value: batch } = await batches.next();
  const loss = tidy(() => {
    const x = tensor(device, batch.inputs.data, batch.inputs.shape);
    const y = tensor(device, batch.labels);
    const value = nn.crossEntropy(model.forward(x), y);
    value.backward();
    return value;
  });
  optimizer.step();
  optimizer.zeroGrad();
  // Reading waits for the device, so the loss is not read at every step.
  if (step % 50 === 0) console.log(`step ${step}: loss ${(await loss.item()).toFixed(4)}`);
  loss.dispose();
}

model.eval();
let right = 0;
for await (const { inputs, labels: expected } of validation.batches({ size: 50 }).once()) {
  const best = noGrad(() => tidy(() => ops.argmax(model.forward(tensor(device, inputs.data, inputs.shape)))));
  const found = await best.read();
  right += found.filter((label, i) => label === (expected as Int32Array)[i]).length;
  best.dispose();
}
console.log(`right on ${right} of ${validation.length} points that were held back`);
console.log(`device memory in use: ${device.memory().allocated} bytes`);
