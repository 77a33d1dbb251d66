// Memory of small tensors on the emulated GPU. STEPSIZE_EMULATED_SEGMENT is the size of the segments that they share.
// Prints the statistics of the memory after each act, and losses of a training.

import { mlp } from "#lib/models/index.js";
import { openDevice } from "#lib/native/index.js";
import { crossEntropy } from "#lib/nn/index.js";
import { AdamW } from "#lib/optim/index.js";
import { full, tensor, tidy } from "#lib/tensor/index.js";

const device = await openDevice("cuda:emulated");
const seen: Record<string, unknown> = {};
const note = (act: string) => {
  seen[act] = device.memory();
};

// 100 pieces of 4,096 bytes, then one of more than half a segment.
const small = Array.from({ length: 100 }, (_, i) => full(device, [1024], i));
note("small");
const large = full(device, [1 << 19], -1);
note("large");
const sums = await Promise.all(small.map(async (x) => (await x.read()).reduce((a, b) => a + b)));
seen["right"] = sums.every((sum, i) => sum === 1024 * i) && (await large.read()).every((x) => x === -1);
for (const x of [...small, large]) x.dispose();
note("disposed");
const again = Array.from({ length: 100 }, () => full(device, [960], 1));
note("again");
for (const x of again) x.dispose();
device.trim();
note("trimmed");

const x = full(device, [256], 1);
let y = x;
const capture = device.capture(() => {
  y = tidy(() => x.add(1).multiply(2).add(x)).keep();
});
note("captured");
capture.replay(3);
seen["replayed"] = (await y.read()).every((value) => value === 5);
for (const one of [x, y, capture]) one.dispose();
device.trim();
note("after the capture");

const model = mlp({ inputs: 20, hidden: [30], classes: 5, device, seed: 1 });
const optimizer = new AdamW(model.parameters(), { lr: 0.01, clipNorm: 1 });
const inputs = tensor(
  device,
  Float32Array.from({ length: 16 * 20 }, (_, i) => Math.sin(i)),
  [16, 20],
);
const labels = tensor(
  device,
  Int32Array.from({ length: 16 }, (_, i) => i % 5),
);
const losses = [];
for (let step = 0; step < 5; step++) {
  const loss = tidy(() => {
    const mean = crossEntropy(model.forward(inputs), labels);
    mean.backward();
    return mean.keep();
  });
  optimizer.step();
  optimizer.zeroGrad();
  losses.push((await loss.read())[0]);
  loss.dispose();
}
seen["losses"] = losses;

const limited = await openDevice("cuda:emulated", { memoryLimit: 100_000 });
for (let i = 0; i < 20; i++) full(limited, [1024], i);
seen["limited"] = limited.memory();
console.log(JSON.stringify(seen));
process.exit(0);
