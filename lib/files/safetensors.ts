import { expectMethods, expectObject, expectShape, expectText } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { arrayOf, type DataType, dataTypes, type TypedArray } from "../native/index.js";
import { shown } from "../quoting.js";
import { arrayName } from "../realms.js";
import { elementCount } from "../shapes.js";
import { replaceFile } from "./atomic-file.js";
import { checksumKey, checksumText, continued, expectNoChecksums, sealHeader } from "./checksums.js";
import { hostSource, readParts, type Source } from "./device-parts.js";
import { type StoredTensor, withStored } from "./safetensors-file.js";
import { lengthBytes, refuse } from "./safetensors-header.js";

/** A tensor in host memory: values with their type and shape. */
export interface HostTensor {
  /** Type of the values. */
  readonly dtype: DataType;
  /** Shape of the tensor. `[]` is a scalar. */
  readonly shape: readonly number[];
  /** The values in row-major order. bfloat16 values are the bits in a `Uint16Array`. */
  readonly data: TypedArray;
}

const codeOf: Record<DataType, string> = {
  float32: "F32",
  float64: "F64",
  int32: "I32",
  uint8: "U8",
  bfloat16: "BF16",
};
const typeOf = new Map(dataTypes.map((dtype) => [codeOf[dtype], dtype]));

/**
 * Writes tensors and text atomically to a safetensors file.
 *
 * The format is a JSON header with names, types, shapes and offsets, followed by the bytes. Values are aligned, so that
 * the file can be mapped into memory. A CRC-32 of every tensor and of the header is added to the metadata as
 * `stepsize.crc32`. Reading verifies them.
 *
 * @param path path of the file. Missing folders are created.
 * @param tensors the tensors by name
 * @param metadata strings by name
 * @throws StepsizeError `invalid-argument` if a type, shape, length or the metadata are invalid; `invalid-file` if the
 * file cannot be written. A previous file is kept then.
 *
 * @example
 * ```ts
 * import { type HostTensor, readSafetensors, writeSafetensors } from "stepsize";
 *
 * const weight: HostTensor = { dtype: "float32", shape: [2, 2], data: new Float32Array([1, 2, 3, 4]) };
 * await writeSafetensors("weights.safetensors", new Map([["weight", weight]]), { author: "me" });
 *
 * const { tensors, metadata } = await readSafetensors("weights.safetensors");
 * console.log(tensors.get("weight")?.data, metadata);
 * ```
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  expectText("path", path, "the path of a file");
  expectMethods("tensors", tensors, ["get", "entries"], "a Map of { dtype, shape, data } by name");
  for (const [name, tensor] of tensors) {
    expectObject(`tensors: ${name}`, tensor, "{ dtype, shape, data }");
    const { dtype, shape, data } = tensor;
    if (!Object.hasOwn(arrayOf, dtype)) invalidArgument(`tensors: ${name}: dtype`, dataTypes.join(", "), dtype);
    expectShape(`tensors: ${name}: shape`, shape);
    const size = elementCount(shape);
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

/** Checks of values while they are written. If a check throws, the previous file is kept. */
export interface WriteChecks {
  /** Called with every part of the values. */
  readonly values?: (name: string, source: Source, values: TypedArray) => Promise<void>;
  /** Called before the new file replaces the old one. */
  readonly end?: () => void;
}

/**
 * Writes tensors from any source, as {@link writeSafetensors} does. Memory does not grow with the file; see {@link
 * readParts}.
 *
 * @throws StepsizeError `invalid-file` if the file cannot be written. Errors of the sources and the checks are passed
 * on. A previous file is kept then.
 */
