export {
  adamPreconditioner,
  type Curvature,
  type CurvatureOptions,
  curvature,
  massBounds,
  type Preconditioner,
  type Spectrum,
  spectrum,
} from "./curvature/index.js";
export * as data from "./data/index.js";
export { type ErrorCode, StepsizeError } from "./errors.js";
export * as models from "./models/index.js";
export { type ArrayOf, type DataType, Device, type DeviceOptions, listDevices, openDevice } from "./native/index.js";
export * as nn from "./nn/index.js";
export { exportOnnx, type OnnxOptions } from "./onnx/index.js";
export * from "./optim/index.js";
export * as schedule from "./schedule/index.js";
export * as theory from "./schedule/theory/index.js";
export {
  backward,
  type Differentiation,
  type NestedNumbers,
  noGrad,
  Tensor,
  type TensorOptions,
  tensor,
  tidy,
  withGradient,
} from "./tensor/index.js";
export * as ops from "./tensor/operations/index.js";
export { type GenerateOptions, generate } from "./text/index.js";
export {
  type CheckpointEvery,
  type EvaluateEvery,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type FindLearningRateOptions,
  findLearningRate,
  type LearningRateSweep,
  type LoadOptions,
  type PassOptions,
  type RunOptions,
  type StepCallback,
  type StepRecord,
  type Steps,
  type SweepPoint,
  type SweepStep,
  Trainer,
  type TrainerOptions,
} from "./train/index.js";
export {
  type BestEvaluation,
  type HostTensor,
  type HuggingFaceModel,
  type HuggingFaceOptions,
  loadHuggingFace,
  loadModel,
  loadTorchState,
  loadTorchWeights,
  loadWeights,
  readCheckpoint,
  readSafetensors,
  saveTorchState,
  saveTorchWeights,
  type TorchStateOptions,
  toTorchWeights,
  type WeightsOptions,
  writeSafetensors,
} from "./weights/index.js";
