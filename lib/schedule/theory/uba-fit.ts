// The search for the best UBA. Over φ and the bounds the worst case has many minima: whenever they move another lobe of
// the product across an end of the range, a new one begins. UBA's product oscillates as cos(2Tψ) (uba-product.ts). With
// the phase 2Tψ/π at the end of the range as a coordinate in place of the free bound, each minimum has an interval of
// length 1 to itself, a window, and for a given phase the worst case has one minimum over φ. The best window is among the
// first; from some window on each is worse than the one before it. None of this is proven: the tests compare with
// exhaustive searches.

import type { Problem } from "./input.js";
import { lowestBetween, lowestOver } from "./line-search.js";
import { type UbaCurve, ubaHighestPoint } from "./uba-product.js";

/** UBA's parameters, and the logarithm of what UBA with them leaves at worst. */
export interface UbaFit {
  readonly phi: number;
  readonly maxLr: number;
  readonly minLr: number;
  readonly value: number;
}

/** The constant rate that contracts best within the bounds, as UBA with `minLr = maxLr`, where φ has no effect. */
export function bestConstant({ lowest, highest, budget, maxLr, minLr }: Problem): UbaFit {
  const rate = Math.min(maxLr, Math.max(minLr, 2 / (lowest + highest)));
  return valued({ steps: budget, phi: 2, maxLr: rate, minLr: rate }, lowest, highest);
}

/**
 * The UBA with the smallest worst case within the bounds, searched on its exact product. What it leaves is within a
 * factor of 1 + 1e-6 of what the best one leaves (`test/schedule/theory/suggest.test.ts` compares with exhaustive
 * searches).
 *
 * @param freeParameters whether only the rates have to stay within the bounds, and not UBA's parameters, which its
 *   rates approach and never take
 */
export function fitUba(problem: Problem, freeParameters: boolean): UbaFit {
  const { lowest, highest, budget, maxLr, minLr } = problem;
  const chebyshev: UbaCurve = { steps: budget, phi: (2 * highest) / lowest, maxLr: 1 / lowest, minLr: 1 / highest };
  const constant = bestConstant(problem);
  if (lowest === highest || constant.maxLr !== 2 / (lowest + highest)) return constant;
  const { highestRate, lowestRate } = reachOf(chebyshev, freeParameters);
  if (maxLr >= highestRate && minLr <= lowestRate) return valued(chebyshev, lowest, highest);
  // One step takes one rate, whatever the parameters.
  if (budget === 1) return constant;

  const limits = freeParameters ? ratesWithin(problem) : parametersWithin(problem);
  const { steady, steadyRange, oscillating } =
    maxLr < highestRate ? fromTheTop(problem, limits) : fromTheBottom(problem, limits);
  let best = constant;
  // Below the smallest a that a budget of a million would notice, and above any that theory asks for.
  const range = [Math.sqrt(1e-12 / 2), Math.sqrt((1e3 * highest) / lowest)] as const;
  const overPhi = (curveAt: CurveAt) => (x: number) =>
    lowestOver(range, { grid: 24, rounds: 44 }, (a) => {
      const curve = curveAt(a, x);
      if (curve === undefined) return Infinity;
      const fit = valued({ ...curve, steps: budget, phi: 2 * a * a }, lowest, highest);
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
  // Where all do the same, rounding must not decide.
  return best.value < constant.value - 1e-12 * Math.abs(constant.value) ? best : constant;
}

/** How many windows in a row have to be worse than the best before the search ends. */
const windowsAfterTheBest = 3;

/** The bounds of a curve for a = √(φ/2) and a coordinate; `undefined` if there is none within the limits. */
type CurveAt = (a: number, x: number) => Pick<UbaCurve, "maxLr" | "minLr"> | undefined;

/** The curves at one limit, in two parts: by whether the product oscillates at the end of the range across it. */
interface Families {
  /** The coordinate is a rate. */
  readonly steady: CurveAt;
  readonly steadyRange: readonly [number, number];
  /** The coordinate is the phase in half periods of the cosine, from 0 to the budget; see below from where it counts. */
  readonly oscillating: CurveAt;
}

/**
 * What of a curve is limited: the parameters themselves, or the first and the last rate. `a` is √(φ/2).
 *
 * Where the product oscillates at an end λ of the range, the two bounds are on a line through 1/λ: η_max − 1/λ is a
 * multiple of 1/λ − η_min.
 */
interface Limits {
  /** The least `minLr` worth a look. */
  readonly lowestBottom: number;
  /** `maxLr` for a `minLr`, if the upper limit is met. */
  top(a: number, bottom: number): number;
  /** `minLr` for a `maxLr`, if the lower limit is met. */
  bottom(a: number, top: number): number;
  /** `minLr` on the line through λ_u, if the upper limit is met: 1/λ_u − η_min = steepness·(η_max − 1/λ_u). */
  bottomOnLine(a: number, steepness: number): number;
  /** `maxLr` on the line through λ_l, if the lower limit is met: η_max − 1/λ_l = steepness·(1/λ_l − η_min). */
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
  // Of η_max − η_min the first rate has the part 1/(1 + first·a²) above η_min, and the last one 1/(1 + last·a²).
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
      // A rate that is made to meet its limit rounds.
      return rate(first) <= maxLr * (1 + 1e-12) && rate(last) >= minLr * (1 - 1e-12);
    },
  };
}

/**
 * The upper limit is below what the best UBA without limits has. It is met, and η_min is free. With η_min above 1/λ_u
 * nothing oscillates at the high end of the range. With η_min below, λ_u has the phase ψ with
 * tan²ψ = (η_max·λ_u − 1)/(a²·(1 − η_min·λ_u)), counted from π/2.
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
 * The lower limit alone is above what the best UBA without limits has. It is met, and η_max is free. The ends have
 * changed places: with η_max above 1/λ_l, λ_l has the phase ψ with
 * tan²ψ = (η_max·λ_l − 1)/(a²·(1 − η_min·λ_l)), counted from 0.
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

/** A curve if its bounds are in order and within the limits. */
function inOrder(limits: Limits, a: number, top: number, bottom: number): ReturnType<CurveAt> {
  return bottom >= 0 && bottom <= top && limits.allows(a, top, bottom) ? { maxLr: top, minLr: bottom } : undefined;
}

/** The first and the last of what is limited of a curve. */
function reachOf({ steps, maxLr, minLr, phi }: UbaCurve, freeParameters: boolean) {
  if (!freeParameters) return { highestRate: maxLr, lowestRate: minLr };
  const last = 1 / Math.tan(Math.PI / (4 * steps)) ** 2;
  const rate = (part: number) => minLr + (maxLr - minLr) / (1 + (part * phi) / 2);
  return { highestRate: rate(1 / last), lowestRate: rate(last) };
}

function valued(curve: UbaCurve, lowest: number, highest: number): UbaFit {
  const { phi, maxLr, minLr } = curve;
  return { phi, maxLr, minLr, value: ubaHighestPoint(curve, lowest, highest).value };
}
