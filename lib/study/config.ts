import { z } from "zod";
import { describe, StepsizeError } from "../errors.js";
import { create } from "../schedule/index.js";
import { nearest } from "../schedule/nearest.js";
import type { OptimizerSettings } from "../tasks/index.js";
import { quadraticsFields, trainingFields } from "./schema.js";

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

/** The schedules of a study that names none. */
export const defaultSchedules = ["step", "cosine", "linear", "rex", "cyclical", "one-cycle", "uba"];

/** How a field is called where its value came from, such as `study.json: budgets[0]`. */
export type Label = (path: readonly PropertyKey[]) => string;

/**
 * Checks the settings of a study and fills in what is not given.
 *
 * @param given the object of a `study.json`
 * @throws StepsizeError `invalid-argument` naming the field, what was expected and what came
 */
export function completeStudy(given: Readonly<Record<string, unknown>>, label: Label = pathInWords): Study {
  const { kind = "training", ...fields } = given;
  if (kind === "quadratics") return completeQuadratics(read(quadraticsFields, fields, label));
  if (kind !== "training") refuse(label(["kind"]), '"training" or "quadratics"', kind);
  return completeTraining(read(trainingFields, fields, label), label);
}

/** A place in the settings: `optimizers[0].name`. */
export function pathInWords(path: readonly PropertyKey[]): string {
  return path
    .map((part, i) => (typeof part === "number" ? `[${part}]` : `${i > 0 ? "." : ""}${String(part)}`))
    .join("");
}

function read<T extends Record<string, z.ZodType>>(
  fields: T,
  values: Readonly<Record<string, unknown>>,
  label: Label,
): Given<T> {
  const result = z.strictObject(fields).partial().safeParse(values);
  if (result.success) return result.data as Given<T>;
  const issue = result.error.issues[0] as z.core.$ZodIssue;
  if (issue.code !== "unrecognized_keys") {
    // Where a name alone stood for an object, the path leads into that object; the name is what came.
    let [value, depth]: [unknown, number] = [values, 0];
    for (; depth < issue.path.length && typeof value === "object" && value !== null; depth++)
      value = (value as Record<PropertyKey, unknown>)[issue.path[depth] as PropertyKey];
    refuse(label(issue.path.slice(0, depth)), issue.message, value);
  }
  const unknown = issue.keys[0] as string;
  const known = issue.path.length === 0 ? Object.keys(fields) : knownAt[String(issue.path[0])];
  const hint = known ? `; did you mean "${nearest(unknown, known)}"?` : "";
  throw new StepsizeError("invalid-argument", `${label([...issue.path, unknown])}: there is no such field${hint}`);
}

/** Fields of the objects inside, for hints. */
const knownAt: Readonly<Record<string, readonly string[]>> = {
  data: ["source", "name", "classes", "context"],
  optimizers: ["name", "weightDecay", "momentum", "clipNorm", "peakLearningRates", "uba"],
  uba: ["peakLearningRates", "phi"],
};

type Given<T extends Record<string, z.ZodType>> = Partial<{ [K in keyof T]: z.output<T[K]> }>;

function completeQuadratics(given: Given<typeof quadraticsFields>): QuadraticsStudy {
  return {
    kind: "quadratics",
    title: "Schedules on quadratics",
    schedules: ["constant", ...defaultSchedules].map((name) => ({ name, options: {} })),
    conditionNumbers: [10, 100, 1000],
    budgets: [16, 64],
    stabilityLimits: [2, 10, 100],
    floors: [0, 1],
    ...given,
  };
}

function completeTraining(given: Given<typeof trainingFields>, label: Label): TrainingStudy {
  const { peakLearningRates: rates, uba, optimizers = [{ name: "adamw" as const }], ...rest } = given;
  const { models = ["mlp"], data = [{ source: "mnist", name: "mnist" }] } = given;
  const study: TrainingStudy = {
    kind: "training",
    title: `${models.join(", ")} on ${data.map(({ name }) => name).join(", ")}`,
    models,
    data,
    validation: 0.1,
    evaluations: 4,
    batch: 128,
    accumulate: 1,
    augment: false,
    steps: 200,
    budgets: [0.5, 1],
    warmup: 0.05,
    schedules: defaultSchedules.map((name) => ({ name, options: {} })),
    measure: "loss",
    extensions: 2,
    tuningSeeds: [0],
    finalSeeds: [1, 2, 3, 4, 5],
    ...rest,
    optimizers: optimizers.map((own: GivenOptimizer) => {
      const usual = defaultGrid(own.name);
      return {
        ...own,
        ...(own.name === "sgd" && { momentum: own.momentum ?? 0.9 }),
        weightDecay: own.weightDecay ?? (own.name === "adamw" ? 0.01 : 0),
        peakLearningRates: own.peakLearningRates ?? rates ?? usual.peakLearningRates,
        uba: own.uba ?? uba ?? usual.uba,
      };
    }),
  };
  checkTogether(study, label);
  return study;
}

