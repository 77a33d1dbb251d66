// Options of a run: validation, the best checkpoint, and early stopping.
import { existsSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromArrays } from "#lib/data/index.js";
import * as nn from "#lib/nn/index.js";
import { SGD } from "#lib/optim/index.js";
import { bestOf } from "#lib/train/best-evaluation.js";
import type { Evaluation, RunOptions } from "#lib/train/index.js";
import { type BestEvaluation, readCheckpoint } from "#lib/weights/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { device, endOf, images, recordsOf, residual, runOf } from "./support/runs.js";

const on = await device();
const folder = temporaryFolders();
const test = images.batches({ size: 40 });

describe("the best evaluation", () => {
  const evaluations = fc.array(
    fc.record({
      loss: fc.oneof(fc.integer({ min: 0, max: 6 }), fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY)),
      accuracy: fc.integer({ min: 0, max: 4 }).map((quarters) => quarters / 4),
      items: fc.constant(4),
    }),
    { maxLength: 12 },
  );

  it("is the first of equal ones, with a count of the evaluations after it", () => {
    fc.assert(
      fc.property(evaluations, fc.constantFrom("loss" as const, "accuracy" as const), (list, metric) => {
        let best: BestEvaluation | undefined;
        for (const [step, each] of list.entries()) best = bestOf(best, each, { step, metric, minDelta: 0 });
        const sign = metric === "loss" ? 1 : -1;
        const finite = list.map((each) => sign * each[metric]).map((value) => (Number.isFinite(value) ? value : 1e9));
        const lowest = Math.min(...finite, 1e9);
        const step = finite.indexOf(lowest);
        if (lowest === 1e9) expect(best).toBeUndefined();
        else expect(best).toEqual({ step, metric, value: sign * lowest, since: list.length - 1 - step });
      }),
    );
  });

  it("must improve by more than minDelta, and is compared by the same metric", () => {
    const at = (loss: number, accuracy = 0): Evaluation => ({ loss, accuracy, items: 1 });
    const options = { metric: "loss", minDelta: 0.5 } as const;
    const first = bestOf(undefined, at(2), { step: 1, ...options });
    const second = bestOf(first, at(1.5), { step: 2, ...options });
    expect(second).toEqual({ step: 1, metric: "loss", value: 2, since: 1 });
    expect(bestOf(second, at(1.25), { step: 3, ...options })).toEqual({
      step: 3,
      metric: "loss",
      value: 1.25,
      since: 0,
    });
    expect(bestOf(second, at(9, 0.1), { step: 3, metric: "accuracy", minDelta: 0 })).toMatchObject({ value: 0.1 });
  });
});

describe("evaluateEvery", () => {
  /** A run with noisy labels and a high rate, whose loss rises and falls. */
  const make = (seed = 0) => {
    const inputs = Float32Array.from({ length: 64 * 4 }, (_, i) => Math.sin(i * i));
    const set = fromArrays({
      inputs,
      labels: Int32Array.from({ length: 64 }, (_, i) => (i * i + (i >> 3)) % 3),
      shape: [4],
    });
    const model = new nn.Linear(4, 3, { device: on, seeds: seed });
    const optimizer = new SGD(model.parameters(), { lr: 2, momentum: 0.5 });
    const run = runOf({ model, optimizer, loss: nn.crossEntropy, data: set.batches({ size: 4 }), budget: 60 });
    return { ...run, held: set.batches({ size: 32, shuffle: false }) };
  };

  /** The losses after every second step. */
  const lossesOf = async () => {
    const { trainer, held } = make();
    const losses: number[] = [];
    for (let until = 2; until <= trainer.budget; until += 2) {
      for await (const _ of trainer.run({ until }));
      losses.push((await trainer.evaluate(held)).loss);
    }
    return losses;
  };

  /** The end of a run with this patience and its best step, both counted in evaluations from 1. */
  const expectedOf = (losses: readonly number[], patience: number) => {
    let best = 0;
    for (const [i, loss] of losses.entries()) {
      if (loss < losses[best]!) best = i;
      if (i - best >= patience) return { end: i + 1, best: best + 1 };
    }
    return { end: losses.length, best: best + 1 };
  };

  it.each([
    { capture: false, runAhead: false },
    { capture: true, runAhead: true },
  ])("keeps the best checkpoint and stops early: %o", async (mode) => {
    const losses = await lossesOf();
    for (const patience of [1, 2, 4, 100]) {
      const { end, best } = expectedOf(losses, patience);
      const path = join(folder(), "best.safetensors");
      const { trainer, held } = make();
      const evaluateEvery = { steps: 2, data: held, best: path, patience };
      const evaluated: number[] = [];
      const bestSteps: number[] = [];
      for await (const record of trainer.run({ ...mode, evaluateEvery })) {
        if (record.evaluation) evaluated.push(record.evaluation.loss);
        if (record.best) bestSteps.push(record.step + 1);
      }
      expect(evaluated).toEqual(losses.slice(0, end));
      expect(trainer.step).toBe(2 * end);
      expect(trainer.best).toEqual({ step: 2 * best, metric: "loss", value: losses[best - 1], since: end - best });
      expect(bestSteps.at(-1)).toBe(2 * best);
      expect((await readCheckpoint(path)).info.step).toBe(2 * best);
      // The trainer can load the best checkpoint, which contains nothing of later steps.
      await trainer.load(path);
      expect((await trainer.evaluate(held)).loss).toBe(losses[best - 1]);
      expect(trainer.best).toEqual({ step: 2 * best, metric: "loss", value: losses[best - 1], since: 0 });
    }
    // Ensures that the run stops early, so that the test is not vacuous.
    expect(expectedOf(losses, 2).end).toBeLessThan(losses.length);
  });

  it("compares with evaluations before a resume", async () => {
    const place = folder();
    const options = ({ held }: ReturnType<typeof make>, name: string): RunOptions => ({
      evaluateEvery: { steps: 2, data: held, best: join(place, name), patience: 4 },
    });
    const whole = make();
    await (async () => {
      for await (const _ of whole.trainer.run(options(whole, "whole")));
    })();
    const path = join(place, "stopped.safetensors");
    const first = make();
    for await (const { step } of first.trainer.run(options(first, "parts"))) if (step === 2) break;
    await first.trainer.save(path);
    const second = make(7);
    await second.trainer.load(path);
    for await (const _ of second.trainer.run(options(second, "parts")));
    expect(second.trainer.step).toBe(whole.trainer.step);
    expect(second.trainer.best).toEqual(whole.trainer.best);
    expect(await endOf(second)).toEqual(await endOf(whole));
  });

  it("ends the run with the error that onProgress throws, after whole steps", async () => {
    const { trainer } = residual.make(on);
    const onProgress = () => {
      throw new Error("enough");
    };
    await expect(
      (async () => {
        for await (const _ of trainer.run({ evaluateEvery: { steps: 5, data: test, onProgress } }));
      })(),
    ).rejects.toThrow("enough");
    expect(trainer.step).toBe(5);
    expect((await recordsOf(trainer))[0]?.step).toBe(5);
  });

  it("refuses accuracy as the metric if labels are not classes", async () => {
    const line = fromArrays({
      inputs: new Float32Array(8),
      labels: { data: new Float32Array(8), shape: [1] },
      shape: [1],
    });
    const model = new nn.Linear(1, 1, { device: on });
    const data = line.batches({ size: 4 });
    const { trainer } = runOf({
      model,
      optimizer: new SGD(model.parameters(), { lr: 0.1 }),
      loss: nn.meanSquaredError,
      data,
      budget: 4,
    });
    const run = async () => {
      for await (const _ of trainer.run({ evaluateEvery: { steps: 1, data, metric: "accuracy" } }));
    };
    await expectError(run, "invalid-argument", "evaluateEvery.metric", "accuracy");
  });
});

