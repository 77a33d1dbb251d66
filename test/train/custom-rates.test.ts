// A learning rate may be any function of the step. It works in eager, captured and resumed runs, is saved, and is
// checked when loaded.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import * as nn from "#lib/nn/index.js";
import { AdamW, type LearningRate, SGD } from "#lib/optim/index.js";
import * as schedule from "#lib/schedule/index.js";
import type { RunOptions, StepRecord, Trainer } from "#lib/train/index.js";
import { readCheckpoint } from "#lib/weights/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { card, device, endOf, images, plainMLP, recordsOf, runOf } from "./support/runs.js";

const on = await device();
const folder = temporaryFolders();
const budget = 8;
const uba = schedule.uba({ budget, maxLr: 0.05, warmup: 2 });
const rate = (step: number) => 0.05 / (1 + step);

interface Setting {
  readonly lr: LearningRate;
  /** Rate of the biases. Default: that of the weights. */
  readonly biases?: LearningRate;
  readonly steps?: number;
  readonly seed?: number;
}

function make({ lr, biases, steps = budget, seed = 0 }: Setting) {
  const model = plainMLP(on, seed);
  const groups = biases === undefined ? [] : [{ where: (name: string) => name.endsWith("bias"), lr: biases }];
  const optimizer = new AdamW(model.parameters(), { lr, groups });
  return runOf({ model, optimizer, loss: nn.crossEntropy, data: images.batches({ size: 16 }), budget: steps, card });
}

async function recordsWith(trainer: Trainer, options: RunOptions): Promise<StepRecord[]> {
  const records: StepRecord[] = [];
  for await (const record of trainer.run(options)) records.push(record);
  return records;
}

/** Saves a checkpoint after three steps. */
async function savedAfterThree(setting: Setting): Promise<string> {
  const { trainer } = make(setting);
  await recordsWith(trainer, { until: 3 });
  const path = join(folder(), "three.safetensors");
  await trainer.save(path);
  return path;
}

describe("a learning-rate function", () => {
  it("with the values of a schedule trains to the same bits, also captured and with runAhead", async () => {
    for (const [withFunction, withSchedule] of [
      [{ lr: (step: number) => uba(step) }, { lr: uba }],
      [
        { lr: uba, biases: (step: number) => uba(step) / 2 },
        { lr: uba, biases: schedule.uba({ budget, maxLr: 0.025, warmup: 2 }) },
      ],
    ]) {
      const reference = make(withSchedule as Setting);
      const records = await recordsOf(reference.trainer);
      for (const mode of [{}, { capture: true }, { capture: true, runAhead: true }]) {
        const run = make(withFunction as Setting);
        expect(await recordsWith(run.trainer, mode)).toEqual(records);
        expect(await endOf(run)).toEqual(await endOf(reference));
      }
    }
  });

  it("is tabulated over the trainer's budget, or a longer budget of another group's schedule", async () => {
    const run = make({ lr: rate, biases: uba, steps: 5 });
    await recordsWith(run.trainer, { capture: true });
    // The table continues for steps outside the run.
    for (const parameter of run.model.parameters()) parameter.grad = parameter.detach();
    run.optimizer.step();
    expect((await run.optimizer.stats()).learningRates).toEqual([rate(5), uba(5)]);
  });

  it.each([
    { what: "one", setting: { lr: rate } },
    { what: "one of two", setting: { lr: uba, biases: rate } },
    {
      what: "with a momentum",
      setting: { lr: Object.assign((k: number) => rate(k), { momentum: (k: number) => 0.9 - k / 50 }) },
    },
  ])("is saved with its values, and a resumed run has the same bits: $what", async ({ setting }) => {
    const whole = make(setting);
    const records = await recordsOf(whole.trainer);
    const path = await savedAfterThree(setting);
    const { info, rates } = await readCheckpoint(path);
    const [group, lr] = "biases" in setting ? ["1", setting.biases] : ["0", setting.lr];
    if (group === "0") expect(info.run["schedule"]).toEqual({ name: "custom" });
    expect([...rates.keys()]).toEqual([group]);
    const { data, shape } = rates.get(group as string)!;
    const columns = typeof lr === "function" && "momentum" in lr ? 2 : 1;
    expect(shape).toEqual([budget, columns]);
    expect([...data].filter((_, i) => i % columns === 0)).toEqual(
      Array.from({ length: budget }, (_, k) => (lr as typeof rate)(k)),
    );
    for (const mode of [{}, { capture: true }]) {
      const run = make({ ...setting, seed: 9 });
      await run.trainer.load(path);
      expect(await recordsWith(run.trainer, mode)).toEqual(records.slice(3));
      expect(await endOf(run)).toEqual(await endOf(whole));
    }
    // A longer run has the same values within the saved budget.
    const longer = make({ ...setting, seed: 9, steps: budget + 3 });
    await longer.trainer.load(path);
    expect((await recordsOf(longer.trainer)).slice(0, budget - 3)).toEqual(records.slice(3));
  });

  it("with other values is refused at the first difference and changes nothing", async () => {
    const path = await savedAfterThree({ lr: rate });
    for (const step of [0, 2, 3, budget - 1]) {
      const other = make({ lr: (k) => (k === step ? 0.001 : rate(k)), seed: 9 });
      const before = await endOf(other);
      await expectError(
        () => other.trainer.load(path),
        "invalid-file",
        "learning rate of group 0",
        `gave ${rate(step)} at step ${step}, now it gives 0.001`,
      );
      expect(other.trainer.step).toBe(0);
      expect(await endOf(other)).toEqual(before);
    }
    // Beyond the saved budget there is nothing to compare with.
    await make({ lr: (k) => (k >= budget ? 1 : rate(k)), steps: budget + 1 }).trainer.load(path);
  });

  it("is not interchangeable with a schedule or a number", async () => {
    const custom = await savedAfterThree({ lr: (step) => uba(step) });
    await expectError(() => make({ lr: uba }).trainer.load(custom), "invalid-file", "schedule", "custom", "uba");
    const named = await savedAfterThree({ lr: uba });
    await expectError(
      () => make({ lr: (k) => uba(k) }).trainer.load(named),
      "invalid-file",
      "schedule",
      "custom",
      "uba",
    );
    const constant = await savedAfterThree({ lr: 0.05 });
    await expectError(
      () => make({ lr: () => 0.05 }).trainer.load(constant),
      "invalid-file",
      "schedule",
      "custom",
      "0.05",
    );
  });

  it("needs a budget, from the trainer or from the function", () => {
    const model = plainMLP(on);
    const parts = { model, loss: nn.crossEntropy, data: images.batches({ size: 16 }), card };
    const optimizer = new SGD(model.parameters(), { lr: rate });
    void expectError(() => runOf({ ...parts, optimizer }), "invalid-argument", "budget");
    const planned = new SGD(model.parameters(), { lr: Object.assign((k: number) => rate(k), { budget: 7 }) });
    expect(runOf({ ...parts, optimizer: planned }).trainer.budget).toBe(7);
  });

  it("that changes during a captured run is refused, because the run has it in a table", async () => {
    let factor = 1;
    const { trainer } = make({ lr: (step) => factor * rate(step) });
    const run = async () => {
      for await (const { step } of trainer.run({ capture: true })) if (step === 3) factor = 0.5;
    };
    await expectError(run, "invalid-state", "step 4", "tabulate");
    expect(trainer.step).toBe(4);
  });
});
