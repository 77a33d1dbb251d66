/**
 * Data with what follows from them, and training runs put together from names: what `stepsize train` and the study share.
 *
 * @module
 */

export { loadImages } from "./images.js";
export { isSource, openTask, parseSource, resolveSource, type Source, sourcesInWords } from "./open.js";
export { makeOptimizer, type OptimizerSettings, optimizerNames } from "./optimizer.js";
export { assembleRun, type RunParts, type RunSettings } from "./run-parts.js";
export type { SplitLengths, SplitName, Task, TaskKind, TaskOptions, TrainingBatchOptions } from "./task.js";
