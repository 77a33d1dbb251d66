import { createHash } from "node:crypto";
import { valueAt } from "../lookup.js";
import { catalog, create, type Schedule, type ScheduleJSON } from "../schedule/index.js";
import { hasValidation, type OptimizerSettings, readOptionsOf, type StudyReadOptions } from "../tasks/index.js";
import { type StudyData, type StudyOptimizer, type StudySchedule, stepsIn, type TrainingStudy } from "./config.js";
import type { RunRecord } from "./records.js";
import { type Exploration, type Grid, type Score, type Trial, tune } from "./tuning.js";

/** Everything that determines the numbers of a run. Paths, threads and file names are not part of it. */
export interface RunSpec {
  readonly purpose: "tuning" | "final";
  readonly model: string;
  readonly data: { readonly name: string } & StudyReadOptions;
  /** The part of the training data that is held back; absent if the data have a validation split. */
  readonly validation?: { readonly share: number; readonly seed: number };
  readonly evaluationItems?: number;
  readonly batch: number;
  readonly accumulate: number;
  readonly augment: boolean;
  readonly optimizer: {
    readonly name: OptimizerSettings["optimizer"];
    readonly weightDecay: number;
    readonly momentum?: number;
    readonly clipNorm?: number;
  };
  readonly schedule: ScheduleJSON;
  readonly seed: number;
}

/** One model, data set, optimizer and budget. Schedules are tuned and compared within a cell. */
export interface Cell {
  readonly model: string;
  readonly data: StudyData;
  readonly optimizer: StudyOptimizer;
  /** Fraction of a full run. */
  readonly budget: number;
  /** Number of steps. */
  readonly steps: number;
}

/** A run that the study requires. */
export interface PlannedRun {
  readonly id: string;
  readonly spec: RunSpec;
  readonly cell: Cell;
  readonly schedule: Schedule;
}

/** The trials of a cell so far, by schedule. */
export type Tuning = ReadonlyMap<string, Exploration>;

/** Seed of the validation split. It does not depend on the seed of a run, so that all runs have the same split. */
export const validationSeed = 0;

/** Computes the id of a run, a hash of its specification. If a study is changed, runs that it still requires are kept. */
export function runId(spec: RunSpec): string {
  return createHash("sha256")
    .update(canonical({ format: 1, ...spec }))
    .digest("hex")
    .slice(0, 12);
}

/** Serializes a value as JSON with sorted keys, so that equal values give equal text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** Lists all cells in the order in which they are run. */
export function cellsOf({ models, data, optimizers, budgets, steps }: TrainingStudy): Cell[] {
  return models.flatMap((model) =>
    data.flatMap((dataSet) =>
      optimizers.flatMap((optimizer) =>
        budgets.map((budget) => ({ model, data: dataSet, optimizer, budget, steps: stepsIn(steps, budget) })),
      ),
    ),
  );
}

/** Creates the schedule of a trial in a cell. */
export function scheduleOf(
  study: TrainingStudy,
  { steps }: Cell,
  { name, options }: StudySchedule,
  trial: Trial,
): Schedule {
  const takesWarmup = catalog
    .find((description) => description.name === name)
    ?.options.some((option) => option.name === "warmup");
  const warmup = Math.round(study.warmup * steps);
  return create(name, { ...options, ...trial, budget: steps, ...(takesWarmup && { warmup }) });
}

