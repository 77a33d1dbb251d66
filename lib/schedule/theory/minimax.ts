import { invalidArgument } from "../../errors.js";
import { type CurvatureRange, type Problem, type ProblemOptions, readProblem } from "./input.js";
import { factorsOf, highestPoint, type Peak } from "./log-product.js";
import { fitUba, type UbaFit } from "./uba-fit.js";
import { type Equioscillation, equioscillate } from "./weighted-chebyshev.js";

/** The best steps within bounds, with a certificate that no others are better. */
export interface Minimax {
  /** The learning rates, highest first. In another order they have the same contraction, but other rounding errors. */
  readonly steps: Float64Array;
  /**
   * Natural logarithm of the worst contraction over the range; −∞ if the range is one curvature and a step removes it.
   */
  readonly value: number;
  /** The proof that no other steps within the bounds have a better worst case. */
  readonly certificate: Certificate;
  /** The best UBA with its rates within the bounds. `worse` is its `value` minus that of these steps. */
  readonly uba: UbaFit & { readonly worse: number };
}

/**
 * The proof that no other steps within the bounds have a better worst case.
 *
 * 1. Among all steps of which `atMaxLr` are `maxLr` and `atMinLr` are `minLr`, these are the best: the product is
 * equally
 *    large at all `points`, and the other T − atMaxLr − atMinLr steps have one zero between each two neighbors of them.
 * 2. The best steps have some number at each bound and the others strictly between. `excluded` rules out all other
 *    numbers. A face that is "not-better" also rules out the faces with more steps at either bound.
 *
 * If there is only one point, `excluded` is empty: at that curvature, every other choice within the bounds contracts
 * less.
 */
export interface Certificate {
  /** Number of steps at `maxLr`. */
  readonly atMaxLr: number;
  /** Number of steps at `minLr`. */
  readonly atMinLr: number;
  /** Curvatures with equal worst contraction, lowest first, and its logarithm there. */
  readonly points: readonly Peak[];
  /** The numbers of steps at the bounds that the best steps do not have. */
  readonly excluded: readonly ExcludedFace[];
}

/** A number of steps at each bound that the best steps do not have. */
export interface ExcludedFace {
  /** Number of steps at `maxLr`. */
  readonly atMaxLr: number;
  /** Number of steps at `minLr`. */
  readonly atMinLr: number;
  /** Logarithm of the best worst case with these numbers, if the other steps had no bounds. */
  readonly value: number;
  /**
   * Why the face is excluded.
   *
   * - `"outside"`: the best other steps are not within the bounds, so no optimum has exactly these numbers.
   * - `"not-better"`: `value` is no better than the best.
   */
  readonly because: "outside" | "not-better";
}

/** Largest budget. All rates are in memory, and with bounds the time grows with the fourth power of the budget. */
const maxSteps = 1_000_000;

/**
 * Finds the steps of gradient descent with the smallest worst contraction max |Π (1 − η_s λ)| over a range of
 * curvatures, with bounds on the learning rates.
 *
 * If the bounds do not matter, the result is UBA with φ = 2κ, η_max = 1/λ_l and η_min = 1/λ_u. With bounds there is no
 * closed form; docs/uba.md derives the method.
 *
 * It takes 0.2 s for 64 steps with one bound and 1 s with two, and 4 s for 256 steps with one. For larger budgets the
 * time grows with the fourth power of the budget with one bound, and with the fifth power with two.
 *
 * @param options rates in units of 1/curvature; see {@link ProblemOptions}
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range; `unsupported` if
 * rounding errors stop the iteration
 *
 * @example
 * ```ts
 * import { minimax } from "stepsize/theory";
 *
 * const { steps, value, uba } = minimax({ curvature: [0.1, 10], budget: 16, maxLr: 1 });
 * console.log(Math.exp(value), uba.worse); // the worst contraction, and by how much the best UBA is worse
 * ```
 */
