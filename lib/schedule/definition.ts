import type { Resolved } from "../options.js";
import { byDefault, choice, integer, number, type Option, optional } from "./option.js";

/** Options of every schedule that takes a warm-up. */
export interface CommonOptions extends RateOptions {
  /** Steps of linear warm-up at the start of the budget: an integer from 0 to below the budget. Default 0. */
  readonly warmup?: number | undefined;
  /** Steps at `maxLr` between the warm-up and the decay, within the budget. Default 0. */
  readonly hold?: number | undefined;
  /** Which steps the warm-up and the decay count; see {@link Convention}. Default `"stepsize"`. */
  readonly convention?: Convention | undefined;
}

/**
 * How a schedule counts steps at the start of the warm-up and at the end of the budget, with a warm-up of w steps.
 *
 * | | `"stepsize"` | `"peers"` |
 * | --- | --- | --- |
 * | warm-up at step s < w | `maxLr·(s + 1)/w`: the first rate is above 0 | `maxLr·s/w`: the first rate is 0 |
 * | from step `budget` on | the rate of the last step | the end of the decay: `minLr` for cosine, linear, … |
 *
 * `"peers"` is the convention of optax's `warmup_cosine_decay_schedule`, of Hugging Face's
 * `get_…_schedule_with_warmup`, and of PyTorch's `CosineAnnealingLR`, `LinearLR` and `PolynomialLR`. UBA and the cyclic
 * schedules are not defined past the budget. They keep the rate of the last step with either convention.
 */
export type Convention = "stepsize" | "peers";

/** Options of every schedule. */
export interface RateOptions {
  /** Number of steps of the whole run, including the warm-up: a positive integer. */
  readonly budget: number;
  /** Highest learning rate, above 0. */
  readonly maxLr: number;
  /** Lowest learning rate after the warm-up, from 0 to `maxLr`. Default 0. */
  readonly minLr?: number | undefined;
}

/**
 * The rate, and perhaps the momentum, of a schedule with resolved options. Steps count from the end of warm-up and
 * hold.
 */
export interface Rule {
  rate(step: number): number;
  momentum?(step: number): number;
}

/** The definition of a schedule: its table of options and its rule. `build` has what all schedules share. */
export interface Definition<O> {
  readonly name: string;
  readonly description: string;
  /** The publication of the formula. */
  readonly source: string;
  readonly options: { readonly [K in keyof O]-?: Option };
  /** The option that sets the rise of a schedule in place of `warmup`. A schedule that has one does not take `warmup`. */
  readonly riseOption?: string;
  /** Returns the length and the peak of the linear warm-up, if they are not `warmup` and `maxLr`. */
  warmup?(options: Resolved<O>): { readonly steps?: number; readonly peak?: number };
  /** Checks options against each other and against the number of steps after warm-up and hold. */
  check?(options: Resolved<O>, steps: number): void;
  /** Whether the rule is defined at the step after the last, the end of the decay. */
  readonly reachesEnd?: boolean;
  rule(options: Resolved<O>, steps: number): Rule;
}

/** The table rows of {@link RateOptions}. */
export const rateOptions = {
  budget: integer("steps of the whole run, warm-up included", { min: 1 }),
  maxLr: number("the highest learning rate", { above: 0 }),
  minLr: number("the lowest learning rate after the warm-up", { min: 0 }, byDefault(0)),
};

/** The table row of {@link Convention}. It may be absent, so that the JSON of schedules without it stays the same. */
export const convention = optional(
  choice("counting of steps at both ends; peers warms up from 0 and ends at step budget", ["stepsize", "peers"]),
  "stepsize",
);

/** The table rows of {@link CommonOptions}. */
export const commonOptions = {
  ...rateOptions,
  warmup: integer("steps of linear warm-up, inside the budget", { min: 0 }, byDefault(0)),
  hold: optional(integer("steps at the highest rate after the warm-up, inside the budget", { min: 0 }), "0"),
  convention,
};

/** Returns `minLr + (maxLr − minLr)·fraction` for a fraction from 0 to 1. Exact at both ends and within the bounds. */
export function between(minLr: number, maxLr: number, fraction: number): number {
  // For about one pair of bounds in a hundred, minLr + (maxLr − minLr) rounds to another number than maxLr.
  return fraction === 1 ? maxLr : minLr + (maxLr - minLr) * fraction;
}

/** Returns the rule of a schedule that scales a profile, from 1 towards 0, to the range from `minLr` to `maxLr`. */
export function profile({ minLr, maxLr }: { minLr: number; maxLr: number }, fraction: (step: number) => number): Rule {
  return { rate: (step) => between(minLr, maxLr, fraction(step)) };
}

/** Returns the rule of a schedule whose rate is at least `minLr`. */
export function floored({ minLr }: { minLr: number }, rate: (step: number) => number): Rule {
  return { rate: (step) => Math.max(minLr, rate(step)) };
}
