/**
 * Schemas that check the contents of files: small functions that are composed to the description of a format. No
 * library is used, because every import of stepsize would load it.
 *
 * @module
 */
import { describe, StepsizeError } from "./errors.js";
import { shown } from "./quoting.js";

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

/** Returns a schema of arrays with `least` to `most` items. `words` describe them in error messages. */
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

/** Returns a schema of objects with these fields. Further fields are accepted, because later versions may have more. */
export function object<T extends object>(fields: Fields<T>, words = "an object"): Schema<T> {
  const names = Object.keys(fields) as (keyof T & string)[];
  return (value, place) => {
    const given = record(value) ?? place.refuse(words, value);
    let read = given;
    for (const name of names) {
      // Only own fields count, because every object inherits others.
      const value = Object.hasOwn(given, name) ? given[name] : undefined;
      const one = fields[name](value, place.at(name));
      if (Object.is(one, value)) continue;
      if (read === given) read = { ...given };
      read[name] = one;
    }
    return read as T;
  };
}

/** A schema for every field of an object. */
export type Fields<T> = { readonly [K in keyof T]-?: Schema<T[K] | undefined> };

/** Returns a schema of objects whose fields have any names and values of one kind. */
export function dictionary<T>(item: Schema<T>, words = "an object"): Schema<Readonly<Record<string, T>>> {
  return (value, place) => {
    const given = record(value) ?? place.refuse(words, value);
    const read = Object.entries(given).map(([name, value]) => [name, item(value, place.at(name))] as const);
    const isSame = read.every(([name, one]) => Object.is(one, given[name]));
    return (isSame ? given : Object.fromEntries(read)) as Readonly<Record<string, T>>;
  };
}

/** Returns a schema whose values must also pass a test. */
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
