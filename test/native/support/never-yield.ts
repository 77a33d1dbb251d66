// A loop that neither disposes nor waits. Unreachable tensors are collected when the device's memory is used up.
// Reachable ones are not, and the error names them.
import { StepsizeError } from "#lib/errors.js";
import { openDevice } from "#lib/native/index.js";
import { full, type Tensor } from "#lib/tensor/index.js";

const device = await openDevice("cpu", { threads: 1, memoryLimit: 100e6 });
const held = full(device, [2 ** 18], 3);
let sum = full(device, [2 ** 18], 0);
// 4000 tensors of one megabyte, with room for a hundred.
for (let i = 0; i < 2000; i++) sum = sum.add(held.multiply(1));
const values = await sum.read();
if (values[0] !== 6000) throw new Error(`3 · 2000 became ${values[0]}`);

const kept: Tensor[] = [];
try {
  for (let i = 0; i < 200; i++) kept.push(full(device, [2 ** 18], i));
  throw new Error("200 MB in a device of 100 MB");
} catch (error) {
  if (!(error instanceof StepsizeError) || error.code !== "out-of-memory") throw error;
}
for (const [i, one] of kept.entries()) if ((await one.read())[7] !== i) throw new Error(`tensor ${i} was lost`);
await device.close();
console.log("ok");
