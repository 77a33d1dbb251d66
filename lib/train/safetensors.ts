import { expectMethods, expectObject, expectText } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { arrayOf, type DataType, type TypedArray } from "../native/index.js";
import { shown } from "../quoting.js";
import { writeAtomically } from "./atomic-file.js";
import { readStored } from "./safetensors-file.js";
import { refuse } from "./safetensors-header.js";

/** Values with their type and shape, off any device. */
export interface HostTensor {
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

const codeOf: Record<DataType, string> = {
  float32: "F32",
  float64: "F64",
  int32: "I32",
  uint8: "U8",
  bfloat16: "BF16",
};
const typeOf = new Map<string, DataType>(Object.entries(codeOf).map(([dtype, code]) => [code, dtype as DataType]));

/**
 * Writes tensors and text in the safetensors format (a JSON header of names, types, shapes and offsets, then the bytes),
 * atomically. Offsets of eight bytes, so that the file can be mapped.
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  expectText("path", path, "the path of a file");
  expectMethods("tensors", tensors, ["get", "entries"], "a Map of { dtype, shape, data } by name");
  for (const [name, one] of tensors) {
    expectObject(`tensors: ${name}`, one, "{ dtype, shape, data }");
    if (!ArrayBuffer.isView(one.data)) invalidArgument(`tensors: ${name}: data`, "a typed array", one.data);
  }
  expectObject("metadata", metadata, "an object of strings");
  for (const [name, value] of Object.entries(metadata))
    if (typeof value !== "string") invalidArgument(`metadata.${name}`, "a string", value);
  const header: Record<string, unknown> = { __metadata__: metadata };
  const parts: Uint8Array[] = [];
  let offset = 0;
  // Larger elements first keeps every tensor aligned without gaps, which the format does not allow.
  const bySize = [...tensors].sort((a, b) => b[1].data.BYTES_PER_ELEMENT - a[1].data.BYTES_PER_ELEMENT);
  for (const [name, { dtype, shape, data }] of bySize) {
    header[name] = { dtype: codeOf[dtype], shape, data_offsets: [offset, offset + data.byteLength] };
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, " ");
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  await writeAtomically(path, [length, padded, ...parts]);
}

/**
 * Reads a safetensors file.
 *
 * @throws StepsizeError `not-found`, or `invalid-file` with the offset, what was expected and what was found, for a file
 * that is cut short, is not of this format, or holds a type that is not supported.
 */
export async function readSafetensors(
  path: string,
): Promise<{ tensors: Map<string, HostTensor>; metadata: Readonly<Record<string, string>> }> {
  const { stored, metadata } = await readStored(path);
  const tensors = new Map<string, HostTensor>();
  for (const [name, { code, shape, bytes }] of stored) {
    const dtype = typeOf.get(code) ?? refuse(path, 8, `${shown(name)} of type ${[...typeOf.keys()].join(", ")}`, code);
    // A copy, because views must be aligned, and so that one tensor does not keep the whole file in memory.
    const data = new arrayOf[dtype](bytes.slice().buffer);
    tensors.set(name, { dtype, shape, data });
  }
  return { tensors, metadata };
}
