import { describe, expect, test } from "vitest";
import { type CurvatureOptions, curvature, massBounds } from "#lib/curvature/index.js";
import type { Batch } from "#lib/data/index.js";
import type { openDevice } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { type Tensor, tensor, tidy } from "#lib/tensor/index.js";
import { bits } from "../support/compare.js";
import { onEveryDevice, physicalDevices } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import {
  bitsOf,
  card,
  device,
  dropping,
  images,
  lossesOf,
  plainMLP,
  recordsOf,
  residual,
  smallResNet,
} from "../train/support/runs.js";
import { inEigenbasis, normals, trueMass } from "./support/matrices.js";
import { batchOf, cases, weightsOf } from "./support/references.js";

const prepare = (raw: Tensor) => new nn.Preprocessing(card.preprocessing!).apply(raw);
const someImages = () => images.batches({ size: 24, seed: 2 }).at(0);

/** The eigenvalues of a case's Hessian, found once for all devices: the weights are the same on each. */
const eigenvaluesAt = (() => {
  const found = new Map<string, Float64Array>();
  return ({ title, reference }: (typeof cases)[number], weights: Float64Array): Float64Array => {
    const key = `${title}: ${weights.join()}`;
    const known = found.get(key);
    if (known !== undefined) return known;
    const { eigenvalues } = inEigenbasis("", reference.hessian(weights), reference.gradient(weights));
    found.set(key, eigenvalues);
    return eigenvalues;
  };
})();

await onEveryDevice(
  "the curvature of a model's loss",
  (on) => {
    test.each(cases)("is that of its Hessian: $title", async ({ batch, loss, model: make, reference }) => {
      const model = make(on);
      const weights = await weightsOf(model);
      const truth = inEigenbasis("", reference.hessian(weights), reference.gradient(weights));
      const largest = Math.max(...truth.eigenvalues);
      const rounding = 1e-3 * largest;
      for (const [steps, share] of [
        [4, 0.95],
        [12, 0.95],
        [40, 0.7],
      ] as const) {
        const found = await curvature(model, batch, { loss, steps, share });
        expect(found).toMatchObject({ weights: weights.length, share, steps: Math.min(steps, weights.length) });
        expect(found.gradientNorm).toBeCloseTo(Math.hypot(...reference.gradient(weights)), 5);
        expect(found.noiseFloor).toBeLessThan(rounding);
        const inside = (value: number, { lowest, highest }: { lowest: number; highest: number }) => {
          expect(lowest).toBeLessThanOrEqual(value);
          expect(highest).toBeGreaterThanOrEqual(value);
        };
        const quantile = [...truth.eigenvalues]
          .sort((a, b) => a - b)
          .find((x) => trueMass(truth, x).upTo >= 1 - share)!;
        inside(quantile, found.lambdaQ);
        inside(trueMass(truth, 0).below, found.negativeMass);
        // λ_max is found from below, so the ratio is bounded with what was found.
        if (quantile > 0) inside(found.lambdaMax / quantile, found.kappa);
        else expect(found.kappa.highest).toBe(Infinity);
        for (const x of [0, 0.1, 0.3, 0.6, 0.9].map((part) => part * largest)) {
          expect(massBounds(found.matrix, x - rounding).below).toBeLessThan(trueMass(truth, x).upTo + 1e-4);
          expect(massBounds(found.matrix, x + rounding).upTo).toBeGreaterThan(trueMass(truth, x).below - 1e-4);
        }
        if (steps < 12) continue;
        expect(Math.abs(found.lambdaMax - largest)).toBeLessThan(0.01 * largest);
        expect(found.lambdaMin).toBeGreaterThan(Math.min(...truth.eigenvalues) - rounding);
      }
    });
    // Along the largest curvature a difference errs as a symmetric matrix could: no asymmetry shows it. With large
    // weights the losses bend most; of float64 references that know the Hessian, each number below is checked.
    const places = [0.2, 1, 3].map((size, i) => ({ size, seed: 1 + i }));
    test.each(cases)("has an eigenvalue within half of the stated error of λ_max: $title", async (one) => {
      const { batch, loss, model: make } = one;
      for (const { size, seed } of places) {
        const model = make(on);
        const drawn = normals(1000, seed);
        let offset = 0;
        for (const parameter of model.parameters()) {
          const slice = drawn.subarray(offset, offset + parameter.size);
          offset += parameter.size;
          parameter.write(Float32Array.from(slice, (value) => size * value));
        }
        const eigenvalues = eigenvaluesAt(one, await weightsOf(model));
        for (const steps of [12, 100]) {
          const { lambdaMax, lambdaMaxError, noiseFloor } = await curvature(model, batch, { loss, steps });
          const error = Math.min(...eigenvalues.map((value) => Math.abs(value - lambdaMax)));
          expect(2 * error, `${size}, ${seed}, ${steps}`).toBeLessThan(lambdaMaxError);
          // The stated error is small enough to be useful.
          expect(lambdaMaxError).toBeLessThan(2e-3 * lambdaMax);
          expect(noiseFloor).toBeLessThan(1e-3 * lambdaMax);
        }
      }
    });
  },
  physicalDevices,
);

