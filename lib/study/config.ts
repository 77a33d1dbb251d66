import type { OptimizerName } from "../optim/by-name.js";
import type { StudyReadOptions } from "../tasks/index.js";

/** One data set of a study. */
export interface StudyData extends StudyReadOptions {
  readonly source: string;
  /** Name of the data, independent of their location. It is part of a run's id. */
  readonly name: string;
}

/** The first trials of UBA: every pair of a rate and a φ. */
export interface UbaGrid {
  readonly peakLearningRates: readonly number[];
  readonly phi: readonly number[];
}

/** One optimizer of a study, with the rates of its first trials. */
export interface StudyOptimizer {
  readonly name: OptimizerName;
  readonly weightDecay: number;
  readonly momentum?: number | undefined;
  readonly clipNorm?: number | undefined;
  readonly peakLearningRates: readonly number[];
  readonly uba: UbaGrid;
}

/** A schedule and its options that are the same in every trial. */
export interface StudySchedule {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** The settings of a study on training runs, complete and checked. docs/studies/README.md describes the fields. */
export interface TrainingStudy {
  readonly kind: "training";
  readonly title: string;
  /** What the results do not say or do not support: sentences for the head of the report. */
  readonly notes?: readonly string[] | undefined;
  readonly models: readonly string[];
  readonly data: readonly StudyData[];
  readonly validation: number;
  readonly evaluationItems?: number | undefined;
  /** Number of evaluations on the validation split during a final run, the last one after its last step. */
  readonly evaluations: number;
  readonly batch: number;
  readonly accumulate: number;
  readonly augment: boolean;
  /** Number of steps of a full run. */
  readonly steps: number;
  /** Budgets as fractions of a full run, ascending. */
  readonly budgets: readonly number[];
  /** Warm-up as a fraction of each budget, for schedules that have one. */
  readonly warmup: number;
  readonly optimizers: readonly StudyOptimizer[];
  readonly schedules: readonly StudySchedule[];
  /** The measure by which trials are chosen on the validation split and schedules compared on the test split. */
  readonly measure: "loss" | "accuracy";
  /** Largest difference in the measure that counts as a tie; without it there are no ties. */
  readonly margin?: number | undefined;
  /** How often a schedule's grid may be extended if its best trial is at the edge. */
  readonly extensions: number;
  readonly tuningSeeds: readonly number[];
  readonly finalSeeds: readonly number[];
}

/** The settings of a study on quadratics with known curvatures. */
export interface QuadraticsStudy {
  readonly kind: "quadratics";
  readonly title: string;
  /** What the results do not say or do not support: sentences for the head of the report. */
  readonly notes?: readonly string[] | undefined;
  readonly schedules: readonly StudySchedule[];
  readonly conditionNumbers: readonly number[];
  /** Numbers of steps. */
  readonly budgets: readonly number[];
  /** Highest allowed rates, in units of 1/λ_u. */
  readonly stabilityLimits: readonly number[];
  /** Lowest rates of the schedules, in units of 1/λ_u. */
  readonly floors: readonly number[];
}

/** The settings of a study, complete and checked. */
export type Study = TrainingStudy | QuadraticsStudy;

/** Converts a budget, a fraction of a full run, to a number of steps; at least 1. */
export function stepsIn(steps: number, budget: number): number {
  return Math.max(1, Math.round(steps * budget));
}
