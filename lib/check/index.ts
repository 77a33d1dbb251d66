/** Checks a device: every operation, the optimizers, captures and training, each in a process of its own. */

export { type BundleObserver, writeBundle } from "./bundle.js";
export { type CheckObserver, type CheckPlan, groupsOf, runCheck } from "./check.js";
export type { CaseReport, CheckReport, Fault, Finding, Json, Rerun, StageReport } from "./report.js";
export type { CaseContext, CaseGroup, CheckCase, Scale, Stage } from "./stage.js";
export { benchStage } from "./stages/bench.js";
export { stages } from "./stages.js";
