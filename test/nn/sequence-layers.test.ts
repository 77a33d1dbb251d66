import { expect, test } from "vitest";
import { Embedding, LayerNorm, Linear, RMSNorm, Seeds } from "#lib/nn/index.js";
import { correctCount, crossEntropy, layerNorm, rmsNorm, type Tensor, tensor } from "#lib/tensor/index.js";
import { bits } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { labelsOf, numbers } from "../support/numbers.js";

await onEveryDevice("layers for sequences", (device) => {
  const x = (...shape: number[]): Tensor =>
    tensor(
      device,
      numbers(
        shape.reduce((product, size) => product * size, 1),
        1,
      ),
      shape,
    );
  const names = (module: Embedding | LayerNorm | RMSNorm) => [...module.namedParameters().keys()];

  test("an embedding selects rows of its weight, which has variance 1/width", async () => {
    const layer = new Embedding(400, 64, { device, seeds: 7 });
    const ids = tensor(device, Int32Array.from([3, 399, 3, 0, 1, 2]), [2, 3]);
    const [picked, weight] = await Promise.all([layer.forward(ids).read(), layer.weight.read()]);
    expect(layer.forward(ids).shape).toEqual([2, 3, 64]);
    expect(bits(picked.slice(64, 128))).toEqual(bits(weight.slice(399 * 64)));
    const squares = Array.from(weight).reduce((total, value) => total + value ** 2, 0) / weight.length;
    // 25,600 draws have a standard error of 0.9 % of the variance.
    expect(squares * 64).toBeGreaterThan(0.95);
    expect(squares * 64).toBeLessThan(1.05);
  });

  test("an embedding's gradient adds up for a repeated id, and is zero for an absent one", async () => {
    const layer = new Embedding(4, 2, { device });
    const g = tensor(device, Float32Array.from([1, 2, 10, 20, 100, 200]), [3, 2]);
    layer
      .forward(tensor(device, Int32Array.from([2, 0, 2])))
      .multiply(g)
      .sum()
      .backward();
    expect([...(await layer.weight.grad!.read())]).toEqual([10, 20, 0, 0, 101, 202, 0, 0]);
  });

  test("norm layers equal the functions; their parameters start as the identity and are optional", async () => {
    const input = x(3, 5, 9);
    for (const [layer, plain, learned] of [
      [(learned: boolean) => new LayerNorm(9, { device, learned }), layerNorm(input), ["gamma", "beta"]],
      [(learned: boolean) => new RMSNorm(9, { device, learned }), rmsNorm(input), ["gamma"]],
    ] as const) {
      expect(names(layer(true))).toEqual(learned);
      expect(names(layer(false))).toEqual([]);
      const expected = bits(await plain.read());
      expect(bits(await layer(true).forward(input).read())).toEqual(expected);
      expect(bits(await layer(false).forward(input).read())).toEqual(expected);
    }
  });

  test("epsilon is added to the mean square", async () => {
    const tiny = tensor(device, Float32Array.from([1e-3, -1e-3]), [1, 2]);
    const [value] = await new RMSNorm(2, { device, epsilon: 3e-6 }).forward(tiny).read();
    expect(value).toBeCloseTo(0.5, 5);
  });

  test("a linear layer maps the last axis, whatever axes come before it", async () => {
    const layer = new Linear(9, 4, { device, seeds: 1 });
    const flat = await layer.forward(x(15, 9)).read();
    for (const leading of [[3, 5], [1, 15, 1], [15]]) {
      const output = layer.forward(x(...leading, 9));
      expect(output.shape).toEqual([...leading, 4]);
      expect(bits(await output.read())).toEqual(bits(flat));
    }
    expect(layer.forward(x(9)).shape).toEqual([4]);
  });

  test("a deviation replaces the uniform distribution of a linear layer's weight by a normal one", async () => {
    const weight = await new Linear(100, 100, { device, seeds: new Seeds(2), deviation: 0.5 }).weight.read();
    const squares = Array.from(weight).reduce((total, value) => total + value ** 2, 0) / weight.length;
    // 10,000 draws have a standard error of 1.4 % of the variance. Uniform numbers would end at the bound.
    expect(Math.sqrt(squares)).toBeCloseTo(0.5, 1);
    expect(weight.some((value: number) => Math.abs(value) > 1)).toBe(true);
  });

  test("cross-entropy and the number of correct predictions take rows over several axes", async () => {
    const logits = x(3, 5, 9);
    const labels = labelsOf(15, 4, 9);
    const [shaped, flat] = [tensor(device, labels, [3, 5]), tensor(device, labels)];
    const rows = logits.reshape([15, 9]);
    expect(await crossEntropy(logits, shaped).item()).toBe(await crossEntropy(rows, flat).item());
    expect(await correctCount(logits, shaped).item()).toBe(await correctCount(rows, flat).item());
    await expectError(() => crossEntropy(logits, flat), "invalid-argument", "labels: expected shape [3,5]");
    await expectError(
      () => crossEntropy(logits, tensor(device, labels, [5, 3])),
      "invalid-argument",
      "labels: expected shape [3,5]",
    );
  });
});