/** Plans the runs of one trial or of the chosen settings, one per seed. */
export function runsOf(
  study: TrainingStudy,
  cell: Cell,
  purpose: RunSpec["purpose"],
  schedule: StudySchedule,
  trial: Trial,
): PlannedRun[] {
  const planned = scheduleOf(study, cell, schedule, trial);
  const { name } = cell.data;
  const { name: optimizer, weightDecay, momentum, clipNorm } = cell.optimizer;
  const seeds = purpose === "tuning" ? study.tuningSeeds : study.finalSeeds;
  return seeds.map((seed) => {
    const spec: RunSpec = {
      purpose,
      model: cell.model,
      data: { name, ...readOptionsOf(cell.data) },
      ...(!hasValidation(cell.data.source) && { validation: { share: study.validation, seed: validationSeed } }),
      ...(study.evaluationItems !== undefined && { evaluationItems: study.evaluationItems }),
      batch: study.batch,
      accumulate: study.accumulate,
      augment: study.augment,
      optimizer: {
        name: optimizer,
        weightDecay,
        ...(momentum !== undefined && { momentum }),
        ...(clipNorm !== undefined && { clipNorm }),
      },
      schedule: planned.toJSON(),
      seed,
    };
    return { id: runId(spec), spec, cell, schedule: planned };
  });
}

/** Determines the trials of a cell from the existing records. */
export function tuningOf(study: TrainingStudy, cell: Cell, records: ReadonlyMap<string, RunRecord>): Tuning {
  const { peakLearningRates, uba } = cell.optimizer;
  const grids = new Map(
    study.schedules.map(({ name }): [string, Grid] => [name, name === "uba" ? uba : { peakLearningRates }]),
  );
  const schedules = new Map(study.schedules.map((schedule) => [schedule.name, schedule]));
  const scoreOf = (name: string, trial: Trial) => {
    const runs = runsOf(study, cell, "tuning", valueAt(schedules, name), trial);
    return scoreOver(runs.map(({ id }) => records.get(id)));
  };
  return tune(grids, scoreOf, study);
}

/** Averages the results over the seeds; `undefined` until all seeds have a record. */
function scoreOver(found: readonly (RunRecord | undefined)[]): Score | undefined {
  const records = found.filter((record) => record !== undefined);
  if (records.length < found.length) return undefined;
  if (records.some((record) => record.status === "diverged")) return { diverged: true, loss: Number.NaN };
  const mean = (pick: (record: RunRecord) => number) =>
    records.reduce((sum, record) => sum + pick(record), 0) / records.length;
  return {
    diverged: false,
    loss: mean(({ validation }) => validation?.loss ?? Number.NaN),
    ...(records[0]?.validation?.accuracy !== undefined && {
      accuracy: mean(({ validation }) => validation?.accuracy ?? 0),
    }),
  };
}

/** The finished and the remaining runs of a cell. */
export interface CellPlan {
  readonly cell: Cell;
  readonly tuning: Tuning;
  /** Number of required runs that have a record. */
  readonly done: number;
  /** Runs without a record that can be made now. */
  readonly outstanding: readonly PlannedRun[];
  /** Number of final runs that cannot be planned before tuning ends. */
  readonly waiting: number;
}

/** Plans the runs of each cell: first the tuning, then the final runs with the chosen settings. */
export function planOf(study: TrainingStudy, records: ReadonlyMap<string, RunRecord>): CellPlan[] {
  return cellsOf(study).map((cell) => {
    const tuning = tuningOf(study, cell, records);
    const wanted = study.schedules.flatMap((schedule) => {
      const { trials, best } = valueAt(tuning, schedule.name);
      return { schedule, best, trials: trials.map(({ trial }) => trial) };
    });
    const chosen = wanted.flatMap(({ schedule, best }) => (best === undefined ? [] : [{ schedule, best }]));
    const tuned = chosen.length === wanted.length;
    const runs = [
      ...wanted.flatMap(({ schedule, trials }) =>
        trials.flatMap((trial) => runsOf(study, cell, "tuning", schedule, trial)),
      ),
      ...(tuned ? chosen.flatMap(({ schedule, best }) => runsOf(study, cell, "final", schedule, best)) : []),
    ];
    const outstanding = runs.filter(({ id }) => !records.has(id));
    return {
      cell,
      tuning,
      done: runs.length - outstanding.length,
      outstanding,
      waiting: tuned ? 0 : wanted.length * study.finalSeeds.length,
    };
  });
}
