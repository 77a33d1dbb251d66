/**
 * Studies that compare schedules: on training runs with equal tuning, and on quadratics, where the optimum is known.
 *
 * @module
 */

export { completeStudy, defaultSchedules } from "./complete-study.js";
export type { QuadraticsStudy, Study, TrainingStudy } from "./config.js";
export { type EngineOptions, runStudy, type StudyListener, type StudyProgress } from "./engine.js";
export { StudyFolder } from "./folder.js";
export type { Cell, PlannedRun, RunSpec } from "./plan.js";
export { type SolveOptions, solveQuadratics } from "./quadratics.js";
export { type Given, pathInWords } from "./read-fields.js";
export { type ReadRecords, type RunRecord, readRecords } from "./records.js";
export { type QuadraticResults, writeQuadraticsReport, writeTrainingReport } from "./report.js";
export type { TrainingResults } from "./results.js";
export { quadraticsFields, trainingFields } from "./schema.js";
