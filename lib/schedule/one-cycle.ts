import { invalidArgument } from "../errors.js";
import { build } from "./build.js";
import { halfCosine } from "./decay.js";
import { between, type Definition, floored, type RateOptions, rateOptions } from "./definition.js";
import { boolean, byDefault, choice, number, optional } from "./option.js";
import type { Schedule } from "./schedule.js";

/** Options of {@link oneCycle} and {@link oneCycleMomentum}. Except for `cycleMomentum`, the defaults are PyTorch's. */
export interface OneCycleOptions extends RateOptions {
  /** Fraction of the budget that the rise takes, from 0 to 1. Default 0.3. */
  readonly riseFraction?: number | undefined;
  /** Ratio of `maxLr` to the first rate, at least 1. Default 25. */
  readonly initialDivisor?: number | undefined;
  /** Ratio of the first rate to the last, at least 1. Default 10,000. */
  readonly finalDivisor?: number | undefined;
  /** Shape of the rise and of the fall. Default `"cosine"`. */
  readonly arms?: "cosine" | "linear" | undefined;
  /**
   * Whether the fall has two phases: first to the initial rate in as many steps as the rise took, then to the last
   * rate. It needs a `riseFraction` of at most 0.5. Default false.
   */
  readonly threePhase?: boolean | undefined;
  /**
   * Whether the schedule has a `momentum(step)`, which falls while the rate rises and rises while it falls. Default
   * false for {@link oneCycle}, true for {@link oneCycleMomentum}.
   */
  readonly cycleMomentum?: boolean | undefined;
  /** Momentum at the highest rate, from 0 to below 1. Default 0.85. */
  readonly minMomentum?: number | undefined;
  /** Momentum at the first and last step, from `minMomentum` to below 1. Default 0.95. */
  readonly maxMomentum?: number | undefined;
}

/**
 * Returns the one-cycle schedule: one rise and one long fall, as in PyTorch and fastai.
 *
 * The rate rises from `maxLr / initialDivisor` until step `riseFraction·budget − 1`, then falls to
 * `maxLr / (initialDivisor·finalDivisor)` at the last step. It is at least `minLr` at every step. The schedule has its
 * own rise and does not take `warmup`.
 *
 * Source: Smith & Topin, "Super-convergence: Very fast training of neural networks using large learning rates", 2018,
 * where rise and fall are linear.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function oneCycle(options: OneCycleOptions): Schedule {
  return build(oneCycleDefinition, options);
}

/**
 * Returns the schedule of {@link oneCycle} with a cycle of the momentum, the default of PyTorch's `OneCycleLR`.
 *
 * The optimizer needs a momentum or betas.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function oneCycleMomentum(options: OneCycleOptions): Schedule {
  return build(oneCycleMomentumDefinition, options);
}

export const oneCycleDefinition = definitionOf(
  "one-cycle",
  "One rise and one long fall, with momentum the other way round if wanted",
  false,
);

export const oneCycleMomentumDefinition = definitionOf(
  "one-cycle-momentum",
  "One rise and one long fall, with momentum the other way round: PyTorch's default",
  true,
);

/** Returns the definition of the rule. Its two names differ in the default of `cycleMomentum`. */
function definitionOf(name: string, description: string, cyclesByDefault: boolean): Definition<OneCycleOptions> {
  return {
    name,
    description,
    source: "after Smith, Topin, 2018, as in PyTorch and fastai",
    options: {
      ...rateOptions,
      riseFraction: number("fraction of the budget for the rise", { min: 0, max: 1 }, byDefault(0.3)),
      initialDivisor: number("ratio of the highest rate to the first", { min: 1 }, byDefault(25)),
      finalDivisor: number("ratio of the first rate to the last", { min: 1 }, byDefault(1e4)),
      arms: choice("the shape of rise and fall", ["cosine", "linear"], byDefault("cosine")),
      threePhase: optional(boolean("whether the fall stops at the first rate on its way"), "false"),
      cycleMomentum: boolean("whether the schedule has a momentum too", byDefault(cyclesByDefault)),
      minMomentum: number("momentum at the highest rate", { min: 0, below: 1 }, byDefault(0.85)),
      maxMomentum: number("momentum at the first and last step", { min: 0, below: 1 }, byDefault(0.95)),
    },
    riseOption: "riseFraction",
    check({ minMomentum, maxMomentum, threePhase, riseFraction }) {
      if (threePhase && riseFraction > 0.5)
        invalidArgument(`${name}.riseFraction`, "at most 0.5 with threePhase, which falls as long", riseFraction);
      if (minMomentum <= maxMomentum) return;
      invalidArgument(`${name}.minMomentum`, `at most maxMomentum, which is ${maxMomentum}`, minMomentum);
    },
    rule(options, steps) {
      const { maxLr, minMomentum, maxMomentum } = options;
      const left = options.arms === "cosine" ? halfCosine : (s: number, length: number) => (length - s) / length;
      // The ends of the phases may lie between two steps, as in PyTorch.
      const top = options.riseFraction * steps - 1;
      const bottom = options.threePhase ? 2 * top : top;
      const last = steps - 1;

      /**
       * Interpolates from `start` to `peak`, with three phases back to `start`, and to `end`. An empty phase is at its
       * end.
       */
      const cycle = (s: number, start: number, peak: number, end: number) => {
        if (s <= top) return towards(start, peak, top === 0 ? 0 : left(s, top));
        if (s <= bottom) return towards(peak, start, left(s - top, bottom - top));
        return towards(options.threePhase ? start : peak, end, left(s - bottom, last - bottom));
      };

      const first = maxLr / options.initialDivisor;
      const rule = floored(options, (s) => cycle(s, first, maxLr, first / options.finalDivisor));
      if (!options.cycleMomentum) return rule;
      return { ...rule, momentum: (s) => cycle(s, maxMomentum, minMomentum, maxMomentum) };
    },
  };
}

/** Interpolates from `start`, at `left` = 1, to `end`, at `left` = 0. Exact at both ends. */
function towards(start: number, end: number, left: number): number {
  return start < end ? between(start, end, 1 - left) : between(end, start, left);
}
