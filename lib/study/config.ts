import type { OptimizerSettings } from "../tasks/index.js";

/** One data set of a study. */
export interface StudyData {
  readonly source: string;
  /** What the data are, wherever they lie: part of what identifies a run. */
  readonly name: string;
  readonly classes?: number | undefined;
  readonly context?: number | undefined;
}

/** The first trials of UBA: every pair of a rate and a φ. */
export interface UbaGrid {
  readonly peakLearningRates: readonly number[];
  readonly phi: readonly number[];
}

/** One optimizer of a study, with the rates that are tried with it. */
export interface StudyOptimizer {
  readonly name: OptimizerSettings["optimizer"];
  readonly weightDecay: number;
  readonly momentum?: number | undefined;
  readonly clipNorm?: number | undefined;
  readonly peakLearningRates: readonly number[];
  readonly uba: UbaGrid;
}

/** A schedule and those of its options that are the same in every trial. */
export interface StudySchedule {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** Schedules compared on training runs, complete and checked. See docs/studies for what the fields mean. */
export interface TrainingStudy {
  readonly kind: "training";
  readonly title: string;
  /** What the results do not say or do not support: sentences for the head of the report. */
  readonly notes?: readonly string[] | undefined;
  readonly models: readonly string[];
  readonly data: readonly StudyData[];
  readonly validation: number;
  readonly evaluationItems?: number | undefined;
  /** Evaluations on the validation split on the way of a final run, the last one after its last step. */
  readonly evaluations: number;
  readonly batch: number;
  readonly accumulate: number;
  readonly augment: boolean;
  /** Steps of a full run. */
  readonly steps: number;
  /** Fractions of a full run. */
  readonly budgets: readonly number[];
  /** Fraction of each budget. */
  readonly warmup: number;
  readonly optimizers: readonly StudyOptimizer[];
  readonly schedules: readonly StudySchedule[];
  /** What trials are chosen by on the validation split, and schedules compared by on the test split. */
  readonly measure: "loss" | "accuracy";
  /** Differences within it are a tie. */
  readonly margin?: number | undefined;
  /** How often a schedule's grid may be extended where the best trial is on its edge. */
  readonly extensions: number;
  readonly tuningSeeds: readonly number[];
  readonly finalSeeds: readonly number[];
}

/** Schedules compared on quadratics with known curvatures. */
export interface QuadraticsStudy {
  readonly kind: "quadratics";
  readonly title: string;
  /** What the results do not say or do not support: sentences for the head of the report. */
  readonly notes?: readonly string[] | undefined;
  readonly schedules: readonly StudySchedule[];
  readonly conditionNumbers: readonly number[];
  /** Steps. */
  readonly budgets: readonly number[];
  /** Highest rates allowed, in units of 1/λ_u. */
  readonly stabilityLimits: readonly number[];
  /** Lowest rates of the schedules, in units of 1/λ_u. */
  readonly floors: readonly number[];
}

export type Study = TrainingStudy | QuadraticsStudy;

/** Steps of a budget: at least 1. */
export function stepsIn(steps: number, budget: number): number {
  return Math.max(1, Math.round(steps * budget));
}
