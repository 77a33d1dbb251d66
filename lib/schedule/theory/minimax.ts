import { invalidArgument } from "../../errors.js";
import { type CurvatureRange, type Problem, type ProblemOptions, readProblem } from "./input.js";
import { factorsOf, highestPoint, type Peak } from "./log-product.js";
import { fitUba, type UbaFit } from "./uba-fit.js";
import { type Equioscillation, equioscillate } from "./weighted-chebyshev.js";

/** The best steps under bounds, with what proves that no others are better. */
export interface Minimax {
  /** The learning rates, highest first; in another order they contract the same, but round differently. */
  readonly steps: Float64Array;
  /** The natural logarithm of the worst contraction over the range; −∞ where one step removes the only curvature. */
  readonly value: number;
  readonly certificate: Certificate;
  /** The UBA that comes closest with its rates inside the bounds; `worse` is its logarithm less `value`. */
  readonly uba: UbaFit & { readonly worse: number };
}

/**
 * Why no other steps within the bounds have a better worst case.
 *
 * 1. Among all steps of which `atMaxLr` are `maxLr` and `atMinLr` are `minLr`, these are the best: the T − atMaxLr −
 *    atMinLr others have one zero between each two neighbours of `points`, where the product is equally large.
 * 2. The best steps have some number at each bound and the others strictly between. `excluded` rules out all other
 *    numbers; a face that is "not-better" rules out also those with more steps at either bound.
 *
 * Where one point decides, `excluded` is empty: at that curvature alone every other choice within the bounds
 * contracts less.
 */
export interface Certificate {
  /** How many steps are at `maxLr`. */
  readonly atMaxLr: number;
  /** How many steps are at `minLr`. */
  readonly atMinLr: number;
  /** Curvatures of equal worst contraction, lowest first, and its logarithm there. */
  readonly points: readonly Peak[];
  readonly excluded: readonly ExcludedFace[];
}

/** A number of steps at each bound that the best steps do not have. */
export interface ExcludedFace {
  readonly atMaxLr: number;
  readonly atMinLr: number;
  /** The logarithm of the best worst case with so many steps at the bounds, if the others were free of bounds. */
  readonly value: number;
  /**
   * `"outside"`: the best others are not within the bounds, so that there is no optimum with just these numbers;
   * `"not-better"`: the value is no better than the best.
   */
  readonly because: "outside" | "not-better";
}

/** All rates are in memory, and bounds make the time grow with the fourth power. */
const mostSteps = 1_000_000;

/**
 * The steps of gradient descent that minimise the worst contraction max |Π (1 − η_s λ)| over a range of curvatures, where
 * learning rates have bounds. Without bounds that matter it is UBA with φ = 2κ, η_max = 1/λ_l, η_min = 1/λ_u; the
 * published derivation of UBA has no closed form for bounds (docs/uba.md derives what is done here).
 *
 * Takes 0.2 s for 64 steps with one bound and 1 s with two, 4 s for 256 steps with one; from there on it grows with the
 * fourth power of the budget with one bound and the fifth with two.
 *
 * @param options rates in units of 1/curvature; see {@link ProblemOptions}
 * @throws `invalid-argument` for options out of range; `unsupported` where rounding stops the iteration
 */
export function minimax(options: ProblemOptions): Minimax {
  const problem = readProblem("minimax", options);
  const { lowest, highest, budget, maxLr, minLr } = problem;
  if (budget > mostSteps) invalidArgument("minimax.budget", `at most ${mostSteps} steps`, budget);
  // A run at one rate is decided by one curvature if it is worst there and no other rate is better there.
  const middle = 2 / (lowest + highest);
  if (maxLr <= middle) return decidedBy(lowest, problem, maxLr);
  if (minLr >= middle) return decidedBy(highest, problem, minLr);
  if (lowest === highest) return decidedBy(lowest, problem, 1 / lowest);

  const { best, excluded } = search(problem);
  const steps = new Float64Array(budget).fill(maxLr, 0, best.atMax).fill(minLr, budget - best.atMin);
  for (const [i, scaled] of best.solution.free.entries()) {
    steps[best.atMax + i] = Math.min(maxLr, Math.max(minLr, scaled / highest));
  }
  const points = best.solution.peaks.map(({ curvature, value }) => {
    // The way there and back may leave the range by a unit of rounding.
    return { curvature: Math.max(lowest, curvature * highest), value };
  });
  const certificate = { atMaxLr: best.atMax, atMinLr: best.atMin, points, excluded };
  return withUba(problem, steps, best.solution.value, certificate);
}

