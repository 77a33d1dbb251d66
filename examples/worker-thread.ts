// Trains on a worker thread while the main thread watches. The parameters are in shared memory, where the optimizer
// updates them in place and both threads can read them. Messages contain only step numbers and losses.
//
//   npx tsx examples/worker-thread.ts
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { AdamW, schedule } from "stepsize";

const steps = 400;
const items = 256;
const trueWeights = [2, -1, 0.5, 3, -2, 0, 1, -0.5];
const trueBias = 4;

interface Progress {
  readonly step: number;
  readonly loss: number;
}

/** Memory shared by both threads. */
const share = () => ({
  weights: new Float32Array(new SharedArrayBuffer(4 * trueWeights.length)),
  bias: new Float32Array(new SharedArrayBuffer(4)),
  /** Number of reports that the main thread has processed. */
  seen: new Int32Array(new SharedArrayBuffer(4)),
});

/** Linear regression on synthetic data, with the mean squared error and a hand-written gradient. */
function train({ weights, bias, seen }: ReturnType<typeof share>, report: (progress: Progress) => void): void {
  const toWeights = new Float32Array(weights.length);
  const toBias = new Float32Array(1);
  const xs = Float32Array.from({ length: items * weights.length }, (_, i) => Math.sin(i * i));
  const lr = schedule.uba({ budget: steps, maxLr: 0.1, phi: 2, warmup: 20 });
  const optimizer = new AdamW([weights, bias], { lr, weightDecay: 0 });
  for (let step = 0; step < steps; step++) {
    let loss = 0;
    toWeights.fill(0);
    toBias.fill(0);
    for (let item = 0; item < items; item++) {
      const x = xs.subarray(item * weights.length, (item + 1) * weights.length);
      // The prediction minus the true value.
      const error = x.reduce((sum, value, i) => sum + value * (weights[i]! - trueWeights[i]!), bias[0]! - trueBias);
      loss += error ** 2 / items;
      toBias[0]! += (2 * error) / items;
      x.forEach((value, i) => {
        toWeights[i]! += (2 * error * value) / items;
      });
    }
    if (step % 50 === 0) {
      const before = Atomics.load(seen, 0);
      report({ step, loss });
      // Waits until the main thread has read the parameters. At any other time it could see an incomplete update.
      Atomics.wait(seen, 0, before);
    }
    optimizer.step([toWeights, toBias]);
  }
  optimizer.dispose();
}

async function watch(): Promise<void> {
  const shared = share();
  const { weights, bias, seen } = shared;
  const distance = () => Math.hypot(...weights.map((weight, i) => weight - trueWeights[i]!), bias[0]! - trueBias);

  // A worker thread accepts only JavaScript, so it first registers the TypeScript loader. A compiled program uses `new
  // Worker(new URL(import.meta.url), { workerData: shared })`. In both cases the memory is shared, not copied.
  const file = JSON.stringify(import.meta.url);
  const code = `import("tsx/esm/api").then(({ register }) => { register(); return import(${file}); })`;
  const worker = new Worker(code, { eval: true, workerData: shared });
  worker.on("message", ({ step, loss }: Progress) => {
    console.log(`step ${step}: loss ${loss.toExponential(2)}, ${distance().toExponential(2)} from the truth`);
    Atomics.add(seen, 0, 1);
    Atomics.notify(seen, 0);
  });
  await once(worker, "exit");
  console.log(`after ${steps} steps: ${distance().toExponential(2)} from the truth`);
  console.log(`weights: ${[...weights].map((weight) => weight.toFixed(3)).join(", ")}; bias: ${bias[0]!.toFixed(3)}`);
}

if (isMainThread) await watch();
else train(workerData, (progress) => parentPort?.postMessage(progress));
