import type { ErrorCode } from "../../errors.js";
import type { RecordedEvaluation, Row } from "../../report/index.js";
import type { Schedule } from "../../schedule/index.js";
import type { Task } from "../../tasks/index.js";
import type { TrainSettings } from "../config/train-config.js";
import type { Counted } from "../output/progress.js";
import { bytes, count, duration, percent, scoreInWords, short, some } from "../output/text.js";
import type { RunFolder } from "../run-folder.js";
import type { Change, Metric } from "./run-records.js";

/** A checkpoint that is kept because the evaluation after its step was among the best. */
export interface KeptCheckpoint {
  readonly step: number;
  /** Loss of the evaluation. */
  readonly loss: number;
  readonly checkpoint: string;
}

/** The result of a run, as in `result.json`. */
export interface RunResult {
  readonly status: "completed" | "interrupted" | "failed";
  /** Number of finished steps. */
  readonly steps: number;
  readonly budget: number;
  /** Loss of the last step; `null` before the first step and if it is not finite. */
  readonly finalLoss: number | null;
  /** Share of the test items, or of their tokens, that are predicted correctly; `null` if the run did not complete. */
  readonly testAccuracy: number | null;
  /** Mean loss on the test split; `null` if the run did not complete or it is not finite. */
  readonly testLoss: number | null;
  readonly validationAccuracy?: number;
  readonly validationLoss?: number;
  /** e to the mean loss; only for text. */
  readonly testPerplexity?: number;
  readonly validationPerplexity?: number;
  /** Root of the mean squared error in the unit of the target; only for a target of numbers. */
  readonly testRmse?: number;
  readonly validationRmse?: number;
  /** Share of the variance of the test targets that the predictions explain; only for a target of numbers. */
  readonly testR2?: number;
  /** Training time in seconds, without evaluations and checkpoints. */
  readonly seconds: number;
  readonly itemsPerSecond: number;
  /** The part of `seconds` for which the device waited for data. */
  readonly dataWait: number;
  /** Largest number of bytes of the device's memory that tensors used or kept for later ones, in the last process. */
  readonly peakMemory: number;
  readonly device: string;
  readonly kernels: string;
  readonly run: string;
  readonly checkpoint: string | null;
  /** True if the run ended before its budget, because its patience was exhausted; otherwise absent. */
  readonly stoppedEarly?: true;
  /** The checkpoints that `--keep` names, or the best one with `--patience`, the best first; absent without both. */
  readonly best?: readonly KeptCheckpoint[];
  /** Number of steps that were skipped because a gradient was not finite. */
  readonly skipped: number;
  readonly version: string;
  /** Name of the machine. */
  readonly host: string;
  /** The command of the last process that trained in the folder. */
  readonly commandLine: string;
  /** The error message of a failed run. */
  readonly error?: string;
  /** The code of the error of a failed run: `non-finite` if it diverged. Absent if the error has none. */
  readonly code?: ErrorCode;
}

/** The result so far of a run that goes on. */
export type RunSoFar = Omit<RunResult, "status"> & { readonly status: RunResult["status"] | "running" };

/** Returns the object that `--json` prints. */
export function jsonResult(result: RunResult): object {
  const { steps, budget, finalLoss, testAccuracy, seconds, itemsPerSecond, device, run } = result;
  const { testLoss, testPerplexity, testRmse, testR2 } = result;
  const ofText = testPerplexity === undefined ? {} : { testLoss, testPerplexity };
  const ofNumbers = testRmse === undefined ? {} : { testLoss, testRmse, testR2 };
  const early = result.stoppedEarly ? { stoppedEarly: true } : {};
  const scores = { finalLoss, testAccuracy, ...ofText, ...ofNumbers };
  return { steps, budget, ...early, ...scores, seconds, itemsPerSecond, device, run };
}

/** Formats the result for the terminal. */
export function summary(result: RunResult, folder: RunFolder, task: Pick<Task, "unit" | "unitsPerItem">): string {
  const lines: [string, string][] = [...scores(result, task.unit)];
  const early = result.stoppedEarly ? `, stopped early (budget ${count(result.budget)})` : "";
  lines.push(["training", `${some(result.steps, "step")} in ${speed(result, task)}${early}`]);
  lines.push(["memory", `${bytes(result.peakMemory)} on ${result.device}`]);
  if (result.dataWait >= 0.01 * result.seconds && result.seconds > 0)
    lines.push([
      "data wait",
      `${duration(result.dataWait)}, ${percent(result.dataWait / result.seconds, 0)} of the time`,
    ]);
  if (result.skipped > 0) lines.push(["skipped", some(result.skipped, "step")]);
  if (result.checkpoint) lines.push(["model", result.checkpoint]);
  const [best] = result.best ?? [];
  if (best) lines.push(["best", `${best.checkpoint} (loss ${short(best.loss)} in validation)`]);
  lines.push(["report", folder.report]);
  const width = Math.max(...lines.map(([name]) => name.length)) + 2;
  return lines.map(([name, value]) => `${name.padEnd(width)}${value}`).join("\n");
}

