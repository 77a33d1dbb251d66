import { createHash } from "node:crypto";
import { catalog, create, type Schedule, type ScheduleJSON } from "../schedule/index.js";
import type { OptimizerSettings } from "../tasks/index.js";
import { type StudyData, type StudyOptimizer, type StudySchedule, stepsIn, type TrainingStudy } from "./config.js";
import type { RunRecord } from "./records.js";
import { type Exploration, type Grid, type Score, type Trial, tune } from "./tuning.js";

/** Everything that determines a run's numbers, and nothing else: no paths, threads or names of files. */
export interface RunSpec {
  readonly purpose: "tuning" | "final";
  readonly model: string;
  readonly data: { readonly name: string; readonly classes?: number; readonly context?: number };
  /** The part of the training data that is held back. */
  readonly validation: { readonly share: number; readonly seed: number };
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

/** Within it schedules are tuned and compared. */
export interface Cell {
  readonly model: string;
  readonly data: StudyData;
  readonly optimizer: StudyOptimizer;
  /** The fraction of a full run, and the steps. */
  readonly budget: number;
  readonly steps: number;
}

/** A run that is asked for. */
export interface PlannedRun {
  readonly id: string;
  readonly spec: RunSpec;
  readonly cell: Cell;
  readonly schedule: Schedule;
}

/** What tuning found in a cell so far, by schedule. */
export type Tuning = ReadonlyMap<string, Exploration>;

/** Which items are held back does not vary with a run's seed: trials and final runs are to be compared. */
export const validationSeed = 0;

/** A run's name: a hash of what determines it, so that a changed study keeps the runs that it still asks for. */
export function runId(spec: RunSpec): string {
  return createHash("sha256")
    .update(canonical({ format: 1, ...spec }))
    .digest("hex")
    .slice(0, 12);
}

/** JSON with the keys in order: equal values give equal text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** All cells, in the order they are worked on. */
export function cellsOf({ models, data, optimizers, budgets, steps }: TrainingStudy): Cell[] {
  return models.flatMap((model) =>
    data.flatMap((each) =>
      optimizers.flatMap((optimizer) =>
        budgets.map((budget) => ({ model, data: each, optimizer, budget, steps: stepsIn(steps, budget) })),
      ),
    ),
  );
}

/** The schedule of a trial in a cell. */
export function scheduleOf(
  study: TrainingStudy,
  { steps }: Cell,
  { name, options }: StudySchedule,
  trial: Trial,
): Schedule {
  const takesWarmup = catalog.find((each) => each.name === name)?.options.some((option) => option.name === "warmup");
  const warmup = Math.round(study.warmup * steps);
  return create(name, { ...options, ...trial, budget: steps, ...(takesWarmup && { warmup }) });
}

/** The runs of one trial or choice, one for each seed. */
export function runsOf(
  study: TrainingStudy,
  cell: Cell,
  purpose: RunSpec["purpose"],
  schedule: StudySchedule,
  trial: Trial,
): PlannedRun[] {
  const made = scheduleOf(study, cell, schedule, trial);
  const { name, classes, context } = cell.data;
  const { name: optimizer, weightDecay, momentum, clipNorm } = cell.optimizer;
  const seeds = purpose === "tuning" ? study.tuningSeeds : study.finalSeeds;
  return seeds.map((seed) => {
    const spec: RunSpec = {
      purpose,
      model: cell.model,
      data: { name, ...(classes !== undefined && { classes }), ...(context !== undefined && { context }) },
      validation: { share: study.validation, seed: validationSeed },
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
      schedule: made.toJSON(),
      seed,
    };
    return { id: runId(spec), spec, cell, schedule: made };
  });
}

/** What tuning asks for in a cell, by the records there are. */
export function tuningOf(study: TrainingStudy, cell: Cell, records: ReadonlyMap<string, RunRecord>): Tuning {
  const { peakLearningRates, uba } = cell.optimizer;
  const grids = new Map(
    study.schedules.map(({ name }): [string, Grid] => [name, name === "uba" ? uba : { peakLearningRates }]),
  );
  const scoreOf = (name: string, trial: Trial) => {
    const schedule = study.schedules.find((each) => each.name === name) as StudySchedule;
    return scoreOver(runsOf(study, cell, "tuning", schedule, trial).map(({ id }) => records.get(id)));
  };
  return tune(grids, scoreOf, study);
}

/** The means over the seeds; `undefined` before all of them have run. */
function scoreOver(records: readonly (RunRecord | undefined)[]): Score | undefined {
  const mean = (pick: (record: RunRecord) => number) =>
    records.reduce((sum, record) => sum + pick(record as RunRecord), 0) / records.length;
  if (records.some((record) => record === undefined)) return undefined;
  if (records.some((record) => record?.status === "diverged")) return { diverged: true, loss: Number.NaN };
  return {
    diverged: false,
    loss: mean(({ validation }) => validation?.loss ?? Number.NaN),
    ...(records[0]?.validation?.accuracy !== undefined && {
      accuracy: mean(({ validation }) => validation?.accuracy ?? 0),
    }),
  };
}

/** What is to be done in a cell. */
export interface CellPlan {
  readonly cell: Cell;
  readonly tuning: Tuning;
  /** Runs asked for so far that have a record. */
  readonly done: number;
  /** Runs that can be made now and have no record yet. */
  readonly outstanding: readonly PlannedRun[];
  /** Final runs that wait for the tuning to end. */
  readonly waiting: number;
}

/** What is to be done, cell by cell: first the tuning, then with what it chose the final runs. */
export function planOf(study: TrainingStudy, records: ReadonlyMap<string, RunRecord>): CellPlan[] {
  return cellsOf(study).map((cell) => {
    const tuning = tuningOf(study, cell, records);
    const wanted = study.schedules.flatMap((schedule) => {
      const { trials, best } = tuning.get(schedule.name) as Exploration;
      return { schedule, best, trials: trials.map(({ trial }) => trial) };
    });
    const tuned = wanted.every(({ best }) => best !== undefined);
    const runs = [
      ...wanted.flatMap(({ schedule, trials }) =>
        trials.flatMap((trial) => runsOf(study, cell, "tuning", schedule, trial)),
      ),
      ...(tuned ? wanted.flatMap(({ schedule, best }) => runsOf(study, cell, "final", schedule, best as Trial)) : []),
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
