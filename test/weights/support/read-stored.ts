// Reads a whole safetensors file into memory, with tensors of any type.
import { withStored } from "#lib/files/safetensors-file.js";

/** A tensor as it is stored in a file. */
export interface StoredBytes {
  readonly code: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** Reads all tensors of a file, and its metadata. */
export function readStored(
  path: string,
): Promise<{ stored: Map<string, StoredBytes>; metadata: Readonly<Record<string, string>> }> {
  return withStored(path, async ({ tensors, metadata }) => {
    const stored = new Map<string, StoredBytes>();
    for (const [name, one] of tensors) stored.set(name, { code: one.code, shape: one.shape, bytes: await one.read() });
    return { stored, metadata };
  });
}
