// A loop that never disposes and awaits one value per step. The collector frees the unreachable tensors.

import { openDevice } from "#lib/native/index.js";
import { matmul, tensor } from "#lib/tensor/index.js";

const device = await openDevice("cpu", { threads: 2 });
const w = tensor(device, new Float32Array(512 * 512).fill(0.001), [512, 512], { requiresGrad: true });
const steps = 400;
let largest = 0;
for (let step = 0; step < steps; step++) {
  // Six tensors of one megabyte per step, 2.4 GB in all.
  const x = tensor(device, new Float32Array(512 * 512).fill(1), [512, 512]);
  const loss = matmul(x, w).relu().square().mean();
  await loss.item();
  largest = Math.max(largest, device.memory().allocated + device.memory().cached);
}
console.log(JSON.stringify({ steps, largest, resident: process.memoryUsage().rss }));
