import type { Module } from "../nn/index.js";
import { type NamedOptimizerOptions, type OptimizerName, optimizersByName, takesMomentum } from "../optim/by-name.js";
import type { LearningRate, Optimizer, ParameterGroup } from "../optim/index.js";

/** The name of an optimizer and its options. */
export interface OptimizerSettings {
  readonly optimizer: OptimizerName;
  /** Weight decay, not applied to norms and biases. */
  readonly weightDecay: number;
  /** Momentum, only of an optimizer that takes one; default 0. */
  readonly momentum?: number | undefined;
  /** Largest gradient norm; larger gradients are scaled down to it. Default no limit. */
  readonly clipNorm?: number | undefined;
  readonly nonFinite: "stop" | "skip";
}

/** Creates the optimizer of a model. */
export function makeOptimizer(
  model: Module,
  { optimizer, weightDecay, momentum = 0, clipNorm, nonFinite }: OptimizerSettings,
  lr: LearningRate,
): Optimizer<{ lr: LearningRate }> {
  const parameters = model.parameters();
  // Norms and biases have fewer than two axes. Decay would only weaken their effect.
  const noDecay: ParameterGroup<{ lr: LearningRate; weightDecay?: number }> = {
    where: (_, parameter) => parameter.shape.length < 2,
    weightDecay: 0,
  };
  // An empty group is an error, so it is left out for a model without norms and biases.
  const groups = parameters.some(({ shape }) => shape.length < 2) ? [noDecay] : [];
  const options: NamedOptimizerOptions = { lr, weightDecay, nonFinite, groups, ...(clipNorm && { clipNorm }) };
  const used = takesMomentum(optimizer) ? { ...options, momentum } : options;
  return new optimizersByName[optimizer].class(parameters, used);
}
