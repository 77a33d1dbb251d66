import { expect } from "vitest";

/** The distance from 1 to the next float32. */
export const epsilon = 2 ** -23;

/**
 * The largest |got − expected| / (1 + |expected|), in units of float32's epsilon. For values computed from inputs
 * around 1, the error is relative to the larger of the value and its inputs. NaN counts as infinite.
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
 * Expects `got` to equal `expected` up to `allowed` epsilons (see {@link errorOf}).
 *
 * A sum of k products around 1 is rounded k times. The errors add like a random walk, and the partial sums grow like
 * one. So k terms need about √k times the tolerance of one.
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

/** The bytes of an array, for comparisons of bits: −0 differs from 0, and NaN equals NaN. */
export function bits(array: ArrayBufferView): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}
