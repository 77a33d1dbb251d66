// Loops that enqueue on the emulated GPU without ever waiting: operations, uploads, reads, and replays of a short and a
// long capture. Prints the results.
import { openDevice } from "#lib/native/index.js";
import { add, copy, full, tensor } from "#lib/tensor/index.js";

const device = await openDevice("cuda:emulated");
const one = full(device, [20_000], 1);
const sum = full(device, [20_000], 0);
for (let i = 0; i < 1500; i++) {
  const next = add(sum, one);
  copy(sum, next);
  next.dispose();
}
const eager = (await sum.read())[0];

const reads = [];
for (let i = 0; i < 600; i++) {
  sum.write(new Float32Array(20_000).fill(i));
  reads.push(sum.read());
}
const read = (await Promise.all(reads)).every((values, i) => values[19_999] === i);

const count = tensor(device, new Float32Array(1000));
const step = full(device, [1000], 1);
const replayed = [];
for (const length of [1, 700]) {
  const capture = device.capture(() => {
    for (let i = 0; i < length; i++) {
      const next = add(count, step);
      copy(count, next);
      next.dispose();
    }
  });
  capture.replay(length === 1 ? 2500 : 5);
  replayed.push((await count.read())[0]);
}
console.log(JSON.stringify({ eager, read, replayed }));
await device.close();
