import { byDefault, choice, integer, number, type Option, optional } from "./option.js";

/** The options of every schedule that can be fed a warm-up. */
export interface CommonOptions extends RateOptions {
  /** Steps of linear warm-up at the start of the budget, fewer than the budget. Default 0. */
  readonly warmup?: number;
  /** Steps at `maxLr` between the warm-up and the rule, inside the budget. Default 0. */
  readonly hold?: number;
  /** How steps count at both ends; see {@link Convention}. Default `"stepsize"`. */
  readonly convention?: Convention;
}

/**
 * How a schedule counts at its two ends. T is the number of steps after a warm-up of w steps.
 *
 * | | `"stepsize"` | `"peers"` |
 * | --- | --- | --- |
 * | warm-up at step s < w | `maxLr·(s + 1)/w`: no step is lost at rate 0 | `maxLr·s/w`: from 0, the peak at step w |
 * | from step `budget` on | the last step's rate | the end of the rule: `minLr` for cosine, linear, polynomial, REX |
 *
 * `"peers"` is what optax's `warmup_cosine_decay_schedule` and Hugging Face's `get_…_schedule_with_warmup` do, and PyTorch's
 * CosineAnnealingLR, LinearLR and PolynomialLR at step T. UBA and schedules in cycles have no end of their own: past the
 * budget they hold the last step's rate with either.
 */
export type Convention = "stepsize" | "peers";

/** The options of every schedule. */
export interface RateOptions {
  /** Steps of the whole run, warm-up included: a positive integer. */
  readonly budget: number;
  /** The highest learning rate, above 0. */
  readonly maxLr: number;
  /** The lowest learning rate after the warm-up, from 0 to `maxLr`. Default 0. */
  readonly minLr?: number;
}

/** Options as a rule sees them: checked, with the defaults in place. */
export type Resolved<O> = { readonly [K in keyof O]-?: Exclude<O[K], undefined> };

/** What a schedule does once its options are settled. Steps count from the end of the warm-up. */
export interface Rule {
  rate(step: number): number;
  momentum?(step: number): number;
}

/** One schedule: its table of options and its rule. What all schedules share is in `build`. */
export interface Definition<O> {
  readonly name: string;
  readonly description: string;
  /** Where the formula was published. */
  readonly source: string;
  readonly options: { readonly [K in keyof O]-?: Option };
  /** For a schedule that refuses `warmup`: the option that sets its own rise. */
  readonly ownRise?: string;
  /** Length and top of the linear warm-up, where it is not `warmup` and `maxLr`. */
  warmup?(options: Resolved<O>): { readonly steps?: number; readonly peak?: number };
  /** Checks options against each other and against the number of steps after the warm-up. */
  check?(options: Resolved<O>, steps: number): void;
  /** Whether the rule has a value at the step after the last, which is where it ends. */
  readonly reachesEnd?: boolean;
  rule(options: Resolved<O>, steps: number): Rule;
}

/** Table rows for {@link RateOptions}. */
export const rateOptions = {
  budget: integer("steps of the whole run, warm-up included", { min: 1 }),
  maxLr: number("the highest learning rate", { above: 0 }),
  minLr: number("the lowest learning rate after the warm-up", { min: 0 }, byDefault(0)),
};

/** The table row for {@link Convention}. It may be absent, so that a schedule without it is written as ever. */
export const convention = optional(
  choice("how steps count at both ends: peers warms up from 0 and ends at step budget", ["stepsize", "peers"]),
  "stepsize",
);

/** Table rows for {@link CommonOptions}. */
export const commonOptions = {
  ...rateOptions,
  warmup: integer("steps of linear warm-up, inside the budget", { min: 0 }, byDefault(0)),
  hold: optional(integer("steps at the highest rate after the warm-up, inside the budget", { min: 0 }), "0"),
  convention,
};

/** `minLr + (maxLr − minLr)·fraction` for a fraction from 0 to 1: exact at both ends, and never outside the bounds. */
export function between(minLr: number, maxLr: number, fraction: number): number {
  // One pair of bounds in a hundred has a difference that, added back, is not quite maxLr. Below 1, rounding is safe.
  return fraction === 1 ? maxLr : minLr + (maxLr - minLr) * fraction;
}

/** The rule of a schedule that scales a profile, from 1 towards 0, to the range of its rates. */
export function profile({ minLr, maxLr }: { minLr: number; maxLr: number }, fraction: (step: number) => number): Rule {
  return { rate: (step) => between(minLr, maxLr, fraction(step)) };
}

/** The rule of a schedule with a scale of its own, for which `minLr` is a floor. */
export function floored({ minLr }: { minLr: number }, rate: (step: number) => number): Rule {
  return { rate: (step) => Math.max(minLr, rate(step)) };
}