describe("the loss is the same function as in training", () => {
  test.each([residual, dropping])("the curvature's loss is that of the run's next step: $title", async ({ make }) => {
    const run = make(await device(), { accumulate: 1, card });
    for await (const record of run.trainer.run({ until: 4 })) void record;
    // As in the run's next step, batch norm uses the batch's statistics and dropout drops the same elements.
    const { loss } = await curvature(run.model, await run.data.at(4), { prepare, steps: 2 });
    const { value } = await run.trainer.run().next();
    expect(loss).toBe(value?.loss);
    await run.data.close();
  });

  test("equal calls give the same bits", async () => {
    const model = smallResNet(await device());
    const batch = await someImages();
    expect(await curvature(model, batch, { prepare, steps: 4 })).toEqual(
      await curvature(model, batch, { prepare, steps: 4 }),
    );
  });

  test("the mode of the model has no effect", async () => {
    const model = smallResNet(await device());
    const batch = await someImages();
    const training = await curvature(model, batch, { prepare, steps: 2 });
    model.eval();
    expect(await curvature(model, batch, { prepare, steps: 2 })).toEqual(training);
  });

  test("frozen weights are excluded", async () => {
    const model = plainMLP(await device());
    const [first] = model.parameters();
    first!.requiresGrad = false;
    const { weights } = await curvature(model, await someImages(), { prepare, steps: 2 });
    expect(weights).toBe(model.parameters().reduce((sum, { size }) => sum + size, 0) - first!.size);
    expect(first!.grad).toBeUndefined();
  });
});

/** A model with batch norm and dropout, in a state in which every part of it is recognised. */
async function marked() {
  const on = await device();
  const model = new Marked(on);
  const batch = await someImages();
  for (const [i, parameter] of model.parameters().entries())
    if (i % 2 === 0)
      parameter.grad = tensor(
        on,
        Float32Array.from({ length: parameter.size }, (_, k) => k + i),
        parameter.shape,
      );
  model.dropout.counter = 41;
  model.norm.training = false;
  const grads = model.parameters().map(({ grad }) => grad);
  const state = async () => ({
    weights: await bitsOf(model.stateDict()),
    modes: model.modules().map(({ training }) => training),
    counters: model.counters(),
    grads: await Promise.all(
      model.parameters().map(async ({ grad }) => grad && bits(await grad.read()).toString("hex")),
    ),
    // The very same tensors.
    same: model.parameters().every(({ grad }, i) => grad === grads[i]),
  });
  return { on, model, batch, state };
}

class Marked extends nn.Module {
  readonly stem: nn.Linear;
  readonly norm: nn.BatchNorm;
  readonly dropout = new nn.Dropout(0.4, { seeds: 3 });
  readonly head: nn.Linear;
  /** Called in every forward pass. */
  during: () => void = () => {};

