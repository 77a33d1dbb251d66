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
  const value = optionalNumberIn(given, name);
  if (value === undefined) throw new Error(`the option ${name} has no number yet`);
  return value;
}

/** Returns the number that an option has; `undefined` if it is absent. */
export function optionalNumberIn(given: Given, name: string): number | undefined {
  const value = given[name];
  return typeof value === "number" ? value : undefined;
}

/** One row of a schedule's table of options, with the type of its checked value. */
export interface Option<T = unknown> {
  readonly kind: OptionKind;
  readonly description: string;
  readonly choices?: readonly string[];
  readonly fallback?: Fallback;
  /** Whether the option may be absent from the resolved options. */
  readonly mayBeAbsent?: boolean;
  /** Checks and copies a value. Throws `invalid-argument` with `path` in the message. */
  read(path: string, value: unknown): T;
}

/** A table of the options of a type, by name. */
export type OptionTable<T = Readonly<Record<string, unknown>>> = { readonly [K in keyof T]-?: Option<T[K]> };

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
export function number(description: string, bounds: Bounds & Advice = {}, fallback?: Fallback): Option<number> {
  const expected = `a finite number${inWords(bounds)}`;
  const accepts = (value: unknown): value is number =>
    typeof value === "number" && Number.isFinite(value) && within(value, bounds);
  return scalar("number", description, expected, accepts, fallback);
}

/** Returns an option that is a safe integer within bounds. */
export function integer(description: string, bounds: Bounds & Advice = {}, fallback?: Fallback): Option<number> {
  const expected = `an integer${inWords(bounds)}`;
  const accepts = (value: unknown): value is number => isSafeInteger(value) && within(value, bounds);
  return scalar("integer", description, expected, accepts, fallback);
}

/** Returns an option that is true or false. */
export function boolean(description: string, fallback?: Fallback): Option<boolean> {
  const accepts = (value: unknown): value is boolean => typeof value === "boolean";
  return scalar("boolean", description, "true or false", accepts, fallback);
}

/** Returns an option that is one of several words. */
export function choice<const T extends string>(
  description: string,
  choices: readonly T[],
  fallback?: Fallback,
): Option<T> {
  const expected = `one of ${choices.map((word) => JSON.stringify(word)).join(", ")}`;
  const accepts = (value: unknown): value is T => choices.some((word) => word === value);
  return { ...scalar("choice", description, expected, accepts, fallback), choices };
}

/** Returns an option that is an increasing array of numbers within bounds. */
export function increasing(
  description: string,
  bounds: Bounds & Advice = {},
  fallback?: Fallback,
): Option<readonly number[]> {
  const expected = `an array of numbers${inWords(bounds)}, each larger than the one before`;
  const read = (path: string, value: unknown) => {
    let before = -Infinity;
    const accepts = (entry: unknown): entry is number => {
      if (typeof entry !== "number" || !Number.isFinite(entry) || !within(entry, bounds)) return false;
      const isLarger = entry > before;
      before = entry;
      return isLarger;
    };
    return isListOf(value, accepts) ? Object.freeze([...value]) : invalidArgument(path, expected, value);
  };
  return withFallback({ kind: "numbers", description, read }, fallback);
}

/** Returns a default that does not depend on other options. */
export function byDefault(value: unknown): Fallback {
  return { text: Array.isArray(value) ? value.join(", ") : String(value), value: () => Object.freeze(value) };
}

/** Returns the option with another default, or with none. */
export function withFallback<T>(option: Option<T>, fallback: Fallback | undefined): Option<T> {
  const { fallback: _dropped, ...rest } = option;
  return fallback === undefined ? rest : { ...rest, fallback };
}

/** Returns the option as one that may be absent. `text` describes the behavior without it. */
export function optional<T>(option: Option<T>, text?: string): Option<T | undefined> {
  const fallback = text === undefined ? undefined : { text, value: () => undefined };
  return { ...withFallback<T | undefined>(option, fallback), mayBeAbsent: true };
}

function scalar<T>(
  kind: OptionKind,
  description: string,
  expected: string,
  accepts: (value: unknown) => value is T,
  fallback: Fallback | undefined,
): Option<T> {
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
