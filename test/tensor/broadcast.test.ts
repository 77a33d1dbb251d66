// Broadcasting of two operands. The values are small integers, so all results are exact.
import { describe, expect, it } from "vitest";
import type { DataType } from "#lib/native/index.js";
import * as t from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import * as reference from "../support/reference.js";

/** Integers from −3 to 3. */
const valuesOf = (shape: readonly number[], salt: number): reference.Values => ({
  shape,
  data: Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => ((i * 37 + salt) % 7) - 3),
});

// Each pair takes another path through the kernels.
const pairs: readonly (readonly [string, readonly number[], readonly number[]])[] = [
  ["a column to a matrix", [6, 40], [6, 1]],
  ["a column and a row", [33, 1], [1, 48]],
  ["a column and a vector", [5, 1], [9]],
  ["rows that no vector instruction fits", [7, 3], [7, 1]],
  ["a row along the middle axis", [4, 3, 16], [4, 1, 16]],
  ["a column along the middle axis", [4, 3, 5], [1, 3, 1]],
  ["one element of every second axis", [2, 3, 2, 3, 2, 8], [1, 3, 1, 3, 1, 8]],
  ["each repeats along an axis of the other", [2, 1, 4, 1], [3, 1, 5]],
  ["the first of two images", [1, 5, 5, 8], [2, 5, 5, 1]],
  ["rows longer than the share of a thread", [2, 1, 20_001], [3, 1]],
  ["rows longer than the share of a thread, of both", [2, 1, 17_000], [2, 3, 17_000]],
  ["ones of all ranks", [1, 1, 1], [1]],
  ["a number in a matrix", [4, 9], [1, 1]],
  ["no rows", [0, 1], [1, 5]],
  ["no columns", [3, 1], [3, 0]],
];

await onEveryDevice("broadcasting", (device) => {
  const tensorOf = (x: reference.Values, dtype: DataType = "float32") =>
    t.tensor(device, Float32Array.from(x.data), x.shape, { requiresGrad: true }).cast(dtype).keep();
  const read = async (x: t.Tensor) => Array.from(await x.cast("float32").read());

  describe.each(pairs)("%s, [%j] and [%j]", (_, first, second) => {
    const [x, y] = [valuesOf(first, 1), valuesOf(second, 4)];

    it.each(["float32", "bfloat16"] as const)("in both orders, in %s", async (dtype) => {
      for (const [a, b] of [
        [x, y],
        [y, x],
      ] as const) {
        const result = tensorOf(a, dtype).subtract(tensorOf(b, dtype));
        const expected = reference.zip(a, b, (p, q) => p - q);
        expect(result.shape).toEqual(expected.shape);
        expect(await read(result)).toEqual(Array.from(expected.data));
      }
    });

    it("has gradients that are summed over the repeated axes", async () => {
      const leaf = (v: reference.Values) =>
        t.tensor(device, Float32Array.from(v.data), v.shape, { requiresGrad: true });
      const [a, b] = [leaf(x), leaf(y)];
      a.multiply(b).sum().backward();
      expect([a.grad!.shape, b.grad!.shape]).toEqual([first, second]);
      // ∂Σ a·b/∂a is the sum of the elements of b that each element of a meets.
      const ones = (v: reference.Values) => ({ shape: v.shape, data: v.data.map(() => 1) });
      expect(await read(a.grad!)).toEqual(
        meetings(
          x,
          reference.zip(ones(x), y, (p, q) => p * q),
        ),
      );
      expect(await read(b.grad!)).toEqual(
        meetings(
          y,
          reference.zip(x, ones(y), (p, q) => p * q),
        ),
      );
    });
  });

  it("refuses shapes with two sizes along an axis, and names the rule", () => {
    for (const [a, b] of [
      [[2, 3], [2]],
      [
        [4, 1, 3],
        [2, 5],
      ],
      [[0], [2]],
    ] as const)
      expect(() => t.zeros(device, a).add(t.zeros(device, b))).toThrow(
        `add(float32[${a}], float32[${b}]): the shapes do not broadcast: counted from the last, each axis must have the same size in both, or size 1 in one of them`,
      );
  });
});

/** The sums of `whole`, which has a broadcast shape, over the axes along which an operand repeats. */
function meetings(operand: reference.Values, whole: reference.Values): number[] {
  const places = reference.zip(
    { shape: operand.shape, data: Float64Array.from(operand.data, (_, i) => i) },
    { shape: whole.shape, data: whole.data },
    (place) => place,
  );
  const sums = new Array<number>(operand.data.length).fill(0);
  whole.data.forEach((value, i) => {
    sums[places.data[i]!]! += value;
  });
  return sums;
}
