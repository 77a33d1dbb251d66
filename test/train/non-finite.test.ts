import { join } from "node:path";
import { describe, expect, it } from "vitest";
import * as nn from "#lib/nn/index.js";
import { type AdamOptions, AdamW } from "#lib/optim/index.js";
import * as t from "#lib/tensor/index.js";
import type { StepRecord } from "#lib/train/index.js";
import { temporaryFolders } from "../support/folders.js";
import { bitsOf, card, device, images, plainMLP, recordsOf, runOf } from "./support/runs.js";

const on = await device();
const folder = temporaryFolders();
const bad = 5;

/** A run that multiplies its loss, or only the gradient, by `factor` at step `bad`. */
function failing(
  options: Omit<AdamOptions, "lr">,
  { factor = Number.POSITIVE_INFINITY, where = "loss" }: { factor?: number; where?: string } = {},
  budget = 9,
) {
  const model = plainMLP(on);
  let calls = 0;
  const loss: nn.Loss = (outputs, targets) => {
    const value = nn.crossEntropy(outputs, targets);
    if (calls++ !== bad) return value;
    if (where === "loss") return t.multiply(value, t.tensor(on, factor));
    return t.withGradient(value.detach(), [value], { gradient: (g) => [t.multiply(g, t.tensor(on, factor))] });
  };
  const optimizer = new AdamW(model.parameters(), { lr: 0.01, ...options });
  return runOf({ model, optimizer, loss, data: images.batches({ size: 16 }), budget, card });
}

