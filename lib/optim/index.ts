export { Adam, type AdamGroupOptions, type AdamOptions, AdamW } from "./adam.js";
export type { LearningRate, LearningRateFunction, ParameterGroup } from "./groups.js";
export { Lion, type LionGroupOptions, type LionOptions } from "./lion.js";
export { Optimizer, type OptimizerStats, type StepOverrides } from "./optimizer.js";
export type { Foreign, ParameterFacts, ParameterLike, Trainable } from "./parameters.js";
export { SGD, type SGDGroupOptions, type SGDOptions } from "./sgd.js";
export type { StepOptions } from "./step-options.js";
