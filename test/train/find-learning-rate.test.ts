// The learning rate range test. On a quadratic with curvature λ, gradient descent multiplies the weight by 1 − ηλ at each
// step, so the loss falls below the rate 2/λ and rises above it.
import { describe, expect, it } from "vitest";
import { fromArrays } from "#lib/data/index.js";
import * as nn from "#lib/nn/index.js";
import { AdamW, SGD } from "#lib/optim/index.js";
import { noGrad, type Tensor, tensor } from "#lib/tensor/index.js";
import { type FindLearningRateOptions, findLearningRate, type LearningRateSweep } from "#lib/train/index.js";
import { expectError } from "../support/errors.js";
import { bitsOf, card, device, dropoutMLP, images, smallResNet } from "./support/runs.js";

const on = await device();
const anything = fromArrays({ inputs: [[0], [0]], labels: [0, 1] }).batches({ size: 1 });

/** A weight as a model, which does not depend on its inputs. */
class Weight extends nn.Module {
  readonly weight = new nn.Parameter(tensor(on, Float32Array.of(1)));

  forward(): Tensor {
    return this.weight;
  }
}

/** Sweeps over the loss λw²/2 from w = 1. */
async function sweepOf(curvature: number, more: Partial<FindLearningRateOptions> = {}): Promise<LearningRateSweep> {
  const model = new Weight();
  return findLearningRate({
    model,
    optimizer: (lr) => new SGD(model.parameters(), { lr }),
    loss: (w) =>
      w
        .square()
        .multiply(tensor(on, Float32Array.of(curvature / 2)))
        .sum(),
    data: anything,
    ...more,
  });
}

/** The losses of the sweep in exact arithmetic, or nearly so. */
function expectedLosses(curvature: number, { from, to, steps }: { from: number; to: number; steps: number }): number[] {
  let w = 1;
  return Array.from({ length: steps }, (_, i) => {
    const loss = (curvature * w * w) / 2;
    w *= 1 - from * (to / from) ** (i / (steps - 1)) * curvature;
    return loss;
  });
}

describe("on a quadratic, whose limit is 2/λ", () => {
  const range = { from: 1e-4, to: 100, steps: 150 };
  /** The factor between the rates of two steps. */
  const ratio = (range.to / range.from) ** (1 / (range.steps - 1));

  it.each([0.5, 3, 40])("λ = %d: the lowest loss and the divergence are there", async (curvature) => {
    const limit = 2 / curvature;
    const { points, lowest = 0, divergence = 0, suggestion, steepest = 0 } = await sweepOf(curvature, range);
    // The losses are those of the recurrence. A weight that crosses zero has the rounding of float32.
    const exact = expectedLosses(curvature, range);
    for (const [i, { loss }] of points.entries())
      expect(Math.abs(loss - exact[i]!)).toBeLessThan(1e-4 * exact[i]! + 1e-9);
    // The loss before a step falls exactly until the first step whose rate is above the limit.
    const losses = points.map(({ loss }) => loss);
    const turn = losses.indexOf(Math.min(...losses));
    expect(points[turn]!.learningRate).toBeGreaterThan(limit);
    expect(points[turn - 1]!.learningRate).toBeLessThanOrEqual(limit);
    // The smoothed loss is lowest there up to half its window, a fortieth of the steps.
    const half = Math.ceil(points.length / 40);
    expect(Math.abs(Math.log(lowest / limit))).toBeLessThanOrEqual((half + 1) * Math.log(ratio));
    expect(steepest).toBeLessThan(limit);
    // The loss has diverged when its mean is above a tenth of its start: when the loss itself is, at the earliest, and
    // when it is five times as high, at the latest, because a loss has a fifth of the mean's weight.
    const above = (level: number) =>
      points[0]!.learningRate * ratio ** exact.findIndex((x, i) => i > turn && x > level);
    expect(divergence).toBeGreaterThanOrEqual(above(0.1 * exact[0]!) / 1.0001);
    expect(divergence).toBeLessThanOrEqual(above(0.5 * exact[0]!) * 1.0001);
    expect(suggestion).toBe(Math.min(lowest, divergence / 10));
  });

  it("a quadratic that is 16 times as steep has a 16th of every rate", async () => {
    const [flat, steep] = [
      await sweepOf(1, range),
      await sweepOf(16, { ...range, from: range.from / 16, to: range.to / 16 }),
    ];
    for (const mark of ["lowest", "steepest", "divergence", "suggestion"] as const)
      expect(steep[mark]! * 16).toBeCloseTo(flat[mark]!, 10);
    for (const [i, { loss }] of steep.points.entries()) expect(loss / 16).toBeCloseTo(flat.points[i]!.loss, 6);
  });

  it("has no suggestion if the sweep ends while the loss falls", async () => {
    const { points, ...marks } = await sweepOf(1, { from: 1e-3, to: 0.5, steps: 30 });
    expect(points).toHaveLength(30);
    expect(marks).toMatchObject({ divergence: undefined, lowest: undefined, suggestion: undefined });
    expect(marks.steepest).toBeGreaterThan(1e-3);
  });

  it("has no suggestion if the loss rises from the beginning", async () => {
    const { points, divergence, ...marks } = await sweepOf(1, { from: 3, to: 100, steps: 30 });
    expect(points.length).toBeLessThan(10);
    expect(divergence).toBeGreaterThan(3);
    expect(marks).toEqual({ lowest: undefined, steepest: undefined, suggestion: undefined });
  });

  it("has diverged when a bounded loss is back where it began", async () => {
    const constant = (value: number) => tensor(on, Float32Array.of(value));
    // From 1.99 the loss falls to 1.02 at w = 0, and for large w it is 2: never four times its lowest value.
    const loss = (w: Tensor) => w.multiply(constant(3)).square().subtract(constant(4)).sigmoid().add(constant(1)).sum();
    const sweep = await sweepOf(1, { loss, from: 1e-3, to: 1e4, steps: 80 });
    const { points, divergence = 0, lowest = 0, suggestion } = sweep;
    expect(points).toHaveLength(80);
    const losses = points.map(({ loss }) => loss);
    const turn = losses.indexOf(Math.min(...losses));
    const back = losses.findIndex((value, i) => i > turn && value >= losses[0]!);
    expect(back).toBeGreaterThan(turn);
    expect(divergence).toBeGreaterThanOrEqual(points[back]!.learningRate);
    expect(lowest).toBeLessThan(divergence);
    expect(suggestion).toBe(Math.min(lowest, divergence / 10));
  });

  it.each(["stop", "skip"] as const)(
    "ends at a loss that is not finite, also with nonFinite: %s",
    async (nonFinite) => {
      const model = new Weight();
      // log w is lowest, −∞, at 0: it jumps to NaN when the weight becomes negative.
      const { points, divergence } = await findLearningRate({
        model,
        optimizer: (lr) => new SGD(model.parameters(), { lr, nonFinite }),
        loss: (w) => w.log().sum(),
        data: anything,
        steps: 50,
      });
      expect(points.length).toBeLessThan(50);
      expect(points.every(({ loss }) => Number.isFinite(loss))).toBe(true);
      const next = 1e-6 * 1e7 ** (points.length / 49);
      expect(divergence! / next).toBeCloseTo(1, 10);
    },
  );
});

