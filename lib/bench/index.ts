/**
 * Measures the optimizer step and compares it with the memory bandwidth, per-tensor steps and PyTorch; measures the
 * operations of training steps, and whole steps.
 *
 * @module
 */

export { type BenchGroup, benchGroups } from "./groups.js";
export { type Contender, interleave, median, ratioOf, type Spread, spreadOf } from "./interleave.js";
export { currentCommit, machineFacts } from "./machine.js";
export {
  type BaselineName,
  type BaselineResult,
  type Bench,
  baselineNames,
  measure,
  problemOf,
  type Row,
} from "./measure.js";
export {
  copyMilliseconds,
  type MeasuredRow,
  matrixRate,
  measuredRow,
  type RelatedRow,
  relate,
} from "./rows.js";
export {
  bytesPerParameter,
  type MeasuredOptimizerName,
  measuredOptimizerNames,
  momentNames,
  type Setting,
  storageNames,
} from "./setting.js";
export { namedShapes, totalElements, type Workload, workloadOfShapes, workloadOfSize } from "./shapes.js";
export { type Pass, Stopwatch } from "./stopwatch.js";
export type { PlannedRow, Timing } from "./timing.js";
export { type FoundTorch, findTorch, TorchPeer } from "./torch.js";
