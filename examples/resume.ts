// Stops and saves a run, continues with new objects as another process would, and compares the losses with those of an
// uninterrupted run. They are equal to the last bit.
//
//   npx tsx examples/resume.ts
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AdamW, data, nn, openDevice, type RunOptions, schedule, Trainer } from "stepsize";

const inputs = Float32Array.from({ length: 256 * 8 }, (_, i) => Math.sin(i * i));
const labels = Int32Array.from({ length: 256 }, (_, i) =>
  Number((inputs[8 * i] as number) > (inputs[8 * i + 1] as number)),
);
const set = data.fromArrays({ inputs, labels, shape: [8] });

const device = await openDevice("auto");

/** Creates everything that a new process would. Only the weights differ, and the checkpoint replaces them. */
function makeTrainer(seed: number): Trainer {
  const place = { device, seeds: new nn.Seeds(seed) };
  const model = new nn.Sequential(
    new nn.Linear(8, 64, place),
    new nn.ReLU(),
    new nn.Dropout(0.2, { seeds: 7 }),
    new nn.Linear(64, 2, place),
  );
  const lr = schedule.uba({ budget: 60, maxLr: 0.01, warmup: 5 });
  const optimizer = new AdamW(model.parameters(), { lr, clipNorm: 1 });
  return new Trainer({ model, optimizer, loss: nn.crossEntropy, data: set.batches({ size: 32, seed: 1 }) });
}

async function lossesOf(trainer: Trainer, options: RunOptions = {}): Promise<number[]> {
  const losses: number[] = [];
  for await (const { loss } of trainer.run(options)) losses.push(loss);
  return losses;
}

const uninterrupted = await lossesOf(makeTrainer(0));

const folder = await mkdtemp(join(tmpdir(), "stepsize-resume-"));
const path = join(folder, "checkpoint.safetensors");
const first = makeTrainer(0);
// The run pauses after exactly this number of steps. `trainer.stop()` or `break` at the record of the last one would do
// the same.
const before = await lossesOf(first, { until: 25 });
await first.save(path);
console.log(`stopped: ${before.length} steps done, the last loss is ${before.at(-1)}`);

const second = makeTrainer(123);
await second.load(path);
console.log(`resumed at step ${second.step} of ${second.budget}`);
const after = await lossesOf(second);
await rm(folder, { recursive: true });

const together = [...before, ...after];
const same = together.length === uninterrupted.length && together.every((loss, i) => loss === uninterrupted[i]);
console.log(`finished: ${together.length} steps done, the last loss is ${after.at(-1)}`);
console.log(`identical to the uninterrupted run: ${same ? "yes" : "no"}`);
