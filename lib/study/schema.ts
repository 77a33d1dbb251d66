import { z } from "zod";
import { names as modelNames } from "../models/index.js";
import { suggestionInside } from "../nearest.js";
import { optimizerNames } from "../optim/by-name.js";
import { names as scheduleNames } from "../schedule/index.js";
import { isSource, parseSource, type StudyReadOptions, sourcesInWords } from "../tasks/index.js";

// The error of each schema is the text after "expected". `readFields` adds the field and the given value.

/** Makes a schema for finite numbers that pass a test. `words` describes them in the error. */
export function number(words: string, accepts: (value: number) => boolean): z.ZodType<number> {
  return z.custom<number>((value) => typeof value === "number" && Number.isFinite(value) && accepts(value), {
    error: words,
  });
}

export const positiveInteger = number(
  "a whole number of at least 1",
  (value) => Number.isSafeInteger(value) && value >= 1,
);
/** Makes a schema for a count. The limit prevents unbounded time and memory. */
function wholeUpTo(max: number): z.ZodType<number> {
  return number(
    `a whole number from 1 to ${max}`,
    (value) => Number.isSafeInteger(value) && value >= 1 && value <= max,
  );
}

/** Largest number of steps of a full run. */
const maxSteps = 1_000_000_000;

/** Largest budget of a quadratic. The time to compute the optimum grows with its fourth power; this takes an hour. */
const maxQuadraticSteps = 1000;

export const naturalNumber = number(
  "a whole number of at least 0",
  (value) => Number.isSafeInteger(value) && value >= 0,
);
export const positive = number("a number above 0", (value) => value > 0);
export const notNegative = number("a number of at least 0", (value) => value >= 0);
const share = number("a number above 0 and below 1", (value) => value > 0 && value < 1);
const fraction = number("a fraction of the full run, above 0 and at most 1", (value) => value > 0 && value <= 1);

/** Makes a schema for one of several words. Its error suggests the nearest word. */
export function oneOf<T extends string>(words: readonly T[]): z.ZodType<T> {
  return z.custom<T>((value) => words.some((word) => word === value), {
    error: ({ input }) => `one of ${words.join(", ")}${suggestionInside(input, words)}`,
  });
}

const text = z.custom<string>((value) => typeof value === "string" && value.trim() !== "", { error: "a text" });

/** Largest number of entries of any list in a study. */
const maxEntries = 1000;

/** Makes a schema for a list with at least one entry and no duplicates. Entries with equal `key` are duplicates. */
export function listOf<T>(item: z.ZodType<T>, words: string, key: (value: T) => unknown = (value) => value) {
  return z.array(item, { error: `a list of ${words}` }).check((context) => {
    const keys = context.value.map(key);
    const isTwice = new Set(keys).size < keys.length;
    if (keys.length > 0 && keys.length <= maxEntries && !isTwice) return;
    const expected = keys.length === 0 ? `at least one of ${words}` : `at most ${maxEntries} ${words}`;
    const message = keys.length > 0 && isTwice ? `${words}, none of them twice` : expected;
    context.issues.push({ code: "custom", message, input: context.value });
  });
}

/** Makes a schema for a list of ascending numbers with at least one entry. */
export function ascending(item: z.ZodType<number>, words: string) {
  return z.array(item, { error: `a list of ${words}` }).check((context) => {
    const { value } = context;
    const isAscending = value.every((entry, i) => entry > (value[i - 1] ?? Number.NEGATIVE_INFINITY));
    if (value.length > 0 && value.length <= maxEntries && isAscending) return;
    const expected = value.length === 0 ? `at least one of ${words}` : `at most ${maxEntries} ${words}`;
    const message = value.length > 0 && !isAscending ? `${words}, each larger than the one before` : expected;
    context.issues.push({ code: "custom", message, input: value });
  });
}

/** Lets a name stand for an object that has only this name. */
function named<T extends z.ZodType>(object: T, field = "name") {
  return z.preprocess((value) => (typeof value === "string" ? { [field]: value } : value), object);
}

const peakLearningRates = ascending(positive, "learning rates above 0");
const uba = z.strictObject(
  { peakLearningRates, phi: ascending(positive, "values of phi above 0") },
  { error: 'an object such as { "peakLearningRates": [0.1, 0.2], "phi": [1, 4] }' },
);

