import type { Problem } from "./input.js";
import { lowestOver } from "./line-search.js";
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
 * The UBA with the smallest worst case within the bounds, searched on its exact product.
 *
 * @param freeParameters whether only the rates have to stay within the bounds, and not UBA's parameters, which its
 *   rates approach and never take. The search is coarser then, for it has one dimension more.
 */
export function fitUba(problem: Problem, freeParameters: boolean): UbaFit {
  const { lowest, highest, budget, maxLr, minLr } = problem;
  const chebyshev: UbaCurve = { steps: budget, phi: (2 * highest) / lowest, maxLr: 1 / lowest, minLr: 1 / highest };
  const constant = bestConstant(problem);
  if (lowest === highest || constant.maxLr !== 2 / (lowest + highest)) return constant;
  const [least, most] = phiRange(problem, chebyshev.maxLr, chebyshev.minLr);
  const inside = freeParameters
    ? least <= chebyshev.phi && chebyshev.phi <= most
    : maxLr >= chebyshev.maxLr && minLr <= chebyshev.minLr;
  if (inside) return valued(chebyshev, lowest, highest);

  const effort = freeParameters ? { grid: 12, rounds: 20 } : { grid: 48, rounds: 40 };
  let best = constant;
  const withPhi = (top: number, bottom: number, phi: number): number => {
    const fit = valued({ steps: budget, phi, maxLr: top, minLr: bottom }, lowest, highest);
    if (fit.value < best.value) best = fit;
    return fit.value;
  };
  const withBottom = (top: number, bottom: number): number => {
    const [from, to] = freeParameters ? phiRange(problem, top, bottom) : [0, Infinity];
    // Above any φ that theory asks for, and below the smallest that a budget of a million would notice.
    const range = [Math.max(from, 1e-12), Math.min(to, 1e3 * chebyshev.phi)] as const;
    if (range[0] > range[1]) return Infinity;
    return lowestOver(range, { ...effort, grid: 2 * effort.grid }, (phi) => withPhi(top, bottom, phi));
  };
  const withTop = (top: number): number => {
    const floor = freeParameters ? 0 : minLr;
    return lowestOver([Math.max(floor, 1e-3 / highest), Math.min(top, constant.maxLr)], effort, (bottom) =>
      withBottom(top, bottom),
    );
  };
  const top = Math.min(maxLr, chebyshev.maxLr);
  withTop(top);
  if (freeParameters && top < chebyshev.maxLr) lowestOver([top, chebyshev.maxLr], { grid: 6, rounds: 16 }, withTop);
  return best;
}

/** The φ with which the first rate is not above the problem's `maxLr`, and the last not below its `minLr`. */
function phiRange({ budget, maxLr, minLr }: Problem, top: number, bottom: number): readonly [number, number] {
  // The first step's u and v; the last step's are the same, exchanged. f = u/(u + φv/2), solved for φ.
  const ratio = 1 / Math.tan(Math.PI / (4 * budget)) ** 2;
  const fraction = (rate: number) => (rate - bottom) / (top - bottom);
  const least = maxLr < top ? 2 * ratio * (1 / fraction(maxLr) - 1) : 0;
  const most = minLr > bottom ? (2 / ratio) * (1 / fraction(minLr) - 1) : Infinity;
  return [least, most];
}

function valued(curve: UbaCurve, lowest: number, highest: number): UbaFit {
  const { phi, maxLr, minLr } = curve;
  return { phi, maxLr, minLr, value: ubaHighestPoint(curve, lowest, highest).value };
}
