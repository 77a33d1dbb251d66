import { build } from "./build.js";
import { halfCosine } from "./decay.js";
import { type CommonOptions, commonOptions, type Definition, profile } from "./definition.js";
import { byDefault, type Given, integer, numberIn } from "./option.js";
import type { Schedule } from "./schedule.js";

/** Options of {@link cosineRestarts}. */
export interface CosineRestartsOptions extends CommonOptions {
  /**
   * Steps in the first cycle (T_0 in the paper): a positive integer. By default three cycles fill the budget. The
   * number three is a round figure and not from the paper.
   */
  readonly firstPeriod?: number | undefined;
  /** Factor from the length of a cycle to that of the next (T_mult in the paper): a positive integer. Default 2. */
  readonly periodFactor?: number | undefined;
}

/**
 * Returns the schedule with warm restarts: cosine cycles of growing length, each from `maxLr` towards `minLr`.
 *
 * Source: Loshchilov & Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function cosineRestarts(options: CosineRestartsOptions): Schedule {
  return build(cosineRestartsDefinition, options);
}

export const cosineRestartsDefinition: Definition<CosineRestartsOptions> = {
  name: "cosine-restarts",
  description: "Cosine cycles that each start at the highest rate",
  source: "Loshchilov, Hutter, ICLR 2017",
  options: {
    ...commonOptions,
    periodFactor: integer("growth factor of the cycle length", { min: 1 }, byDefault(2)),
    firstPeriod: integer(
      "steps in the first cycle",
      { min: 1 },
      {
        text: "three cycles fill the budget",
        value(given) {
          const m = numberIn(given, "periodFactor");
          return Math.max(1, Math.ceil(decayingSteps(given) / (1 + m + m * m)));
        },
      },
    ),
  },
  rule: (options) =>
    profile(options, (s) => {
      let at = s;
      let period = options.firstPeriod;
      if (options.periodFactor === 1) at %= period;
      for (; at >= period; period *= options.periodFactor) at -= period;
      return halfCosine(at, period);
    }),
};

/** Options of {@link cyclical}. */
export interface CyclicalOptions extends CommonOptions {
  /**
   * Steps in one cycle, up and down: an integer of at least 2. By default four cycles fill the budget. The number four
   * is a round figure and not from the paper.
   */
  readonly period?: number | undefined;
}

/**
 * Returns the cyclical schedule: triangles from `minLr` up to `maxLr` and back, each over `period` steps.
 *
 * The first step has the rate `minLr`, also after a warm-up.
 *
 * Source: Smith, "Cyclical learning rates for training neural networks", WACV 2017.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function cyclical(options: CyclicalOptions): Schedule {
  return build(cyclicalDefinition, options);
}

export const cyclicalDefinition: Definition<CyclicalOptions> = {
  name: "cyclical",
  description: "Triangles between the lowest and the highest rate",
  source: "Smith, WACV 2017",
  options: {
    ...commonOptions,
    period: integer(
      "steps in one cycle, up and down",
      { min: 2 },
      { text: "a quarter of the budget", value: (given) => Math.max(2, Math.ceil(decayingSteps(given) / 4)) },
    ),
  },
  rule: (options) =>
    profile(options, (s) => {
      const at = s % options.period;
      return (2 * Math.min(at, options.period - at)) / options.period;
    }),
};

function decayingSteps(given: Given): number {
  return numberIn(given, "budget") - numberIn(given, "warmup");
}
