// The contraction of UBA at a curvature λ in closed form. With a = √(φ/2), X = 1 − η_max·λ, Y = 1 − η_min·λ,
//
//     Π (1 − η_s λ) = [(√X + a√Y)^(2T) + (√X − a√Y)^(2T)] / [(1 + a)^(2T) + (1 − a)^(2T)].
//
// If X and Y have the same sign, this is monotonic in λ. If their signs differ, it oscillates: with ψ the angle of
// (a√Y, √−X), the numerator is 2·ρ^(2T)·cos(2Tψ), ρ² = a²Y − X.

import { intervals, type Peak } from "./log-product.js";

/** One phase of UBA: its length, its bounds and φ. */
export interface UbaCurve {
  readonly steps: number;
  readonly maxLr: number;
  readonly minLr: number;
  readonly phi: number;
}

/** Returns log |Π (1 − η_s λ)| over the phase. */
export function ubaLogProduct(curve: UbaCurve, curvature: number): number {
  const { steps, maxLr, minLr, phi } = curve;
  const a = Math.sqrt(phi / 2);
  const X = 1 - maxLr * curvature;
  const Y = 1 - minLr * curvature;
  const x = Math.sqrt(Math.abs(X));
  const y = a * Math.sqrt(Math.abs(Y));
  if (X < 0 && Y > 0) {
    return steps * Math.log(x * x + y * y) + logCosine(2 * steps * Math.atan2(x, y)) - logDenominator(steps, a);
  }
  return logEvenPowers(x, y, steps) - logDenominator(steps, a);
}

/** Returns the worst case of the phase over [lowest, highest], in a time that does not depend on its length. */
export function ubaHighestPoint(curve: UbaCurve, lowest: number, highest: number): Peak {
  const at = (curvature: number): Peak => ({ curvature, value: ubaLogProduct(curve, curvature) });
  let best = at(lowest);
  const consider = (peak: Peak) => {
    if (peak.value > best.value) best = peak;
  };
  consider(at(highest));
  for (const curvature of lastPeaks(curve, lowest, highest)) consider(at(curvature));
  return best;
}

/**
 * Returns the curvatures between `lowest` and `highest` at which the oscillating part can be highest.
 *
 * ρ is monotonic, so moving by a whole number of half periods of the cosine in the direction in which it grows never
 * lowers the product. So the highest peak lies within the last half period, which contains at most one zero.
 */
function lastPeaks({ steps, maxLr, minLr, phi }: UbaCurve, lowest: number, highest: number): number[] {
  const a2 = phi / 2;
  const left = Math.max(lowest, 1 / maxLr);
  const right = Math.min(highest, 1 / minLr);
  if (!(right > left)) return [];
  const angle = (curvature: number) =>
    Math.atan2(Math.sqrt(Math.max(0, maxLr * curvature - 1)), Math.sqrt(a2 * Math.max(0, 1 - minLr * curvature)));
  // λ = (cos²ψ + a²·sin²ψ) / D, ρ² = a²·(η_max − η_min) / D with D = η_max·cos²ψ + a²·η_min·sin²ψ.
  const parts = (psi: number) => {
    const cos2 = Math.cos(psi) ** 2;
    const sin2 = Math.sin(psi) ** 2;
    const denominator = maxLr * cos2 + a2 * minLr * sin2;
    const curvature = (cos2 + a2 * sin2) / denominator;
    // The derivative of log |product| with respect to ψ, divided by T and multiplied by cos(2Tψ), which removes its
    // poles.
    const rise = (Math.sin(2 * psi) * (maxLr - a2 * minLr)) / denominator;
    return { curvature, slope: rise * Math.cos(2 * steps * psi) - 2 * Math.sin(2 * steps * psi) };
  };
  const halfPeriod = Math.PI / (2 * steps);
  const rising = maxLr >= a2 * minLr;
  const from = rising ? Math.max(angle(left), angle(right) - halfPeriod) : angle(left);
  const to = rising ? angle(right) : Math.min(angle(right), angle(left) + halfPeriod);

  const cuts: [number, ...number[]] = [from];
  for (let i = Math.ceil(from / halfPeriod - 0.5); (i + 0.5) * halfPeriod < to; i++) {
    if ((i + 0.5) * halfPeriod > from) cuts.push((i + 0.5) * halfPeriod);
  }
  cuts.push(to);
  const peaks: number[] = [];
  for (const [from, to] of intervals(cuts)) {
    const middle = (from + to) / 2;
    const sign = Math.cos(2 * steps * middle) < 0 ? -1 : 1;
    const psi = bisect((psi) => sign * parts(psi).slope, from, to);
    peaks.push(Math.min(highest, Math.max(lowest, parts(psi).curvature)));
  }
  return peaks;
}

/** Returns the point at which a function changes from positive to negative; an end of the interval if it does not. */
function bisect(f: (x: number) => number, left: number, right: number): number {
  if (f(left) <= 0) return left;
  if (f(right) >= 0) return right;
  let low = left;
  let high = right;
  // 30 halvings are enough: the value is flat at a peak, so its error is the square of the error of the position.
  for (let round = 0; round < 30; round++) {
    const middle = (low + high) / 2;
    if (f(middle) > 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Returns log [(x + y)^(2T) + (x − y)^(2T)] for x, y ≥ 0. */
function logEvenPowers(x: number, y: number, T: number): number {
  if (x + y === 0) return -Infinity;
  return 2 * T * Math.log(x + y) + Math.log1p((Math.abs(x - y) / (x + y)) ** (2 * T));
}

function logDenominator(T: number, a: number): number {
  return 2 * T * Math.log1p(a) + Math.log1p((Math.abs(1 - a) / (1 + a)) ** (2 * T));
}

function logCosine(angle: number): number {
  return Math.log(2 * Math.abs(Math.cos(angle)));
}
