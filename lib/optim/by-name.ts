import type { Optimizer } from "./optimizer.js";
import type { LearningRate, StepOptions } from "./options.js";
import type { ParameterGroup, ParameterLike } from "./parameters.js";
import { Adam, AdamW, Lion, SGD } from "./rules.js";

/** The options of an optimizer that is chosen by name. Only optimizers that take a momentum accept `momentum`. */
export interface NamedOptimizerOptions extends StepOptions {
  lr: LearningRate;
  weightDecay?: number | undefined;
  momentum?: number | undefined;
  readonly groups?: readonly ParameterGroup<{ lr: LearningRate; weightDecay?: number }>[];
}

/** Facts about an optimizer that is chosen by name. */
export interface NamedOptimizer {
  readonly class: new (
    parameters: readonly ParameterLike[],
    options: NamedOptimizerOptions,
  ) => Optimizer<{ lr: LearningRate }>;
  /** Name of the update rule in `native/update/rules.h`, for a step without momentum. */
  readonly rule: string;
  /** Name of PyTorch's class; absent if PyTorch has none. */
  readonly torch?: string;
  /** Default momentum of a run; absent if the optimizer takes no momentum. */
  readonly momentum?: number;
  /** Default weight decay of a run. */
  readonly weightDecay: number;
  /** Usual highest learning rates: the defaults of a run on images and on text, and the center of a study's grid. */
  readonly maxLr: { readonly images: number; readonly text: number; readonly study: number };
}

/**
 * The optimizers by the names that commands and studies use, with their defaults.
 *
 * AdamW's rate for text was chosen for most schedules in docs/studies/sotu-olmo-nano. A study may have images and text
 * at once and has one grid for both. Its center is the rate for text, except for Lion: a tenth of AdamW's rate, which is
 * the lower end of what Lion's paper suggests. Runs on text with Lion have a higher default.
 */
const table = {
  sgd: {
    class: SGD,
    rule: "sgd",
    torch: "SGD",
    momentum: 0.9,
    weightDecay: 0,
    maxLr: { images: 0.1, text: 0.1, study: 0.1 },
  },
  adam: {
    class: Adam,
    rule: "adam",
    torch: "Adam",
    weightDecay: 0,
    maxLr: { images: 1e-3, text: 1e-3, study: 1e-3 },
  },
  adamw: {
    class: AdamW,
    rule: "adam",
    torch: "AdamW",
    weightDecay: 0.01,
    maxLr: { images: 1e-2, text: 2e-3, study: 2e-3 },
  },
  lion: {
    class: Lion,
    rule: "lion",
    weightDecay: 0,
    maxLr: { images: 1e-3, text: 1e-3, study: 2e-4 },
  },
} satisfies Readonly<Record<string, NamedOptimizer>>;

/** The name of an optimizer, as commands and studies use it. */
export type OptimizerName = keyof typeof table;

/** The names of all optimizers. */
export const optimizerNames = Object.keys(table) as readonly OptimizerName[];

/** The facts about each optimizer, by its name. */
export const optimizersByName: Readonly<Record<OptimizerName, NamedOptimizer>> = table;

/** The optimizer of runs and studies that name none. */
export const defaultOptimizer: OptimizerName = "adamw";

/** Returns whether an optimizer takes a momentum. */
export function takesMomentum(name: OptimizerName): boolean {
  return optimizersByName[name].momentum !== undefined;
}