function decidedBy(curvature: number, problem: Problem, rate: number): Minimax {
  const { lowest, highest, budget, maxLr, minLr } = problem;
  const steps = new Float64Array(budget).fill(rate);
  const { value } = highestPoint(factorsOf(steps), lowest, highest);
  const atMaxLr = rate === maxLr ? budget : 0;
  const atMinLr = rate === minLr && atMaxLr === 0 ? budget : 0;
  return withUba(problem, steps, value, { atMaxLr, atMinLr, points: [{ curvature, value }], excluded: [] });
}

function withUba(problem: Problem, steps: Float64Array, value: number, certificate: Certificate): Minimax {
  const fit = fitUba(problem, true);
  // Both may be −∞.
  const worse = fit.value === value ? 0 : Math.max(0, fit.value - value);
  return { steps, value, certificate, uba: { ...fit, worse } };
}

/** Steps with `atMax` of them at the upper bound and `atMin` at the lower; rates in units of 1/λ_u. */
interface Face {
  readonly atMax: number;
  readonly atMin: number;
  readonly solution: Equioscillation;
}

/**
 * How far outside its bound a rate may come out and still count as being at it. No more than rounding: it is moved there,
 * and what the certificate says must hold for the moved one.
 */
const rounding = 4 * Number.EPSILON;

/**
 * Looks through the faces from the best value on. A face with more steps at the bounds is a smaller problem, so its
 * value is no better; the first face whose free steps are inside the bounds is therefore the best of all, and of the
 * faces that were not looked at each is a smaller problem than one that is waiting.
 */
function search({ lowest, highest, budget, maxLr, minLr }: Problem): { best: Face; excluded: ExcludedFace[] } {
  const range: CurvatureRange = [lowest / highest, 1];
  const [top, bottom] = [maxLr * highest, minLr * highest];
  const waiting: Face[] = [];
  const seen = new Set<string>();
  const look = (atMax: number, atMin: number, start: Float64Array) => {
    const name = `${atMax},${atMin}`;
    if (seen.has(name)) return;
    seen.add(name);
    const fixed = [
      { rate: top, count: atMax },
      { rate: bottom, count: atMin },
    ];
    waiting.push({ atMax, atMin, solution: equioscillate(start, fixed, ...range) });
  };
  const excluded: ExcludedFace[] = [];
  const exclude = ({ atMax, atMin, solution }: Face, because: ExcludedFace["because"]) =>
    excluded.push({ atMaxLr: atMax, atMinLr: atMin, value: solution.value, because });

  look(0, 0, chebyshevSteps(budget, ...range));
  for (;;) {
    const best = takeLowest(waiting);
    const { atMax, atMin, solution } = best;
    if (solution.free.every((rate) => rate <= top * (1 + rounding) && rate >= bottom * (1 - rounding))) {
      for (const face of waiting) exclude(face, "not-better");
      return { best, excluded };
    }
    exclude(best, "outside");
    // A bound beyond 1/λ_l or 1/λ_u is never taken: lowering a step above 1/λ_l helps at all curvatures, as does raising
    // one below 1/λ_u. A neighbour's steps but the one nearest to the bound are where the iteration starts.
    if (maxLr * lowest < 1) look(atMax + 1, atMin, solution.free.slice(1));
    if (minLr * highest > 1) look(atMax, atMin + 1, solution.free.slice(0, -1));
  }
}

function takeLowest(faces: Face[]): Face {
  let lowest = 0;
  for (const [i, { solution }] of faces.entries()) {
    if (solution.value < faces[lowest]!.solution.value) lowest = i;
  }
  return faces.splice(lowest, 1)[0]!;
}

/** The reciprocals of the Chebyshev nodes, highest first: the solution without bounds. */
function chebyshevSteps(budget: number, lowest: number, highest: number): Float64Array {
  return Float64Array.from({ length: budget }, (_, s) => {
    const v = Math.sin(((2 * s + 1) * Math.PI) / (4 * budget)) ** 2;
    return 1 / (lowest + (highest - lowest) * v);
  });
}
