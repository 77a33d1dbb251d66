// Writes safetensors files according to the format's description, without the library.
import { closeSync, openSync, writeSync } from "node:fs";

/** A tensor in a file: the format's name of its type, its shape, and its bytes. */
export interface Stored {
  readonly code: string;
  readonly shape: readonly number[];
  readonly data: NodeJS.ArrayBufferView;
}

/** Float32 values for a file. */
export function float32(shape: readonly number[], data: Float32Array): Stored {
  return { code: "F32", shape, data };
}

/** Writes the tensors in order. */
export function writeStored(path: string, tensors: ReadonlyMap<string, Stored>): string {
  let offset = 0;
  const header = [...tensors].map(([name, { code, shape, data }]) => {
    offset += data.byteLength;
    return [name, { dtype: code, shape, data_offsets: [offset - data.byteLength, offset] }] as const;
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries([["__metadata__", { format: "pt" }], ...header])));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = openSync(path, "w");
  for (const part of [length, json, ...[...tensors.values()].map(({ data }) => data)]) writeSync(file, part);
  closeSync(file);
  return path;
}
