export { type HostTensor, readSafetensors, writeSafetensors } from "../files/safetensors.js";
export { readCheckpoint } from "./checkpoint-file.js";
export type { BestEvaluation, BestMetric, ModelCard } from "./checkpoint-info.js";
export { type HuggingFaceModel, type HuggingFaceOptions, loadHuggingFace } from "./hugging-face.js";
export { type LoadedModel, loadModel } from "./load-model.js";
export { loadTorchState, saveTorchState, type TorchStateOptions } from "./torch-state-file.js";
export {
  loadTorchWeights,
  loadWeights,
  saveTorchWeights,
  toTorchWeights,
  type WeightsOptions,
} from "./torch-weights.js";
