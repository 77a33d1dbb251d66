/**
 * Schemas that check the contents of files: small functions that are composed to the description of a format. No
 * library is used, because every import of stepsize would load it.
 *
 * @module
 */
import { describe, StepsizeError } from "./errors.js";
import { shown } from "./quoting.js";
import { isObject } from "./realms.js";

/**
 * Checks a value and returns it with its type. Throws `invalid-file` with the place if it does not fit.
 *
 * The result is the value itself and not a copy, unless a part of it represents another value, as the text `"NaN"`
 * represents a number.
 */
export type Schema<T> = (value: unknown, place: Place) => T;

/** The place of a value in a file, such as `config.json: layers[2].name`. */
export class Place {
  readonly #parent: Place | string;
  readonly #key: string | number;

  /** Creates the place of a file's whole content, or of a part of another place. */
  constructor(parent: Place | string, key: string | number = "") {
    this.#parent = parent;
    this.#key = key;
  }

  /** Returns the place of a field, or of an item by its index. */
  at(key: string | number): Place {
    return new Place(this, key);
  }

  /**
   * Throws the error of a value that does not fit.
   *
   * @throws StepsizeError `invalid-file` always
   */
  refuse(expected: string, found: unknown): never {
    throw new StepsizeError("invalid-file", `${this}: expected ${expected}, found ${describe(found)}`);
  }

  /** Returns the place as text for a message. */
  toString(): string {
    if (typeof this.#parent === "string") return this.#parent;
    const parent = this.#parent.toString();
    if (typeof this.#key === "number") return `${parent}[${this.#key}]`;
    return `${parent}${typeof this.#parent.#parent === "string" ? ": " : "."}${shown(this.#key)}`;
  }
}

/** Returns a schema of values that pass a test. `words` describe them in error messages. */
export function valueThat<T>(words: string, accepts: (value: unknown) => value is T): Schema<T> {
  return (value, place) => (accepts(value) ? value : place.refuse(words, value));
}

/** Returns a schema of numbers that pass a test. `words` describe them in error messages. */
export function numberThat(words: string, accepts: (value: number) => boolean): Schema<number> {
  return valueThat(words, (value): value is number => typeof value === "number" && accepts(value));
}

/** A text. */
export const text = valueThat("a text", (value): value is string => typeof value === "string");
/** A text that is not empty. */
export const name = valueThat("a text", (value): value is string => typeof value === "string" && value !== "");
/** True or false. */
export const flag = valueThat("true or false", (value): value is boolean => typeof value === "boolean");
/** A finite number. */
export const finite = numberThat("a finite number", Number.isFinite);
/** A safe integer ≥ 0. */
export const count = numberThat("an integer of at least 0", (value) => Number.isSafeInteger(value) && value >= 0);
/** A safe integer ≥ 1. */
export const atLeastOne = numberThat("an integer of at least 1", (value) => Number.isSafeInteger(value) && value >= 1);

/** Any value. The code that reads it checks it. */
export const anything: Schema<unknown> = (value) => value;

/** Returns a schema of one of several words. */
export function oneOf<const T extends string>(words: readonly T[]): Schema<T> {
  const listed = words.map((word) => JSON.stringify(word)).join(" or ");
  return valueThat(listed, (value): value is T => words.some((word) => word === value));
}

/** Returns a schema that also accepts `undefined`. */
export function optional<T>(schema: Schema<T>): Schema<T | undefined> {
  return (value, place) => (value === undefined ? undefined : schema(value, place));
}

/** Returns a schema that also accepts null. */
export function nullable<T>(schema: Schema<T>): Schema<T | null> {
  return (value, place) => (value === null ? null : schema(value, place));
}

/** Returns a schema of arrays with `min` to `max` items. `words` describe them in error messages. */
export function list<T>(
  item: Schema<T>,
  { words, min = 0, max = Infinity }: { words: string; min?: number | undefined; max?: number | undefined },
): Schema<readonly T[]> {
  return (value, place) => {
    if (!Array.isArray(value) || value.length < min || value.length > max) return place.refuse(words, value);
    let read: T[] = value;
    for (let i = 0; i < value.length; i++) {
      const readItem = item(value[i], place.at(i));
      if (Object.is(readItem, value[i])) continue;
      if (read === value) read = [...value];
      read[i] = readItem;
    }
    return read;
  };
}

/** Returns a schema of objects with these fields. Further fields are accepted, because later versions may have more. */
export function object<T extends object>(fields: Fields<T>, words = "an object"): Schema<T> {
  const names: Extract<keyof T, string>[] = [];
  for (const name in fields) names.push(name);
  return (value, place) => {
    const given = isObject(value) ? value : place.refuse(words, value);
    let read: Record<string, unknown> = given;
    for (const name of names) {
      // Only own fields count, because every object inherits others.
      const value = Object.hasOwn(given, name) ? given[name] : undefined;
      const readField = fields[name](value, place.at(name));
      if (Object.is(readField, value)) continue;
      if (read === given) read = { ...given };
      read[name] = readField;
    }
    return read as T;
  };
}

/** A schema for every field of an object. */
export type Fields<T> = { readonly [K in keyof T]-?: Schema<T[K] | undefined> };

/** Returns a schema of objects whose fields have any names and values of one kind. */
export function dictionary<T>(item: Schema<T>, words = "an object"): Schema<Readonly<Record<string, T>>> {
  return (value, place) => {
    const given = isObject(value) ? value : place.refuse(words, value);
    const entries = Object.entries(given).map(([name, value]) => [name, item(value, place.at(name))] as const);
    const hasEntries = (object: Readonly<Record<string, unknown>>): object is Readonly<Record<string, T>> =>
      entries.every(([name, read]) => Object.is(read, object[name]));
    return hasEntries(given) ? given : Object.fromEntries(entries);
  };
}

/** Returns a schema whose values must also pass a test. */
export function where<T>(schema: Schema<T>, words: string, holds: (value: T) => boolean): Schema<T> {
  return (value, place) => {
    const checked = schema(value, place);
    return holds(checked) ? checked : place.refuse(words, value);
  };
}