export function minimax(options: ProblemOptions): Minimax {
  const problem = readProblem("minimax", options);
  const { lowest, highest, budget, maxLr, minLr } = problem;
  if (budget > maxSteps) invalidArgument("minimax.budget", `at most ${maxSteps} steps`, budget);
  // A constant rate is the best if its worst case is at a curvature where no other rate within the bounds is better.
  const middle = 2 / (lowest + highest);
  if (maxLr <= middle) return constantMinimax(lowest, problem, maxLr);
  if (minLr >= middle) return constantMinimax(highest, problem, minLr);
  if (lowest === highest) return constantMinimax(lowest, problem, 1 / lowest);

  const { best, excluded } = search(problem);
  const steps = new Float64Array(budget).fill(maxLr, 0, best.atMax).fill(minLr, budget - best.atMin);
  for (const [i, scaled] of best.solution.free.entries()) {
    steps[best.atMax + i] = Math.min(maxLr, Math.max(minLr, scaled / highest));
  }
  const points = best.solution.peaks.map(({ curvature, value }) => {
    // Scaling back may leave the range by a rounding error.
    return { curvature: Math.max(lowest, curvature * highest), value };
  });
  const certificate = { atMaxLr: best.atMax, atMinLr: best.atMin, points, excluded };
  return withUba(problem, steps, best.solution.value, certificate);
}

function constantMinimax(curvature: number, problem: Problem, rate: number): Minimax {
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

/** The best steps with `atMax` of them at the upper bound and `atMin` at the lower. Rates are in units of 1/λ_u. */
interface Face {
  readonly atMax: number;
  readonly atMin: number;
  readonly solution: Equioscillation;
}

/**
 * Relative distance outside its bound at which a rate still counts as being at it. It is as small as rounding errors:
 * the rate is moved to the bound, and the certificate must hold for the moved rate.
 */
const rounding = 4 * Number.EPSILON;

/**
 * Searches the faces in the order of their values, best first.
 *
 * A face with more steps at the bounds has fewer free steps, so its value is no better. So the first face whose free
 * steps are within the bounds is the best of all. Each face that was not visited has more steps at the bounds than one
 * that is waiting.
 */
function search({ lowest, highest, budget, maxLr, minLr }: Problem): { best: Face; excluded: ExcludedFace[] } {
  const range: CurvatureRange = [lowest / highest, 1];
  const [top, bottom] = [maxLr * highest, minLr * highest];
  const waiting: Face[] = [];
  const seen = new Set<string>();
  const visit = (atMax: number, atMin: number, start: Float64Array) => {
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

  visit(0, 0, chebyshevSteps(budget, ...range));
  for (;;) {
    const best = takeLowest(waiting);
    const { atMax, atMin, solution } = best;
    if (solution.free.every((rate) => rate <= top * (1 + rounding) && rate >= bottom * (1 - rounding))) {
      for (const face of waiting) exclude(face, "not-better");
      return { best, excluded };
    }
    exclude(best, "outside");
    // No step is at a bound beyond 1/λ_l or 1/λ_u: lowering a step above 1/λ_l improves all curvatures, and so does
    // raising one below 1/λ_u. The iteration starts from the steps of the neighboring face, without the step that is
    // nearest to the bound.
    if (maxLr * lowest < 1) visit(atMax + 1, atMin, solution.free.slice(1));
    if (minLr * highest > 1) visit(atMax, atMin + 1, solution.free.slice(0, -1));
  }
}

function takeLowest(faces: Face[]): Face {
  const lowest = faces.reduce((best, face) => (face.solution.value < best.solution.value ? face : best));
  faces.splice(faces.indexOf(lowest), 1);
  return lowest;
}

/** Returns the solution without bounds: the reciprocals of the Chebyshev nodes, highest first. */
function chebyshevSteps(budget: number, lowest: number, highest: number): Float64Array {
  return Float64Array.from({ length: budget }, (_, s) => {
    const v = Math.sin(((2 * s + 1) * Math.PI) / (4 * budget)) ** 2;
    return 1 / (lowest + (highest - lowest) * v);
  });
}