const source = z.custom<string>((value) => typeof value === "string" && isSource(value), { error: sourcesInWords });

const texts = z.array(text, { error: "a list of texts" }).readonly();

/** The settings of how data are read. */
const readOptions = {
  classes: positiveInteger.optional(),
  context: positiveInteger.optional(),
  size: z
    .string({ error: "a text such as 64 or 96x64" })
    .regex(/^[1-9]\d{0,4}(x[1-9]\d{0,4})?$/, { error: "a text such as 64 or 96x64" })
    .optional(),
  fit: oneOf(["crop", "letterbox"]).optional(),
  channels: z.literal([1, 3], { error: "1 or 3" }).optional(),
  target: text.optional(),
  task: oneOf(["regression", "classification"]).optional(),
  categories: texts.optional(),
  ignore: texts.optional(),
  missing: texts.optional(),
  test: z.number({ error: "a number above 0 and below 1" }).gt(0).lt(1).optional(),
  separator: text.optional(),
  decimal: oneOf([".", ","]).optional(),
  thousands: text.optional(),
} satisfies Record<keyof StudyReadOptions, z.ZodType>;

const data = named(
  z.strictObject(
    { source, name: text.optional(), ...readOptions },
    { error: `${sourcesInWords}, or an object with it as source` },
  ),
  "source",
).transform(({ name, ...given }) => ({ ...given, name: name ?? nameOf(given.source) }));

/** Returns the default name of a source, with only the last part of its path, which may differ between machines. */
function nameOf(given: string): string {
  const { kind, place } = parseSource(given);
  const folder = place?.replace(/\/+$/, "").split("/").at(-1);
  const isOneSet = ["mnist", "fashion-mnist", "cifar10"].includes(kind);
  return isOneSet || folder === undefined ? kind : `${kind}:${folder}`;
}

const optimizer = named(
  z.strictObject(
    {
      name: oneOf(optimizerNames),
      weightDecay: notNegative.optional(),
      momentum: number("a number from 0 to below 1", (value) => value >= 0 && value < 1).optional(),
      clipNorm: positive.optional(),
      peakLearningRates: peakLearningRates.optional(),
      uba: uba.optional(),
    },
    { error: "an optimizer's name, or an object with one" },
  ),
);

/** A schedule with its options, which {@link completeStudy} checks. */
const schedule = named(
  z.looseObject({ name: oneOf(scheduleNames) }, { error: "a schedule's name, or an object with one and its options" }),
).transform(({ name, ...options }) => ({ name, options }));

const notes = listOf(text, "texts");

const seeds = listOf(naturalNumber, "whole numbers of at least 0");

/** The fields of a training study. All are optional. */
export const trainingFields = {
  title: text,
  notes,
  models: listOf(oneOf(modelNames), "model names"),
  data: listOf(data, "data sources", ({ name }) => name),
  validation: share,
  evaluationItems: positiveInteger,
  evaluations: wholeUpTo(10_000),
  batch: positiveInteger,
  accumulate: wholeUpTo(65_536),
  augment: z.boolean({ error: "true or false" }),
  steps: wholeUpTo(maxSteps),
  budgets: ascending(fraction, "fractions of the full run, above 0 and at most 1"),
  warmup: number("a fraction of each budget, from 0 to below 1", (value) => value >= 0 && value < 1),
  optimizers: listOf(optimizer, "optimizers", ({ name }) => name),
  peakLearningRates,
  uba,
  schedules: listOf(schedule, "schedules", ({ name }) => name),
  measure: oneOf(["loss", "accuracy"] as const),
  margin: positive,
  extensions: naturalNumber,
  tuningSeeds: seeds,
  finalSeeds: seeds,
};

/** The fields of a study of quadratics. All are optional. */
export const quadraticsFields = {
  title: text,
  notes,
  schedules: trainingFields.schedules,
  conditionNumbers: ascending(
    number("a number above 1", (value) => value > 1),
    "condition numbers above 1",
  ),
  budgets: ascending(wholeUpTo(maxQuadraticSteps), `numbers of steps, at most ${maxQuadraticSteps}`),
  stabilityLimits: ascending(positive, "multiples of 1/λ_u above 0"),
  floors: ascending(notNegative, "multiples of 1/λ_u of at least 0"),
};
