// The report of a check: what ran, on which device, and what was found.
import type { RelatedRow } from "../bench/index.js";

/** A value that JSON can represent. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/**
 * What is wrong with a case:
 *
 * - `wrong`: a result differs from the expected one by more than the tolerance
 * - `unwritten`: the operation left elements of a result unwritten
 * - `unstable`: two runs with the same inputs gave different bits
 * - `error`: an exception, which includes errors that the driver reports
 * - `crashed`: the process ended
 * - `hung`: the case took longer than its limit, and its process was killed
 */
export type Fault = "wrong" | "unwritten" | "unstable" | "error" | "crashed" | "hung";

/** What a case found. A case with neither a fault nor a reason not to run has passed. */
export interface Finding {
  readonly fault?: Fault;
  /** Why the case could not be judged here. It has then neither passed nor failed. */
  readonly notRun?: string;
  /** The largest error, divided by the tolerance. */
  readonly error?: number;
  /** What was expected and what came. */
  readonly message?: string;
  /** Figures that are reported and not judged. */
  readonly measured?: Readonly<Record<string, Json>>;
}

/** A failed case that was run again in another environment. */
export interface Rerun extends Omit<Finding, "notRun"> {
  /** The environment, such as `CUDA_LAUNCH_BLOCKING=1`. */
  readonly with: string;
  readonly status: "passed" | "failed" | "not run";
  /** The last lines that the process wrote. */
  readonly output?: readonly string[];
}

/** The result of a case. */
export interface CaseReport extends Omit<Finding, "notRun"> {
  /** Name of the group and of the case, such as `matmul: ragged, bfloat16`. */
  readonly name: string;
  readonly status: "passed" | "failed" | "not run";
  readonly milliseconds?: number;
  readonly reruns?: readonly Rerun[];
}

/** The result of a stage. */
export interface StageReport {
  readonly name: string;
  readonly title: string;
  /** `not run` if no case ran; `failed` if one failed; `incomplete` if some were not run and the others passed. */
  readonly status: "passed" | "failed" | "incomplete" | "not run";
  readonly seconds: number;
  readonly cases: readonly CaseReport[];
}

/** The result of a check. */
export interface CheckReport {
  readonly format: "stepsize-check-1";
  /** Whether every chosen case ran and passed. */
  readonly passed: boolean;
  /** `running` until the check has ended, for the report of a check that was killed. */
  readonly state: "running" | "finished" | "interrupted";
  readonly command: string;
  readonly started: string;
  readonly seconds: number;
  readonly versions: { readonly stepsize: string; readonly node: string; readonly commit: string | null };
  readonly machine: { readonly cpu: string; readonly cpus: number; readonly memoryBytes: number };
  /** The name of the device, and what it says of itself. */
  readonly device: { readonly name: string; readonly facts: Readonly<Record<string, string>> };
  /** What nvidia-smi reports before and after the check; empty without a GPU or without nvidia-smi. */
  readonly gpus: { readonly before: readonly GpuState[]; readonly after: readonly GpuState[] };
  readonly stages: readonly StageReport[];
  /** The rows of the stage `bench` beside the limits of the same run; absent if it measured nothing. */
  readonly bench?: readonly RelatedRow[];
}

/** The state of a GPU by the names of nvidia-smi's fields, such as `clocks.sm`. */
export type GpuState = Readonly<Record<string, string>>;

/** Returns the status of a stage with these cases. */
export function statusOf(cases: readonly CaseReport[]): StageReport["status"] {
  const has = (status: CaseReport["status"]) => cases.some((one) => one.status === status);
  if (has("failed")) return "failed";
  if (!has("not run")) return "passed";
  return has("passed") ? "incomplete" : "not run";
}
