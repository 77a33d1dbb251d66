import { type Command, Option } from "commander";
import { z } from "zod";
import { describe } from "../../errors.js";
import { valueAt } from "../../lookup.js";
import { suggestion } from "../../nearest.js";
import { shown } from "../../quoting.js";
import type { Given } from "../../study/index.js";
import { UsageError } from "../failure.js";
import { flagOf } from "../output/text.js";

/** The help of a field, which its schema does not have: its flag, its description and the words of its errors. */
export interface FieldHelp {
  readonly description: string;
  /** The placeholder after the flag, such as `<n>`; a switch has none. */
  readonly placeholder?: string | undefined;
  /** How the text of a flag is converted to a value. */
  readonly kind: "text" | "words" | "number" | "switch" | "numbers" | "json";
  /** The words after "expected" in an error message. */
  readonly expected: string;
  /** Other words for the flag, as other programs have them: field names, in camel case. */
  readonly aliases?: readonly string[] | undefined;
  /** The default, in words. */
  readonly fallback?: string | undefined;
  readonly choices?: readonly string[] | undefined;
  /** Returns what was probably meant by a wrong value, as the end of an error message; empty if nothing is near. */
  readonly hint?: ((value: unknown) => string) | undefined;
  /** The heading of the flag in a command's help; default `Options:`. */
  readonly group?: string | undefined;
}

/** Fields by name. Each is a schema that is registered in {@link help}. */
export type Fields = Readonly<Record<string, z.ZodType>>;

/** The help of each field's schema. */
export const help = z.registry<FieldHelp>();

/** Makes a field for a number. */
export function numberField(
  schema: z.ZodType<number>,
  expected: string,
  description: string,
  more: { readonly placeholder?: string; readonly fallback?: string; readonly aliases?: readonly string[] } = {},
): z.ZodType<number> {
  // The schema is copied, because several fields may share one.
  return schema.clone().register(help, { kind: "number", placeholder: "<n>", expected, description, ...more });
}

/** Makes a field for one of several words. */
export function choiceField<const T extends string>(
  choices: readonly T[],
  description: string,
  more: { readonly placeholder?: string; readonly fallback?: string } = {},
): z.ZodType<T> {
  const expected = `one of ${choices.join(", ")}`;
  // Choices that are too long to stand before the description are listed in it.
  const isShort = choices.join("|").length <= 20;
  const placeholder = isShort ? `<${choices.join("|")}>` : "<name>";
  const listed = isShort ? description : `${description}: ${choices.join(", ")}`;
  const schema: z.ZodType<T> = z.literal(choices);
  return schema.register(help, { kind: "text", placeholder, expected, description: listed, choices, ...more });
}

/** Makes a field that is on or off. */
export function switchField(description: string, fallback = "off"): z.ZodType<boolean> {
  return z.boolean().register(help, { kind: "switch", expected: "true or false", description, fallback });
}

/** Copies a field and gives the copy another default in its help. */
export function withFallback<T>(schema: z.ZodType<T>, fallback: string): z.ZodType<T> {
  return schema.clone().register(help, { ...helpOfSchema(schema), fallback });
}

/** Returns the help of a field. */
export function helpOf(fields: Fields, name: string): FieldHelp {
  return helpOfSchema(valueAt(new Map(Object.entries(fields)), name));
}

function helpOfSchema(schema: z.ZodType): FieldHelp {
  const registered = help.get(schema);
  if (registered === undefined) throw new Error("a field has no help");
  return registered;
}

/** The fields under each heading of a command's help. */
export type Groups = Readonly<Record<string, readonly string[]>>;

/**
 * Adds one flag per field to a command.
 *
 * @param groups headings for fields whose help has none. Fields in no group are under `Options:`.
 */
export function addFlags(command: Command, fields: Fields, groups: Groups = {}): void {
  const headings = new Map(Object.entries(groups).flatMap(([heading, names]) => names.map((name) => [name, heading])));
  for (const name of Object.keys(fields)) {
    const { placeholder, description, fallback, kind, aliases = [], ...words } = helpOf(fields, name);
    const group = words.group ?? headings.get(name);
    const text = fallback === undefined ? description : `${description} (default: ${fallback})`;
    const hidden = aliases.map((alias) => `${flagOf(alias)} ${placeholder}`);
    // The negation can turn off a switch that a file turns on.
    if (kind === "switch") hidden.push(`--no-${flagOf(name).slice(2)}`);
    const options = [
      new Option(kind === "switch" ? flagOf(name) : `${flagOf(name)} ${placeholder}`, text),
      ...hidden.map((flags) => new Option(flags).hideHelp()),
    ];
    for (const option of options) command.addOption(group === undefined ? option : option.helpGroup(group));
  }
}

/** Returns the fields whose help has a heading of its own, and the others. */
export function splitByHeading(fields: Fields): { readonly common: Fields; readonly special: Fields } {
  const entries = Object.entries(fields);
  const isSpecial = ([name]: [string, unknown]) => helpOf(fields, name).group !== undefined;
  return {
    common: Object.fromEntries(entries.filter((entry) => !isSpecial(entry))),
    special: Object.fromEntries(entries.filter(isSpecial)),
  };
}

/** Adds `--json`, which means the same for every command, and puts `--help` under the same heading. */
export function addJson(command: Command): Command {
  return command
    .option("--json", "print one JSON document and nothing else; text for people goes to standard error")
    .helpOption("-h, --help", "display help for command");
}

/**
 * Picks the fields among a command's parsed flags and converts their text to values.
 * @throws UsageError if a flag was given twice, in two words
 */
export function fromFlags(fields: Fields, flags: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const name of Object.keys(fields)) {
    const { kind, aliases = [] } = helpOf(fields, name);
    const [given, second] = [name, ...aliases].filter((word) => flags[word] !== undefined);
    if (second !== undefined)
      throw new UsageError(`${flagOf(second)}: expected either this flag or ${flagOf(String(given))}, got both`);
    if (given !== undefined) values[name] = convert(kind, flags[given]);
  }
  return values;
}

/** Converts the text of a flag. Text that cannot be converted is kept, so that the schema refuses it and shows it. */
function convert(kind: FieldHelp["kind"], value: unknown): unknown {
  if (typeof value !== "string") return value;
  const number = (text: string) => (text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text));
  if (kind === "number") return number(value);
  if (kind === "numbers") return value.split(",").map(number);
  if (kind === "words") return value.split(",").map((word) => word.trim());
  if (kind !== "json") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/**
 * Checks values against their fields.
 *
 * @param label names a field in an error message: as a flag, or by file and field
 * @throws UsageError naming the first field that is unknown or has a wrong value
 */
export function check<T extends Fields>(
  fields: T,
  values: Readonly<Record<string, unknown>>,
  label: (field: string) => string,
): Given<T> {
  const names = Object.keys(fields);
  for (const name of Object.keys(values)) {
    if (names.includes(name)) continue;
    throw new UsageError(`${label(shown(name))}: unknown field${suggestion(name, names)}`);
  }
  const parsed = z.object(fields).partial().safeParse(values);
  if (parsed.success) return parsed.data as Given<T>;
  const name = String(parsed.error.issues[0]?.path[0]);
  const { expected, choices = [], hint = (given) => suggestion(given, choices) } = helpOf(fields, name);
  const value = values[name];
  throw new UsageError(`${label(name)}: expected ${expected}, got ${describe(value)}${hint(value)}`);
}
