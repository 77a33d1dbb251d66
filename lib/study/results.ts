import { StepsizeError } from "../errors.js";
import { valueAt } from "../lookup.js";
import type { StudySchedule, TrainingStudy } from "./config.js";
import { type Cell, type CellPlan, planOf, runsOf } from "./plan.js";
import type { RunRecord, SplitResult } from "./records.js";
import {
  confidenceOf,
  type Difference,
  holm,
  pairedDifference,
  type Summary,
  summarize,
  type Verdict,
  verdictOn,
} from "./statistics.js";
import type { Exploration, Trial } from "./tuning.js";

/** The results of a training study, as in `results.json`. They depend only on the settings and the records. */
export interface TrainingResults {
  readonly format: "stepsize-study-1";
  readonly study: TrainingStudy;
  /** Whether all runs are finished. */
  readonly complete: boolean;
  /** Number of the study's runs that have a record. */
  readonly runs: number;
  /** Time of these runs in seconds. */
  readonly seconds: number;
  readonly devices: readonly string[];
  readonly versions: readonly string[];
  readonly cells: readonly CellResult[];
}

/** The results of one model on one data set with one optimizer and budget. */
export interface CellResult {
  readonly model: string;
  readonly data: string;
  readonly optimizer: string;
  readonly budget: number;
  readonly steps: number;
  /** Whether all final runs are finished. Before that, nothing is compared. */
  readonly complete: boolean;
  /** Number of trials of each schedule. */
  readonly trials: number;
  /** Confidence of each interval. The intervals of the cell hold together with 95 % (Bonferroni). */
  readonly confidence: number;
  readonly schedules: readonly ScheduleResult[];
}

/** The results of one schedule in a cell. */
export interface ScheduleResult {
  readonly schedule: string;
  readonly tuning: {
    readonly trials: readonly ScoredTrial[];
    readonly extensions: number;
    /** The chosen trial; absent until tuning has ended. */
    readonly best?: Trial;
    /** Whether the chosen trial is at the edge of the grid. */
    readonly onEdge?: boolean;
  };
  readonly runs: readonly FinalRun[];
  /** Loss of the final runs on the test split; absent if a run is missing or diverged. */
  readonly loss?: Summary;
  readonly accuracy?: Summary;
  /** Rank by the mean of the measure, from 1. Schedules that diverged come last. */
  readonly rank?: number;
  /** This schedule minus UBA in the measure, paired by seed. */
  readonly versusUba?: {
    readonly verdict: Verdict | "diverged";
    readonly difference?: Difference;
    /** The difference's p-value, adjusted for all comparisons of the cell (Holm). */
    readonly adjustedP?: number;
  };
}

export type ScoredTrial = Trial & {
  readonly diverged?: boolean;
  readonly loss?: number | undefined;
  readonly accuracy?: number | undefined;
};

export interface FinalRun {
  readonly id: string;
  readonly seed: number;
  readonly diverged?: true;
  readonly test?: SplitResult;
  readonly validation?: SplitResult;
  readonly trainLoss: number | null;
}

/**
 * Computes the results of a study from its records, finished or not.
 * @throws StepsizeError `invalid-argument` if the measure is `accuracy` and the data have no classes
 */
export function trainingResults(study: TrainingStudy, records: ReadonlyMap<string, RunRecord>): TrainingResults {
  const plans = planOf(study, records);
  const used = plans.flatMap((plan) => recordsOf(study, plan, records));
  const cells = plans.map((plan) => cellResult(study, plan, records));
  const distinct = (values: readonly string[]) => [...new Set(values)].sort();
  return {
    format: "stepsize-study-1",
    study,
    complete: cells.every(({ complete }) => complete),
    runs: used.length,
    seconds: Math.round(used.reduce((sum, { seconds }) => sum + seconds, 0)),
    devices: distinct(used.map(({ device }) => device)),
    versions: distinct(used.map(({ version }) => version)),
    cells,
  };
}

/** Returns the records of a schedule's final runs in a cell; none before tuning has ended. */
export function finalRecords(
  study: TrainingStudy,
  cell: Cell,
  schedule: StudySchedule,
  best: Trial | undefined,
  records: ReadonlyMap<string, RunRecord>,
): RunRecord[] {
  if (best === undefined) return [];
  return runsOf(study, cell, "final", schedule, best).flatMap(({ id }) => records.get(id) ?? []);
}