function scores(
  { testAccuracy, testLoss, validationAccuracy, validationLoss, testRmse, testR2, validationRmse }: RunResult,
  unit: Task["unit"],
): [string, string][] {
  const lines: [string, string][] = [];
  if (unit === "tokens") {
    if (testAccuracy !== null && testLoss !== null)
      lines.push(["test", scoreInWords({ loss: testLoss, accuracy: testAccuracy }, { unit })]);
    if (validationAccuracy !== undefined && validationLoss !== undefined)
      lines.push(["validation", scoreInWords({ loss: validationLoss, accuracy: validationAccuracy }, { unit })]);
    return lines;
  }
  if (testRmse !== undefined && testR2 !== undefined)
    lines.push(["test", `RMSE ${short(testRmse)}, R² ${short(testR2)}  (loss ${short(testLoss ?? NaN)})`]);
  if (validationRmse !== undefined) lines.push(["validation", `RMSE ${short(validationRmse)}`]);
  if (testAccuracy !== null)
    lines.push(["test accuracy", `${percent(testAccuracy)}  (loss ${short(testLoss ?? NaN)})`]);
  if (validationAccuracy !== undefined) lines.push(["validation accuracy", percent(validationAccuracy)]);
  return lines;
}

/** Writes `report.html` of a run that has ended or goes on. */
export async function writeReport(
  folder: RunFolder,
  run: {
    readonly settings: TrainSettings;
    readonly schedule: Schedule;
    readonly task: Counted;
    readonly result: RunSoFar;
    readonly metrics: readonly Metric[];
    readonly evaluations: readonly RecordedEvaluation[];
    readonly changes: readonly Change[];
  },
): Promise<void> {
  const { settings, schedule, task, result, metrics, evaluations, changes } = run;
  // Imported here, because the plotting library takes a while to load.
  const { endOf, headingOf, labelOf, runReport } = await import("../../report/index.js");
  const state = result.status === "running" ? "running" : endOf(result.status, result.code);
  const ended = {
    running: `Running: ${some(result.steps, "step")} made.`,
    completed: result.stoppedEarly ? `Stopped early after ${count(result.steps)} steps.` : "Completed.",
    interrupted: `Interrupted after ${count(result.steps)} steps.`,
    failed: `Failed after ${some(result.steps, "step")}: ${result.error}`,
  }[result.status];
  const settingRows = Object.entries(settings).map(([name, value]): Row => [headingOf(name), shown(value)]);
  await folder.writeText(
    folder.report,
    runReport({
      title: `${settings.model} on ${settings.data}`,
      badge: { text: state, isBad: state === "failed" || state === "diverged" },
      lead: `${count(result.budget)} steps of ${count(settings.batch * settings.accumulate * task.unitsPerItem)} ${task.unit} with ${settings.optimizer} and the schedule ${settings.schedule}. ${ended}`,
      figures: tiles(result, task),
      settings: settingRows,
      results: Object.entries(result).map(([name, value]): Row => [headingOf(name), shownResult(name, value)]),
      records: metrics,
      evaluations,
      changes: changes.map(({ step, field, before, after }) => [
        count(step),
        labelOf(field),
        shown(before),
        shown(after),
      ]),
      schedule,
    }),
  );
}

function tiles(
  {
    testAccuracy,
    testPerplexity,
    testRmse,
    testR2,
    validationAccuracy,
    finalLoss,
    seconds,
    itemsPerSecond,
    peakMemory,
  }: RunSoFar,
  { unit, unitsPerItem }: Counted,
): Row[] {
  return [
    ...(testPerplexity === undefined ? [] : [["Test perplexity", short(testPerplexity)] as const]),
    ...(testRmse === undefined ? [] : [["Test RMSE", short(testRmse)] as const]),
    ...(testR2 === undefined ? [] : [["Test R²", short(testR2)] as const]),
    ...(testAccuracy === null ? [] : [["Test accuracy", percent(testAccuracy)] as const]),
    ...(validationAccuracy === undefined ? [] : [["Validation accuracy", percent(validationAccuracy)] as const]),
    ["Last loss", finalLoss === null ? "–" : short(finalLoss)],
    ["Training time", duration(seconds)],
    ["Memory", bytes(peakMemory)],
    [`${unit[0]?.toUpperCase()}${unit.slice(1)} per second`, count(Math.round(itemsPerSecond * unitsPerItem))],
  ];
}

function speed(
  { seconds, itemsPerSecond }: Pick<RunResult, "seconds" | "itemsPerSecond">,
  { unit, unitsPerItem }: Counted,
): string {
  return `${duration(seconds)}, ${count(Math.round(itemsPerSecond * unitsPerItem))} ${unit}/s`;
}

/** A result with its unit. */
function shownResult(name: string, value: unknown): string {
  if (typeof value !== "number") return shown(value);
  if (name === "seconds" || name === "dataWait") return duration(value);
  if (name === "peakMemory") return bytes(value);
  if (name.endsWith("Accuracy")) return percent(value);
  if (name.endsWith("Loss")) return short(value);
  if (name === "itemsPerSecond") return count(Math.round(value));
  return Number.isInteger(value) ? count(value) : shown(value);
}

function shown(value: unknown): string {
  if (value === null) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return String(Number(value.toPrecision(6)));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
