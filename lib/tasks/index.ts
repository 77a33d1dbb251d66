/**
 * Tasks (data with their loss and models), and training runs assembled from names, for `stepsize train` and for studies.
 *
 * @module
 */

export { formOfCard, type LoadImagesOptions, loadImages } from "./images.js";
export { evaluationWindows } from "./language.js";
export {
  hasValidation,
  isSource,
  openTask,
  parseSource,
  resolveSource,
  type Source,
  sourceKinds,
  sourcesInWords,
  sourcesWith,
  takesOption,
} from "./open.js";
export { makeOptimizer, type OptimizerSettings } from "./optimizer.js";
export { assembleRun, productsOf, type RunParts, type RunPrecision, type RunSettings } from "./run-parts.js";
export { isTableKind } from "./tables.js";
export {
  defaultContext,
  type GivenReadOptions,
  type Pretrained,
  type ReadOption,
  type ReadOptions,
  readOptionNames,
  readOptionsOf,
  type SplitLengths,
  type SplitName,
  type StudyReadOptions,
  type TableReadOptions,
  type Task,
  type TaskKind,
  type TaskOptions,
  type TrainingBatchOptions,
} from "./task.js";
