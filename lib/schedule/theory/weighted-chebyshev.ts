// One face of the bounded min–max problem: k steps are fixed at the rate M, j at the rate m, and the n others are free,
// without bounds. This is a weighted Chebyshev problem,
//
//     min over q of degree n with q(0) = 1   max over λ in [λ_l, λ_u]   |1 − Mλ|^k · |1 − mλ|^j · |q(λ)|,
//
// which is convex in q. Its only solution is the q whose n + 1 segments between its zeros (and the ends of the range)
// all reach the same height, with alternating signs. The unknowns here are the zeros of q, as logarithms of their
// reciprocals, which are the steps. The equations say that the heights of the segments are equal. Heights are computed
// as logarithms of products, because coefficients of an expanded polynomial lose accuracy fast.

import { StepsizeError } from "../../errors.js";
import { zip } from "../../lookup.js";
import { solveInPlace } from "./linear-solve.js";
import { type Factors, intervals, type Peak, peakBetween } from "./log-product.js";

/** Steps at a fixed rate, with their number. */
export interface FixedSteps {
  readonly rate: number;
  readonly count: number;
}

/** The solution of one weighted Chebyshev problem. */
export interface Equioscillation {
  /** The free steps, highest first. */
  readonly free: Float64Array;
  /** The highest point of each of the n + 1 segments, lowest curvature first. The heights are equal up to rounding. */
  readonly peaks: readonly Peak[];
  /** The largest height: the worst case of these steps. */
  readonly value: number;
}

/**
 * Returns the difference of heights that rounding errors may cause. Zeros can be as close as the range divided by T².
 * At a peak between them, the factors 1 − ηλ have rounding errors of about T²·κ/(κ − 1) units. Measured differences are
 * at most a twentieth of this value.
 */
function rounding(steps: number, lowest: number, highest: number): number {
  return 16 * Number.EPSILON * (steps + 1) ** 2 * (highest / (highest - lowest));
}

/**
 * Solves the problem by a damped Newton iteration from nearby steps, such as those of a neighboring face.
 *
 * Each round finds the highest point of every segment, as in the Remez exchange algorithm. Then it moves all zeros at
 * once, so that the heights would be equal if they changed linearly. If the heights do not come closer together, the
 * round is repeated with half the move. Such a move always exists, because ordered zeros and heights correspond one to
 * one. This is known for sums of translates of concave functions (Farkas, Nagy, Révész, arXiv:2210.04348; Nikiforova,
 * arXiv:2509.07776), and in log λ the problem is of this kind.
 *
 * @param start the n free steps to start from, highest first, with reciprocals inside the range
 * @param fixed the steps at fixed rates
 * @throws StepsizeError `unsupported` if rounding errors stop the iteration early
 */
export function equioscillate(
  start: Float64Array,
  fixed: readonly FixedSteps[],
  lowest: number,
  highest: number,
): Equioscillation {
  const heightsOf = (logs: Float64Array) => segmentPeaks(logs.map(Math.exp), fixed, lowest, highest);
  let logs = start.map(Math.log);
  let peaks = heightsOf(logs);
  let apart = spread(peaks);
  const steps = fixed.reduce((sum, { count }) => sum + count, start.length);
  const tolerance = rounding(steps, lowest, highest);
  for (let round = 0; round < 200 && apart > tolerance / 10; round++) {
    const move = newtonMove(logs, peaks);
    let part = longestPart(logs, move, -Math.log(lowest), -Math.log(highest));
    let better = false;
    for (let halving = 0; halving < 30 && !better; halving++, part /= 2) {
      const triedLogs = Float64Array.from(zip(logs, move), ([log, change]) => log + part * change);
      const triedPeaks = heightsOf(triedLogs);
      const triedApart = spread(triedPeaks);
      if (triedApart > (1 - part / 10) * apart) continue;
      better = true;
      [logs, peaks, apart] = [triedLogs, triedPeaks, triedApart];
    }
    if (!better) break;
  }
  // If rounding errors reach a thousandth of the contraction, the certificate would be meaningless.
  if (!(apart <= tolerance && tolerance <= 1e-3)) {
    const unsure = Math.max(apart, tolerance);
    const reason = "the curvatures are too close together, or the bounds too extreme, for so many steps";
    throw new StepsizeError("unsupported", `minimax: rounding leaves log-heights unsure by ${unsure}: ${reason}`);
  }
  return { free: logs.map(Math.exp), peaks, value: extremesOf(peaks).highest };
}

