import { invalidArgument } from "../errors.js";
import { build } from "./build.js";
import { halfCosine } from "./decay.js";
import { between, type Definition, floored, type RateOptions, rateOptions } from "./definition.js";
import { boolean, byDefault, choice, number, optional } from "./option.js";
import type { Schedule } from "./schedule.js";

/** Options of {@link oneCycle}. The defaults are PyTorch's, except that it leaves momentum alone. */
export interface OneCycleOptions extends RateOptions {
  /** Part of the budget that the rise takes, from 0 to 1. Default 0.3. */
  readonly riseFraction?: number;
  /** The first rate is `maxLr / initialDivisor`; at least 1. Default 25. */
  readonly initialDivisor?: number;
  /** The last rate is the first divided by this; at least 1. Default 10 000. */
  readonly finalDivisor?: number;
  /** The shape of rise and fall. Default `"cosine"`. */
  readonly arms?: "cosine" | "linear";
  /**
   * Whether the fall is in two phases: back to the first rate in as many steps as the rise took, then on to the last.
   * Then `riseFraction` is at most 0.5. Default false.
   */
  readonly threePhase?: boolean;
  /**
   * Whether the schedule has a `momentum(step)`, which falls while the rate rises and back. Default false; true for
   * {@link oneCycleMomentum}.
   */
  readonly cycleMomentum?: boolean;
  /** Momentum at the highest rate, from 0 to below 1. Default 0.85. */
  readonly minMomentum?: number;
  /** Momentum at the first and last step, from `minMomentum` to below 1. Default 0.95. */
  readonly maxMomentum?: number;
}

/**
 * One rise and one fall, as PyTorch and fastai have it: up from `maxLr / initialDivisor` until step
 * `riseFraction·budget − 1`, then down to `maxLr / (initialDivisor·finalDivisor)` at the last step. `minLr` is a floor
 * throughout. Refuses `warmup`.
 *
 * After Smith, Topin, "Super-convergence", 2018, whose arms are linear.
 */
export function oneCycle(options: OneCycleOptions): Schedule {
  return build(oneCycleDefinition, options);
}

/**
 * {@link oneCycle} with its momentum cycle, as PyTorch's OneCycleLR has it by default. Needs an optimizer with momentum
 * or betas.
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

/** The same rule under two names, which differ in whether momentum is cycled if nobody says. */
function definitionOf(name: string, description: string, cyclesByDefault: boolean): Definition<OneCycleOptions> {
  return {
    name,
    description,
    source: "after Smith, Topin, 2018, as in PyTorch and fastai",
    options: {
      ...rateOptions,
      riseFraction: number("part of the budget that the rise takes", { min: 0, max: 1 }, byDefault(0.3)),
      initialDivisor: number("the highest rate over the first", { min: 1 }, byDefault(25)),
      finalDivisor: number("the first rate over the last", { min: 1 }, byDefault(1e4)),
      arms: choice("the shape of rise and fall", ["cosine", "linear"], byDefault("cosine")),
      threePhase: optional(boolean("whether the fall stops at the first rate on its way"), "false"),
      cycleMomentum: boolean("whether the schedule has a momentum too", byDefault(cyclesByDefault)),
      minMomentum: number("momentum at the highest rate", { min: 0, below: 1 }, byDefault(0.85)),
      maxMomentum: number("momentum at the first and last step", { min: 0, below: 1 }, byDefault(0.95)),
    },
    ownRise: "riseFraction",
    check({ minMomentum, maxMomentum, threePhase, riseFraction }) {
      if (threePhase && riseFraction > 0.5)
        invalidArgument(`${name}.riseFraction`, "at most 0.5 with threePhase, which falls as long", riseFraction);
      if (minMomentum <= maxMomentum) return;
      invalidArgument(`${name}.minMomentum`, `at most maxMomentum, which is ${maxMomentum}`, minMomentum);
    },
    rule(options, steps) {
      const { maxLr, minMomentum, maxMomentum } = options;
      const left = options.arms === "cosine" ? halfCosine : (s: number, length: number) => (length - s) / length;
      // Neither end need be a whole step: PyTorch interpolates towards the real numbers.
      const top = options.riseFraction * steps - 1;
      const bottom = options.threePhase ? 2 * top : top;
      const last = steps - 1;

      /** From `start` to `peak`, with three phases back to `start`, and to `end`; a phase without length is at its end. */
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

/** From `start`, where all of the way is left, to `end`, where none is; exact at both. */
function towards(start: number, end: number, left: number): number {
  return start < end ? between(start, end, 1 - left) : between(end, start, left);
}
