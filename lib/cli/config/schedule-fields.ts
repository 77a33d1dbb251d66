import { z } from "zod";
import { StepsizeError } from "../../errors.js";
import { catalog, create, names, type OptionDescription, type Schedule, tabulate } from "../../schedule/index.js";
import { optionalNumberIn } from "../../schedule/option.js";
import { UsageError } from "../failure.js";
import { flagOf } from "../output/text.js";
import { choiceField, type FieldHelp, type Fields, help, withFallback } from "./fields.js";

/** The field for the name of a schedule. */
export const scheduleName = choiceField(names, "learning-rate schedule", { fallback: "uba" });

/** Words for options of schedules in other programs. */
const otherWords: Readonly<Record<string, readonly string[]>> = { maxLr: ["lr", "learningRate"] };

/** One field for each option of any schedule except the budget, made from the tables of the schedules. */
export const scheduleFields: Fields = Object.fromEntries(
  catalog
    .flatMap(({ options }) => options)
    .filter(({ name }, i, all) => name !== "budget" && all.findIndex((option) => option.name === name) === i)
    .map((option) => [option.name, fieldOf(option)]),
);

/** Returns {@link scheduleFields} with other defaults in the help of some. */
export function scheduleFieldsWith(fallbacks: Readonly<Record<string, string>>): Fields {
  return Object.fromEntries(
    Object.entries(scheduleFields).map(([name, field]) => {
      const fallback = fallbacks[name];
      return [name, fallback === undefined ? field : withFallback(field, fallback)];
    }),
  );
}

/** Names of the options that a schedule takes; empty for an unknown schedule. */
export function optionsOf(schedule: string): readonly string[] {
  return catalog.find(({ name }) => name === schedule)?.options.map(({ name }) => name) ?? [];
}

/** The highest rate of a schedule: its option `maxLr`, or the highest rate of its steps. */
export function highestRate(schedule: Schedule): number {
  const maxLr = optionalNumberIn(schedule.options, "maxLr");
  return maxLr ?? tabulate(schedule).reduce((highest, rate) => Math.max(highest, rate));
}

/**
 * Makes a schedule from checked fields. Fields that are not options of any schedule are ignored.
 *
 * @param label names a field in an error message: as a flag, or by file and field
 * @throws UsageError naming an option that the schedule does not take, or whose value it does not accept
 */
export function makeSchedule(
  name: string,
  values: Readonly<Record<string, unknown>>,
  label: (field: string) => string = flagOf,
): Schedule {
  const options = optionsOf(name);
  const given: Record<string, unknown> = {};
  for (const option of ["budget", ...Object.keys(scheduleFields)]) {
    if (values[option] === undefined) continue;
    if (!options.includes(option) && option !== "warmup")
      throw new UsageError(
        `${label(option)}: not an option of the schedule ${name}; its options are ${options.join(", ")}`,
      );
    given[option] = values[option];
  }
  try {
    return create(name, given);
  } catch (error) {
    if (!(error instanceof StepsizeError)) throw error;
    // The library names the option `uba.maxLr`. The user gave it as a flag or as a field of a file.
    const message = error.message.replace(/^[\w-]+\.(\w+)/, (_, option: string) => label(option));
    throw new UsageError(message, { cause: error });
  }
}

function fieldOf({ name, kind, description, choices }: OptionDescription): z.ZodType {
  const schedules = catalog.filter(({ options }) => options.some((option) => option.name === name));
  const defaults = new Set(schedules.map(({ options }) => options.find((option) => option.name === name)?.default));
  const [fallback] = defaults;
  const isCommon = schedules.length > 4;
  const listed = choices ? `${description}: ${choices.join(", ")}` : description;
  const words: Pick<FieldHelp, "description" | "fallback" | "choices" | "group" | "aliases"> = {
    group: isCommon ? undefined : "Options of single schedules:",
    description: isCommon ? listed : `${listed} [${schedules.map((schedule) => schedule.name).join(", ")}]`,
    // The default is shown if it is the same for all schedules. Otherwise `stepsize schedule --list` shows each.
    fallback: defaults.size === 1 ? fallback : undefined,
    choices,
    aliases: otherWords[name],
  };
  switch (kind) {
    case "number":
      return z.number().register(help, { kind, placeholder: "<x>", expected: "a finite number", ...words });
    case "integer":
      return z.int().register(help, { kind: "number", placeholder: "<n>", expected: "a whole number", ...words });
    case "boolean":
      return z.boolean().register(help, { kind: "switch", expected: "true or false", ...words });
    case "choice":
      return z.literal(choices ?? []).register(help, {
        kind: "text",
        placeholder: "<word>",
        expected: `one of ${choices?.join(", ")}`,
        ...words,
      });
    case "numbers": {
      const expected = "numbers: a list, or as a flag separated by commas";
      return z.array(z.number()).register(help, { kind, placeholder: "<x,…>", expected, ...words });
    }
    case "schedules": {
      const expected = 'a list (as a flag: JSON) of schedules such as {"name": "cosine", "budget": 100, "maxLr": 0.1}';
      return z.array(z.looseObject({})).register(help, { kind: "json", placeholder: "<json>", expected, ...words });
    }
    case "phases": {
      const expected = 'a list (as a flag: JSON) of phases such as {"iterations": 100, "phi": 5}';
      return z.array(z.looseObject({})).register(help, { kind: "json", placeholder: "<json>", expected, ...words });
    }
  }
}
