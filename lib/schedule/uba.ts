import { invalidArgument } from "../errors.js";
import { build } from "./build.js";
import { between, type CommonOptions, commonOptions, type Definition } from "./definition.js";
import { byDefault, type Given, integer, number, type OptionTable, optional, withFallback } from "./option.js";
import { resolve } from "./resolve.js";
import type { Schedule } from "./schedule.js";

/** Options of {@link uba}. */
export interface UbaOptions extends Omit<CommonOptions, "maxLr"> {
  /** The highest learning rate, above 0. May be left out where every phase has its own; it is then the largest. */
  readonly maxLr?: number;
  /**
   * How soon the rate decays: above 0, sooner for larger values. Default 2, with which UBA is the cosine schedule
   * sampled at half steps; that is a neutral choice and not a recommendation of the paper.
   */
  readonly phi?: number;
  /** Consecutive decays, each from its own top; their iterations add up to `budget − warmup − hold`. Default: one phase. */
  readonly phases?: readonly UbaPhase[];
}

/** One phase of {@link uba}; what it leaves out comes from the schedule's own options. */
export interface UbaPhase {
  /** Steps in the phase: a positive integer. */
  readonly iterations: number;
  readonly maxLr?: number;
  readonly minLr?: number;
  readonly phi?: number;
}

/**
 * The unified budget-aware schedule. Over T steps, with θ = (2s + 1)·π / (2T) and c = cos θ,
 *
 *     η = η_min + (η_max − η_min) · 2(1 + c) / (2φ + (2 − φ)(1 + c))
 *
 * from A. Tang, Y. Dong, Y. Zeng, X. Zhou, Z. Lin, "Stepsize anything: A unified learning rate schedule for
 * budgeted-iteration training", NeurIPS 2025, arXiv:2505.24452. A warm-up rises to the first phase's `maxLr`.
 *
 * Throws `invalid-argument` for φ ≤ 0, rates out of order, or phases that do not fill the budget.
 */
export function uba(options: UbaOptions): Schedule {
  return build(ubaDefinition, options);
}

/**
 * UBA's profile f: the fraction of `maxLr − minLr` that is left at a step of a phase, strictly between 0 and 1.
 *
 * @param step - from 0 to `T − 1`
 * @param T - steps in the phase
 * @param phi - above 0
 * @throws `invalid-argument` for anything else
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
 * The published fraction in half angles: u = (1 + cos θ)/2 as a squared sine keeps all its digits where it is small,
 * and 1 + cos θ does not (3e-7 relative at T = 1e5).
 */
function factor(step: number, T: number, phi: number): number {
  const u = Math.sin(((2 * (T - step) - 1) * Math.PI) / (4 * T)) ** 2;
  const v = Math.sin(((2 * step + 1) * Math.PI) / (4 * T)) ** 2;
  return u / (u + (phi / 2) * v);
}

const phiAdvice = "2 is the cosine schedule, larger decays sooner";
const { maxLr, minLr } = commonOptions;
const phi = number("how soon the rate decays", { above: 0, advice: phiAdvice }, byDefault(2));

const phaseOptions: OptionTable = {
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
    maxLr: withFallback(maxLr, { text: "the highest of the phases', where each has one", value: highestOfPhases }),
    phi,
    phases: {
      kind: "phases",
      description: "consecutive decays: iterations, and optionally maxLr, minLr and phi, of each",
      mayBeAbsent: true,
      read: readPhases,
    },
  },
  warmup: (options) => ({ peak: phasesOf(options, 1)[0]!.maxLr }),
  check(options, steps) {
    const listed: readonly UbaPhase[] | undefined = options.phases;
    if (listed === undefined) return;
    for (const [i, phase] of phasesOf(options, steps).entries()) {
      if (phase.minLr <= phase.maxLr) continue;
      invalidArgument(`uba.phases[${i}].minLr`, `at most the phase's maxLr, which is ${phase.maxLr}`, phase.minLr);
    }
    const sum = listed.reduce((total, phase) => total + phase.iterations, 0);
    if (sum === steps) return;
    const { hold } = options as { hold?: number };
    const whole = hold ? "budget - warmup - hold" : "budget - warmup";
    invalidArgument("uba.phases", `iterations that add up to ${whole}, which is ${steps}`, sum);
  },
  rule(options, steps) {
    const phases = phasesOf(options, steps);
    return {
      rate(step) {
        let at = step;
        let k = 0;
        while (at >= phases[k]!.iterations) at -= phases[k++]!.iterations;
        const phase = phases[k]!;
        return between(phase.minLr, phase.maxLr, factor(at, phase.iterations, phase.phi));
      },
    };
  },
};

/** The phases with everything filled in; one of `steps` iterations where none are listed. */
function phasesOf(
  options: { maxLr: number; minLr: number; phi: number; phases?: readonly UbaPhase[] },
  steps: number,
): readonly Required<UbaPhase>[] {
  const { maxLr, minLr, phi, phases = [{ iterations: steps }] } = options;
  return phases.map((phase) => ({ maxLr, minLr, phi, ...phase }));
}

function readPhases(path: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) invalidArgument(path, "an array of at least one phase", value);
  // Array.from and not map, which would pass over places with nothing in them, however many.
  return Object.freeze(Array.from(value, (phase: unknown, i) => resolve(`${path}[${i}]`, phaseOptions, phase)));
}

function highestOfPhases(given: Given): number | undefined {
  const phases = given["phases"] as readonly UbaPhase[] | undefined;
  const rates = phases?.map((phase) => phase.maxLr) ?? [];
  // One phase without a rate of its own needs the schedule's, which only the caller knows.
  return rates.length > 0 && rates.every((rate) => rate !== undefined)
    ? rates.reduce((most, rate) => Math.max(most, rate))
    : undefined;
}
