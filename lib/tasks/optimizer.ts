import type { Module } from "../nn/index.js";
import {
  Adam,
  type AdamOptions,
  AdamW,
  type LearningRate,
  Lion,
  type Optimizer,
  type ParameterGroup,
  SGD,
} from "../optim/index.js";
import type { Schedule } from "../schedule/index.js";

/** The names {@link makeOptimizer} knows. */
export const optimizerNames = ["sgd", "adam", "adamw", "lion"] as const;

/** An optimizer by its name, with the options that several of them have. */
export interface OptimizerSettings {
  readonly optimizer: (typeof optimizerNames)[number];
  /** Of the weights, not of norms and biases. */
  readonly weightDecay: number;
  /** Of `sgd`; default 0. */
  readonly momentum?: number | undefined;
  /** Global norm that longer gradients are cut to; default no limit. */
  readonly clipNorm?: number | undefined;
  readonly nonFinite: "stop" | "skip";
}

/** Makes the optimizer of a model. */
export function makeOptimizer(
  model: Module,
  { optimizer, weightDecay, momentum = 0, clipNorm, nonFinite }: OptimizerSettings,
  lr: Schedule,
): Optimizer<{ lr: LearningRate }> {
  const parameters = model.parameters();
  // Norms and biases have one axis; shrinking them only takes away what they are for.
  const noDecay: ParameterGroup<{ lr: LearningRate; weightDecay?: number }> = {
    where: (_, parameter) => parameter.shape.length < 2,
    weightDecay: 0,
  };
  // A model may have none of them: the decoders.
  const groups = parameters.some(({ shape }) => shape.length < 2) ? [noDecay] : [];
  const options: AdamOptions = { lr, weightDecay, nonFinite, groups, ...(clipNorm && { clipNorm }) };
  if (optimizer === "sgd") return new SGD(parameters, { ...options, momentum, groups });
  return new { adam: Adam, adamw: AdamW, lion: Lion }[optimizer](parameters, options);
}
