import { expect } from "vitest";

/** The distance from 1 to the next float32. */
export const epsilon = 2 ** -23;

/**
 * The largest |got − expected| / (1 + |expected|), in units of float32's epsilon: for values computed from inputs
 * around 1, an error relative to the larger of the value and of what it was computed from. NaN counts as infinite.
 */
export function errorOf(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(got[i]! - expected[i]!) / (1 + Math.abs(expected[i]!));
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  return worst / epsilon;
}

/**
 * Fails unless `got` is `expected` up to `allowed` epsilons (see {@link errorOf}).
 *
 * A sum of k products around 1 is rounded k times; the errors add like a random walk and the partial sums grow like
 * one, so k terms deserve about √k times what one deserves.
 */
export function expectClose(
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  allowed: number,
  what = "the result",
): void {
  expect(got.length, `elements of ${what}`).toBe(expected.length);
  const error = errorOf(got, expected);
  if (error > allowed) {
    const i = Array.from(expected).findIndex((value, j) => errorOf([got[j]!], [value]) > allowed);
    expect.fail(
      `${what}: error of ${error.toFixed(1)} epsilons, at most ${allowed.toFixed(1)} allowed;` +
        ` first at ${i}: ${got[i]} instead of ${expected[i]}`,
    );
  }
}

/** The bytes of an array, for "the same bits": −0 is not 0 and NaN is NaN. */
export function bits(array: ArrayBufferView): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}
