import { invalidArgument } from "../errors.js";
import { refuseOption } from "../options.js";
import type { Option, OptionTable } from "./option.js";

/**
 * Checks options against a table and fills in the defaults. The result is a frozen plain object with every option that
 * has a value, in the order of the table.
 *
 * @param path name of the options in error messages
 * @throws StepsizeError `invalid-argument` if `given` is not an object, or for an option that is unknown, missing or
 * out of range
 */
export function resolve<T extends object>(path: string, table: OptionTable<T>, given: unknown): Readonly<T> {
  const options = new Map<string, Option>(Object.entries(table));
  const names = [...options.keys()];
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    invalidArgument(path, `an object with the options ${names.join(", ")}`, given);
  }
  const read: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    // `undefined` counts as not given, so that callers can pass their own optional settings through.
    if (value === undefined) continue;
    const option = options.get(name);
    if (option === undefined) refuseOption(path, names, name);
    read[name] = option.read(`${path}.${name}`, value);
  }
  const complete: Record<string, unknown> = {};
  for (const [name, option] of options) {
    const value = read[name] ?? option.fallback?.value({ ...read, ...complete });
    if (value !== undefined) complete[name] = value;
    else if (!option.mayBeAbsent) {
      invalidArgument(`${path}.${name}`, `${option.description} (the options are ${names.join(", ")})`, undefined);
    }
  }
  // Each value comes from its option or is a default of it.
  return Object.freeze(complete) as Readonly<T>;
}