export async function writeSources(
  path: string,
  sources: ReadonlyMap<string, Source>,
  metadata: Readonly<Record<string, string>>,
  checks: WriteChecks = {},
): Promise<void> {
  // With larger elements first, every tensor is aligned without gaps, which the format does not allow.
  const width = ({ dtype }: Source) => arrayOf[dtype].BYTES_PER_ELEMENT;
  const tensors = [...sources].map(([name, source]) => ({ name, source, sum: 0 }));
  tensors.sort((a, b) => width(b.source) - width(a.source));
  const header = () => {
    const sums = checksumText(tensors.map(({ name, sum }) => [name, sum]));
    return headerOf(tensors, { [checksumKey]: sums, ...metadata });
  };
  const blank = header();
  const dataBytes = tensors.reduce((bytes, { source }) => bytes + bytesOf(source), 0);
  await replaceFile(path, blank.length + dataBytes, async (file) => {
    // Reserves the space of the header until the checksums are known.
    await file.append(blank);
    for await (const [tensor, values] of readParts(tensors.map((tensor) => [tensor, tensor.source]))) {
      await checks.values?.(tensor.name, tensor.source, values);
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      tensor.sum = continued(tensor.sum, bytes);
      await file.append(bytes);
    }
    const complete = header();
    sealHeader(complete);
    await file.replace(0, complete);
    checks.end?.();
  });
}

function bytesOf({ dtype, shape }: Source): number {
  return elementCount(shape) * arrayOf[dtype].BYTES_PER_ELEMENT;
}

/** Returns all bytes before the data: the length of the JSON text, and the text. */
function headerOf(
  tensors: readonly { readonly name: string; readonly source: Source }[],
  metadata: Readonly<Record<string, string>>,
): Buffer {
  let offset = 0;
  const entries = tensors.map(({ name, source }) => {
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
 * Reads a safetensors file. Every tensor gets a new array.
 *
 * @param path path of the file
 * @returns the tensors by name, and the metadata without the checksums
 * @throws StepsizeError `invalid-argument` if `path` is not a text; `not-found` if there is no file; `invalid-file`
 * with the offset, what was expected and what was found, if the file is cut short, has another format, has a type that
 * is not supported, or does not match its checksums; `out-of-memory`
 *
 * @example
 * ```ts
 * import { type HostTensor, readSafetensors, writeSafetensors } from "stepsize";
 *
 * const bias: HostTensor = { dtype: "float32", shape: [2], data: new Float32Array([0, 1]) };
 * await writeSafetensors("bias.safetensors", new Map([["bias", bias]]), {});
 * const { tensors } = await readSafetensors("bias.safetensors");
 * for (const [name, { dtype, shape }] of tensors) console.log(name, dtype, shape); // bias float32 [2]
 * ```
 */
export async function readSafetensors(
  path: string,
): Promise<{ tensors: Map<string, HostTensor>; metadata: Readonly<Record<string, string>> }> {
  return await withStored(path, async (file) => {
    const { metadata } = file;
    return { tensors: await readTensors(file.tensors), metadata };
  });
}

/**
 * Reads tensors of an open file, each into a new array.
 *
 * @throws StepsizeError `invalid-file` if a type is not supported or a checksum does not match; `out-of-memory`
 */
export async function readTensors(stored: ReadonlyMap<string, StoredTensor>): Promise<Map<string, HostTensor>> {
  const described = [...stored].map(([name, tensor]) => [name, tensor, describeStored(tensor)] as const);
  const tensors = new Map<string, HostTensor>();
  for (const [name, tensor, { dtype, shape }] of described) {
    const { buffer } = await tensor.read();
    tensors.set(name, { dtype, shape, data: new arrayOf[dtype](buffer) });
  }
  return tensors;
}

/**
 * Returns the type and shape of a stored tensor.
 *
 * @throws StepsizeError `invalid-file` if the type is not supported
 */
export function describeStored({ path, name, code, shape }: StoredTensor): Pick<HostTensor, "dtype" | "shape"> {
  const dtype = typeOf.get(code) ?? refuse(path, 8, `${shown(name)} of type ${[...typeOf.keys()].join(", ")}`, code);
  return { dtype, shape };
}
