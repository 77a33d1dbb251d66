import { invalidArgument } from "../errors.js";
import { build } from "./build.js";
import { type CommonOptions, commonOptions, type Definition, floored, profile } from "./definition.js";
import { byDefault, increasing, number } from "./option.js";
import type { Schedule } from "./schedule.js";

// Schedules that only ever fall. z = s/T is the part of the steps after the warm-up that is done, from 0 up to but
// not including 1; T − s is kept whole in what follows because 1 − s/T would round.

/** The same rate, `maxLr`, throughout; `minLr` has no effect. */
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
export interface StepOptions extends CommonOptions {
  /**
   * When the rate drops, as parts of the steps after the warm-up: increasing, each above 0 and below 1. A milestone m
   * counts from step `round(m·T)` on. Default `[0.5, 0.75]`: He et al.'s drops at 32k and 48k of 64k iterations.
   */
  readonly milestones?: readonly number[];
  /** What each drop multiplies the rate by, above 0 and at most 1. Default 0.1 (He et al.). */
  readonly gamma?: number;
}

/** `maxLr·gamma^(milestones passed)`, never below `minLr`. He, Zhang, Ren, Sun, CVPR 2016. */
export function step(options: StepOptions): Schedule {
  return build(stepDefinition, options);
}

export const stepDefinition: Definition<StepOptions> = {
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
    gamma: number("what each drop multiplies the rate by", { above: 0, max: 1 }, byDefault(0.1)),
  },
  rule(options, steps) {
    // Rounded, so that 0.55 of 100 is step 55 although the product is a little more.
    const drops = options.milestones.map((milestone) => Math.round(milestone * steps));
    return floored(options, (s) => options.maxLr * options.gamma ** drops.filter((drop) => drop <= s).length);
  },
};

/** Options of {@link exponential}. */
export interface ExponentialOptions extends CommonOptions {
  /**
   * The rate that the decay reaches at the end of the budget, one step after the last: above 0, at most `maxLr`.
   * Default `minLr` where that is above 0, else `maxLr / 100`; the hundredth is a round figure, not from a paper.
   */
  readonly endLr?: number;
}

/** `maxLr·(endLr / maxLr)^z`, never below `minLr`. */
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
        value: ({ minLr, maxLr }) => (minLr as number) || (maxLr as number) / 100,
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
  /** Exponent, above 0: 1 is the linear schedule. Default 0.9, the "poly" policy of DeepLab (Chen et al., 2018). */
  readonly power?: number;
}

/** The profile `(1 − z)^power`. */
export function polynomial(options: PolynomialOptions): Schedule {
  return build(polynomialDefinition, options);
}

export const polynomialDefinition: Definition<PolynomialOptions> = {
  name: "polynomial",
  description: "A power of the part of the budget that is left",
  source: 'Chen et al., TPAMI 2018 (as "poly")',
  reachesEnd: true,
  options: { ...commonOptions, power: number("the exponent", { above: 0 }, byDefault(0.9)) },
  rule: (options, steps) => profile(options, (s) => ((steps - s) / steps) ** options.power),
};

/** The profile `1 − z`. Li, Yumer, Ramanan, "Budgeted training", ICLR 2020. */
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

/** The profile `(1 + cos πz)/2`. Loshchilov, Hutter, "SGDR", ICLR 2017. */
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

/** `(1 + cos(π·s/steps))/2` through the half angle, which keeps its digits near the end. */
export function halfCosine(s: number, steps: number): number {
  return Math.sin(((steps - s) * Math.PI) / (2 * steps)) ** 2;
}

/**
 * The profile `(1 − z) / (1/2 + (1 − z)/2)`: the published one with β = 1. Chen, Wolfe, Kyrillidis, "REX: Revisiting
 * budgeted training with an improved schedule", MLSys 2022.
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
 * The profile `1 − √z`: steep at first. A cooldown, to be joined behind other schedules ({@link joinSchedules}). Hägele et
 * al., "Scaling laws and compute-optimal training beyond fixed training durations", NeurIPS 2024.
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
