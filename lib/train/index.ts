export { bestOf } from "./best-evaluation.js";
export { type EvaluateOptions, type Evaluation, evaluate, type PassOptions } from "./evaluate.js";
export {
  type FindLearningRateOptions,
  findLearningRate,
  type LearningRateSweep,
  type SweepPoint,
  type SweepStep,
} from "./find-learning-rate.js";
export { type Allowed, allowedNames, type LoadOptions } from "./run-identity.js";
export type { CheckpointEvery, EvaluateEvery, RunOptions, StepCallback, Steps } from "./run-options.js";
export type { StepRecord } from "./step-record.js";
export { Trainer } from "./trainer.js";
export type { TrainerOptions } from "./trainer-options.js";
