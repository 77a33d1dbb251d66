// The parts of a random call; see cases.ts.
import fc from "fast-check";
import type * as t from "#lib/tensor/index.js";
import { elements, type Values, values } from "../../support/reference.js";

/** A call. Its inputs avoid the kinks of relu and maximum, where there is no derivative. */
export interface Call {
  readonly title: string;
  readonly inputs: readonly Values[];
  readonly compute: (...inputs: t.Tensor[]) => t.Tensor;
  readonly reference: (...inputs: Values[]) => Values;
}

/** Sizes around vectors of 4, 8 and 16, and the smallest sizes. */
export const size = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17);

/** Float32 numbers in [center − 1, center + 1]. They are odd multiples of 2⁻¹⁰, so that none is zero. */
export function numbersOf(shape: readonly number[], center = 0): fc.Arbitrary<Values> {
  const count = elements(shape);
  return fc
    .array(fc.integer({ min: -512, max: 511 }), { minLength: count, maxLength: count, size: "max" })
    .map((list) => values(shape, (i) => (2 * list[i]! + 1) / 1024 + center));
}

/** Distinct numbers in [−1, 1]. */
export function distinctNumbers(shape: readonly number[]): fc.Arbitrary<Values> {
  const count = elements(shape);
  return fc
    .shuffledSubarray(
      Array.from({ length: count }, (_, i) => i),
      { minLength: count, maxLength: count },
    )
    .map((order) => values(shape, (i) => Math.fround(order[i]! / Math.max(1, count) - 0.5)));
}
