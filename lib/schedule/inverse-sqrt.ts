import { invalidArgument } from "../errors.js";
import { build } from "./build.js";
import { type Definition, floored, type RateOptions, rateOptions } from "./definition.js";
import { integer, numberIn } from "./option.js";
import type { Schedule } from "./schedule.js";

/** Options of {@link inverseSqrt}. */
export interface InverseSqrtOptions extends RateOptions {
  /**
   * Steps of linear rise at the start, w: an integer from 1 to the budget. Default 4 % of the budget, at least 1, as in
   * Vaswani et al., who use 4,000 of 100,000 steps.
   */
  readonly riseSteps?: number | undefined;
}

/**
 * Returns the inverse square root schedule: a linear rise, then a rate proportional to 1/√(s + 1).
 *
 * The rate at step s is `maxLr·min((s + 1)/w, √(w/(s + 1)))` with w = `riseSteps`, and at least `minLr` after the rise.
 * The schedule has its own rise and does not take `warmup`.
 *
 * Source: Vaswani et al., "Attention is all you need", NeurIPS 2017. There the peak follows from the width of the
 * model; here it is `maxLr`.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function inverseSqrt(options: InverseSqrtOptions): Schedule {
  return build(inverseSqrtDefinition, options);
}

export const inverseSqrtDefinition: Definition<InverseSqrtOptions> = {
  name: "inverse-sqrt",
  description: "A linear rise, then the reciprocal square root of the step",
  source: "Vaswani et al., NeurIPS 2017",
  options: {
    ...rateOptions,
    riseSteps: integer(
      "steps of linear rise",
      { min: 1 },
      { text: "4 % of the budget", value: (given) => Math.max(1, Math.round(0.04 * numberIn(given, "budget"))) },
    ),
  },
  riseOption: "riseSteps",
  warmup: (options) => ({ steps: options.riseSteps }),
  check({ riseSteps, budget }) {
    if (riseSteps > budget) invalidArgument("inverse-sqrt.riseSteps", `at most the budget of ${budget}`, riseSteps);
  },
  rule: (options) =>
    floored(options, (s) => options.maxLr * Math.sqrt(options.riseSteps / (s + options.riseSteps + 1))),
};
