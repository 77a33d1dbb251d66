import { invalidArgument } from "../errors.js";
import { itemAt } from "../lookup.js";
import { build } from "./build.js";
import { between, type CommonOptions, commonOptions, type Definition } from "./definition.js";
import { byDefault, type Given, integer, number, type OptionTable, optional, withFallback } from "./option.js";
import { resolve } from "./resolve.js";
import type { Schedule } from "./schedule.js";

/** Options of {@link uba}. */
export interface UbaOptions extends Omit<CommonOptions, "maxLr"> {
  /** Highest learning rate, above 0. Optional if every phase has its own; it is then the largest of them. */
  readonly maxLr?: number | undefined;
  /**
   * Shape parameter φ, above 0: with a larger φ the rate decays sooner. Default 2, which gives the cosine schedule at
   * half steps. This is a neutral choice and not a recommendation of the paper.
   */
  readonly phi?: number | undefined;
  /** Consecutive decays. Their `iterations` must add up to `budget − warmup − hold`. Default: one phase. */
  readonly phases?: readonly UbaPhase[] | undefined;
}

/** One phase of {@link uba}. An option that it leaves out has the value of the schedule's own option. */
export interface UbaPhase {
  /** Number of steps in the phase: a positive integer. */
  readonly iterations: number;
  /** Highest learning rate of the phase, above 0. Default: that of the schedule. */
  readonly maxLr?: number;
  /** Lowest learning rate of the phase, from 0 to its `maxLr`. Default: that of the schedule. */
  readonly minLr?: number;
  /** Shape parameter φ of the phase, above 0. Default: that of the schedule. */
  readonly phi?: number;
}

/**
 * Returns the unified budget-aware (UBA) schedule.
 *
 * The rate at step s of T steps, with θ = (2s + 1)·π / (2T) and c = cos θ, is
 *
 *     η = η_min + (η_max − η_min) · 2(1 + c) / (2φ + (2 − φ)(1 + c))
 *
 * A warm-up rises to the `maxLr` of the first phase.
 *
 * Source: A. Tang, Y. Dong, Y. Zeng, X. Zhou, Z. Lin, "Stepsize anything: A unified learning rate schedule for
 * budgeted-iteration training", NeurIPS 2025, arXiv:2505.24452.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range, or if the phases do
 * not fill the budget
 *
 * @example
 * ```ts
 * import { uba } from "stepsize/schedule";
 *
 * const lr = uba({ budget: 1000, maxLr: 0.1, phi: 5, warmup: 50 });
 * const rates = Array.from({ length: lr.budget }, (_, step) => lr(step));
 * ```
 */
export function uba(options: UbaOptions): Schedule {
  return build(ubaDefinition, options);
}

/**
 * Returns the profile of UBA: the fraction of `maxLr − minLr` at a step of a phase, strictly between 0 and 1.
 *
 * See {@link uba} for the formula.
 *
 * @param step the index of the step in the phase, from 0 to `T − 1`
 * @param T number of steps in the phase, at least 1
 * @param phi shape parameter φ, above 0
 * @throws StepsizeError `invalid-argument` if an argument is out of range
 */
export function ubaFactor(step: number, T: number, phi: number): number {
  if (!Number.isSafeInteger(T) || T < 1) invalidArgument("T", "an integer of at least 1", T);
  if (!Number.isInteger(step) || step < 0 || step >= T) {
    invalidArgument("step", `an integer from 0 to T - 1, which is ${T - 1}`, step);
  }
  if (!Number.isFinite(phi) || phi <= 0) invalidArgument("phi", `a finite number above 0 (${phiAdvice})`, phi);
  return factor(step, T, phi);
}

/**
 * Returns the published fraction, computed with half angles. u = (1 + cos θ)/2 is accurate as a squared sine even if it
 * is small, while 1 + cos θ has a relative error of 3e-7 at T = 1e5.
 */