/** Runs until the error, and returns the records before it. */
async function untilError(run: ReturnType<typeof failing>) {
  const records: StepRecord[] = [];
  let error: unknown;
  try {
    for await (const record of run.trainer.run()) records.push(record);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toMatchObject({ name: "StepsizeError", code: "non-finite" });
  return { records, message: (error as Error).message };
}

const kinds = [
  { what: "an infinite loss", factor: Number.POSITIVE_INFINITY, where: "loss", word: "the loss is Infinity" },
  { what: "a NaN loss", factor: Number.NaN, where: "loss", word: "the loss is NaN" },
  { what: "a NaN gradient", factor: Number.NaN, where: "gradient", word: "gradient's norm is NaN" },
  { what: "an infinite gradient", factor: Number.POSITIVE_INFINITY, where: "gradient", word: "gradient's norm is" },
];

describe.each(kinds)("$what", (kind) => {
  it('with nonFinite "stop" ends the run, names the step and keeps the parameters from before it', async () => {
    const before = failing({ nonFinite: "stop" }, kind, bad);
    const expected = await recordsOf(before.trainer);
    const run = failing({ nonFinite: "stop" }, kind);
    const { records, message } = await untilError(run);
    expect(records).toEqual(expected);
    expect(message).toContain(`step ${bad}`);
    expect(message).toContain(kind.word);
    expect(message).toContain("learning rate 0.01");
    expect(await bitsOf(run.model.stateDict())).toEqual(await bitsOf(before.model.stateDict()));
    expect(await run.optimizer.stats()).toMatchObject({ updates: bad, stoppedAt: bad });
  });

  it('with nonFinite "stop" ends a run that is started again with the same error', async () => {
    const run = failing({ nonFinite: "stop" }, kind);
    await untilError(run);
    const before = await bitsOf(run.model.stateDict());
    const { records, message } = await untilError(run);
    expect(records).toEqual([]);
    expect(message).toContain(`step ${bad}`);
    expect(await bitsOf(run.model.stateDict())).toEqual(before);
  });

  it('with nonFinite "skip" skips the step, marks and counts it, and continues', async () => {
    const run = failing({ nonFinite: "skip" }, kind);
    const records = await recordsOf(run.trainer);
    expect(records.map(({ step }) => step)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(records.filter(({ skipped }) => skipped).map(({ step }) => step)).toEqual([bad]);
    const others = records.filter(({ step }) => step !== bad);
    expect(others.every(({ loss, gradientNorm = Number.NaN }) => Number.isFinite(loss + gradientNorm))).toBe(true);
    expect(Number.isFinite(records[bad]?.gradientNorm)).toBe(false);
    expect(await run.optimizer.stats()).toMatchObject({ iteration: 9, updates: 8, skipped: 1, stoppedAt: undefined });
    for (const one of run.model.stateDict().values()) expect((await one.read()).every(Number.isFinite)).toBe(true);
    expect(records.at(-1)?.loss).toBeLessThan(records[0]?.loss as number);
  });
});

describe('with nonFinite: "skip" the running statistics of batch norm', () => {
  /** Makes steps on two channels of two items; what they leave. */
  async function statisticsAfter(steps: readonly { readonly values: readonly number[]; readonly factor?: number }[]) {
    const norm = new nn.BatchNorm(2, { device: on });
    const optimizer = new AdamW(norm.parameters(), { lr: 0.01, nonFinite: "skip" });
    for (const { values, factor = 1 } of steps) {
      const out = norm.forward(t.tensor(on, Float32Array.from(values), [2, 2]));
      t.multiply(t.mean(t.multiply(out, out)), t.tensor(on, factor)).backward();
      optimizer.step();
      optimizer.zeroGrad();
    }
    const mean = [...(await norm.runningMean.read())];
    const variance = [...(await norm.runningVariance.read())];
    return { mean, variance, skipped: (await optimizer.stats()).skipped };
  }

  it("include the batch of a step with a finite loss and a non-finite gradient", async () => {
    const values = [1, 2, 3, 6];
    const left = await statisticsAfter([{ values, factor: Number.POSITIVE_INFINITY }]);
    expect(left).toEqual({ ...(await statisticsAfter([{ values }])), skipped: 1 });
    expect(left.mean).toEqual([expect.closeTo(0.2, 6), expect.closeTo(0.4, 6)]);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])(
    "are unchanged in a channel that had %d in the skipped step, and continue with the next step",
    async (bad) => {
      const good = { values: [1, 2, 3, 6] };
      const left = await statisticsAfter([good, { values: [bad, 2, 3, 6] }]);
      const [before, twice] = [await statisticsAfter([good]), await statisticsAfter([good, good])];
      expect(left.skipped).toBe(1);
      expect([left.mean[0], left.variance[0]]).toEqual([before.mean[0], before.variance[0]]);
      expect([left.mean[1], left.variance[1]]).toEqual([twice.mean[1], twice.variance[1]]);
      const later = await statisticsAfter([good, { values: [bad, 2, 3, 6] }, good]);
      expect([later.mean[0], later.variance[0]]).toEqual([twice.mean[0], twice.variance[0]]);
    },
  );
});

describe("without a check", () => {
  it.each(kinds.slice(0, 2))("$what ends the run, and the error names the step", async (kind) => {
    const { records, message } = await untilError(failing({}, kind));
    expect(records.map(({ step }) => step)).toEqual([0, 1, 2, 3, 4]);
    expect(message).toContain(`step ${bad}`);
    expect(message).toContain(kind.word);
  });

  it.each(kinds.slice(2))("$what is reported in the loss of the next step", async (kind) => {
    const { records, message } = await untilError(failing({}, kind));
    expect(records.map(({ step }) => step)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(message).toContain(`step ${bad + 1}`);
  });

  it("clipping measures the gradient, and the error names the step", async () => {
    const { message } = await untilError(failing({ clipNorm: 1 }, { where: "gradient" }));
    expect(message).toContain(`step ${bad}`);
    expect(message).toContain("gradient's norm");
  });
});

it("loading an earlier checkpoint clears the stop, and the run continues", async () => {
  const path = join(folder(), "good.safetensors");
  const run = failing({ nonFinite: "stop" });
  for await (const { step } of run.trainer.run()) if (step === 1) break;
  await run.trainer.save(path);
  await untilError(run);
  await run.trainer.load(path);
  // The loss fails only once.
  const records = await recordsOf(run.trainer);
  expect(records.map(({ step }) => step)).toEqual([2, 3, 4, 5, 6, 7, 8]);
  expect((await run.optimizer.stats()).updates).toBe(9);
});