  constructor(on: Awaited<ReturnType<typeof openDevice>>) {
    super();
    const place = { device: on, seeds: new nn.Seeds(1) };
    this.stem = new nn.Linear(144, 12, place);
    this.norm = new nn.BatchNorm(12, place);
    this.head = new nn.Linear(12, 4, place);
  }

  forward(x: Tensor): Tensor {
    this.during();
    return this.head.forward(this.dropout.forward(this.norm.forward(this.stem.forward(x.reshape([-1, 144]))).tanh()));
  }
}

describe("the model keeps its bits", () => {
  test("afterwards, and at every callback during the computation", async () => {
    const { on, model, batch, state } = await marked();
    const before = await state();
    expect(before.counters).toEqual({ dropout: 41 });
    const seen: Promise<unknown>[] = [];
    const tensors = on.memory().tensors;
    let calls = 0;
    model.during = () => void calls++;
    const { gradients } = await curvature(model, batch, { prepare, steps: 5, onStep: () => void seen.push(state()) });
    expect(gradients).toBe(calls);
    expect(await state()).toEqual(before);
    expect(seen.length).toBe(5);
    for (const moment of await Promise.all(seen)) expect(moment).toEqual(before);
    // The scale and the offset of the preprocessing stay, made anew by each call of `prepare` here; nothing else.
    expect(on.memory().tensors - tensors).toBeLessThanOrEqual(2 * calls);
  });

  const failures: [string, string, (model: Marked, at: number) => Partial<CurvatureOptions>][] = [
    [
      "the model throws in its forward pass",
      "out of order",
      (model, at) => {
        let calls = 0;
        model.during = () => {
          if (calls++ === at) throw new Error("out of order");
        };
        return {};
      },
    ],
    [
      "the loss has nothing to differentiate",
      "there is nothing to differentiate",
      (_, at) => {
        let calls = 0;
        return { loss: (y, t) => (calls++ === at ? nn.crossEntropy(y.detach(), t) : nn.crossEntropy(y, t)) };
      },
    ],
    [
      "the progress callback throws",
      "enough",
      () => ({
        onStep: (done) => {
          if (done === 2) throw new Error("enough");
        },
      }),
    ],
  ];
  test.each(failures)("if %s", async (_, message, fail) => {
    for (const at of [0, 1, 6, 15]) {
      const { on, model, batch, state } = await marked();
      const before = await state();
      const apply = new nn.Preprocessing(card.preprocessing!);
      // Its two factors are made once, and stay.
      tidy(() => void apply.apply(tensor(on, new Uint8Array(144), [1, 12, 12, 1])));
      const { tensors } = on.memory();
      const options = { prepare: (raw: Tensor) => apply.apply(raw), ...fail(model, at) };
      await expect(curvature(model, batch, options)).rejects.toThrow(message);
      expect(await state()).toEqual(before);
      expect(on.memory().tensors).toBe(tensors);
    }
  });

  test("if the device reports a failure later, and the device stays usable", async () => {
    const { model, batch, state } = await marked();
    const before = await state();
    const wrong: Batch = { ...batch, labels: Int32Array.from({ length: batch.size }, () => 9) };
    await expectError(() => curvature(model, wrong, { prepare }), "device-failed", "label");
    expect(await state()).toEqual(before);
    expect((await curvature(model, batch, { prepare, steps: 2 })).steps).toBe(2);
  });

  test("if it is interrupted, and the results so far are returned", async () => {
    const { model, batch, state } = await marked();
    const before = await state();
    const stopped = await curvature(model, batch, { prepare, steps: 30, onStep: (done) => done < 3 });
    expect(await state()).toEqual(before);
    expect(stopped).toEqual(await curvature(model, batch, { prepare, steps: 3 }));
  });

  test.each([residual, dropping])("and a run continues with the same bits: $title", async ({ make }) => {
    const undisturbed = make(await device());
    const expected = lossesOf(await recordsOf(undisturbed.trainer));
    const run = make(await device());
    const losses: number[] = [];
    for (const until of [5, 13]) {
      for await (const { loss } of run.trainer.run({ until })) losses.push(loss);
      await curvature(run.model, await someImages(), { prepare, steps: 3 });
    }
    expect(losses).toEqual(expected);
    await Promise.all([undisturbed.data.close(), run.data.close()]);
  });
});

