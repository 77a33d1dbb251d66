// A loop that uploads arrays to a busy device and never waits. The queue must be bounded. Prints the growth of the
// process in bytes. The arguments name the device and the size of the matrices that keep it busy.
import { openDevice } from "#lib/native/index.js";
import { full, matmul } from "#lib/tensor/index.js";

const [name = "cpu", size = "1000"] = process.argv.slice(2);
const device = await openDevice(name, name === "cpu" ? { threads: 1 } : {});
const target = full(device, [2 ** 20], 0);
const values = new Float32Array(2 ** 20);
const matrix = full(device, [Number(size), Number(size)], 0.001);
await device.synchronize();
const before = process.memoryUsage().rss;
let largest = 0;
// Seconds of work before the uploads.
for (let i = 0; i < 30; i++) matmul(matrix, matrix).dispose();
// 480 MB of arrays.
for (let i = 0; i < 120; i++) {
  target.write(values);
  largest = Math.max(largest, process.memoryUsage().rss - before);
}
console.log(largest);
process.exit(0);
