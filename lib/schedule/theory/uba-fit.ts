// The search for the best UBA. As a function of φ and the bounds, the worst case has many minima: a new one begins
// whenever another lobe of the product moves across an end of the range. UBA's product oscillates as cos(2Tψ)
// (uba-product.ts). The search uses the phase 2Tψ/π at the end of the range as a coordinate in place of the free bound.
// Then each minimum lies in an interval of length 1 of its own (a window), and for a given phase the worst case has one
// minimum over φ. The best window is among the first. From some window on, each is worse than the one before. None of
// this is proven; the tests compare with exhaustive searches.

import type { Problem } from "./input.js";
import { lowestBetween, lowestOver } from "./line-search.js";
import { type UbaCurve, ubaHighestPoint } from "./uba-product.js";

/** Parameters of UBA with their worst case. */
export interface UbaFit {
  /** UBA's φ. It has no effect if `minLr` equals `maxLr`. */
  readonly phi: number;
  /** UBA's η_max. */
  readonly maxLr: number;
  /** UBA's η_min. */
  readonly minLr: number;
  /** Natural logarithm of the worst contraction over the range of curvatures. */
  readonly value: number;
}

/** Returns the best constant rate within the bounds, as UBA with `minLr = maxLr`. */
export function bestConstant({ lowest, highest, budget, maxLr, minLr }: Problem): UbaFit {
  const rate = Math.min(maxLr, Math.max(minLr, 2 / (lowest + highest)));
  return withValue({ steps: budget, phi: 2, maxLr: rate, minLr: rate }, lowest, highest);
}

/**
 * Finds the UBA with the smallest worst case within the bounds, by a search on its exact product.
 *
 * Its contraction is within a factor of 1 + 1e-6 of the best one (`test/schedule/theory/suggest.test.ts` compares with
 * exhaustive searches).
 *
 * @param freeParameters whether the bounds apply to the rates alone. If false, they also apply to η_max and η_min,
 * which
 *   the rates approach and never reach.
 */
export function fitUba(problem: Problem, freeParameters: boolean): UbaFit {
  const { lowest, highest, budget, maxLr, minLr } = problem;
  const chebyshev: UbaCurve = { steps: budget, phi: (2 * highest) / lowest, maxLr: 1 / lowest, minLr: 1 / highest };
  const constant = bestConstant(problem);
  if (lowest === highest || constant.maxLr !== 2 / (lowest + highest)) return constant;
  const { highestRate, lowestRate } = reachOf(chebyshev, freeParameters);
  if (maxLr >= highestRate && minLr <= lowestRate) return withValue(chebyshev, lowest, highest);
  // A single step has a single rate, whatever the parameters are.
  if (budget === 1) return constant;

  const limits = freeParameters ? ratesWithin(problem) : parametersWithin(problem);
  const { steady, steadyRange, oscillating } =
    maxLr < highestRate ? fromTheTop(problem, limits) : fromTheBottom(problem, limits);
  let best = constant;
  // From below the smallest a that matters for a budget of a million, to above any a that the theory needs.
  const range = [Math.sqrt(1e-12 / 2), Math.sqrt((1e3 * highest) / lowest)] as const;
  const overPhi = (curveAt: CurveAt) => (x: number) =>
    lowestOver(range, { grid: 24, rounds: 44 }, (a) => {
      const curve = curveAt(a, x);
      if (curve === undefined) return Infinity;
      const fit = withValue({ ...curve, steps: budget, phi: 2 * a * a }, lowest, highest);
      if (fit.value < best.value) best = fit;
      return fit.value;
    });
  const effort = { grid: 6, rounds: 36 };
  lowestOver(steadyRange, effort, overPhi(steady));
  for (let window = 0, worse = 0; window < budget && worse < windowsAfterTheBest; window++) {
    const before = best.value;
    const value = lowestBetween([window, window + 1], effort, overPhi(oscillating));
    worse = value <= before ? 0 : worse + 1;
  }
  // If both are equally good, rounding must not decide.
  return best.value < constant.value - 1e-12 * Math.abs(constant.value) ? best : constant;
}

/** Number of windows in a row that must be worse than the best before the search ends. */
const windowsAfterTheBest = 3;

/** Returns the bounds of a curve for a = √(φ/2) and a coordinate; `undefined` if no curve is within the limits. */
type CurveAt = (a: number, x: number) => Pick<UbaCurve, "maxLr" | "minLr"> | undefined;

/** The curves that meet one limit, split by whether the product oscillates at the opposite end of the range. */
interface Families {
  /** The coordinate is a rate. */
  readonly steady: CurveAt;
  readonly steadyRange: readonly [number, number];
  /** The coordinate is the phase in half periods of the cosine, from 0 to the budget. */
  readonly oscillating: CurveAt;
}

/**
 * The limits of a curve. They apply either to its parameters, or to its first and last rate. `a` is √(φ/2).
 *
 * If the product oscillates at an end λ of the range, the two bounds are on a line through 1/λ: η_max − 1/λ is a
 * multiple of 1/λ − η_min.
 */
