import { invalidArgument } from "../errors.js";
import { refuseOption } from "../options.js";
import type { OptionTable } from "./option.js";

/**
 * Checks what a caller gave against a table of options and fills in the rest. The result is a frozen plain object in
 * the table's order, with every option that has a value.
 *
 * Throws `invalid-argument` for something that is no object, an unknown option, a bad value or a missing option; the
 * first and the last two name `path`.
 */
export function resolve(path: string, table: OptionTable, given: unknown): Readonly<Record<string, unknown>> {
  const names = Object.keys(table);
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    invalidArgument(path, `an object with the options ${names.join(", ")}`, given);
  }
  const read: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    // A caller that passes its own optional setting through means "not given".
    if (value === undefined) continue;
    if (!Object.hasOwn(table, name)) refuseOption(path, names, name);
    read[name] = table[name]!.read(`${path}.${name}`, value);
  }
  const complete: Record<string, unknown> = {};
  for (const name of names) {
    const option = table[name]!;
    const value = read[name] ?? option.fallback?.value({ ...read, ...complete });
    if (value !== undefined) complete[name] = value;
    else if (!option.mayBeAbsent) {
      const others = `the options are ${names.join(", ")}`;
      invalidArgument(`${path}.${name}`, `${option.description} (${others})`, undefined);
    }
  }
  return Object.freeze(complete);
}
