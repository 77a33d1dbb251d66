// Stage 4: captures and replays.
import { Worker } from "node:worker_threads";
import { StepsizeError } from "../../errors.js";
import { mlp } from "../../models/index.js";
import type { Device } from "../../native/index.js";
import { crossEntropy } from "../../nn/index.js";
import { AdamW } from "../../optim/index.js";
import { uba } from "../../schedule/index.js";
import { add, backward, copy, fill, full, type Tensor, tensor, tidy, zeros } from "../../tensor/index.js";
import { compareNamed, type NamedResults, readNamed } from "../compare.js";
import { labelsOf, numbers } from "../hashed.js";
import { groupProgram } from "../protocol.js";
import type { Finding } from "../report.js";
import type { CaseContext, CaseGroup, Stage } from "../stage.js";

/** Compares values with the expected ones, which may be one number for all. */
function expectValues(got: ArrayLike<number>, expected: number, what: string): Finding {
  const wrong = Array.from(got).findIndex((value) => value !== expected);
  if (wrong < 0 && got.length > 0) return {};
  return { fault: "wrong", message: `${what}: element ${wrong} is ${got[wrong]} instead of ${expected}` };
}

/** A capture before any kernel of the process was launched. */
async function captureFirst({ device }: CaseContext): Promise<Finding> {
  const count = 1000;
  // An upload, not a kernel.
  const x = tensor(device, new Float32Array(count).fill(3));
  const sum = tensor(device, new Float32Array(count));
  const capture = device.capture(() => tidy(() => copy(sum, add(sum, x.square()))));
  capture.replay(5);
  return expectValues(await sum.read(), 45, "five replays of the first capture");
}

/** Makes the steps of an optimizer, eager or as replays of one capture. */
async function optimizerSteps(device: Device, steps: number, captured: boolean): Promise<NamedResults> {
  const parameters = [3, 1025].map((size, i) => {
    const parameter = tensor(device, numbers(size, i, 1.5), [size], { requiresGrad: true });
    parameter.grad = tensor(device, numbers(size, 50 + i), [size]);
    return parameter;
  });
  const optimizer = new AdamW(parameters, { lr: uba({ budget: steps, maxLr: 0.02, phi: 3 }), clipNorm: 1 });
  if (captured) {
    optimizer.tabulate();
    const capture = device.capture(() => optimizer.step());
    capture.replay(1);
    capture.replay(steps - 1);
    capture.dispose();
  } else for (let step = 0; step < steps; step++) optimizer.step();
  const results: NamedResults = new Map();
  await readNamed(results, [...parameters.map((one, i) => [`parameter ${i}`, one] as const), ...optimizer.stateDict()]);
  optimizer.dispose();
  return results;
}

async function replayOptimizer({ device, scale }: CaseContext): Promise<Finding> {
  const steps = scale === "full" ? 1000 : 50;
  return compareNamed(await optimizerSteps(device, steps, true), await optimizerSteps(device, steps, false));
}

/** Trains a model with its whole step eager or captured. */
async function modelSteps(device: Device, steps: number, captured: boolean): Promise<NamedResults> {
  const model = mlp({ inputs: 60, hidden: [33], classes: 7, device, seed: 0 });
  const optimizer = new AdamW(model.parameters(), { lr: 0.01 });
  const x = tensor(device, numbers(20 * 60, 1), [20, 60]);
  const labels = tensor(device, labelsOf(20, 2, 7));
  const lastLoss = zeros(device, []);
  const step = () =>
    tidy(() => {
      const loss = crossEntropy(model.forward(x), labels);
      copy(lastLoss, loss);
      backward(loss);
      optimizer.step();
      optimizer.zeroGrad();
    });
  if (captured) {
    optimizer.tabulate();
    const capture = device.capture(step);
    capture.replay(steps);
    capture.dispose();
  } else for (let i = 0; i < steps; i++) step();
  const results: NamedResults = new Map();
  await readNamed(results, [["loss", lastLoss], ...model.stateDict(), ...optimizer.stateDict()]);
  optimizer.dispose();
  return results;
}

async function replayModel({ device, scale }: CaseContext): Promise<Finding> {
  const steps = scale === "full" ? 200 : 10;
  return compareNamed(await modelSteps(device, steps, true), await modelSteps(device, steps, false));
}

/** Disposes a capture whose replays are still running, and uses the released memory at once. */
async function disposeInFlight({ device, scale }: CaseContext): Promise<Finding> {
  const [count, times] = scale === "full" ? [1_000_000, 200] : [1000, 20];
  const sum = zeros(device, [count]);
  const capture = device.capture(() => tidy(() => copy(sum, add(add(sum, 1), 1))));
  capture.replay(times);
  capture.dispose();
  // These take the memory that the capture had.
  const later = Array.from({ length: 4 }, () => full(device, [count], 0.5));
  const finding = expectValues(await sum.read(), 2 * times, "replays before the capture was disposed");
  if (finding.fault) return finding;
  const read = await Promise.all(later.map((one) => one.read()));
  return read.map((one) => expectValues(one, 0.5, "memory after the capture")).find(({ fault }) => fault) ?? {};
}

