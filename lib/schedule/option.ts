import { isListOf } from "../arguments.js";
import { invalidArgument } from "../errors.js";

/** How an option's value is written, for a program that parses it from text. */
export type OptionKind = "number" | "integer" | "boolean" | "choice" | "numbers" | "phases" | "schedules";

/** What an option is when it is not given: the value may follow from the options that were. */
export interface Fallback {
  /** The value in words, for a help text. */
  readonly text: string;
  /** `undefined` means that there is none after all, and the option is missing. */
  value(given: Given): unknown;
}

/** The options given and the defaults settled so far, checked one by one but not yet against each other. */
export type Given = Readonly<Record<string, unknown>>;

/** One line of a schedule's table of options. */
export interface Option {
  readonly kind: OptionKind;
  readonly description: string;
  readonly choices?: readonly string[];
  readonly fallback?: Fallback;
  /** True where the option may be left out without anything taking its place. */
  readonly mayBeAbsent?: boolean;
  /** The value, checked and copied; throws an error that names `path`. */
  read(path: string, value: unknown): unknown;
}

/** A table of options, by name. */
export type OptionTable = Readonly<Record<string, Option>>;

interface Bounds {
  readonly above?: number;
  readonly below?: number;
  readonly min?: number;
  readonly max?: number;
}

/** Extra words for an error message: how to mend the value. */
interface Advice {
  readonly advice?: string;
}

/** A finite number within bounds. */
export function number(description: string, bounds: Bounds & Advice = {}, fallback?: Fallback): Option {
  const expected = `a finite number${inWords(bounds)}`;
  const accepts = (value: unknown): value is number =>
    typeof value === "number" && Number.isFinite(value) && within(value, bounds);
  return scalar("number", description, expected, accepts, fallback);
}

/** A whole number within bounds, exact in a double. */
export function integer(description: string, bounds: Bounds & Advice = {}, fallback?: Fallback): Option {
  const expected = `an integer${inWords(bounds)}`;
  const accepts = (value: unknown): value is number => Number.isSafeInteger(value) && within(value as number, bounds);
  return scalar("integer", description, expected, accepts, fallback);
}

/** True or false. */
export function boolean(description: string, fallback?: Fallback): Option {
  return scalar("boolean", description, "true or false", (value) => typeof value === "boolean", fallback);
}

/** One of a few words. */
export function choice(description: string, choices: readonly string[], fallback?: Fallback): Option {
  const expected = `one of ${choices.map((word) => JSON.stringify(word)).join(", ")}`;
  const accepts = (value: unknown) => choices.includes(value as string);
  return { ...scalar("choice", description, expected, accepts, fallback), choices };
}

/** An array of numbers, each within the bounds and each larger than the one before. */
export function increasing(description: string, bounds: Bounds & Advice = {}, fallback?: Fallback): Option {
  const expected = `an array of numbers${inWords(bounds)}, each larger than the one before`;
  const accepts = (value: unknown): value is number[] =>
    isListOf(value, (entry, i) => {
      const isInside = typeof entry === "number" && Number.isFinite(entry) && within(entry, bounds);
      return isInside && (i === 0 || entry > (value as number[])[i - 1]!);
    });
  const read = (path: string, value: unknown) =>
    accepts(value) ? Object.freeze([...value]) : invalidArgument(path, expected, value);
  return withFallback({ kind: "numbers", description, read }, fallback);
}

/** A fixed default. */
export function byDefault(value: unknown): Fallback {
  return { text: Array.isArray(value) ? value.join(", ") : String(value), value: () => Object.freeze(value) };
}

/** The same option with another fallback, or with none. */
export function withFallback(option: Option, fallback: Fallback | undefined): Option {
  const { fallback: _dropped, ...rest } = option;
  return fallback === undefined ? rest : { ...rest, fallback };
}

/** The same option, which may be left out; `text` says in words what then holds. */
export function optional(option: Option, text?: string): Option {
  const fallback = text === undefined ? undefined : { text, value: () => undefined };
  return { ...withFallback(option, fallback), mayBeAbsent: true };
}

function scalar(
  kind: OptionKind,
  description: string,
  expected: string,
  accepts: (value: unknown) => boolean,
  fallback: Fallback | undefined,
): Option {
  const read = (path: string, value: unknown) => (accepts(value) ? value : invalidArgument(path, expected, value));
  return withFallback({ kind, description, read }, fallback);
}

function within(value: number, { above = -Infinity, below = Infinity, min = -Infinity, max = Infinity }: Bounds) {
  return value > above && value < below && value >= min && value <= max;
}

function inWords({ above, below, min, max, advice }: Bounds & Advice): string {
  const parts: string[] = [];
  if (above !== undefined) parts.push(`above ${above}`);
  if (min !== undefined) parts.push(`of at least ${min}`);
  if (below !== undefined) parts.push(`below ${below}`);
  if (max !== undefined) parts.push(`of at most ${max}`);
  const range = parts.length > 0 ? ` ${parts.join(" and ")}` : "";
  return advice === undefined ? range : `${range} (${advice})`;
}