describe("the model", () => {
  const models = [
    ["with running statistics", smallResNet, false],
    ["with dropout", dropoutMLP, false],
    ["in bf16", smallResNet, true],
  ] as const;

  it.each(models)("%s is the same afterwards", async (_, make, low) => {
    const model = make(on);
    if (low) model.setPrecision("bf16");
    model.eval();
    const before = [await bitsOf(model.stateDict()), model.counters()];
    let done = 0;
    const { points, suggestion } = await findLearningRate({
      model,
      optimizer: (lr) => new AdamW(model.parameters(), { lr }),
      loss: nn.crossEntropy,
      data: images.batches({ size: 16 }),
      card,
      steps: 40,
      onStep: (step, count, steps) => {
        expect(steps).toBe(40);
        expect(count).toBe(++done);
        expect(step.learningRate).toBeGreaterThan(0);
      },
    });
    expect(points.length).toBeGreaterThan(10);
    expect(suggestion).toBeGreaterThan(1e-6);
    expect([await bitsOf(model.stateDict()), model.counters()]).toEqual(before);
    expect(model.training).toBe(false);
    expect(model.parameters().every(({ grad }) => grad === undefined)).toBe(true);
  });

  it("is the same after an error and after an abort, whose result is that of the steps so far", async () => {
    const model = dropoutMLP(on);
    const before = [await bitsOf(model.stateDict()), model.counters()];
    const options = {
      model,
      optimizer: (lr) => new AdamW(model.parameters(), { lr }),
      loss: nn.crossEntropy,
      data: images.batches({ size: 16 }),
      card,
    } satisfies FindLearningRateOptions;
    const onStep = () => {
      throw new Error("enough");
    };
    await expect(findLearningRate({ ...options, onStep })).rejects.toThrow("enough");
    expect([await bitsOf(model.stateDict()), model.counters()]).toEqual(before);
    const controller = new AbortController();
    const stopAt = (_: unknown, done: number) => {
      if (done === 7) controller.abort();
    };
    const { points, divergence } = await findLearningRate({ ...options, onStep: stopAt, signal: controller.signal });
    expect({ steps: points.length, divergence }).toEqual({ steps: 7, divergence: undefined });
    expect([await bitsOf(model.stateDict()), model.counters()]).toEqual(before);
  });
});

describe("wrong options", () => {
  it.each([
    [{ from: 0 }, "findLearningRate.from: expected a finite number above 0, got 0"],
    [{ to: 1e-7 }, "findLearningRate.to: expected a finite number above `from`, 0.000001, got 1e-7"],
    [{ steps: 19 }, "findLearningRate.steps: expected a whole number from 20 to 1000000, got 19"],
    [{ optimizer: 1 }, "findLearningRate.optimizer: expected a function from a learning rate to an optimizer, got 1"],
    [{ onStep: 1 }, "findLearningRate.onStep: expected a function, got 1"],
    [{ model: {} }, "findLearningRate.model: expected a Module"],
    [{ stepz: 1 }, "did you mean steps?"],
  ])("%o", async (options, message) => {
    await expectError(() => sweepOf(1, options as object), "invalid-argument", message);
  });

  it("an optimizer with another rate", async () => {
    const model = new Weight();
    const optimizer = () => new SGD(model.parameters(), { lr: 0.1 });
    const message = "expected an optimizer whose lr is the argument of the function, got another rate";
    await expectError(() => sweepOf(1, { model, optimizer }), "invalid-argument", message);
    expect(await noGrad(() => model.weight).read()).toEqual(Float32Array.of(1));
  });
});