interface Limits {
  /** The lowest `minLr` that is searched. */
  readonly lowestBottom: number;
  /** Returns the `maxLr` for a `minLr` at which the curve meets the upper limit. */
  top(a: number, bottom: number): number;
  /** Returns the `minLr` for a `maxLr` at which the curve meets the lower limit. */
  bottom(a: number, top: number): number;
  /** Returns the `minLr` at the upper limit on the line 1/λ_u − η_min = steepness·(η_max − 1/λ_u). */
  bottomOnLine(a: number, steepness: number): number;
  /** Returns the `maxLr` at the lower limit on the line η_max − 1/λ_l = steepness·(1/λ_l − η_min). */
  topOnLine(a: number, steepness: number): number;
  allows(a: number, top: number, bottom: number): boolean;
}

function parametersWithin({ lowest, highest, maxLr, minLr }: Problem): Limits {
  return {
    lowestBottom: minLr,
    top: () => maxLr,
    bottom: () => minLr,
    bottomOnLine: (_, steepness) => 1 / highest - steepness * (maxLr - 1 / highest),
    topOnLine: (_, steepness) => 1 / lowest + steepness * (1 / lowest - minLr),
    allows: (_, top, bottom) => top <= maxLr && bottom >= minLr,
  };
}

function ratesWithin({ lowest, highest, budget, maxLr, minLr }: Problem): Limits {
  // The first rate is η_min + (η_max − η_min)/(1 + first·a²), and the last one is η_min + (η_max − η_min)/(1 +
  // last·a²).
  const last = 1 / Math.tan(Math.PI / (4 * budget)) ** 2;
  const first = 1 / last;
  return {
    lowestBottom: 0,
    top: (a, bottom) => bottom + (maxLr - bottom) * (1 + first * a * a),
    bottom: (a, top) => minLr - (top - minLr) / (last * a * a),
    bottomOnLine(a, steepness) {
      const q = first * a * a;
      return ((1 + steepness) / highest - steepness * maxLr * (1 + q)) / (1 - steepness * q);
    },
    topOnLine(a, steepness) {
      const q = 1 / (last * a * a);
      return ((1 + steepness) / lowest - steepness * minLr * (1 + q)) / (1 - steepness * q);
    },
    allows(a, top, bottom) {
      const rate = (part: number) => bottom + (top - bottom) / (1 + part * a * a);
      // The tolerance is for the rounding of a rate that meets its limit.
      return rate(first) <= maxLr * (1 + 1e-12) && rate(last) >= minLr * (1 - 1e-12);
    },
  };
}

/**
 * Returns the curves that meet the upper limit. They are used if the best UBA without limits exceeds it; η_min is free.
 *
 * If η_min is above 1/λ_u, the product does not oscillate at the high end of the range. If it is below, λ_u has the
 * phase ψ with tan²ψ = (η_max·λ_u − 1)/(a²·(1 − η_min·λ_u)). The coordinate counts it from π/2.
 */
function fromTheTop({ lowest, highest, budget }: Problem, limits: Limits): Families {
  const middle = 2 / (lowest + highest);
  const curveAt = (a: number, bottom: number) => inOrder(limits, a, limits.top(a, bottom), bottom);
  return {
    steady: curveAt,
    steadyRange: [Math.min(middle, Math.max(1 / highest, limits.lowestBottom)), middle],
    oscillating(a, phase) {
      const steepness = (Math.tan((Math.PI * phase) / (2 * budget)) / a) ** 2;
      return curveAt(a, limits.bottomOnLine(a, steepness));
    },
  };
}

/**
 * Returns the curves that meet the lower limit. They are used if the best UBA without limits only goes below it; η_max
 * is free.
 *
 * If η_max is above 1/λ_l, λ_l has the phase ψ with tan²ψ = (η_max·λ_l − 1)/(a²·(1 − η_min·λ_l)). The coordinate counts
 * it from 0.
 */
function fromTheBottom({ lowest, highest, budget }: Problem, limits: Limits): Families {
  const curveAt = (a: number, top: number) => inOrder(limits, a, top, limits.bottom(a, top));
  return {
    steady: curveAt,
    steadyRange: [2 / (lowest + highest), 1 / lowest],
    oscillating(a, phase) {
      const steepness = (Math.tan((Math.PI * phase) / (2 * budget)) * a) ** 2;
      return curveAt(a, limits.topOnLine(a, steepness));
    },
  };
}

/** Returns the curve if its bounds are in order and within the limits. */
function inOrder(limits: Limits, a: number, top: number, bottom: number): ReturnType<CurveAt> {
  return bottom >= 0 && bottom <= top && limits.allows(a, top, bottom) ? { maxLr: top, minLr: bottom } : undefined;
}

/** Returns the highest and lowest value to which the limits apply: a curve's parameters, or its first and last rate. */
function reachOf({ steps, maxLr, minLr, phi }: UbaCurve, freeParameters: boolean) {
  if (!freeParameters) return { highestRate: maxLr, lowestRate: minLr };
  const last = 1 / Math.tan(Math.PI / (4 * steps)) ** 2;
  const rate = (part: number) => minLr + (maxLr - minLr) / (1 + (part * phi) / 2);
  return { highestRate: rate(1 / last), lowestRate: rate(last) };
}

function withValue(curve: UbaCurve, lowest: number, highest: number): UbaFit {
  const { phi, maxLr, minLr } = curve;
  return { phi, maxLr, minLr, value: ubaHighestPoint(curve, lowest, highest).value };
}
