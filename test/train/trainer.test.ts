import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import * as data from "#lib/data/index.js";
import * as nn from "#lib/nn/index.js";
import { AdamW, SGD } from "#lib/optim/index.js";
import * as schedule from "#lib/schedule/index.js";
import * as t from "#lib/tensor/index.js";
import { type StepRecord, Trainer } from "#lib/train/index.js";
import { expectError } from "../support/errors.js";
import {
  bitsOf,
  budget,
  type Change,
  card,
  device,
  dropping,
  endOf,
  images,
  lossesOf,
  lowPrecision,
  plainMLP,
  recordsOf,
  residual,
  runOf,
} from "./support/runs.js";

const on = await device();
const lr = schedule.uba({ budget, maxLr: 0.02, warmup: 2 });

/** A minimal run: a perceptron, AdamW, cross-entropy. */
function plainRun(change: Change = {}) {
  const model = plainMLP(on);
  return runOf({
    model,
    optimizer: new AdamW(model.parameters(), { lr }),
    loss: nn.crossEntropy,
    data: images.batches({ size: 16, ...change.batches }),
    card,
    ...change,
  });
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe("Trainer.run", () => {
  it("yields one record per step, in order, with the schedule's learning rate", async () => {
    const records = await recordsOf(plainRun().trainer);
    expect(records.map(({ step }) => step)).toEqual(Array.from({ length: budget }, (_, step) => step));
    expect(records.map(({ learningRate }) => learningRate)).toEqual(records.map(({ step }) => lr(step)));
    expect(records.every(({ items }) => items === 16)).toBe(true);
    expect(records.every((record) => !("gradientNorm" in record) && !("skipped" in record))).toBe(true);
  });

  it.each([residual, dropping, lowPrecision])("learns: $title", async ({ make }) => {
    const losses = lossesOf(await recordsOf(make(on).trainer));
    expect(losses[0]).toBeGreaterThan(1);
    expect(mean(losses.slice(-3))).toBeLessThan(0.75 * (losses[0] as number));
  });

  it("reports each step's loss from before the update", async () => {
    const { trainer, model, data: source } = plainRun({ budget: 1 });
    const before = await trainer.evaluate(data.fromIterable([await source.at(0)]));
    expect(model.training).toBe(true);
    expect((await recordsOf(trainer))[0]?.loss).toBeCloseTo(before.loss, 5);
  });

  it("reports the gradient norm if the optimizer clips", async () => {
    const model = plainMLP(on);
    const run = plainRun({ model, optimizer: new SGD(model.parameters(), { lr, clipNorm: 1e-3 }) });
    for (const { gradientNorm } of await recordsOf(run.trainer)) expect(gradientNorm).toBeGreaterThan(1e-3);
  });

  it("takes the budget from the schedule or from its option", async () => {
    expect(plainRun().trainer.budget).toBe(budget);
    expect(await recordsOf(plainRun({ budget: 4 }).trainer)).toHaveLength(4);
    const beyond = await recordsOf(plainRun({ budget: budget + 2 }).trainer);
    expect(beyond.slice(-3).map(({ learningRate }) => learningRate)).toEqual(Array(3).fill(lr(budget - 1)));
  });

  it.each([
    { what: "no budget anywhere", change: { optimizer: undefined }, words: ["budget", "schedule", "undefined"] },
    { what: "a budget of 0", change: { budget: 0 }, words: ["budget", "got 0"] },
    { what: "a fractional budget", change: { budget: 2.5 }, words: ["budget", "got 2.5"] },
    { what: "accumulation of 0 batches", change: { accumulate: 0 }, words: ["accumulate", "got 0"] },
  ])("refuses $what", async ({ change, words }) => {
    const model = plainMLP(on);
    const optimizer = new SGD(model.parameters(), { lr: "optimizer" in change ? 0.1 : lr });
    await expectError(() => plainRun({ model, ...change, optimizer }), "invalid-argument", ...words);
  });

  it("ends after the current step if stopped, and continues in the next run", async () => {
    const whole = dropping.make(on);
    const uninterrupted = await recordsOf(whole.trainer);
    const run = dropping.make(on);
    const first: StepRecord[] = [];
    for await (const record of run.trainer.run()) {
      first.push(record);
      if (record.step === 4) run.trainer.stop();
    }
    expect(first.length).toBeGreaterThan(4);
    expect(first.length).toBeLessThan(budget);
    expect(first).toHaveLength(run.trainer.step);
    expect([...first, ...(await recordsOf(run.trainer))]).toEqual(uninterrupted);
    expect(await endOf(run)).toEqual(await endOf(whole));
    expect(await recordsOf(run.trainer)).toEqual([]);
  });

  it.each(["break", "throw"])("holds no memory and no step after %s", async (how) => {
    // A separate device, so that tensors of other tests do not change the count.
    const opened = await device();
    const { trainer, model, optimizer } = residual.make(opened);
    const leaveAfter = async (last: number) => {
      for await (const { step } of trainer.run()) {
        if (step < last) continue;
        if (how === "throw") throw new Error("left");
        break;
      }
    };
    await leaveAfter(2).catch(() => {});
    const { allocated, tensors } = opened.memory();
    const { step } = trainer;
    await leaveAfter(step + 1).catch(() => {});
    expect(opened.memory()).toMatchObject({ allocated, tensors });
    expect((await optimizer.stats()).iteration).toBe(trainer.step);
    expect(model.parameters().every(({ grad }) => grad === undefined)).toBe(true);
    expect((await recordsOf(trainer))[0]?.step).toBeGreaterThan(step);
  });

  it("does not block the event loop while the device computes", async () => {
    const { trainer } = residual.make(on);
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    await recordsOf(trainer);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(0);
  });
});

describe("accumulation", () => {
  it("equals one batch of the total size", async () => {
    const some = images.subset(Array.from({ length: 72 }, (_, i) => i));
    const runs = [{ size: 24 }, { size: 8, accumulate: 3 }].map(({ size, accumulate }) =>
      plainRun({ data: some.batches({ size, shuffle: false }), accumulate }),
    );
    const [one, three] = (await Promise.all(runs.map(({ trainer }) => recordsOf(trainer)))) as [
      StepRecord[],
      StepRecord[],
    ];
    expect(three).toHaveLength(one.length);
    three.forEach((record, step) => {
      expect(record.items).toBe(24);
      expect(record.learningRate).toBe(lr(step));
      // The runs sum in different orders, and AdamW divides by the root of small second moments.
      expect(Math.abs(record.loss / (one[step] as StepRecord).loss - 1)).toBeLessThan(1e-4);
    });
    expect(lossesOf(three)).not.toEqual(lossesOf(one));
  });

  it("is combined with the optimizer's gradientScale", async () => {
    const losses = async (gradientScale: number, learningRate: number) => {
      const model = plainMLP(on);
      const optimizer = new SGD(model.parameters(), { lr: learningRate, gradientScale });
      return lossesOf(await recordsOf(plainRun({ model, optimizer, budget: 4, accumulate: 2 }).trainer));
    };
    // A power of two, so that both ways round equally.
    expect(await losses(0.25, 0.4)).toEqual(await losses(1, 0.1));
  });
});

describe("Trainer.evaluate", () => {
  it("does not change the bits of training", async () => {
    for (const { make } of [residual, dropping, lowPrecision]) {
      const without = make(on);
      const losses = lossesOf(await recordsOf(without.trainer));
      const withIt = make(on);
      const evaluated: number[] = [];
      for await (const { loss } of withIt.trainer.run()) {
        evaluated.push(loss);
        await withIt.trainer.evaluate(images.batches({ size: 32 }));
      }
      expect(evaluated).toEqual(losses);
      expect(await endOf(withIt)).toEqual(await endOf(without));
    }
  });

  it("counts every item once, for any batch size", async () => {
    const { trainer } = residual.make(on);
    await recordsOf(trainer);
    const whole = await trainer.evaluate(images.batches({ size: 80 }));
    const done: number[][] = [];
    const cut = await trainer.evaluate(images.batches({ size: 32, augment: { pad: 2 } }), (...at) => done.push(at));
    expect(done).toEqual([
      [32, 80],
      [64, 80],
      [80, 80],
    ]);
    expect(cut.items).toBe(80);
    expect(cut.accuracy).toBe(whole.accuracy);
    expect(cut.loss).toBeCloseTo(whole.loss, 5);
  });

  it("shows the effect of training", async () => {
    const { trainer } = plainRun();
    const before = await trainer.evaluate(images.batches({ size: 40 }));
    await recordsOf(trainer);
    const after = await trainer.evaluate(images.batches({ size: 40 }));
    expect(before.accuracy).toBeLessThan(0.7);
    expect(after.accuracy).toBe(1);
    expect(after.loss).toBeLessThan(before.loss);
  });

  it("accepts the validation part of a split", async () => {
    const { train, validation } = images.split({ validation: 0.25, seed: 2 });
    const { trainer } = plainRun({ data: train.batches({ size: 12 }) });
    await recordsOf(trainer);
    const result = await trainer.evaluate(validation.batches({ size: 16 }));
    expect(result).toMatchObject({ items: 20, accuracy: 1 });
  });

  it("switches the model to evaluation and back, even if it fails", async () => {
    const seen: boolean[] = [];
    class Probe extends nn.Module {
      readonly inner = plainMLP(on);
      forward(x: t.Tensor): t.Tensor {
        seen.push(this.training);
        return this.inner.forward(x);
      }
    }
    const model = new Probe().eval();
    const { trainer } = plainRun({ model, optimizer: new AdamW(model.parameters(), { lr }), budget: 2 });
    await recordsOf(trainer);
    await trainer.evaluate(images.batches({ size: 80 }));
    expect(model.training).toBe(true);
    const wrong = data.fromArrays({ inputs: new Float32Array(12), labels: Int32Array.of(0, 1), shape: [6] });
    await expectError(() => trainer.evaluate(wrong.batches({ size: 2 })), "invalid-argument");
    expect(model.training).toBe(true);
    await trainer.evaluate(images.batches({ size: 80 }));
    expect(seen).toEqual([true, true, false, false]);
  });

  it("keeps a model in evaluation if it was there before", async () => {
    const { trainer, model } = plainRun();
    model.eval();
    await trainer.evaluate(images.batches({ size: 80 }));
    expect(model.training).toBe(false);
  });

  it("holds no memory after it returns", async () => {
    const opened = await device();
    const { trainer } = residual.make(opened);
    await trainer.evaluate(images.batches({ size: 32 }));
    const { allocated, tensors } = opened.memory();
    await trainer.evaluate(images.batches({ size: 32 }));
    expect(opened.memory()).toMatchObject({ allocated, tensors });
  });
});

describe("inputs of a trainer", () => {
  const line = data.fromArrays({
    inputs: Float32Array.from({ length: 64 }, (_, i) => i / 32 - 1),
    labels: { data: Float32Array.from({ length: 64 }, (_, i) => 2 * (i / 32 - 1) - 0.5), shape: [1] },
    shape: [1],
  });

  it("may have float targets, for which there is no accuracy", async () => {
    const model = new nn.Linear(1, 1, { device: on });
    const optimizer = new SGD(model.parameters(), { lr: 0.3 });
    const { trainer } = runOf({
      model,
      optimizer,
      loss: nn.meanSquaredError,
      data: line.batches({ size: 16 }),
      budget: 80,
    });
    await recordsOf(trainer);
    expect((await model.weight.item()).toFixed(4)).toBe("2.0000");
    expect((await (model.bias as t.Tensor).item()).toFixed(4)).toBe("-0.5000");
    const result = await trainer.evaluate(line.batches({ size: 64 }));
    expect(result.loss).toBeLessThan(1e-8);
    expect(result).not.toHaveProperty("accuracy");
  });

  it("may include a custom loss", async () => {
    // |error|, smoothed at 0.
    const absolute: nn.Loss = (outputs, targets) => t.mean(t.sqrt(t.add(t.square(t.subtract(outputs, targets)), 1e-4)));
    const model = new nn.Linear(1, 1, { device: on, seeds: 4 });
    const optimizer = new SGD(model.parameters(), { lr: schedule.linear({ budget: 120, maxLr: 0.2, minLr: 1e-4 }) });
    const { trainer } = runOf({ model, optimizer, loss: absolute, data: line.batches({ size: 64 }) });
    const losses = lossesOf(await recordsOf(trainer));
    expect(losses.at(-1)).toBeLessThan(0.03);
    expect(await model.weight.item()).toBeCloseTo(2, 1);
  });

  const batchesOf = async (count: number) => {
    const source = images.batches({ size: 16 });
    return Promise.all(Array.from({ length: count }, (_, k) => source.at(k)));
  };

  it.each([
    { what: "an array", make: (batches: data.Batch[]) => batches },
    {
      what: "a generator",
      make: function* (batches: data.Batch[]) {
        yield* batches;
      },
    },
    {
      what: "an asynchronous generator",
      make: async function* (batches: data.Batch[]) {
        for (const batch of batches) {
          await sleep(1);
          yield batch;
        }
      },
    },
  ])("may include batches from $what", async ({ make }) => {
    const given = await batchesOf(6);
    const iterable = data.fromIterable(() => make(given) as Iterable<data.Batch>);
    const losses = lossesOf(await recordsOf(plainRun({ data: iterable, budget: 6 }).trainer));
    expect(losses).toEqual(lossesOf(await recordsOf(plainRun({ budget: 6 }).trainer)));
  });

  it.each([
    { accumulate: 1, given: 5, step: 5 },
    { accumulate: 2, given: 7, step: 3 },
  ])("may end at step $step: every finished step is reported, then the error", async ({ accumulate, given, step }) => {
    const source = data.fromIterable(await batchesOf(given), { name: "my batches" });
    const { trainer, model, optimizer } = plainRun({ data: source, accumulate });
    const seen: number[] = [];
    const error = await (async () => {
      for await (const record of trainer.run()) seen.push(record.step);
    })().catch((thrown: Error) => thrown);
    expect(seen).toEqual(Array.from({ length: step }, (_, i) => i));
    expect(error).toMatchObject({ code: "invalid-state" });
    expect((error as Error).message).toContain(`step ${step} of ${budget}`);
    expect((error as Error).message).toContain("my batches");
    expect((await optimizer.stats()).updates).toBe(step);
    expect(model.parameters().every(({ grad }) => grad === undefined)).toBe(true);
  });

  it("may include frozen parameters, which stay unchanged", async () => {
    const model = plainMLP(on) as ReturnType<typeof plainMLP> & { layers: nn.Linear[] };
    model.layers[0]?.freeze();
    const before = await bitsOf(model.stateDict());
    const { trainer } = plainRun({
      model,
      optimizer: new AdamW(
        model.parameters().filter((p) => p.requiresGrad),
        { lr },
      ),
    });
    const losses = lossesOf(await recordsOf(trainer));
    expect(losses.at(-1)).toBeLessThan(losses[0] as number);
    const after = await bitsOf(model.stateDict());
    const changed = Object.keys(after).filter((name) => after[name] !== before[name]);
    expect(changed).toEqual(["layers.1.weight", "layers.1.bias"]);
  });

  it("may contain a label that is not a class, which fails the step and not the device", async () => {
    const wrong = data.fromArrays({
      inputs: images.inputs.data,
      labels: new Int32Array(80).fill(4),
      shape: [12, 12, 1],
    });
    const { trainer } = plainRun({ data: wrong.batches({ size: 16 }) });
    await expectError(() => recordsOf(trainer), "device-failed", "label");
    expect(await recordsOf(plainRun().trainer)).toHaveLength(budget);
  });
});

it("a trainer is an instance of Trainer, and has the device and the step", async () => {
  const { trainer } = plainRun({ budget: 2 });
  expect(trainer).toBeInstanceOf(Trainer);
  expect(trainer.device).toBe(on);
  expect(trainer.step).toBe(0);
  await recordsOf(trainer);
  expect(trainer.step).toBe(2);
});