function recordsOf(
  study: TrainingStudy,
  { cell, tuning }: CellPlan,
  records: ReadonlyMap<string, RunRecord>,
): RunRecord[] {
  return study.schedules.flatMap((schedule) => {
    const { trials, best } = valueAt(tuning, schedule.name);
    const tried = trials.flatMap(({ trial }) => runsOf(study, cell, "tuning", schedule, trial));
    return [...tried.flatMap(({ id }) => records.get(id) ?? []), ...finalRecords(study, cell, schedule, best, records)];
  });
}

function cellResult(
  study: TrainingStudy,
  { cell, tuning }: CellPlan,
  records: ReadonlyMap<string, RunRecord>,
): CellResult {
  const { schedules, finalSeeds } = study;
  const rows = schedules.map((schedule): ScheduleResult => {
    const { trials, ...choice } = valueAt(tuning, schedule.name);
    const finals = finalRecords(study, cell, schedule, choice.best, records);
    const done = finals.length === finalSeeds.length && finals.every(({ status }) => status === "completed");
    const tests = finals.flatMap(({ test }) => test ?? []);
    const accuracies = tests.flatMap(({ accuracy }) => accuracy ?? []);
    return {
      schedule: schedule.name,
      tuning: { trials: trials.map(({ trial, score }) => ({ ...trial, ...scored(score) })), ...choice },
      runs: finals.map(finalRun),
      ...(done && { loss: summarize(tests.map(({ loss }) => loss)) }),
      ...(done && accuracies.length === tests.length && { accuracy: summarize(accuracies) }),
    };
  });
  const complete = rows.every(({ runs }) => runs.length === finalSeeds.length);
  const confidence = confidenceOf(schedules.length - 1);
  return {
    model: cell.model,
    data: cell.data.name,
    optimizer: cell.optimizer.name,
    budget: cell.budget,
    steps: cell.steps,
    complete,
    trials: Math.max(...rows.map((row) => row.tuning.trials.length)),
    confidence,
    schedules: complete ? compared(rows, study, confidence) : rows,
  };
}

/** Adds ranks and differences to UBA to the rows. */
function compared(rows: readonly ScheduleResult[], study: TrainingStudy, confidence: number): ScheduleResult[] {
  const { measure, margin } = study;
  const higherIsBetter = measure === "accuracy";
  const merit = (row: ScheduleResult) => {
    const summary = row[measure];
    return summary === undefined ? Number.NEGATIVE_INFINITY : higherIsBetter ? summary.mean : -summary.mean;
  };
  const valuesOf = ({ runs }: ScheduleResult) =>
    runs.flatMap(({ test }) => test ?? []).map((test) => measured(test, measure));
  const uba = valueAt(new Map(rows.map((row) => [row.schedule, row])), "uba");
  const baselines = rows.filter((row) => row !== uba);
  const differences = baselines.map((row) =>
    row.loss === undefined || uba.loss === undefined
      ? undefined
      : pairedDifference(valuesOf(row), valuesOf(uba), confidence),
  );
  // Schedules that diverged are counted too, because the number of comparisons was fixed before the runs.
  const adjusted = holm(differences.map((difference) => difference?.p));
  return rows.map((row) => {
    const rank = 1 + rows.filter((rival) => merit(rival) > merit(row)).length;
    if (row === uba) return { ...row, rank };
    const index = baselines.indexOf(row);
    const [difference, adjustedP] = [differences[index], adjusted[index]];
    if (difference === undefined) return { ...row, rank, versusUba: { verdict: "diverged" } };
    const verdict = verdictOn(difference, { adjustedP, higherIsBetter, margin });
    return { ...row, rank, versusUba: { verdict, difference, ...(adjustedP !== undefined && { adjustedP }) } };
  });
}

function measured({ loss, accuracy }: SplitResult, measure: TrainingStudy["measure"]): number {
  if (measure === "loss") return loss;
  if (accuracy !== undefined) return accuracy;
  throw new StepsizeError("invalid-argument", "measure: expected loss for data without classes, got accuracy");
}

function scored(score: Exploration["trials"][number]["score"]) {
  if (score === undefined) return {};
  if (score.diverged) return { diverged: true };
  return { loss: score.loss, ...(score.accuracy !== undefined && { accuracy: score.accuracy }) };
}

function finalRun({ id, run, status, test, validation, trainLoss }: RunRecord): FinalRun {
  return {
    id,
    seed: run.seed,
    ...(status === "diverged" && { diverged: true }),
    ...(test && { test }),
    ...(validation && { validation }),
    trainLoss,
  };
}