/** Returns the highest point of each segment between neighboring free zeros. Zeros of fixed steps may lie inside. */
function segmentPeaks(
  free: Float64Array,
  fixed: readonly FixedSteps[],
  lowest: number,
  highest: number,
): readonly Peak[] {
  const effective = fixed.filter(({ count }) => count > 0);
  const factors: Factors = {
    rates: Float64Array.from([...free, ...effective.map(({ rate }) => rate)]),
    counts: Float64Array.from([...free.map(() => 1), ...effective.map(({ count }) => count)]),
  };
  const inner = effective.map(({ rate }) => 1 / rate).sort((a, b) => a - b);
  const n = free.length;
  const zeros = Array.from(free, (rate) => 1 / rate);
  return intervals([lowest, ...zeros, highest]).map(([left, right], i) => {
    const cuts: [number, ...number[]] = [left, ...inner.filter((zero) => zero > left && zero < right), right];
    let best: Peak = { curvature: left, value: -Infinity };
    for (const [c, [from, to]] of intervals(cuts).entries()) {
      const leftIsZero = i > 0 || c > 0 || inner.includes(left);
      const rightIsZero = i < n || c + 2 < cuts.length || inner.includes(right);
      const peak = peakBetween(factors, from, to, leftIsZero, rightIsZero);
      if (peak.value > best.value) best = peak;
    }
    return best;
  });
}

/** Returns the highest and the lowest value. `Math.max(...values)` would overflow the stack for many steps. */
function extremesOf(peaks: readonly Peak[]): { highest: number; lowest: number } {
  let [highest, lowest] = [-Infinity, Infinity];
  for (const { value } of peaks) [highest, lowest] = [Math.max(highest, value), Math.min(lowest, value)];
  return { highest, lowest };
}

function spread(peaks: readonly Peak[]): number {
  const { highest, lowest } = extremesOf(peaks);
  return highest - lowest;
}

/** Returns the change of the logarithms of the free steps that makes all heights equal, to first order. */
function newtonMove(logs: Float64Array, peaks: readonly Peak[]): Float64Array {
  const size = peaks.length;
  const A = new Float64Array(size * size);
  const b = Float64Array.from(peaks, ({ value }) => -value);
  for (const [i, { curvature }] of peaks.entries()) {
    // To first order, the height of a peak changes as if its curvature were fixed. d log|1 − ηλ| / d log η = ηλ / (ηλ −
    // 1).
    logs.forEach((log, t) => {
      const moved = Math.exp(log) * curvature;
      A[i * size + t] = moved / (moved - 1);
    });
    // The last unknown is the common height.
    A[i * size + size - 1] = -1;
  }
  return solveInPlace(A, b) ? b.subarray(0, logs.length) : new Float64Array(logs.length);
}

/**
 * Returns the largest part of a move, at most 1, after which every gap between zeros has at least a fifth of its size.
 */
function longestPart(logs: Float64Array, move: Float64Array, top: number, bottom: number): number {
  let part = 1;
  const gaps = intervals([top, ...logs, bottom]);
  for (const [[upper, lower], [upperMove, lowerMove]] of zip(gaps, intervals([0, ...move, 0]))) {
    const gap = upper - lower;
    const closing = lowerMove - upperMove;
    if (closing > 0) part = Math.min(part, (0.8 * gap) / closing);
  }
  return part;
}
