// Two worker threads step at the same time, each with an optimizer over its part of one shared memory. The result is
// compared with the same steps done sequentially on the main thread.
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { AdamW } from "#lib/optim/index.js";
import { gradientValues, initialValues } from "./runs.js";

// Long enough for a step to be cut into chunks for several threads. The parts do not begin or end at a page or vector
// boundary.
const size = 50_001;
const steps = 50;

/** The part of thread `index`. The two parts are adjacent in the middle of the memory. */
function partOf(memory: SharedArrayBuffer, index: number): Float32Array {
  return new Float32Array(memory, 4 * size * index, size);
}

/** Runs the steps of part `index`, and calls `meet` before each. */
function train(parameter: Float32Array, index: number, meet: (step: number) => void): void {
  const optimizer = new AdamW([parameter], { lr: 0.01 * (index + 1), clipNorm: 1 });
  for (let step = 0; step < steps; step++) {
    const gradient = gradientValues(size, step % 4, 1000 * (index + 1));
    meet(step);
    optimizer.step([gradient]);
  }
  optimizer.dispose();
}

if (isMainThread) {
  const memory = new SharedArrayBuffer(2 * 4 * size);
  const arrived = new Int32Array(new SharedArrayBuffer(4));
  // A worker thread accepts only JavaScript, so it first registers the TypeScript loader.
  const file = JSON.stringify(import.meta.url);
  const code = `import("tsx/esm/api").then(({ register }) => { register(); return import(${file}); })`;
  const ended = [0, 1].map((index) => {
    partOf(memory, index).set(initialValues(size, index + 1));
    return once(new Worker(code, { eval: true, workerData: { memory, arrived, index } }), "exit");
  });
  await Promise.all(ended);
  if (Atomics.load(arrived, 0) !== 2 * steps) throw new Error("a thread ended before its last step");
  // No thread has the addon loaded now, but its thread pool still exists and needs the addon's code.
  await setTimeout(300);
  for (const index of [0, 1]) {
    const alone = initialValues(size, index + 1);
    train(alone, index, () => {});
    const together = partOf(memory, index);
    const at = alone.findIndex((value, i) => !Object.is(value, together[i]));
    if (at >= 0) throw new Error(`part ${index}, element ${at}: ${together[at]} together, ${alone[at]} alone`);
  }
  console.log("the same bits");
} else {
  const { memory, arrived, index } = workerData as { memory: SharedArrayBuffer; arrived: Int32Array; index: number };
  // The first thread spins until the other arrives, so that both calls begin within about a microsecond.
  train(partOf(memory, index), index, (step) => {
    Atomics.add(arrived, 0, 1);
    while (Atomics.load(arrived, 0) < 2 * (step + 1));
  });
}
