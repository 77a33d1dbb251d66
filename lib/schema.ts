/**
 * Checks of what files hold, before anything uses it: small functions that are put together to the description of a
 * format. They are here and not in a library because everybody who imports stepsize reads files, and would load it.
 *
 * @module
 */
import { describe, StepsizeError } from "./errors.js";
import { shown } from "./quoting.js";

/**
 * Throws unless a value is as it should be, and gives back what it stands for. That is the value itself, not a copy,
 * unless a part of it stands for something else, as the text `"NaN"` does for a number.
 */
export type Schema<T> = (value: unknown, place: Place) => T;

/** Where a value stands in a file: `config.json: layers[2].name`. */
export class Place {
  readonly #parent: Place | string;
  readonly #key: string | number;

  /** The whole of a file's content, or the part of another place. */
  constructor(parent: Place | string, key: string | number = "") {
    this.#parent = parent;
    this.#key = key;
  }

  /** The place of a field, or of an item by its number. */
  at(key: string | number): Place {
    return new Place(this, key);
  }

  /** Throws the error of a value that is not as expected there. */
  refuse(expected: string, found: unknown): never {
    throw new StepsizeError("invalid-file", `${this}: expected ${expected}, found ${describe(found)}`);
  }

  toString(): string {
    if (typeof this.#parent === "string") return this.#parent;
    const parent = this.#parent.toString();
    if (typeof this.#key === "number") return `${parent}[${this.#key}]`;
    return `${parent}${typeof this.#parent.#parent === "string" ? ": " : "."}${shown(this.#key)}`;
  }
}

/** A value that passes a test, called by the words. */
export function valueThat<T>(words: string, accepts: (value: unknown) => value is T): Schema<T> {
  return (value, place) => (accepts(value) ? value : place.refuse(words, value));
}

/** A number that passes a test, called by the words. */
export function numberThat(words: string, accepts: (value: number) => boolean): Schema<number> {
  return valueThat(words, (value): value is number => typeof value === "number" && accepts(value));
}

export const text = valueThat("a text", (value): value is string => typeof value === "string");
/** A text that is not empty. */
export const name = valueThat("a text", (value): value is string => typeof value === "string" && value !== "");
export const flag = valueThat("true or false", (value): value is boolean => typeof value === "boolean");
export const finite = numberThat("a finite number", Number.isFinite);
export const count = numberThat("an integer of at least 0", (value) => Number.isSafeInteger(value) && value >= 0);
export const atLeastOne = numberThat("an integer of at least 1", (value) => Number.isSafeInteger(value) && value >= 1);

/** Any value: what reads it checks it. */
export const anything: Schema<unknown> = (value) => value;

/** One of a few words. */
export function oneOf<const T extends string>(words: readonly T[]): Schema<T> {
  const listed = words.map((word) => JSON.stringify(word)).join(" or ");
  return valueThat(listed, (value): value is T => words.includes(value as T));
}

/** The same, or nothing. */
export function optional<T>(schema: Schema<T>): Schema<T | undefined> {
  return (value, place) => (value === undefined ? undefined : schema(value, place));
}

/** The same, or null. */
export function nullable<T>(schema: Schema<T>): Schema<T | null> {
  return (value, place) => (value === null ? null : schema(value, place));
}

/** A list of so many items. */
export function list<T>(
  item: Schema<T>,
  { words, least = 0, most = Number.POSITIVE_INFINITY }: { words: string; least?: number; most?: number },
): Schema<readonly T[]> {
  return (value, place) => {
    if (!Array.isArray(value) || value.length < least || value.length > most) return place.refuse(words, value);
    let read: T[] = value;
    for (let i = 0; i < value.length; i++) {
      const one = item(value[i], place.at(i));
      if (Object.is(one, value[i])) continue;
      if (read === value) read = [...value];
      read[i] = one;
    }
    return read;
  };
}

/** An object, with any other fields beside these: later versions may have more. */
export function object<T extends object>(fields: Fields<T>, words = "an object"): Schema<T> {
  const names = Object.keys(fields) as (keyof T & string)[];
  return (value, place) => {
    const given = record(value) ?? place.refuse(words, value);
    let read = given;
    for (const name of names) {
      // By own fields alone: a file's value has no business with what every object inherits.
      const value = Object.hasOwn(given, name) ? given[name] : undefined;
      const one = fields[name](value, place.at(name));
      if (Object.is(one, value)) continue;
      if (read === given) read = { ...given };
      read[name] = one;
    }
    return read as T;
  };
}

/** For every field of an object its schema. */
export type Fields<T> = { readonly [K in keyof T]-?: Schema<T[K] | undefined> };

/** An object whose fields have any names and values of one kind. */
export function dictionary<T>(item: Schema<T>, words = "an object"): Schema<Readonly<Record<string, T>>> {
  return (value, place) => {
    const given = record(value) ?? place.refuse(words, value);
    const read = Object.entries(given).map(([name, value]) => [name, item(value, place.at(name))] as const);
    const isSame = read.every(([name, one]) => Object.is(one, given[name]));
    return (isSame ? given : Object.fromEntries(read)) as Readonly<Record<string, T>>;
  };
}

/** A value that also passes a test of its own. */
export function where<T>(schema: Schema<T>, words: string, holds: (value: T) => boolean): Schema<T> {
  return (value, place) => {
    const checked = schema(value, place);
    return holds(checked) ? checked : place.refuse(words, value);
  };
}

function record(value: unknown): Record<string, unknown> | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return value as Record<string, unknown>;
}
