import { invalidArgument } from "../errors.js";
import { build } from "./build.js";
import { type Convention, convention, type Definition, profile, type RateOptions, rateOptions } from "./definition.js";
import { byDefault, choice, integer, number, numberIn } from "./option.js";
import type { Schedule } from "./schedule.js";

/** Options of {@link warmupStableDecay}. */
export interface WarmupStableDecayOptions extends RateOptions {
  /** Steps of linear rise at the start, at least 0. Default 1 % of the budget, a round figure and not from a paper. */
  readonly riseSteps?: number | undefined;
  /** Steps of cooldown at the end, at least 0. Default 20 % of the budget (Hägele et al.). */
  readonly cooldownSteps?: number | undefined;
  /** Shape of the cooldown. Default `"linear"`. */
  readonly cooldown?: "linear" | "sqrt" | "exponential" | undefined;
  /**
   * Fraction of `maxLr − minLr` that is left at the end of an exponential cooldown, above 0 and below 1. Default 0.1.
   * Hu et al. write the same curve with a half-life.
   */
  readonly cooldownFactor?: number | undefined;
  /** Which steps the warm-up and the decay count; see {@link Convention}. Default `"stepsize"`. */
  readonly convention?: Convention | undefined;
}

/**
 * Returns the warmup-stable-decay schedule: a linear rise, a constant rate, and a cooldown towards `minLr`.
 *
 * During the cooldown the rate is `minLr + (maxLr − minLr)·f(x)`, with x the completed fraction of the cooldown, from 0
 * to below 1. f is `1 − x` (linear), `1 − √x` (sqrt) or `cooldownFactor^x` (exponential). The schedule has its own rise
 * and does not take `warmup`.
 *
 * Sources: Hu et al., "MiniCPM", 2024 (exponential); Hägele et al., "Scaling laws and compute-optimal training beyond
 * fixed training durations", NeurIPS 2024 (sqrt).
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range, or if rise and
 * cooldown together are longer than the budget
 */
export function warmupStableDecay(options: WarmupStableDecayOptions): Schedule {
  return build(warmupStableDecayDefinition, options);
}

export const warmupStableDecayDefinition: Definition<WarmupStableDecayOptions> = {
  name: "wsd",
  description: "Warm-up, stable rate, decay in a cooldown at the end",
  source: "Hu et al., 2024; Hägele et al., NeurIPS 2024",
  options: {
    ...rateOptions,
    riseSteps: integer(
      "steps of linear rise",
      { min: 0 },
      { text: "1 % of the budget", value: (given) => Math.round(0.01 * numberIn(given, "budget")) },
    ),
    cooldownSteps: integer(
      "steps of cooldown at the end",
      { min: 0 },
      { text: "20 % of the budget", value: (given) => Math.round(0.2 * numberIn(given, "budget")) },
    ),
    cooldown: choice("the cooldown's shape", ["linear", "sqrt", "exponential"], byDefault("linear")),
    cooldownFactor: number(
      "fraction of the rate at the end of an exponential cooldown",
      { above: 0, below: 1 },
      byDefault(0.1),
    ),
    convention,
  },
  reachesEnd: true,
  riseOption: "riseSteps",
  warmup: (options) => ({ steps: options.riseSteps }),
  check({ riseSteps, cooldownSteps, budget }) {
    const both = riseSteps + cooldownSteps;
    if (both > budget) invalidArgument("wsd.riseSteps + cooldownSteps", `at most the budget of ${budget}`, both);
  },
  rule(options, steps) {
    const { cooldownSteps } = options;
    const shapes = {
      linear: (x: number) => 1 - x,
      sqrt: (x: number) => 1 - Math.sqrt(x),
      exponential: (x: number) => options.cooldownFactor ** x,
    };
    const shape = shapes[options.cooldown];
    const begin = steps - cooldownSteps;
    return profile(options, (s) => (s < begin || cooldownSteps === 0 ? 1 : shape((s - begin) / cooldownSteps)));
  },
};