describe("refused calls", () => {
  test("invalid options, before anything is computed", async () => {
    const model = plainMLP(await device());
    const batch = await someImages();
    let calls = 0;
    const loss: nn.Loss = (outputs, targets) => {
      calls++;
      return nn.crossEntropy(outputs, targets);
    };
    const refused = (options: CurvatureOptions, ...words: string[]) =>
      expectError(() => curvature(model, batch, { prepare, loss, ...options }), "invalid-argument", ...words);
    await refused({ steps: 1 }, "steps: expected a whole number of at least 2, got 1");
    await refused({ share: 1.5 }, "share: expected a number above 0 and below 1, got 1.5");
    await refused({ preconditioner: new Map() }, "preconditioner: expected 2304 numbers for layers.0.weight, got none");
    const sizes = model.parameters().map(({ name, size }) => [name, new Float64Array(size).fill(1)] as const);
    await refused(
      { preconditioner: new Map([...sizes, ["layers.0.bias", new Float64Array(3)]]) },
      "16 numbers",
      "got 3",
    );
    const zero = new Map([...sizes, ["layers.1.bias", new Float64Array(4)]]);
    await refused({ preconditioner: zero }, "preconditioner: expected numbers above 0 for layers.1.bias, got 0");
    expect(calls).toBe(0);
  });

  test("a model without trainable weights, or in bfloat16", async () => {
    const on = await device();
    const batch = await someImages();
    const frozen = plainMLP(on).freeze();
    await expectError(() => curvature(frozen, batch, { prepare }), "invalid-argument", "nothing in it is learned");
    const half = new nn.Sequential();
    Object.assign(half, { weight: new nn.Parameter(tensor(on, [1, 2], [2], { dtype: "bfloat16" })) });
    await expectError(() => curvature(half, batch, { prepare }), "unsupported", "weight", "float32", "bfloat16");
  });

  test("a gradient that is zero or not finite", async () => {
    const on = await device();
    const model = new nn.Linear(2, 1, { device: on, seeds: 1 });
    const batch = batchOf(Float32Array.of(1, 2, 3, 4), 2, Float32Array.of(1, 2));
    const flat: nn.Loss = (y) => y.multiply(0).sum();
    await expectError(() => curvature(model, batch, { loss: flat }), "invalid-state", "the gradient is zero");
    const steep: nn.Loss = (y) => y.multiply(1e30).exp().sum();
    await expectError(() => curvature(model, batch, { loss: steep }), "non-finite", "the loss is Infinity");
  });

  test("more directions than fit into memory", async () => {
    const on = await device();
    const model = new nn.Linear(1 << 10, 1 << 10, { device: on, seeds: 1 });
    const batch = batchOf(new Float32Array(1 << 10).fill(1), 1 << 10, new Float32Array(1 << 10));
    const attempt = () => curvature(model, batch, { loss: nn.meanSquaredError, steps: 1 << 19 });
    await expectError(attempt, "out-of-memory", "524288 directions of 1049600 numbers take 4100.", "ask for fewer");
  });

  test("weights that are changed during the computation", async () => {
    const { model, batch } = await marked();
    const meddle = (done: number) => {
      if (done === 2) model.head.bias?.write(new Float32Array(4));
    };
    const attempt = curvature(model, batch, { prepare, onStep: meddle });
    await expectError(() => attempt, "invalid-state", "head.bias was changed by somebody else");
    // Theirs stays.
    expect([...((await model.head.bias?.read()) ?? [])]).toEqual([0, 0, 0, 0]);
  });
});
