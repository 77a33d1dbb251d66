// Losses compared with PyTorch (test/golden/losses.py), the meaning of their weights, and logits of any size.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as nn from "#lib/nn/index.js";
import * as t from "#lib/tensor/index.js";
import { epsilon, expectClose } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { labelsOf, numbers } from "../support/numbers.js";
import { elements } from "../support/reference.js";

interface Stored {
  readonly shape: readonly number[];
  /** `values` holds every `step`-th element. */
  readonly step: number;
  readonly values: readonly number[];
}
interface Golden {
  readonly loss: "crossEntropy" | "binaryCrossEntropy" | "meanSquaredError";
  readonly shape: readonly number[];
  readonly scale: number;
  readonly shift: number;
  readonly dtype: "float32" | "bfloat16";
  readonly reduction: nn.Reduction;
  readonly output: Stored;
  readonly gradient: Stored;
  readonly smoothing?: number;
  readonly ignoreIndex?: number;
  readonly classWeights?: boolean;
  readonly itemWeights?: boolean;
  readonly soft?: boolean;
  readonly posWeight?: boolean;
  readonly weights?: boolean;
}

const golden = JSON.parse(readFileSync(new URL("../golden/losses.json", import.meta.url), "utf8")) as Golden[];
const titleOf = ({ output, gradient, ...rest }: Golden) => JSON.stringify(rest);

function lossOf(logits: t.Tensor, one: Golden): t.Tensor {
  const { device } = logits;
  const { shape, reduction } = one;
  const made = (sizes: readonly number[], salt: number, center: number) =>
    t.tensor(device, numbers(elements(sizes), salt, center), sizes);
  switch (one.loss) {
    case "crossEntropy": {
      const [rows, classes] = shape as [number, number];
      const { smoothing = 0, ignoreIndex = 0 } = one;
      const labels = labelsOf(rows, 50, classes);
      if (ignoreIndex < 0)
        labelsOf(rows, 51, 4).forEach((value, i) => {
          if (value === 0) labels[i] = ignoreIndex;
        });
      const classWeights = one.classWeights ? made([classes], 60, 1.25) : undefined;
      const itemWeights = one.itemWeights ? made([rows], 61, 1) : undefined;
      const options = { smoothing, ignoreIndex, classWeights, itemWeights, reduction };
      return nn.crossEntropy(logits, t.tensor(device, labels), options);
    }
    case "binaryCrossEntropy": {
      const targets = numbers(elements(shape), 50, 1).map((value) => (one.soft ? value / 2 : Math.round(value / 2)));
      const posWeight = one.posWeight ? made(shape.slice(-1), 60, 1.25) : undefined;
      const weights = one.weights ? made(shape, 61, 1) : undefined;
      return nn.binaryCrossEntropy(logits, t.tensor(device, targets, shape), { posWeight, weights, reduction });
    }
    case "meanSquaredError": {
      const weights = one.weights ? made(shape, 61, 1) : undefined;
      return nn.meanSquaredError(logits, made(shape, 50, 0), { weights, reduction });
    }
  }
}

async function expectStored(tensor: t.Tensor, { shape, step, values }: Stored, allowed: number, what: string) {
  expect(tensor.shape, what).toEqual(shape);
  const read = await t.asType(tensor, "float32").read();
  expectClose(
    read.filter((_, i) => i % step === 0),
    values,
    allowed,
    what,
  );
}

await onEveryDevice("agreement with PyTorch", (device) => {
  it.each(golden.map((one) => ({ one, title: titleOf(one) })))("$title", async ({ one }) => {
    const { shape, scale, shift, dtype } = one;
    const values = numbers(elements(shape), 0).map((value) => value * scale + shift);
    const logits = t.tensor(device, values, shape, { dtype, requiresGrad: true });
    const output = lossOf(logits, one).keep();
    expect(output.dtype).toBe("float32");
    const weights = t.tensor(device, numbers(output.size, 99), output.shape);
    output.multiply(weights).sum().backward();
    // Relative to 1 plus the value. A sum of k terms is rounded k times.
    const allowed = 1.5 * Math.sqrt(elements(shape));
    await expectStored(output, one.output, allowed, "the loss");
    // The gradient of a bfloat16 input is rounded to 8 bits.
    const rounding = dtype === "bfloat16" ? 2 ** -8 / epsilon : 0;
    await expectStored(logits.grad!, one.gradient, allowed + rounding, "the gradient");
  });
});