type GivenOptimizer = NonNullable<Given<typeof trainingFields>["optimizers"]>[number];

/** Around the rates that suit the update rules: four trials. */
function defaultGrid(name: StudyOptimizer["name"]) {
  const usual = { sgd: 0.1, adam: 1e-3, adamw: 2e-3, lion: 2e-4 }[name];
  return {
    peakLearningRates: [usual / 2, usual, usual * 2, usual * 4],
    uba: { peakLearningRates: [usual, usual * 2], phi: [1, 4] },
  };
}

function checkTogether(study: TrainingStudy, label: Label): void {
  const { budgets, steps, optimizers, schedules, tuningSeeds, finalSeeds } = study;
  if (!schedules.some(({ name }) => name === "uba"))
    refuse(
      label(["schedules"]),
      "uba among them, which the others are compared with",
      schedules.map(({ name }) => name),
    );
  for (const [i, { name, momentum, peakLearningRates, uba }] of optimizers.entries()) {
    if (momentum !== undefined && name !== "sgd")
      refuse(label(["optimizers", i, "momentum"]), `none: only sgd takes it, and this is ${name}`, momentum);
    const [baseline, own] = [peakLearningRates.length, uba.peakLearningRates.length * uba.phi.length];
    if (schedules.length > 1 && baseline !== own)
      throw new StepsizeError(
        "invalid-argument",
        `${label(["optimizers", i])}: expected equally many trials for every schedule; with ${name} UBA gets ` +
          `${uba.peakLearningRates.length} peak learning rates × ${uba.phi.length} values of phi = ${own}, ` +
          `and the others ${baseline} peak learning rates`,
      );
  }
  const again = finalSeeds.filter((seed) => tuningSeeds.includes(seed));
  if (again.length > 0)
    refuse(label(["finalSeeds"]), `seeds that are not used for tuning (${again.join(", ")} is)`, finalSeeds);
  const stepsOf = budgets.map((budget) => stepsIn(steps, budget));
  const twice = stepsOf.findIndex((own, i) => stepsOf.indexOf(own) < i);
  if (twice >= 0)
    refuse(label(["budgets", twice]), `a fraction that is another number of steps than the one before`, budgets[twice]);
  schedules.forEach((schedule, i) => {
    checkOptions(schedule, study, (option) => label(["schedules", i, option]));
  });
}

/** Steps of a budget: at least 1. */
export function stepsIn(steps: number, budget: number): number {
  return Math.max(1, Math.round(steps * budget));
}

/** Makes the schedule once for each budget, so that a wrong option is found before hours of training. */
function checkOptions({ name, options }: StudySchedule, study: TrainingStudy, label: (option: string) => string): void {
  for (const option of ["budget", "maxLr", "warmup", ...(name === "uba" ? ["phi", "phases"] : [])])
    if (option in options) refuse(label(option), "none: the study sets it", options[option]);
  const maxLr = Math.min(
    ...study.optimizers.flatMap((each) => [...each.peakLearningRates, ...each.uba.peakLearningRates]),
  );
  for (const budget of study.budgets) {
    try {
      create(name, { ...options, budget: stepsIn(study.steps, budget), maxLr });
    } catch (error) {
      if (!(error instanceof StepsizeError)) throw error;
      const message = error.message.replace(/^[\w-]+(?:\.(\w+))?/, (_, option?: string) => label(option ?? ""));
      throw new StepsizeError(error.code, message, { cause: error });
    }
  }
}

function refuse(place: string, expected: string, got: unknown): never {
  throw new StepsizeError("invalid-argument", `${place}: expected ${expected}, got ${describe(got)}`);
}
