import { isSafeInteger } from "./arguments.js";
import { invalidArgument } from "./errors.js";

// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
// Any number of any stream can be computed on its own, so that a batch is a pure function of its step.

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const KEY_STEP_0 = 0x9e3779b9;
const KEY_STEP_1 = 0xbb67ae85;
const TWO_32 = 2 ** 32;
const TWO_53 = 2 ** 53;

/** The purpose of a stream of random numbers. Streams with different purposes never have the same counter. */
export const Purpose = { general: 0, permutation: 1, augmentation: 2, window: 3, sampling: 4, rows: 5 } as const;

/**
 * Computes a Philox4x32-10 block: four random words from a 128-bit counter and a 64-bit key. The result is written to
 * `out[0..3]`.
 *
 * @param c0 lowest of the four words of the counter; `c1` to `c3` follow. All are unsigned 32-bit integers.
 * @param k0 lower word of the key; `k1` is the upper word
 */
export function philox4x32(
  out: Uint32Array,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
): void {
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low0 = Math.imul(MULTIPLIER_0, c0);
    const low1 = Math.imul(MULTIPLIER_1, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0 >>> 0;
    k0 = (k0 + KEY_STEP_0) >>> 0;
    k1 = (k1 + KEY_STEP_1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/**
 * Returns the upper 32 bits of the product of two unsigned 32-bit numbers. A double cannot represent the whole product.
 */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = (aLow * bHigh + (middle & 0xffff)) >>> 16;
  return (aHigh * bHigh + (middle >>> 16) + carry) >>> 0;
}

/**
 * A stream of random numbers that is determined by seed, stream number and purpose. Streams of a seed are independent
 * of each other. A stream repeats after 2³⁴ words.
 *
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
export class PhiloxStream {
  readonly #key: readonly [number, number];
  readonly #stream: readonly [number, number];
  readonly #purpose: number;
  readonly #words = new Uint32Array(4);
  #block = 0;
  #used = 4;

  /**
   * Creates the stream at its beginning.
   *
   * @param seed a safe integer ≥ 0
   * @param stream number of the stream: a safe integer ≥ 0
   * @param purpose one of {@link Purpose}, default `general`
   * @throws StepsizeError `invalid-argument` if `seed` or `stream` is not a safe integer ≥ 0
   */
  constructor(seed: number, stream: number, purpose: number = Purpose.general) {
    this.#key = words(checkSeed(seed));
    this.#stream = words(checkSeed(stream, "stream"));
    this.#purpose = purpose;
  }

  /** Returns the next word: an integer in [0, 2³²). */
  uint32(): number {
    if (this.#used === 4) {
      philox4x32(this.#words, this.#block, this.#purpose, ...this.#stream, ...this.#key);
      this.#block = (this.#block + 1) >>> 0;
      this.#used = 0;
    }
    return this.#words[this.#used++]!;
  }

  /** Returns a number in [0, 1) that is a multiple of 2⁻³². */
  uniform(): number {
    return this.uint32() / TWO_32;
  }

  /**
   * Returns an integer in [0, n), uniformly distributed.
   *
   * @throws StepsizeError `invalid-argument` if `n` is not a safe integer ≥ 1
   */
  integer(n: number): number {
    if (!Number.isSafeInteger(n) || n < 1) invalidArgument("n", "a safe integer of at least 1", n);
    // Above 2³², two words give the 53 bits that a double represents exactly.
    const wide = n > TWO_32;
    const range = wide ? TWO_53 : TWO_32;
    // Numbers beyond the last whole multiple of n are rejected, because they would favor small results.
    const limit = range - (range % n);
    for (;;) {
      const draw = wide ? (this.uint32() >>> 11) * TWO_32 + this.uint32() : this.uint32();
      if (draw < limit) return draw % n;
    }
  }
}

/**
 * Returns a random permutation of the integers 0 to n − 1 (Fisher–Yates). It is a pure function of its arguments.
 *
 * @param n number of integers: an integer from 0 to 2³² − 1
 * @param seed a safe integer ≥ 0
 * @param epoch number of the permutation: a safe integer ≥ 0
 * @throws StepsizeError `invalid-argument` if an argument is out of range
 */
export function permutation(n: number, seed: number, epoch: number): Uint32Array {
  if (!Number.isInteger(n) || n < 0 || n >= TWO_32) invalidArgument("n", "an integer from 0 to 2^32 - 1", n);
  const stream = new PhiloxStream(seed, epoch, Purpose.permutation);
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    // The inside-out form of the algorithm fills and shuffles in one pass.
    const j = stream.integer(i + 1);
    order[i] = order[j]!;
    order[j] = i;
  }
  return order;
}

/**
 * Returns the seed.
 *
 * @throws StepsizeError `invalid-argument` if it is not a safe integer ≥ 0
 */
export function checkSeed(seed: unknown, name = "seed"): number {
  if (isSafeInteger(seed) && seed >= 0) return seed;
  invalidArgument(name, "a safe integer of at least 0", seed);
}

/** Returns the low and the high 32 bits of a safe integer ≥ 0. */
export function words(value: number): readonly [low: number, high: number] {
  return [value >>> 0, Math.floor(value / TWO_32)];
}
