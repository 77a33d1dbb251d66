import { StepsizeError } from "../errors.js";
import { Uploads } from "../files/device-parts.js";
import { describeStored, type HostTensor } from "../files/safetensors.js";
import type { StoredTensor } from "../files/safetensors-file.js";
import { fillSame } from "../files/stored-floats.js";
import { valueAt } from "../lookup.js";
import type { Module } from "../nn/index.js";

/**
 * Verifies the checksums of tensors.
 *
 * @throws StepsizeError `invalid-file` if one does not match
 */
export async function verifyAll(parts: Iterable<ReadonlyMap<string, StoredTensor>>): Promise<void> {
  for (const part of parts) for (const stored of part.values()) await stored.verify();
}

/**
 * Returns the types and shapes of stored tensors, by name.
 *
 * @throws StepsizeError `invalid-file` if a type is not supported
 */
export function describeAll(
  stored: ReadonlyMap<string, StoredTensor>,
): Map<string, Pick<HostTensor, "dtype" | "shape">> {
  return new Map([...stored].map(([name, tensor]) => [name, describeStored(tensor)]));
}

/** @internal Loads the weights of a checkpoint that fits into a model, block by block. */
export async function fillWeights(model: Module, weights: ReadonlyMap<string, StoredTensor>): Promise<void> {
  const state = model.stateDict();
  const [first] = state.values();
  if (first === undefined) return;
  const uploads = new Uploads(first.device);
  for (const [name, to] of state) await fillSame(uploads, to, valueAt(weights, name));
}

/** @internal Adds the path of a file to errors about its content. `invalid-argument` becomes `invalid-file`. */
export async function inFile<T>(path: string, read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof StepsizeError) || error.message.startsWith(path)) throw error;
    const code = error.code === "invalid-argument" ? "invalid-file" : error.code;
    throw new StepsizeError(code, `${path}: ${error.message}`, { cause: error });
  }
}
