import { invalidArgument } from "../errors.js";
import { build } from "./build.js";
import { type CommonOptions, commonOptions, type Definition, floored, profile } from "./definition.js";
import { byDefault, increasing, number, numberIn } from "./option.js";
import type { Schedule } from "./schedule.js";

// Schedules that never rise after the warm-up. z = s/T is the completed fraction of the T steps after the warm-up, from
// 0 to below 1. The code computes with the integer T − s, because 1 − s/T would round.

/**
 * Returns the constant schedule: the rate `maxLr` at every step after the warm-up. `minLr` has no effect.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function constant(options: CommonOptions): Schedule {
  return build(constantDefinition, options);
}

export const constantDefinition: Definition<CommonOptions> = {
  name: "constant",
  description: "The same rate throughout",
  source: "",
  options: commonOptions,
  rule: (options) => profile(options, () => 1),
};

/** Options of {@link step}. */
export interface StepDecayOptions extends CommonOptions {
  /**
   * Positions of the drops, as fractions of the T steps after the warm-up: increasing, each above 0 and below 1. The
   * drop of milestone m is at step `round(m·T)`. Default `[0.5, 0.75]`, as in He et al., who drop after 32k and 48k of
   * 64k iterations.
   */
  readonly milestones?: readonly number[] | undefined;
  /** Factor of each drop, above 0 and at most 1. Default 0.1, as in He et al. */
  readonly gamma?: number | undefined;
}

/**
 * Returns the step schedule: the rate is multiplied by `gamma` at each milestone, and is at least `minLr`.
 *
 * Source: He, Zhang, Ren & Sun, "Deep residual learning for image recognition", CVPR 2016.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function step(options: StepDecayOptions): Schedule {
  return build(stepDefinition, options);
}

export const stepDefinition: Definition<StepDecayOptions> = {
  name: "step",
  description: "Drops by a factor at each milestone",
  source: "He et al., CVPR 2016",
  reachesEnd: true,
  options: {
    ...commonOptions,
    milestones: increasing(
      "when the rate drops, as parts of the budget after the warm-up",
      { above: 0, below: 1 },
      byDefault([0.5, 0.75]),
    ),
    gamma: number("factor of the rate at each milestone", { above: 0, max: 1 }, byDefault(0.1)),
  },
  rule(options, steps) {
    // The product is rounded: 0.55 · 100 is slightly above 55, but the drop belongs to step 55.
    const drops = options.milestones.map((milestone) => Math.round(milestone * steps));
    return floored(options, (s) => options.maxLr * options.gamma ** drops.filter((drop) => drop <= s).length);
  },
};

/** Options of {@link exponential}. */
export interface ExponentialOptions extends CommonOptions {
  /**
   * Rate at the end of the budget, one step after the last: above 0, at most `maxLr`. Default `minLr` if that is above
   * 0, else `maxLr / 100`. The hundredth is a round figure and not from a paper.
   */
  readonly endLr?: number | undefined;
}

/**
 * Returns the exponential schedule: the rate is multiplied by the same factor at every step, and is at least `minLr`.
 *
 * With z the completed fraction of the steps after the warm-up, the rate is `maxLr·(endLr / maxLr)^z`.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function exponential(options: ExponentialOptions): Schedule {
  return build(exponentialDefinition, options);
}

export const exponentialDefinition: Definition<ExponentialOptions> = {
  name: "exponential",
  description: "Falls by the same factor every step",
  source: "",
  reachesEnd: true,
  options: {
    ...commonOptions,
    endLr: number(
      "the rate reached at the end of the budget",
      { above: 0 },
      {
        text: "minLr if above 0, else maxLr / 100",
        value: (given) => numberIn(given, "minLr") || numberIn(given, "maxLr") / 100,
      },
    ),
  },
  check({ endLr, maxLr }) {
    if (endLr > maxLr) invalidArgument("exponential.endLr", `at most maxLr, which is ${maxLr}`, endLr);
  },
  rule: (options, steps) => floored(options, (s) => options.maxLr * (options.endLr / options.maxLr) ** (s / steps)),
};

/** Options of {@link polynomial}. */
export interface PolynomialOptions extends CommonOptions {
  /** Exponent, above 0. 1 gives the linear schedule. Default 0.9, the "poly" policy of DeepLab (Chen et al., 2018). */
  readonly power?: number | undefined;
}

