// Comparisons of many tensors by name.
import { zip } from "../lookup.js";
import type { Tensor } from "../tensor/index.js";
import { compareExactly, type Result } from "./operation-runs.js";
import type { Finding } from "./report.js";

/** Values of tensors by name. */
export type NamedResults = Map<string, Result>;

/** Reads tensors into named results. */
export async function readNamed(results: NamedResults, tensors: readonly (readonly [string, Tensor])[]): Promise<void> {
  const read = await Promise.all(tensors.map(([, tensor]) => tensor.read()));
  for (const [[name, { dtype, shape }], values] of zip(tensors, read)) results.set(name, { dtype, shape, values });
}

/** Compares named results with the expected ones, bit by bit. */
export function compareNamed(got: NamedResults, expected: NamedResults): Finding {
  const missing = [...expected.keys()].filter((name) => !got.has(name));
  const more = [...got.keys()].filter((name) => !expected.has(name));
  if (missing.length + more.length > 0)
    return { fault: "wrong", message: `expected the tensors ${[...expected.keys()].join(", ")}, got ${[...got.keys()].join(", ")}` }; // biome-ignore format: one line
  for (const [name, result] of expected) {
    const found = got.get(name);
    const { fault, message } = compareExactly(found ? [found] : [], [result]);
    if (fault) return { fault, message: `${name}: ${message}` };
  }
  return {};
}