function factor(step: number, T: number, phi: number): number {
  const u = Math.sin(((2 * (T - step) - 1) * Math.PI) / (4 * T)) ** 2;
  const v = Math.sin(((2 * step + 1) * Math.PI) / (4 * T)) ** 2;
  return u / (u + (phi / 2) * v);
}

const phiAdvice = "2 gives the cosine schedule; a larger value decays sooner";
const { maxLr, minLr } = commonOptions;
const phi = number("shape: a larger phi decays sooner", { above: 0, advice: phiAdvice }, byDefault(2));

const phaseOptions: OptionTable<UbaPhase> = {
  iterations: integer("steps in the phase", { min: 1 }),
  maxLr: optional(maxLr),
  minLr: optional(minLr),
  phi: optional(phi),
};

export const ubaDefinition: Definition<UbaOptions> = {
  name: "uba",
  description: "Unified budget-aware: one shape parameter, phi, from flat through cosine to early decay",
  source: "Tang et al., NeurIPS 2025, arXiv:2505.24452",
  options: {
    ...commonOptions,
    maxLr: withFallback(maxLr, { text: "the highest maxLr of the phases, if each has one", value: highestOfPhases }),
    phi,
    phases: {
      kind: "phases",
      description: "consecutive decays; each has iterations, and optionally maxLr, minLr and phi",
      mayBeAbsent: true,
      read: readPhases,
    },
  },
  warmup: (options) => ({ peak: itemAt(phasesOf(options, 1), 0).maxLr }),
  check(options, steps) {
    const listed: readonly UbaPhase[] | undefined = options.phases;
    if (listed === undefined) return;
    for (const [i, phase] of phasesOf(options, steps).entries()) {
      if (phase.minLr <= phase.maxLr) continue;
      invalidArgument(`uba.phases[${i}].minLr`, `at most the phase's maxLr, which is ${phase.maxLr}`, phase.minLr);
    }
    const sum = listed.reduce((total, phase) => total + phase.iterations, 0);
    if (sum === steps) return;
    const hold: number | undefined = options.hold;
    const whole = hold ? "budget - warmup - hold" : "budget - warmup";
    invalidArgument("uba.phases", `iterations that add up to ${whole}, which is ${steps}`, sum);
  },
  rule(options, steps) {
    const phases = phasesOf(options, steps);
    return {
      rate(step) {
        let at = step;
        let k = 0;
        let phase = itemAt(phases, 0);
        while (at >= phase.iterations) {
          at -= phase.iterations;
          phase = itemAt(phases, ++k);
        }
        return between(phase.minLr, phase.maxLr, factor(at, phase.iterations, phase.phi));
      },
    };
  },
};

/** Returns the phases with all options; one phase of `steps` iterations if none are listed. */
function phasesOf(
  options: { maxLr: number; minLr: number; phi: number; phases?: readonly UbaPhase[] },
  steps: number,
): readonly Required<UbaPhase>[] {
  const { maxLr, minLr, phi, phases = [{ iterations: steps }] } = options;
  return phases.map((phase) => ({ maxLr, minLr, phi, ...phase }));
}

function readPhases(path: string, value: unknown): readonly UbaPhase[] {
  if (!Array.isArray(value) || value.length === 0) invalidArgument(path, "an array of at least one phase", value);
  // Array.from and not map, which would skip empty slots of a sparse array.
  return Object.freeze(Array.from(value, (phase: unknown, i) => resolve(`${path}[${i}]`, phaseOptions, phase)));
}

/** Returns the phases among checked options of UBA; `undefined` if there are none. */
export function phasesIn(options: Given): readonly UbaPhase[] | undefined {
  return options["phases"] as readonly UbaPhase[] | undefined;
}

function highestOfPhases(given: Given): number | undefined {
  const rates = phasesIn(given)?.map((phase) => phase.maxLr) ?? [];
  // If a phase has no rate, it needs the schedule's, which the caller must give.
  return rates.length > 0 && rates.every((rate) => rate !== undefined)
    ? rates.reduce((highest, rate) => Math.max(highest, rate))
    : undefined;
}