await onEveryDevice("losses", (device) => {
  const labels = (...values: number[]) => t.tensor(device, Int32Array.from(values));
  const variable = (values: t.NestedNumbers) => {
    const x = t.tensor(device, values);
    x.requiresGrad = true;
    return x;
  };
  const logits = () => variable([[1, 2, -1], [0.5, 0, 0.25], [3, -2, 1]]); // biome-ignore format: a matrix

  describe("crossEntropy", () => {
    it("ignores rows with label −100 by default, as if they were absent", async () => {
      const [all, some] = [logits(), variable([[1, 2, -1], [3, -2, 1]])]; // biome-ignore format: a matrix
      const [a, b] = [nn.crossEntropy(all, labels(1, -100, 2)), nn.crossEntropy(some, labels(1, 2))];
      expect(await a.item()).toBe(await b.item());
      t.backward(a);
      t.backward(b);
      const [g, h] = [await all.grad!.read(), await some.grad!.read()];
      expect([...g]).toEqual([...h.slice(0, 3), 0, 0, 0, ...h.slice(3)]);
    });

    it("of ignored rows alone is NaN with a gradient of zero, and its sum is 0", async () => {
      for (const options of [{}, { smoothing: 0.1 }]) {
        const x = logits();
        const loss = nn.crossEntropy(x, labels(-100, -100, -100), options);
        expect(await loss.item()).toBeNaN();
        loss.backward();
        expect([...(await x.grad!.read())]).toEqual(new Array(9).fill(0));
        const sum = nn.crossEntropy(x, labels(-100, -100, -100), { ...options, reduction: "sum" });
        expect(await sum.item()).toBe(0);
      }
    });

    it("ignores the logits of ignored rows, even if they are not finite", async () => {
      const bad = [[1, 2, -1], [NaN, Infinity, 0], [-Infinity, NaN, 1]]; // biome-ignore format: a matrix
      const itemWeights = t.tensor(device, [1, 0, 1]);
      const x = variable(bad);
      const loss = nn.crossEntropy(x, labels(1, 1, -100), { itemWeights, smoothing: 0.1 });
      const alone = nn.crossEntropy(variable([[1, 2, -1]]), labels(1), { smoothing: 0.1 });
      expect(await loss.item()).toBe(await alone.item());
      loss.backward();
      expect([...(await x.grad!.read())].slice(3)).toEqual(new Array(6).fill(0));
    });

    it("refuses a label that is not a class, except in ignored rows", async () => {
      const itemWeights = t.tensor(device, [1, 1, 0]);
      const loss = nn.crossEntropy(logits(), labels(7, 1, 9), { itemWeights, ignoreIndex: 7 });
      expect(await loss.item()).toBeGreaterThan(0);
      await expectError(
        () => nn.crossEntropy(logits(), labels(7, -100, 1)).item(),
        "device-failed",
        "label 7 in row 0 is outside 0 to 2",
      );
      await expectError(() => nn.crossEntropy(logits(), labels(0, -1, 1)).item(), "device-failed", "label -1 in row 1");
    });

    it("takes rows over several axes, with weights of the same shape", async () => {
      const x = t.tensor(device, numbers(2 * 3 * 4, 1), [2, 3, 4], { requiresGrad: true });
      const y = t.tensor(device, labelsOf(6, 2, 4), [2, 3]);
      const itemWeights = t.tensor(device, numbers(6, 3, 1), [2, 3]);
      const rows = nn.crossEntropy(x, y, { itemWeights, reduction: "none" });
      expect(rows.shape).toEqual([2, 3]);
      const weights = await itemWeights.read();
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      const losses = await rows.read();
      const sum = losses.reduce((all, loss) => all + loss, 0);
      expectClose([await nn.crossEntropy(x, y, { itemWeights }).item()], [sum / total], 4);
    });

    // The probabilities of 12 logits near each other must be the same at ±10⁴ as at 0. There the logits are exact
    // multiples of 2⁻⁸.
    it.each([0, 150, 1e4, -1e4, 1e6])(
      "has a gradient accurate to a few epsilons at logits around %f",
      async (place) => {
        const values = Float64Array.from(labelsOf(48, 1, 9), (value) => value / 2);
        const x = t.tensor(
          device,
          Float32Array.from(values, (value) => value + place),
          [4, 12],
          { requiresGrad: true },
        );
        nn.crossEntropy(x, labels(0, 3, 5, 11), { reduction: "sum" }).backward();
        const got = await x.grad!.read();
        const picked = [0, 3, 5, 11];
        values.forEach((value, i) => {
          const row = values.subarray(i - (i % 12), i - (i % 12) + 12);
          const p = Math.exp(value) / row.reduce((sum, other) => sum + Math.exp(other), 0);
          const expected = p - (picked[Math.floor(i / 12)] === i % 12 ? 1 : 0);
          expect(Math.abs(got[i]! - expected)).toBeLessThan(8 * epsilon * Math.max(p, Math.abs(expected)));
        });
        const logs = await t.logSoftmax(x.detach()).read();
        values.forEach((value, i) => {
          const row = values.subarray(i - (i % 12), i - (i % 12) + 12);
          const log = value - Math.log(row.reduce((sum, other) => sum + Math.exp(other), 0));
          expect(Math.abs(logs[i]! - log)).toBeLessThan(4 * epsilon * Math.abs(log));
        });
      },
    );

    it("names the wrong option in an error", async () => {
      const weights = t.tensor(device, [1, 2]);
      const of = (options: object) => () => nn.crossEntropy(logits(), labels(0, 1, 2), options as never);
      await expectError(of({ classWeights: weights }), "invalid-argument", "classWeights", "shape [3]");
      await expectError(of({ classWeights: [1, 2, 3] }), "invalid-argument", "classWeights", "float32 tensor");
      await expectError(of({ itemWeights: labels(1, 1, 1) }), "invalid-argument", "itemWeights", "float32", "int32[3]");
      await expectError(of({ reduction: "average" }), "invalid-argument", "reduction", '"average"');
      await expectError(of({ weight: weights }), "invalid-argument", "classWeights");
      await expectError(of({ ignore_index: 3 }), "invalid-argument", "ignoreIndex");
      await expectError(of({ ignoreIndex: 0.5 }), "invalid-argument", "ignoreIndex", "0.5");
    });
  });

  describe("binaryCrossEntropy", () => {
    it("is accurate for logits of any size, in value and gradient", async () => {
      const xs = [-3e38, -1e4, -100, -80, -20, -1e-3, 0, 1e-3, 20, 80, 100, 1e4, 3e38];
      for (const y of [0, 0.25, 1]) {
        const x = variable(xs);
        const losses = nn.binaryCrossEntropy(x, t.full(device, [xs.length], y), { reduction: "none" });
        losses.keep().sum().backward();
        const [values, gradients] = [await losses.read(), await x.grad!.read()];
        xs.map(Math.fround).forEach((logit, i) => {
          const softplus = (z: number) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
          const loss = y * softplus(-logit) + (1 - y) * softplus(logit);
          const gradient = (1 - y) / (1 + Math.exp(-logit)) - y / (1 + Math.exp(logit));
          // Results below the normal numbers may be 0.
          const close = (got: number, expected: number) =>
            expect(Math.abs(got - expected), `${got} for ${expected} at ${logit}, ${y}`).toBeLessThanOrEqual(
              8 * epsilon * Math.abs(expected) + 2 ** -126,
            );
          close(values[i]!, loss);
          close(gradients[i]!, gradient);
        });
      }
    });

    it("takes integer targets and a weight per item", async () => {
      const x = variable([[1, -2], [0.5, 3]]); // biome-ignore format: a matrix
      const y = t.tensor(device, Int32Array.of(1, 0, 0, 1), [2, 2]);
      const weights = t.tensor(device, [2, 0.5]);
      const each = await nn.binaryCrossEntropy(x, y, { reduction: "none" }).read();
      const expected = [2, 2, 0.5, 0.5].reduce((sum, weight, i) => sum + weight * each[i]!, 0) / 4;
      expectClose([await nn.binaryCrossEntropy(x, y, { weights }).item()], [expected], 4);
    });

    it("refuses shapes that do not match", async () => {
      const x = t.zeros(device, [4, 1]);
      const zeros = (...shape: number[]) => t.zeros(device, shape);
      await expectError(() => nn.binaryCrossEntropy(x, zeros(4)), "invalid-argument", "targets", "[4,1]", "reshape");
      await expectError(
        () => nn.binaryCrossEntropy(zeros(4, 3), zeros(4, 3), { posWeight: zeros(4) }),
        "invalid-argument",
        "last axes",
      );
      await expectError(
        () => nn.binaryCrossEntropy(zeros(4, 3), zeros(4, 3), { weights: zeros(3) }),
        "invalid-argument",
        "weights",
        "first axes",
      );
    });
  });

  describe("the weight of a loss", () => {
    it("is the sum of its labels' weights, which scales the gradient of the mean to that of the sum", async () => {
      const classWeights = t.tensor(device, [1, 2, 4]);
      const [x, same] = [logits(), logits()];
      const mean = nn.crossEntropy(x, labels(0, -100, 2), { classWeights, smoothing: 0.1 });
      expect(await nn.weightOf(mean)!.item()).toBe(5);
      mean.backward(nn.weightOf(mean));
      const sum = nn.crossEntropy(same, labels(0, -100, 2), { classWeights, smoothing: 0.1, reduction: "sum" });
      sum.backward();
      expect(await x.grad!.read()).toEqual(await same.grad!.read());
      expect(nn.weightOf(sum)).toBeUndefined();
    });

    it("of a weighted mean is the sum of the weights; without any, the mean is NaN and has no gradient", async () => {
      const x = variable([[1, 2], [3, 5], [-1, 0]]); // biome-ignore format: a matrix
      const loss = nn.weightedMean(x.square(), t.tensor(device, [1, 0, 3]));
      expectClose([await loss.item()], [(1 + 4 + 3) / 8], 1);
      expect(await nn.weightOf(loss)!.item()).toBe(8);
      loss.backward();
      expectClose(
        await x.grad!.read(),
        [2, 4, 0, 0, -6, 0].map((value) => value / 8),
        1,
      );
      x.zeroGrad();
      const none = nn.weightedMean(x.square(), t.zeros(device, [3]));
      expect(await none.item()).toBeNaN();
      none.backward();
      expect([...(await x.grad!.read())].map(Math.abs)).toEqual(new Array(6).fill(0));
    });

    it("can be set for a custom loss", async () => {
      const entropy = nn.crossEntropy(logits(), labels(0, -100, 2));
      const loss = nn.withWeight(entropy.add(1), nn.weightOf(entropy)!);
      entropy.dispose();
      expect(await nn.weightOf(loss)!.item()).toBe(2);
      expect(await nn.weightOf(nn.withWeight(loss, 7))!.item()).toBe(7);
      await expectError(() => nn.withWeight(logits(), 1), "invalid-argument", "loss", "one element");
    });

    it("is disposed of with the loss", () => {
      const before = device.memory().tensors;
      const [x, y] = [logits(), labels(0, -100, 2)];
      const loss = nn.crossEntropy(x, y);
      loss.backward();
      for (const one of [x.grad!, x, y, loss]) one.dispose();
      expect(device.memory().tensors).toBe(before);
    });
  });
});
