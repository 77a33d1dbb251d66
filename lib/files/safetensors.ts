import { expectMethods, expectObject, expectShape, expectText } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { arrayOf, type DataType, dataTypes, type TypedArray } from "../native/index.js";
import { shown } from "../quoting.js";
import { arrayName } from "../realms.js";
import { replaceFile } from "./atomic-file.js";
import { checksumKey, checksumText, continued, expectNoChecksums, sealHeader } from "./checksums.js";
import { hostSource, readParts, type Source } from "./device-parts.js";
import { type StoredTensor, withStored } from "./safetensors-file.js";
import { lengthBytes, refuse } from "./safetensors-header.js";

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
 * atomically. Offsets of eight bytes, so that the file can be mapped. A CRC-32 of every tensor and of the header goes
 * into the metadata, as `stepsize.crc32`; reading compares them.
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
    const { dtype, shape, data } = one;
    if (!Object.hasOwn(arrayOf, dtype)) invalidArgument(`tensors: ${name}: dtype`, dataTypes.join(", "), dtype);
    expectShape(`tensors: ${name}: shape`, shape);
    const size = shape.reduce((product, length) => product * length, 1);
    if (!ArrayBuffer.isView(data) || arrayName(data) !== arrayOf[dtype].name || data.length !== size)
      invalidArgument(`tensors: ${name}: data`, `a ${arrayOf[dtype].name} of ${size} elements for [${shape}]`, data);
  }
  expectObject("metadata", metadata, "an object of strings");
  for (const [name, value] of Object.entries(metadata))
    if (typeof value !== "string") invalidArgument(`metadata.${name}`, "a string", value);
  expectNoChecksums(metadata);
  const sources = [...tensors].map(([name, { dtype, shape, data }]) => [name, hostSource(dtype, shape, data)] as const);
  await writeSources(path, new Map(sources), metadata);
}

/** What is asked about values on their way into a file. It may throw, and nothing is written then. */
export interface WriteChecks {
  readonly values?: (name: string, source: Source, values: TypedArray) => Promise<void>;
  /** Before the file takes the place of the one before. */
  readonly end?: () => void;
}

/**
 * As {@link writeSafetensors}, from wherever the tensors are. Memory does not grow with the file: see {@link readParts}.
 *
 * @throws StepsizeError `invalid-file` if it cannot be written; what was there before is kept
 */
export async function writeSources(
  path: string,
  sources: ReadonlyMap<string, Source>,
  metadata: Readonly<Record<string, string>>,
  checks: WriteChecks = {},
): Promise<void> {
  // Larger elements first keeps every tensor aligned without gaps, which the format does not allow.
  const width = ({ dtype }: Source) => arrayOf[dtype].BYTES_PER_ELEMENT;
  const ordered = [...sources].sort(([, a], [, b]) => width(b) - width(a));
  const sums = new Map(ordered.map(([name]) => [name, 0]));
  const header = () => headerOf(ordered, { [checksumKey]: checksumText(sums), ...metadata });
  const blank = header();
  const dataBytes = ordered.reduce((sum, [, source]) => sum + bytesOf(source), 0);
  await replaceFile(path, blank.length + dataBytes, async (file) => {
    // Its place is kept for when the checksums are known.
    await file.append(blank);
    for await (const [name, values] of readParts(ordered)) {
      await checks.values?.(name, sources.get(name) as Source, values);
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      sums.set(name, continued(sums.get(name) as number, bytes));
      await file.append(bytes);
    }
    const complete = header();
    sealHeader(complete);
    await file.replace(0, complete);
    checks.end?.();
  });
}

function bytesOf({ dtype, shape }: Source): number {
  return shape.reduce((product, size) => product * size, arrayOf[dtype].BYTES_PER_ELEMENT);
}

/** All bytes before the data: the length of the JSON, and the JSON. */
function headerOf(
  sources: readonly (readonly [name: string, source: Source])[],
  metadata: Readonly<Record<string, string>>,
): Buffer {
  let offset = 0;
  const entries = sources.map(([name, source]) => {
    const { dtype, shape } = source;
    const from = offset;
    offset += bytesOf(source);
    return [name, { dtype: codeOf[dtype], shape, data_offsets: [from, offset] }] as const;
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries([["__metadata__", metadata], ...entries])));
  const header = Buffer.alloc(lengthBytes + Math.ceil(json.length / 8) * 8, " ");
  header.writeBigUInt64LE(BigInt(header.length - lengthBytes));
  json.copy(header, lengthBytes);
  return header;
}

/**
 * Reads a safetensors file, each tensor into an array of its own.
 *
 * @throws StepsizeError `not-found`, or `invalid-file` with the offset, what was expected and what was found, for a file
 * that is cut short, is not of this format, holds a type that is not supported, or does not have the checksums that it
 * says.
 */
export async function readSafetensors(
  path: string,
): Promise<{ tensors: Map<string, HostTensor>; metadata: Readonly<Record<string, string>> }> {
  return await withStored(path, async (file) => {
    const { metadata } = file;
    return { tensors: await readTensors(file.tensors), metadata };
  });
}

/** Reads tensors of a file that is open, each into an array of its own. */
export async function readTensors(stored: ReadonlyMap<string, StoredTensor>): Promise<Map<string, HostTensor>> {
  const described = [...stored].map(([name, one]) => [name, one, describeStored(one)] as const);
  const tensors = new Map<string, HostTensor>();
  for (const [name, one, { dtype, shape }] of described) {
    const { buffer } = await one.read();
    tensors.set(name, { dtype, shape, data: new arrayOf[dtype](buffer as ArrayBuffer) });
  }
  return tensors;
}

/** The type and shape of a tensor in a file. @throws StepsizeError `invalid-file` if there is no such type here */
export function describeStored({ path, name, code, shape }: StoredTensor): Pick<HostTensor, "dtype" | "shape"> {
  const dtype = typeOf.get(code) ?? refuse(path, 8, `${shown(name)} of type ${[...typeOf.keys()].join(", ")}`, code);
  return { dtype, shape };
}
