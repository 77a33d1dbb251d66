// Writes real checkpoints of more than 2 GiB, reads them back and compares every bit: `npx tsx
// test/faults/large-checkpoint.ts`. Takes 8 GB of memory and 5 GB of disk, in the given folder or the system's
// temporary folder.
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromArrays } from "#lib/data/index.js";
import { openDevice } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { AdamW, type LearningRate, type Optimizer, SGD } from "#lib/optim/index.js";
import type { Tensor } from "#lib/tensor/index.js";
import { Trainer } from "#lib/train/index.js";
import { loadModel } from "#lib/weights/index.js";

interface Case {
  readonly name: string;
  readonly layers: readonly (readonly [inputs: number, outputs: number])[];
  readonly optimizer: (model: nn.Module) => Optimizer<{ lr: LearningRate }>;
}

const cases: readonly Case[] = [
  {
    name: "one tensor of 2.2 GiB",
    layers: [[24_000, 24_500]],
    optimizer: (model) => new SGD(model.parameters(), { lr: 0.1 }),
  },
  {
    name: "180 million parameters with two moments each",
    layers: Array.from({ length: 20 }, () => [3000, 3000] as const),
    optimizer: (model) => {
      const optimizer = new AdamW(model.parameters(), { lr: 0.1 });
      // This creates the moments before the first step.
      optimizer.tabulate();
      return optimizer;
    },
  },
];

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), "stepsize-large-"));
try {
  for (const one of cases) await roundTrip(one, join(folder, "large.safetensors"));
} finally {
  rmSync(folder, { recursive: true });
}

async function roundTrip({ name, layers, optimizer: optimizerOf }: Case, path: string): Promise<void> {
  const device = await openDevice("cpu");
  const modelOf = (seeds: number) =>
    new nn.Sequential(...layers.map(([i, o]) => new nn.Linear(i, o, { device, seeds, bias: false })));
  const make = (seed: number) => {
    const model = modelOf(seed);
    const optimizer = optimizerOf(model);
    const [[inputs] = [1]] = layers;
    const data = fromArrays({ inputs: new Float32Array(inputs), labels: Int32Array.of(0), shape: [inputs] });
    const options = { model, optimizer, loss: nn.crossEntropy, data: data.batches({ size: 1 }), budget: 1 };
    return { model, optimizer, trainer: new Trainer(options) };
  };
  const run = make(1);
  // Initial weights are computed on the device after the call returns.
  await device.synchronize();
  const before = residentMegabytes();
  const saving = await timed(() => run.trainer.save(path));
  const { size } = statSync(path);
  if (size <= 2 ** 31) throw new Error(`${name}: the file has only ${size} bytes`);
  console.log(
    `${name}: ${(size / 1e9).toFixed(2)} GB, written in ${saving.seconds} s with ${saving.peak - before} MB more`,
  );
  const other = make(2);
  await device.synchronize();
  const held = residentMegabytes();
  const loading = await timed(() => other.trainer.load(path));
  console.log(`  verified and loaded in ${loading.seconds} s with ${loading.peak - held} MB more`);
  await expectSameBits(run.model.stateDict(), other.model.stateDict());
  await expectSameBits(run.optimizer.stateDict(), other.optimizer.stateDict());
  other.model.dispose();
  other.optimizer.dispose();
  device.trim();
  const { model } = await loadModel(path, { device, build: () => modelOf(3) });
  await expectSameBits(run.model.stateDict(), model.stateDict());
  console.log("  every bit came back");
  await device.close();
}

async function expectSameBits(a: ReadonlyMap<string, Tensor>, b: ReadonlyMap<string, Tensor>): Promise<void> {
  const atOnce = 2 ** 22;
  for (const [name, one] of a) {
    const other = b.get(name) as Tensor;
    for (let first = 0; first < one.size; first += atOnce) {
      const count = Math.min(atOnce, one.size - first);
      const [x, y] = await Promise.all(
        [one, other].map(({ device, handle }) => device.native.readPart(handle, first, count)),
      );
      if (!Buffer.from(x!.buffer).equals(Buffer.from(y!.buffer))) throw new Error(`${name} differs after ${first}`);
    }
  }
}

/** The duration of the work and the peak memory of the process during it, in MB. */
async function timed(work: () => Promise<unknown>): Promise<{ seconds: string; peak: number }> {
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, residentMegabytes());
  }, 5);
  const start = performance.now();
  await work();
  clearInterval(timer);
  return { seconds: ((performance.now() - start) / 1000).toFixed(1), peak: Math.max(peak, residentMegabytes()) };
}

function residentMegabytes(): number {
  return Math.round(process.memoryUsage.rss() / 1e6);
}
