import { invalidArgument } from "../../errors.js";
import type { Schedule } from "../schedule.js";
import type { UbaPhase } from "../uba.js";
import { type CurvatureRange, readRange, readSteps, type Steps } from "./input.js";
import { factorsOf, highestPoint, logFactor, type Peak } from "./log-product.js";
import { type UbaCurve, ubaHighestPoint, ubaLogProduct } from "./uba-product.js";

/**
 * What gradient descent with these learning rates does to an error along an eigenvector of a quadratic's Hessian: the
 * natural logarithm of |Π (1 − η_s λ)|. Below 0 the error shrinks; −∞ where a rate is exactly 1/λ.
 *
 * UBA is not multiplied out but taken from its closed form (docs/uba.md), warm-up and phases included; to have it
 * multiplied out, give `tabulate(schedule)`. The two agree to 1e-10, except close to a zero, where either is as good as
 * the rounding of λ allows.
 *
 * @param steps a schedule over its whole budget, or learning rates one by one, in units of 1/curvature
 * @param curvature the eigenvalue λ: any finite number; along a negative one errors grow
 * @throws `invalid-argument` for anything else
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
 * The worst {@link contraction} over a range of curvatures, and the curvature where it is.
 *
 * Exact: a product of T rates has at most T + 1 lobes over the range, and the highest point of each is found. That takes
 * a time that grows with the square of the number of different rates (about 4 s for 10,000); UBA with one phase and no
 * warm-up takes the same short time for every budget.
 *
 * @param steps a schedule over its whole budget, or learning rates one by one, in units of 1/curvature
 * @param range the lowest and the highest curvature, both above 0
 * @throws `invalid-argument` for a range that is none
 */
export function worstCase(steps: Steps, range: CurvatureRange): Peak {
  const [lowest, highest] = readRange("range", range);
  if (isUba(steps)) {
    const [phase, ...others] = phasesOf(steps);
    if (others.length === 0 && stepsBefore(steps) === 0) return ubaHighestPoint(phase!, lowest, highest);
  }
  return highestPoint(factorsOf(readSteps("steps", steps)), lowest, highest);
}

function isUba(steps: Steps): steps is Schedule {
  return typeof steps === "function" && steps.name === "uba";
}

/** Steps of warm-up and hold, before the first phase. */
function stepsBefore({ options }: Schedule): number {
  const { warmup, hold = 0 } = options as { warmup: number; hold?: number };
  return warmup + hold;
}

function phasesOf(schedule: Schedule): UbaCurve[] {
  const { maxLr, minLr, phi, phases } = schedule.options as unknown as Omit<UbaCurve, "steps"> & {
    readonly phases?: readonly UbaPhase[];
  };
  const all = { maxLr, minLr, phi };
  if (phases === undefined) return [{ ...all, steps: schedule.budget - stepsBefore(schedule) }];
  return phases.map(({ iterations, ...own }) => ({ ...all, ...own, steps: iterations }));
}
