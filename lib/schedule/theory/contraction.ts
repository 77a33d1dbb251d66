import { invalidArgument } from "../../errors.js";
import { numberIn, optionalNumberIn } from "../option.js";
import type { Schedule } from "../schedule.js";
import { phasesIn } from "../uba.js";
import { type CurvatureRange, readRange, readSteps, type Steps } from "./input.js";
import { factorsOf, highestPoint, logFactor, type Peak } from "./log-product.js";
import { type UbaCurve, ubaHighestPoint, ubaLogProduct } from "./uba-product.js";

/**
 * Returns the natural logarithm of the contraction |Π (1 − η_s λ)| of gradient descent along an eigenvector of a
 * quadratic's Hessian.
 *
 * If it is below 0, the error shrinks. It is −∞ if a rate is exactly 1/λ.
 *
 * For UBA the closed form is used (docs/uba.md), including warm-up and phases. To multiply the factors instead, pass
 * `tabulate(schedule)`. The two agree to 1e-10, except close to a zero, where rounding of λ limits both.
 *
 * @param steps a schedule over its whole budget, or an array of learning rates, in units of 1/curvature
 * @param curvature the eigenvalue λ: any finite number. For a negative one the error grows.
 * @throws StepsizeError `invalid-argument` if the curvature is not finite, or if a learning rate is negative or not
 * finite
 *
 * @example
 * ```ts
 * import { contraction } from "stepsize/theory";
 *
 * console.log(Math.exp(contraction([0.5, 0.5], 1))); // 0.25: each step halves the error
 * ```
 */
export function contraction(steps: Steps, curvature: number): number {
  if (!Number.isFinite(curvature)) invalidArgument("curvature", "a finite number", curvature);
  if (isUba(steps)) {
    let sum = 0;
    for (let s = 0; s < stepsBefore(steps); s++) sum += logFactor(steps(s) * curvature);
    for (const phase of phasesOf(steps)) sum += ubaLogProduct(phase, curvature);
    return sum;
  }
  return readSteps("steps", steps).reduce((sum, rate) => sum + logFactor(rate * curvature), 0);
}

/**
 * Returns the worst {@link contraction} over a range of curvatures, and the curvature at which it occurs.
 *
 * The result is exact: a product of T rates has at most T + 1 lobes over the range, and the highest point of each is
 * found. The time grows with the square of the number of distinct rates (about 4 s for 10,000). For UBA with one phase
 * and no warm-up it does not depend on the budget.
 *
 * @param steps a schedule over its whole budget, or an array of learning rates, in units of 1/curvature
 * @param range the lowest and the highest curvature, both above 0
 * @throws StepsizeError `invalid-argument` if the range is invalid, or if a learning rate is negative or not finite
 *
 * @example
 * ```ts
 * import { uba } from "stepsize/schedule";
 * import { worstCase } from "stepsize/theory";
 *
 * const { curvature, value } = worstCase(uba({ budget: 64, maxLr: 1, phi: 2 }), [0.1, 1]);
 * ```
 */
export function worstCase(steps: Steps, range: CurvatureRange): Peak {
  const [lowest, highest] = readRange("range", range);
  if (isUba(steps)) {
    const [phase, ...laterPhases] = phasesOf(steps);
    if (phase && laterPhases.length === 0 && stepsBefore(steps) === 0) return ubaHighestPoint(phase, lowest, highest);
  }
  return highestPoint(factorsOf(readSteps("steps", steps)), lowest, highest);
}

function isUba(steps: Steps): steps is Schedule {
  return typeof steps === "function" && steps.name === "uba";
}

/** Returns the number of steps of warm-up and hold, before the first phase. */
function stepsBefore({ options }: Schedule): number {
  return numberIn(options, "warmup") + (optionalNumberIn(options, "hold") ?? 0);
}

function phasesOf(schedule: Schedule): UbaCurve[] {
  const { options, budget } = schedule;
  const defaults = {
    maxLr: numberIn(options, "maxLr"),
    minLr: numberIn(options, "minLr"),
    phi: numberIn(options, "phi"),
  };
  const phases = phasesIn(options);
  if (phases === undefined) return [{ ...defaults, steps: budget - stepsBefore(schedule) }];
  return phases.map(({ iterations, ...phase }) => ({ ...defaults, ...phase, steps: iterations }));
}
