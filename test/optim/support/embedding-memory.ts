// Measures the memory that steps over large arrays use beyond the arrays. The peak resident memory of the process
// includes native memory, and a copy that is freed before the step returns. V8's own statistics include neither.
import { SGD } from "#lib/optim/index.js";

const elements = 16 * 1024 ** 2;

// A rule without state. The library, its threads and their stacks are created before the measurement.
const options = { lr: 0.1, clipNorm: 1 };
const small = new SGD([new Float32Array(1e6).fill(1)], options);
for (let step = 0; step < 3; step++) small.step([new Float32Array(1e6).fill(1)]);

const parameters = [1, 2].map((value) => new Float32Array(elements / 2).fill(value));
const gradients = [3, 4].map((value) => new Float32Array(elements / 2).fill(value));
const now = () => ({ peak: process.resourceUsage().maxRSS * 1024, arrayBuffers: process.memoryUsage().arrayBuffers });
const before = now();
const since = () => {
  const { peak, arrayBuffers } = now();
  return { peak: peak - before.peak, arrayBuffers: arrayBuffers - before.arrayBuffers };
};
const optimizer = new SGD(parameters, options);
for (let step = 0; step < 3; step++) optimizer.step(gradients);
const grown = since();
if (!parameters.every((values, i) => (values[0] as number) < i + 1)) throw new Error("the parameters have not moved");

// The same measurement for a copy of one array.
const copy = (parameters[0] as Float32Array).slice();
const withCopy = since();
console.log(JSON.stringify({ bytes: 4 * elements, grown, withCopy, last: copy.at(-1) }));
