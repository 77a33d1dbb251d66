export { type HostTensor, readSafetensors, writeSafetensors } from "../files/safetensors.js";
export type { BestEvaluation, BestMetric } from "./best-evaluation.js";
export { type EvaluateOptions, type Evaluation, evaluate, type PassOptions } from "./evaluate.js";
export { type HuggingFaceModel, type HuggingFaceOptions, loadHuggingFace } from "./hugging-face.js";
export { type Allowed, allowedNames, type LoadOptions } from "./run-identity.js";
export type { CheckpointEvery, EvaluateEvery, RunOptions, StepCallback, Steps } from "./run-options.js";
export { type LoadedModel, loadModel, type ModelCard, readCheckpoint } from "./saved-model.js";
export type { StepRecord } from "./step-record.js";
export { loadTorchState, saveTorchState, type TorchStateOptions } from "./torch-state-file.js";
export {
  loadTorchWeights,
  loadWeights,
  saveTorchWeights,
  toTorchWeights,
  type WeightsOptions,
} from "./torch-weights.js";
export { Trainer } from "./trainer.js";
export type { TrainerOptions } from "./trainer-options.js";
