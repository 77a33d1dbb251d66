export { Adam, type AdamGroupOptions, type AdamOptions, AdamW } from "./adam.js";
export type { LearningRate, ParameterGroup, Trainable } from "./groups.js";
export { Optimizer, type OptimizerStats, type StepOptions } from "./optimizer.js";
export { SGD, type SGDGroupOptions, type SGDOptions } from "./sgd.js";
