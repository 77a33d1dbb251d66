import { readFile } from "node:fs/promises";
import { expectText } from "../arguments.js";
import { StepsizeError } from "../errors.js";
import { lengthBytes, readHeader, readHeaderLength } from "./safetensors-header.js";

/** A tensor as it stands in a safetensors file. */
export interface StoredTensor {
  /** The format's name of the type, such as `F32`. */
  readonly code: string;
  readonly shape: readonly number[];
  /** A view of the file's bytes, at any alignment. */
  readonly bytes: Uint8Array;
}

/**
 * Reads a safetensors file (https://huggingface.co/docs/safetensors#format) without an opinion on its types.
 *
 * @throws StepsizeError `not-found`, or `invalid-file` with the offset, what was expected and what was found
 */
export async function readStored(
  path: string,
): Promise<{ stored: Map<string, StoredTensor>; metadata: Readonly<Record<string, string>> }> {
  expectText("path", path, "the path of a file");
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") throw new StepsizeError("not-found", `${path}: there is no such file`);
    if (error.code === "EISDIR")
      throw new StepsizeError("invalid-file", `${path}: is a folder; loadHuggingFace reads one of Hugging Face's`);
    throw new StepsizeError("invalid-file", `${path}: could not be read (${error.message})`, { cause: error });
  });
  const length = readHeaderLength(path, bytes.subarray(0, lengthBytes), bytes.length);
  const { entries, metadata } = readHeader(path, bytes.subarray(lengthBytes, lengthBytes + length), bytes.length);
  const stored = new Map<string, StoredTensor>();
  for (const [name, { code, shape, from, to }] of entries) {
    // A plain array, because `slice` of a Buffer does not copy.
    stored.set(name, { code, shape, bytes: new Uint8Array(bytes.buffer, bytes.byteOffset + from, to - from) });
  }
  return { stored, metadata };
}