/** A capture that needs more memory than there is. The device must continue. */
async function shortOfMemory({ open }: CaseContext): Promise<Finding> {
  const mebibytes = 2 ** 20;
  const device = await open({ memoryLimit: 8 * mebibytes });
  const x = full(device, [mebibytes / 4], 1);
  const kept: Tensor[] = [];
  try {
    device.capture(() => {
      for (let i = 0; i < 16; i++) kept.push(add(x, 1));
    });
    return { fault: "wrong", message: "a capture of 17 MiB was possible with a limit of 8 MiB" };
  } catch (error) {
    if (!(error instanceof StepsizeError) || error.code !== "out-of-memory") throw error;
  }
  for (const one of kept) one.dispose();
  const capture = device.capture(() => tidy(() => copy(x, add(x, 1))));
  capture.replay(3);
  return expectValues(await x.read(), 4, "a capture after one that did not fit");
}

/** What a thread of a case is asked to do. */
export interface ThreadRequest {
  readonly device: string;
  readonly replays: number;
}

/** Captures and replays on a thread. Returns the result. */
export async function replayOnThread(device: Device, replays: number): Promise<number> {
  const x = tensor(device, Float32Array.of(1));
  const capture = device.capture(() => tidy(() => copy(x, add(x, 1))));
  capture.replay(replays);
  const result = await x.item();
  await device.close();
  return result;
}

function startThread(request: ThreadRequest): { worker: Worker; message: Promise<unknown> } {
  const worker = new Worker(groupProgram, { workerData: request, execArgv: [], name: "stepsize check" });
  const message = new Promise<unknown>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`the thread ended with code ${code}`)));
  });
  return { worker, message };
}

async function replayInWorker({ device }: CaseContext): Promise<Finding> {
  const threads = [1, 2].map(() => startThread({ device: device.name, replays: 1000 }));
  const results = await Promise.all(threads.map(({ message }) => message));
  for (const { worker } of threads) await worker.terminate();
  return results.map((one) => expectValues([Number(one)], 1001, "1,000 replays on a thread")).find(({ fault }) => fault) ?? {}; // biome-ignore format: one line
}

/** Terminates a thread whose replays would take days. */
async function terminateWorker({ device }: CaseContext): Promise<Finding> {
  const { worker, message } = startThread({ device: device.name, replays: 2 ** 40 });
  message.catch(() => {});
  // Long enough for the thread to open its device and to begin, usually. It may be terminated at any moment.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await worker.terminate();
  const x = full(device, [1000], 2);
  return expectValues(await x.read(), 2, "work after a thread was terminated");
}

/** How long JavaScript is blocked by launches. The figures depend on the machine and are not judged. */
async function measureBlocking({ device, scale }: CaseContext): Promise<Finding> {
  const [launches, replays] = scale === "full" ? [5000, 100_000] : [200, 500];
  const x = zeros(device, [1000]);
  const timed = async (work: () => void) => {
    await device.synchronize();
    const began = performance.now();
    work();
    const blocked = performance.now() - began;
    await device.synchronize();
    return { blockedMilliseconds: blocked, milliseconds: performance.now() - began };
  };
  const eager = await timed(() => {
    for (let i = 0; i < launches; i++) fill(x, i);
  });
  const capture = device.capture(() => fill(x, 7));
  const replayed = await timed(() => capture.replay(replays));
  capture.dispose();
  const measured = { eager: { launches, ...eager }, replay: { replays, ...replayed } };
  return { ...expectValues(await x.read(), 7, "the last replay"), measured };
}

const groups: readonly CaseGroup[] = [
  { name: "first-act", cases: [{ name: "capture before any launch", run: captureFirst }] },
  {
    name: "replay",
    cases: [
      { name: "1,000 optimizer steps, to the bits of eager ones", run: replayOptimizer },
      { name: "steps of a model, to the bits of eager ones", run: replayModel },
    ],
  },
  { name: "dispose", cases: [{ name: "a capture in flight", run: disposeInFlight }] },
  { name: "short-memory", cases: [{ name: "a capture that does not fit", run: shortOfMemory }] },
  {
    name: "thread",
    cases: [
      { name: "two worker threads", run: replayInWorker },
      { name: "a terminated worker thread", run: terminateWorker },
    ],
  },
  { name: "blocking", cases: [{ name: "time of launches and replays", run: measureBlocking }] },
];

/** Captures. */
export const captureStage: Stage = {
  name: "capture",
  title: "captures: first act, replays, disposal in flight, short memory, worker threads",
  groups: () => groups,
};