describe("a run refuses", () => {
  const { trainer } = residual.make(on);
  const path = join(folder(), "never.safetensors");
  it.each([
    { options: null, words: ["run", "an object with the options until", "null"] },
    { options: { until: -1 }, words: ["run.until", "-1"] },
    { options: { until: 2.5 }, words: ["run.until", "2.5"] },
    { options: { until: Number.NaN }, words: ["run.until", "NaN"] },
    { options: { capture: "yes" }, words: ["run.capture", "true or false"] },
    { options: { runAhead: 2 }, words: ["run.runAhead", "true or false", "2"] },
    { options: { evaluateEvery: 100 }, words: ["run.evaluateEvery", "an object with the options steps, data", "100"] },
    { options: { evaluateEvery: { steps: 0, data: test } }, words: ["run.evaluateEvery.steps", "≥ 1", "0"] },
    { options: { evaluateEvery: { steps: 1, data: images } }, words: ["run.evaluateEvery.data", "batches"] },
    { options: { evaluateEvery: { steps: 1, data: test, best: 3 } }, words: ["run.evaluateEvery.best", "3"] },
    { options: { evaluateEvery: { steps: 1, data: test, patience: 0 } }, words: ["run.evaluateEvery.patience", "0"] },
    { options: { evaluateEvery: { steps: 1, data: test, minDelta: -1 } }, words: ["run.evaluateEvery.minDelta", "-1"] },
    { options: { evaluateEvery: { steps: 1, data: test, metric: "f1" } }, words: ["run.evaluateEvery.metric", '"f1"'] },
    { options: { evaluateEvery: { steps: 1, data: test, onProgress: 1 } }, words: ["run.evaluateEvery.onProgress"] },
    { options: { checkpointEvery: "x" }, words: ["run.checkpointEvery", "an object with the options steps, path"] },
    { options: { checkpointEvery: { steps: [1, 2.5], path } }, words: ["run.checkpointEvery.steps", "2.5"] },
    { options: { checkpointEvery: { steps: 5 } }, words: ["run.checkpointEvery.path", "undefined"] },
    { options: { onStep: 5 }, words: ["run.onStep", "a function", "5"] },
    { options: { runahead: true }, words: ["run", "did you mean runAhead"] },
    { options: { evaluateEvery: { every: 1, data: test } }, words: ["run.evaluateEvery", "steps", "every"] },
    { options: { checkpointEvery: { steps: 5, paht: path } }, words: ["run.checkpointEvery", "did you mean path"] },
    { options: { onStep: { steps: 5, calback: () => {} } }, words: ["run.onStep", "did you mean callback"] },
    { options: { onStep: { steps: 5 } }, words: ["run.onStep.callback", "undefined"] },
  ])("$options", async ({ options, words }) => {
    // The error is thrown at the call, not at the first step.
    await expectError(() => trainer.run(options as RunOptions), "invalid-argument", ...words);
    expect(trainer.step).toBe(0);
    expect(existsSync(path)).toBe(false);
  });
});
