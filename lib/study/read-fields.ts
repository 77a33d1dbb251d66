import { z } from "zod";
import { describe, StepsizeError } from "../errors.js";
import { itemAt } from "../lookup.js";
import { suggestion } from "../nearest.js";
import { shown } from "../quoting.js";
import { readOptionNames } from "../tasks/index.js";

/** Names a field in an error message by where its value came from, such as `study.json: budgets[0]`. */
export type Label = (path: readonly PropertyKey[]) => string;

/** Formats a path in the settings: `optimizers[0].name`. */
export function pathInWords(path: readonly PropertyKey[]): string {
  return path
    .map((part, i) => (typeof part === "number" ? `[${part}]` : `${i > 0 ? "." : ""}${String(part)}`))
    .join("");
}

/**
 * Checks values against their fields. Every field may be absent.
 * @throws StepsizeError `invalid-argument` for the first field that is unknown or has a wrong value
 */
export function readFields<T extends Record<string, z.ZodType>>(
  fields: T,
  values: Readonly<Record<string, unknown>>,
  label: Label,
): Given<T> {
  const result = z.strictObject(fields).partial().safeParse(values);
  if (result.success) return result.data as Given<T>;
  const issue = itemAt(result.error.issues, 0);
  if (issue.code !== "unrecognized_keys") {
    // If a name was given in place of an object, the path leads into that object, but the given value is the name.
    let [value, depth]: [unknown, number] = [values, 0];
    for (const key of issue.path) {
      if (typeof value !== "object" || value === null) break;
      value = Reflect.get(value, key);
      depth++;
    }
    refuse(label(issue.path.slice(0, depth)), issue.message, value);
  }
  const unknown = itemAt(issue.keys, 0);
  const known = issue.path.length === 0 ? Object.keys(fields) : knownAt[String(issue.path[0])];
  throw new StepsizeError(
    "invalid-argument",
    `${label([...issue.path, shown(unknown)])}: unknown field${suggestion(unknown, known ?? [])}`,
  );
}

const readOptions = readOptionNames.filter((name) => name !== "onError" && name !== "testData");

/** Fields of nested objects, for hints. */
const knownAt: Readonly<Record<string, readonly string[]>> = {
  data: ["source", "name", ...readOptions],
  optimizers: ["name", "weightDecay", "momentum", "clipNorm", "peakLearningRates", "uba"],
  uba: ["peakLearningRates", "phi"],
};

/** Checked values of some of the fields. */
export type Given<T extends Record<string, z.ZodType>> = Partial<{ [K in keyof T]: z.output<T[K]> }>;

/**
 * Throws the error of a wrong value.
 * @throws StepsizeError `invalid-argument`
 */
export function refuse(place: string, expected: string, got: unknown): never {
  throw new StepsizeError("invalid-argument", `${place}: expected ${expected}, got ${describe(got)}`);
}
