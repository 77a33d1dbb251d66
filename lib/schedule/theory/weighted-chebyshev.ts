// One face of the bounded min–max problem: k steps are fixed at one rate, j at another, and the n others are free, even
// of the bounds. What is left is a weighted Chebyshev problem,
//
//     min over q of degree n with q(0) = 1   max over λ in [λ_l, λ_u]   |1 − Mλ|^k · |1 − mλ|^j · |q(λ)|,
//
// which is convex in q and solved by exactly one q: that whose n + 1 segments between its zeros (and the ends of the
// range) all reach the same height, with alternating signs. So the unknowns here are q's zeros, as logarithms of their
// reciprocals, which are steps; the equations, that the segments' heights are equal. Heights are logarithms of
// products and never expanded: coefficients of polynomials lose digits fast.

import { StepsizeError } from "../../errors.js";
import { solveInPlace } from "./linear-solve.js";
import { type Factors, type Peak, peakBetween } from "./log-product.js";

/** Steps that are not free: a rate, and how many have it. */
export interface FixedSteps {
  readonly rate: number;
  readonly count: number;
}

/** The solution of one weighted Chebyshev problem. */
export interface Equioscillation {
  /** The free steps, highest first. */
  readonly free: Float64Array;
  /** The highest point of each of the n + 1 segments, lowest curvature first; the heights are equal up to rounding. */
  readonly peaks: readonly Peak[];
  /** The heights' largest: the worst case of these steps. */
  readonly value: number;
}

/**
 * How far heights may be apart by rounding alone: a peak between zeros that are a T²-th of the range apart has factors
 * 1 − ηλ that are rounded at about T²·κ/(κ − 1) units. Measured, heights end up to a twentieth of this apart.
 */
function rounding(steps: number, lowest: number, highest: number): number {
  return 16 * Number.EPSILON * (steps + 1) ** 2 * (highest / (highest - lowest));
}

/**
 * Solves the problem by a damped Newton iteration from steps that are near, as those of a neighbouring face are.
 *
 * Each round looks up every segment's highest point, as Remez' exchange does, and then moves all zeros at once such
 * that the heights would be equal if they changed linearly. A round that does not bring them closer together is tried
 * again with half the move. That heights depend on ordered zeros one to one, so that there is always such a move, is
 * known for sums of translates of concave functions (Farkas, Nagy, Révész, arXiv:2210.04348; Nikiforova,
 * arXiv:2509.07776), of which this is one in log λ.
 *
 * @param start n free steps, highest first, with reciprocals inside the range
 * @throws `unsupported` where rounding stops the iteration early
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
      const triedLogs = logs.map((log, i) => log + part * move[i]!);
      const triedPeaks = heightsOf(triedLogs);
      const triedApart = spread(triedPeaks);
      if (triedApart > (1 - part / 10) * apart) continue;
      better = true;
      [logs, peaks, apart] = [triedLogs, triedPeaks, triedApart];
    }
    if (!better) break;
  }
  // Curvatures so close together that a thousandth of the contraction is rounding have no certificate worth the name.
  if (!(apart <= tolerance && tolerance <= 1e-3)) {
    const unsure = Math.max(apart, tolerance);
    const why = "the curvatures are too close together, or the bounds too extreme, for so many steps";
    throw new StepsizeError("unsupported", `minimax: rounding leaves log-heights unsure by ${unsure}: ${why}`);
  }
  return { free: logs.map(Math.exp), peaks, value: extremesOf(peaks).highest };
}

/** The highest point of each segment between neighbouring free zeros; zeros of fixed steps may lie inside. */
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
  return Array.from({ length: n + 1 }, (_, i) => {
    const left = i === 0 ? lowest : 1 / free[i - 1]!;
    const right = i === n ? highest : 1 / free[i]!;
    const cuts = [left, ...inner.filter((zero) => zero > left && zero < right), right];
    let best: Peak = { curvature: left, value: -Infinity };
    for (let c = 0; c + 1 < cuts.length; c++) {
      const leftIsZero = i > 0 || c > 0 || inner.includes(left);
      const rightIsZero = i < n || c + 2 < cuts.length || inner.includes(right);
      const peak = peakBetween(factors, cuts[c]!, cuts[c + 1]!, leftIsZero, rightIsZero);
      if (peak.value > best.value) best = peak;
    }
    return best;
  });
}

/** A loop: as arguments of one call, those of many steps would not fit onto the stack. */
function extremesOf(peaks: readonly Peak[]): { highest: number; lowest: number } {
  let [highest, lowest] = [-Infinity, Infinity];
  for (const { value } of peaks) [highest, lowest] = [Math.max(highest, value), Math.min(lowest, value)];
  return { highest, lowest };
}

function spread(peaks: readonly Peak[]): number {
  const { highest, lowest } = extremesOf(peaks);
  return highest - lowest;
}

/** How the logarithms of the free steps have to change for all heights to become equal, to first order. */
function newtonMove(logs: Float64Array, peaks: readonly Peak[]): Float64Array {
  const size = peaks.length;
  const A = new Float64Array(size * size);
  const b = Float64Array.from(peaks, ({ value }) => -value);
  for (const [i, { curvature }] of peaks.entries()) {
    // A peak's height changes as if it stayed in its place. d log|1 − ηλ| / d log η = ηλ / (ηλ − 1).
    for (let t = 0; t < logs.length; t++) {
      const moved = Math.exp(logs[t]!) * curvature;
      A[i * size + t] = moved / (moved - 1);
    }
    // The last unknown is the common height.
    A[i * size + size - 1] = -1;
  }
  return solveInPlace(A, b) ? b : new Float64Array(size);
}

/** The part of a move, 1 at most, that leaves every gap between neighbouring zeros, and to the ends, a fifth of itself. */
function longestPart(logs: Float64Array, move: Float64Array, top: number, bottom: number): number {
  const n = logs.length;
  let part = 1;
  for (let i = 0; i <= n; i++) {
    const gap = (i === 0 ? top : logs[i - 1]!) - (i === n ? bottom : logs[i]!);
    const closing = (i === n ? 0 : move[i]!) - (i === 0 ? 0 : move[i - 1]!);
    if (closing > 0) part = Math.min(part, (0.8 * gap) / closing);
  }
  return part;
}
