import { resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { describe } from "../../errors.js";
import * as models from "../../models/index.js";
import { defaultOptimizer, type OptimizerName, optimizersByName, takesMomentum } from "../../optim/by-name.js";
import type { Schedule } from "../../schedule/index.js";
import type { Given } from "../../study/index.js";
import {
  defaultContext,
  type GivenReadOptions,
  isTableKind,
  parseSource,
  type RunPrecision,
  readOptionNames,
  readOptionsOf,
  resolveSource,
  sourcesWith,
  takesOption,
} from "../../tasks/index.js";
import type { Allowed } from "../../train/index.js";
import { UsageError } from "../failure.js";
import { flagOf } from "../output/text.js";
import { check, choiceField, type Fields, type Groups, help, numberField, switchField } from "./fields.js";
import { maxLrInWords, optimizerFields, withMomentum } from "./optimizer-fields.js";
import { makeSchedule, optionsOf, scheduleFields, scheduleFieldsWith, scheduleName } from "./schedule-fields.js";
import { readSettings } from "./settings-file.js";
import { dataField, deviceField, huggingFaceFolder, readFields, threadsField } from "./shared-fields.js";

const positive = z.int().min(1);
const whole = "a whole number of at least 1";
/** The largest budget of a run. No run needs more. */
const maxSteps = 1_000_000_000;
const share = z.number().gt(0).lt(1);
/** The share of the training images that is held back for evaluations during the run. */
const validationShare = 0.1;

/**
 * The settings of a run that `train` takes from flags or a file. {@link TrainSettings} is their type, and train.ts has
 * the other flags of the command, such as `--resume`.
 */
export const trainFields = {
  model: z
    .string()
    .refine((name) => models.names.includes(name) || huggingFaceFolder(name) !== undefined)
    .register(help, {
      kind: "text",
      placeholder: "<name>",
      expected: `one of ${models.names.join(", ")}, or hf:<dir>`,
      description:
        "model (resnet18, 34 and 50 have a 3×3 stem for images of up to 64 pixels per side; hf:<dir> is a folder with an OLMo in Hugging Face's layout, to train it further)",
      choices: models.names,
      fallback: "resnet8, olmo-nano for text, or mlp for tables",
    }),
  weights: z.string().min(1).register(help, {
    kind: "text",
    placeholder: "<file>",
    expected: "the path of a safetensors file",
    description: "initial weights: a checkpoint, or PyTorch's weights as safetensors",
    fallback: "random, from --seed",
  }),
  classifier: choiceField(["load", "skip"], "whether to load the last layer from --weights", { fallback: "load" }),
  data: dataField,
  ...readFields,
  validation: numberField(
    share,
    "a number above 0 and below 1",
    "share of the training items held back for validation",
    {
      fallback: `${validationShare} with --evaluate-every, else none`,
    },
  ),
  augment: switchField("augment images: pad by 4 and crop at random; for cifar10 and images:<dir> also flip"),
  budget: numberField(positive.max(maxSteps), `a whole number from 1 to ${maxSteps}`, "number of steps", {
    fallback: "600",
    aliases: ["steps"],
  }),
  epochs: numberField(z.number().gt(0), "a number above 0", "passes over the training items, in place of --budget", {
    placeholder: "<x>",
    fallback: "none",
  }),
  batch: numberField(positive, whole, "items per batch", {
    fallback: "128, 16 windows of text, or 32 rows of a table",
    aliases: ["batchSize"],
  }),
  accumulate: numberField(
    positive.max(65_536),
    "a whole number from 1 to 65536",
    "batches whose gradients are averaged into one step",
    {
      fallback: "1",
    },
  ),
  precision: choiceField(
    ["float32", "tf32", "bf16"],
    "bf16: type of weights and activations, with float32 master weights; tf32: float32, multiplied on a GPU's tensor cores",
    { fallback: "float32" },
  ),
  optimizer: optimizerFields.optimizer,
  schedule: scheduleName,
  ...scheduleFieldsWith({ maxLr: maxLrInWords, warmup: "a twentieth of the budget" }),
  weightDecay: optimizerFields.weightDecay,
  momentum: optimizerFields.momentum,
  clipNorm: numberField(
    z.number().gt(0),
    "a number above 0",
    "largest gradient norm; larger gradients are scaled down to it",
    {
      placeholder: "<x>",
      fallback: "no limit",
    },
  ),
  nonFinite: choiceField(["stop", "skip"], "what to do if a gradient is not finite", { fallback: "stop" }),
  seed: numberField(
    z.int().min(0),
    "a whole number of at least 0",
    "seed of the initial weights and of the order of the data",
    {
      fallback: "0",
    },
  ),
  device: deviceField,
  threads: threadsField,
  capture: switchField("capture one step and replay it: less work on the host, more memory"),
  checkpointEvery: numberField(positive, whole, "steps between checkpoints", { fallback: "a quarter of the budget" }),
  evaluateEvery: numberField(positive, whole, "steps between evaluations on the validation split", {
    fallback: "none",
  }),
  keep: z
    .string()
    .regex(/^best:[1-9]\d{0,2}$/)
    .register(help, {
      kind: "text",
      placeholder: "<best:n>",
      expected: "best:<n> with n from 1 to 999",
      description: "also keep the checkpoints of the n evaluations with the lowest loss",
      fallback: "the newest three checkpoints only",
    }),
  patience: numberField(
    positive,
    whole,
    "stop early: end the run after so many evaluations in a row without a lower loss",
    { fallback: "no early stopping", aliases: ["stopEarly", "earlyStopping"] },
  ),
  evaluationItems: numberField(positive, whole, "largest number of items of an evaluation during the run", {
    fallback: "all",
  }),
  tensorboard: switchField("also write the records as event files for TensorBoard into the run's folder"),
} satisfies Fields;

/** Headings of the fields in a command's help. Options of single schedules have their own. */
export const trainGroups: Groups = {
  "Model:": ["model", "weights", "classifier", "precision"],
  "Data:": ["data", ...Object.keys(readFields), "validation", "augment"],
  "Length and batches:": ["budget", "epochs", "batch", "accumulate", "seed"],
  "Optimizer:": ["optimizer", "weightDecay", "momentum", "clipNorm", "nonFinite"],
  "Learning rate:": ["schedule", "maxLr", "minLr", "warmup", "hold", "convention"],
  "Evaluations and checkpoints:": [
    "evaluateEvery",
    "evaluationItems",
    "patience",
    "keep",
    "checkpointEvery",
    "tensorboard",
  ],
  "Device:": ["device", "threads", "capture"],
};

/** Settings that a resumed run may change, because they do not change its steps. */
const changeable = [
  "device",
  "threads",
  "capture",
  "checkpointEvery",
  "evaluateEvery",
  "evaluationItems",
  "keep",
  "tensorboard",
  "patience",
  // The data that remain are compared by their content.
  "onError",
];

/** The complete settings of a run, as in `config.json`. The options of the schedule are further fields. */
export type TrainSettings = GivenReadOptions & {
  readonly model: string;
  readonly weights?: string;
  readonly classifier?: "load" | "skip";
  readonly data: string;
  readonly validation?: number;
  readonly augment: boolean;
  readonly budget: number;
  readonly batch: number;
  readonly accumulate: number;
  readonly precision: RunPrecision;
  readonly optimizer: OptimizerName;
  readonly schedule: string;
  readonly weightDecay: number;
  readonly momentum?: number;
  readonly clipNorm?: number;
  readonly nonFinite: "stop" | "skip";
  readonly seed: number;
  readonly device: string;
  readonly threads?: number;
  readonly capture: boolean;
  readonly checkpointEvery: number;
  readonly evaluateEvery?: number;
  readonly evaluationItems?: number;
  readonly keep?: string;
  readonly patience?: number;
  readonly tensorboard?: boolean;
};

/** The settings of a run and their schedule. */
export interface TrainConfig {
  readonly settings: TrainSettings;
  readonly schedule: Schedule;
}

/** Checked values of {@link trainFields}, and of the options of schedules. */
export type TrainValues = Given<typeof trainFields> & Record<string, unknown>;

/** Settings as given, without defaults. `label` names a field in an error message, as a flag or by file and field. */
export interface GivenValues {
  readonly values: Readonly<TrainValues>;
  readonly label: (field: string) => string;
}

/**
 * Reads settings from a JSON file. Its fields are those of {@link trainFields}, in camel case.
 * @throws UsageError naming the file and the wrong field
 */
export async function readConfig(path: string): Promise<GivenValues> {
  const values = await readSettings(path, "the configuration");
  const label = (field: string) => `${path}: ${field}`;
  return { values: check(trainFields, values, label), label };
}

/**
 * Checks values from flags.
 * @throws UsageError naming the wrong flag
 */
export function checkFlags(values: Readonly<Record<string, unknown>>): GivenValues {
  return { values: check(trainFields, values, flagOf), label: flagOf };
}

/** Options of {@link completeConfig}. */
export interface CompleteOptions {
  /**
   * Number of training items, which `epochs` needs. By default there are so many that the budget has its largest
   * value: enough to check the other settings before the data are read.
   */
  readonly trainItems?: number | undefined;
  /** Whether the values are those of a run that has begun. What it does not have gets no default that changes the data. */
  readonly isResumed?: boolean | undefined;
}

/**
 * Overrides the values of a file with those of flags, and fills in defaults.
 * @throws UsageError naming a field that contradicts the others
 */
export function completeConfig(
  flags: GivenValues,
  file?: GivenValues,
  { trainItems = Number.POSITIVE_INFINITY, isResumed = false }: CompleteOptions = {},
): TrainConfig {
  const all: TrainValues = { ...(file && withoutOverruled(file.values, flags.values)), ...flags.values };
  // The settings have the number of steps that epochs amount to.
  const { epochs, ...given } = all;
  const label = (field: string) => (field in flags.values || !file ? flags : file).label(field);
  const { optimizer = defaultOptimizer, schedule: name = "uba", data = "mnist" } = given;
  const { momentum, weightDecay, maxLr } = optimizersByName[optimizer];
  if (given["momentum"] !== undefined && momentum === undefined)
    throw new UsageError(
      `${label("momentum")}: expected none without the optimizer ${withMomentum.join(" or ")}, this run has ${optimizer}`,
    );
  if (epochs !== undefined && given["budget"] !== undefined)
    throw new UsageError(`${label("epochs")}: expected either epochs or a budget of steps, got both`);
  const { kind } = parseSource(data);
  const isText = kind === "tokens";
  const isTable = isTableKind(kind);
  // Small tables are common, so the default must not be larger than one.
  const batch = given["batch"] ?? (isTable ? Math.min(32, trainItems) : isText ? 16 : 128);
  const accumulate = given["accumulate"] ?? 1;
  const budget = given["budget"] ?? (epochs === undefined ? 600 : stepsOf(epochs, trainItems, batch, accumulate));
  const refuse = (field: string, reason: string) => {
    throw new UsageError(`${label(field)}: ${reason}, this run has ${data}`);
  };
  for (const option of readOptionNames)
    if (given[option] !== undefined && !takesOption(data, option))
      refuse(option, `expected only with data ${sourcesWith(option)}`);
  if (given["validation"] !== undefined && isText)
    refuse("validation", "expected none for text, whose validation split is made by stepsize tokenize");
  if (given["augment"] && (isText || isTable)) refuse("augment", "expected only with images");
  const folder = given["model"] === undefined ? undefined : huggingFaceFolder(given["model"]);
  if (folder !== undefined && !isText) refuse("model", "expected hf:<dir> only with data tokens:<dir>");
  if (folder !== undefined && given["weights"] !== undefined)
    throw new UsageError(`${label("weights")}: expected none with --model hf:<dir>, which has weights`);
  if (given["precision"] === "tf32" && (given["device"] === "cpu" || given["threads"] !== undefined))
    throw new UsageError(`${label("precision")}: expected float32 or bf16 on a CPU, got tf32, which only GPUs have`);
  for (const field of ["evaluationItems", "keep", "patience"])
    if (given[field] !== undefined && given["evaluateEvery"] === undefined)
      throw new UsageError(`${label(field)}: expected only with --evaluate-every, which is missing`);
  const holdsBack = given["evaluateEvery"] !== undefined && !isText && !isResumed;
  if (given["classifier"] !== undefined && given["weights"] === undefined)
    throw new UsageError(`${label("classifier")}: expected only with --weights, which is missing`);
  const schedule = makeSchedule(
    name,
    { ...scheduleDefaults(name, isText ? maxLr.text : maxLr.images, budget), ...given, budget },
    label,
  );
  const { budget: _, ...scheduleOptions } = schedule.options;
  const settings: TrainSettings = {
    model: isTable ? "mlp" : isText ? "olmo-nano" : "resnet8",
    augment: false,
    batch,
    accumulate,
    precision: "float32",
    weightDecay,
    ...(momentum !== undefined && { momentum }),
    ...(isText && { context: defaultContext }),
    ...(holdsBack && { validation: validationShare }),
    nonFinite: "stop",
    seed: 0,
    device: "auto",
    capture: false,
    checkpointEvery: Math.ceil(budget / 4),
    ...given,
    data,
    ...withAbsolutePaths({ ...given, data }),
    budget,
    optimizer,
    schedule: name,
    ...scheduleOptions,
  };
  return { settings: inOrder(settings), schedule };
}

/** Returns the number of steps of some passes over the training items. A pass has whole batches only. */
function stepsOf(epochs: number, items: number, batch: number, accumulate: number): number {
  const steps = Math.round((epochs * Math.floor(items / batch)) / accumulate);
  return Math.min(maxSteps, Math.max(1, steps));
}

/** A setting that a resumed run changes, with its values before and after; `null` for none. */
export interface ChangedSetting {
  readonly field: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** The settings that a resumed run continues with, and their differences from the stored ones. */
export interface ResumedConfig extends TrainConfig {
  readonly changes: readonly ChangedSetting[];
}

/**
 * Completes the settings of a run to resume. Flags may change settings that do not affect the result, the location of
 * the data, and whatever `allowed` names.
 *
 * @throws UsageError for a flag that changes any other setting
 */
export function resumedConfig(
  stored: GivenValues,
  flags: GivenValues,
  allowed: readonly Allowed[] = [],
): ResumedConfig {
  const { settings } = completeConfig({ values: {}, label: stored.label }, stored, { isResumed: true });
  const before: Readonly<Record<string, unknown>> = settings;
  for (const [field, value] of Object.entries(flags.values)) {
    const located: Readonly<Record<string, unknown>> = withAbsolutePaths({ [field]: value });
    const now = located[field] ?? value;
    // Whether data at another location are the same is checked when they are read.
    const isPlace = field === "data" || field === "testData";
    const mayChange = changeable.includes(field) || isPlace || isDeepStrictEqual(now, before[field]);
    const setsRates = field === "budget" || field === "schedule" || field in scheduleFields;
    if (mayChange || (setsRates && allowed.includes("schedule"))) continue;
    const was = before[field] === undefined ? "had none" : `has ${describe(before[field])}`;
    const advice = setsRates ? "; to change it, add --allow schedule" : ", which cannot be changed";
    throw new UsageError(`${flagOf(field)}: the run to resume ${was}${advice}`);
  }
  // If the same data are at another location, these settings do not change.
  const kept = isSameKind(settings.data, flags.values.data) ? readOptionsOf(settings) : {};
  const config = completeConfig({ ...flags, values: { ...kept, ...flags.values } }, stored, {
    isResumed: true,
  });
  const after: Readonly<Record<string, unknown>> = config.settings;
  const fields = Object.keys({ ...before, ...after }).filter(
    (field) => !changeable.includes(field) && !isDeepStrictEqual(before[field], after[field]),
  );
  const changes = fields.map((field) => ({ field, before: before[field] ?? null, after: after[field] ?? null }));
  return { ...config, changes };
}

function isSameKind(stored: string, given: string | undefined): boolean {
  return given === undefined || parseSource(given).kind === parseSource(stored).kind;
}

/** Returns the settings that name files, with absolute paths, so that a run can be resumed from another directory. */
function withAbsolutePaths({ model, data, weights, testData }: Readonly<Record<string, unknown>>) {
  const folder = typeof model === "string" ? huggingFaceFolder(model) : undefined;
  return {
    ...(folder !== undefined && { model: `hf:${resolve(folder)}` }),
    ...(typeof data === "string" && { data: resolveSource(data) }),
    ...(typeof weights === "string" && { weights: resolve(weights) }),
    ...(typeof testData === "string" && { testData: resolve(testData) }),
  };
}

/** Sorts the settings into the order of the fields, for a readable file. */
function inOrder<T extends object>(settings: T): T {
  const names = Object.keys(trainFields).filter((name) => name in settings);
  return { ...Object.fromEntries(names.map((name) => [name, undefined])), ...settings };
}

/**
 * Returns the default options of a schedule: the usual rate of the optimizer, and a twentieth of the budget as warm-up
 * if the schedule has the option `warmup`.
 */
function scheduleDefaults(schedule: string, maxLr: number, budget: number): Record<string, unknown> {
  const options = optionsOf(schedule);
  return {
    ...(options.includes("maxLr") && { maxLr }),
    ...(options.includes("warmup") && { warmup: Math.floor(budget / 20) }),
  };
}

/** Drops values of a file that apply only to a schedule, an optimizer, data or a number of steps that a flag replaces. */
function withoutOverruled(values: Readonly<TrainValues>, flags: Readonly<TrainValues>): TrainValues {
  const { schedule, optimizer, data, budget, epochs } = flags;
  const options = schedule === undefined ? undefined : ["schedule", ...optionsOf(schedule)];
  const isOverruled = (field: string): boolean => {
    if (options && field in scheduleFields && !options.includes(field)) return true;
    if (field === "momentum" && optimizer !== undefined && !takesMomentum(optimizer)) return true;
    if (field === "budget" && epochs !== undefined) return true;
    if (field === "epochs" && budget !== undefined) return true;
    const option = readOptionNames.find((name) => name === field);
    if (option === undefined || data === undefined) return false;
    // Other data have other classes.
    return option === "classes" || !takesOption(data, option);
  };
  const kept: TrainValues = { ...values };
  for (const field of Object.keys(values)) if (isOverruled(field)) delete kept[field];
  return kept;
}
