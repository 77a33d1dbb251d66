export { Optimizer, type StepOverrides } from "./optimizer.js";
export type { LearningRate, LearningRateFunction, StepOptions } from "./options.js";
export type {
  Foreign,
  GivenParameters,
  ParameterFacts,
  ParameterGroup,
  ParameterLike,
  ParameterList,
  Trainable,
} from "./parameters.js";
export {
  Adam,
  type AdamGroupOptions,
  type AdamOptions,
  AdamW,
  Lion,
  type LionGroupOptions,
  type LionOptions,
  SGD,
  type SGDGroupOptions,
  type SGDOptions,
} from "./rules.js";
export type { OptimizerStats } from "./state.js";
