import { isListOf, isSafeInteger } from "../arguments.js";
import { invalidArgument } from "../errors.js";

/** The kind of an option's value, for a program that parses options from text. */
export type OptionKind = "number" | "integer" | "boolean" | "choice" | "numbers" | "phases" | "schedules";

/** The default of an option. It may depend on the options that were given. */
export interface Fallback {
  /** The default in words, for a help text. */
  readonly text: string;
  /** Returns the default; `undefined` if these options give none, in which case the option is missing. */
  value(given: Given): unknown;
}

/** The given options and the defaults so far. They are checked one by one, but not yet against each other. */
export type Given = Readonly<Record<string, unknown>>;

/** Returns the number that a given option or a default so far has. */
export function numberIn(given: Given, name: string): number {
  const value = given[name];
  if (typeof value !== "number") throw new Error(`the option ${name} has no number yet`);
  return value;
}

/** One row of a schedule's table of options. */
export interface Option {
  readonly kind: OptionKind;
  readonly description: string;
  readonly choices?: readonly string[];
  readonly fallback?: Fallback;
  /** Whether the option may be absent from the resolved options. */
  readonly mayBeAbsent?: boolean;
  /** Checks and copies a value. Throws `invalid-argument` with `path` in the message. */
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

/** Advice for an error message. */
interface Advice {
  readonly advice?: string;
}

/** Returns an option that is a finite number within bounds. */
export function number(description: string, bounds: Bounds & Advice = {}, fallback?: Fallback): Option {
  const expected = `a finite number${inWords(bounds)}`;
  const accepts = (value: unknown): value is number =>
    typeof value === "number" && Number.isFinite(value) && within(value, bounds);
  return scalar("number", description, expected, accepts, fallback);
}

/** Returns an option that is a safe integer within bounds. */
export function integer(description: string, bounds: Bounds & Advice = {}, fallback?: Fallback): Option {
  const expected = `an integer${inWords(bounds)}`;
  const accepts = (value: unknown): value is number => isSafeInteger(value) && within(value, bounds);
  return scalar("integer", description, expected, accepts, fallback);
}

/** Returns an option that is true or false. */
export function boolean(description: string, fallback?: Fallback): Option {
  return scalar("boolean", description, "true or false", (value) => typeof value === "boolean", fallback);
}

/** Returns an option that is one of several words. */
export function choice(description: string, choices: readonly string[], fallback?: Fallback): Option {
  const expected = `one of ${choices.map((word) => JSON.stringify(word)).join(", ")}`;
  const accepts = (value: unknown) => choices.some((word) => word === value);
  return { ...scalar("choice", description, expected, accepts, fallback), choices };
}

/** Returns an option that is an increasing array of numbers within bounds. */
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

/** Returns a default that does not depend on other options. */
export function byDefault(value: unknown): Fallback {
  return { text: Array.isArray(value) ? value.join(", ") : String(value), value: () => Object.freeze(value) };
}

/** Returns the option with another default, or with none. */
export function withFallback(option: Option, fallback: Fallback | undefined): Option {
  const { fallback: _dropped, ...rest } = option;
  return fallback === undefined ? rest : { ...rest, fallback };
}

/** Returns the option as one that may be absent. `text` describes the behavior without it. */
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