/**
 * Returns the polynomial schedule: the rate is `minLr + (maxLr − minLr)·(1 − z)^power`, with z the completed fraction
 * of the steps after the warm-up.
 *
 * Source: Chen et al., "DeepLab", TPAMI 2018, as the "poly" policy.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function polynomial(options: PolynomialOptions): Schedule {
  return build(polynomialDefinition, options);
}

export const polynomialDefinition: Definition<PolynomialOptions> = {
  name: "polynomial",
  description: "A power of the remaining fraction of the budget",
  source: 'Chen et al., TPAMI 2018 (as "poly")',
  reachesEnd: true,
  options: { ...commonOptions, power: number("the exponent", { above: 0 }, byDefault(0.9)) },
  rule: (options, steps) => profile(options, (s) => ((steps - s) / steps) ** options.power),
};

/**
 * Returns the linear schedule: a straight line from `maxLr` towards `minLr`.
 *
 * The rate is `minLr + (maxLr − minLr)·(1 − z)`, with z the completed fraction of the steps after the warm-up.
 *
 * Source: Li, Yumer & Ramanan, "Budgeted training: Rethinking deep neural network training under resource constraints",
 * ICLR 2020.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function linear(options: CommonOptions): Schedule {
  return build(linearDefinition, options);
}

export const linearDefinition: Definition<CommonOptions> = {
  name: "linear",
  description: 'A straight line down ("budgeted training")',
  source: "Li, Yumer, Ramanan, ICLR 2020",
  reachesEnd: true,
  options: commonOptions,
  rule: (options, steps) => profile(options, (s) => (steps - s) / steps),
};

/**
 * Returns the cosine schedule: half a cosine wave from `maxLr` towards `minLr`.
 *
 * The rate is `minLr + (maxLr − minLr)·(1 + cos πz)/2`, with z the completed fraction of the steps after the warm-up.
 *
 * Source: Loshchilov & Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function cosine(options: CommonOptions): Schedule {
  return build(cosineDefinition, options);
}

export const cosineDefinition: Definition<CommonOptions> = {
  name: "cosine",
  description: "Half a cosine wave",
  source: "Loshchilov, Hutter, ICLR 2017",
  reachesEnd: true,
  options: commonOptions,
  rule: (options, steps) => profile(options, (s) => halfCosine(s, steps)),
};

/** Returns `(1 + cos(π·s/steps))/2`, computed with the half angle so that it stays accurate near the end. */
export function halfCosine(s: number, steps: number): number {
  return Math.sin(((steps - s) * Math.PI) / (2 * steps)) ** 2;
}

/**
 * Returns the REX schedule, which falls slowly at first and steeply at the end.
 *
 * The rate is `minLr + (maxLr − minLr)·(1 − z) / (1/2 + (1 − z)/2)`, with z the completed fraction of the steps after
 * the warm-up.
 *
 * Source: Chen, Wolfe & Kyrillidis, "REX: Revisiting budgeted training with an improved schedule", MLSys 2022, with
 * β = 1.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function rex(options: CommonOptions): Schedule {
  return build(rexDefinition, options);
}

export const rexDefinition: Definition<CommonOptions> = {
  name: "rex",
  description: "Reflected exponential: slow at first, steep at the end",
  source: "Chen, Wolfe, Kyrillidis, MLSys 2022",
  reachesEnd: true,
  options: commonOptions,
  rule: (options, steps) => profile(options, (s) => (2 * (steps - s)) / (2 * steps - s)),
};

/**
 * Returns the 1 − √ schedule, which falls steeply at first. It is meant as a cooldown after another schedule; see
 * {@link joinSchedules}.
 *
 * The rate is `minLr + (maxLr − minLr)·(1 − √z)`, with z the completed fraction of the steps after the warm-up.
 *
 * Source: Hägele et al., "Scaling laws and compute-optimal training beyond fixed training durations", NeurIPS 2024.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function oneMinusSqrt(options: CommonOptions): Schedule {
  return build(oneMinusSqrtDefinition, options);
}

export const oneMinusSqrtDefinition: Definition<CommonOptions> = {
  name: "one-minus-sqrt",
  description: "One minus a square root: steep at first, for cooldowns",
  source: "Hägele et al., NeurIPS 2024",
  reachesEnd: true,
  options: commonOptions,
  rule: (options, steps) => profile(options, (s) => 1 - Math.sqrt(s / steps)),
};
