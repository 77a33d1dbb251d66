import { readFile } from "node:fs/promises";
import { StepsizeError } from "../errors.js";
import { arrayOf, type DataType, type TypedArray } from "../native/index.js";
import { writeAtomically } from "./atomic-file.js";

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

// The format's own limit.
const mostHeaderBytes = 100_000_000;

/**
 * Writes tensors and text in the safetensors format (a JSON header of names, types, shapes and offsets, then the bytes),
 * atomically. Offsets of eight bytes, so that the file can be mapped.
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
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
): Promise<{ tensors: Map<string, HostTensor>; metadata: Record<string, string> }> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") throw new StepsizeError("not-found", `${path}: there is no such file`);
    throw new StepsizeError("invalid-file", `${path}: could not be read (${error.message})`, { cause: error });
  });
  const refuse = (offset: number, expected: string, found: string): never => {
    throw new StepsizeError("invalid-file", `${path}, byte ${offset}: expected ${expected}, found ${found}`);
  };
  if (bytes.length < 8) refuse(0, "the 8 bytes of a header length", `a file of ${bytes.length} bytes`);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  if (headerLength > mostHeaderBytes) refuse(0, "the header length of a safetensors file", String(headerLength));
  if (bytes.length < 8 + headerLength)
    refuse(8, `a header of ${headerLength} bytes`, `the end of the file after ${bytes.length - 8}: it is cut short`);
  let header: unknown;
  try {
    header = JSON.parse(bytes.toString("utf8", 8, 8 + headerLength));
  } catch {
    refuse(8, "a JSON header", JSON.stringify(bytes.toString("latin1", 8, 28)));
  }
  if (!isObject(header)) refuse(8, "a JSON object", "another value");
  const { __metadata__: metadata = {}, ...entries } = header as Record<string, unknown>;
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === "string"))
    refuse(8, "__metadata__ of texts", JSON.stringify(metadata).slice(0, 40));
  const start = 8 + headerLength;
  const tensors = new Map<string, HostTensor>();
  const spans: { name: string; from: number; to: number }[] = [];
  for (const [name, entry] of Object.entries(entries)) {
    const { dtype: code, shape, data_offsets: offsets } = isObject(entry) ? entry : {};
    const dtype =
      typeOf.get(String(code)) ?? refuse(8, `${name} of type ${[...typeOf.keys()].join(", ")}`, String(code));
    const isSize = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
    if (!Array.isArray(shape) || !shape.every(isSize)) refuse(8, `${name} with a shape`, JSON.stringify(shape));
    if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
      refuse(8, `${name} with two data_offsets`, JSON.stringify(offsets));
    const [from, to] = offsets as [number, number];
    const ArrayType = arrayOf[dtype];
    const length = (shape as number[]).reduce((product, size) => product * size, 1);
    if (to - from !== length * ArrayType.BYTES_PER_ELEMENT)
      refuse(8, `${name} of ${length * ArrayType.BYTES_PER_ELEMENT} bytes`, `offsets of ${to - from}`);
    if (start + to > bytes.length)
      refuse(
        start + from,
        `the ${to - from} bytes of ${name}`,
        `the end of the file at ${bytes.length}: it is cut short`,
      );
    spans.push({ name, from, to });
    // A copy, because views must be aligned, and so that one tensor does not keep the whole file in memory.
    const data = new ArrayType(
      bytes.buffer.slice(bytes.byteOffset + start + from, bytes.byteOffset + start + to) as ArrayBuffer,
    );
    tensors.set(name, { dtype, shape: shape as number[], data });
  }
  // One after another from the start to the end of the file: the format allows neither gaps nor shared bytes.
  let end = 0;
  for (const { name, from, to } of spans.sort((a, b) => a.from - b.from || a.to - b.to)) {
    if (from !== end) refuse(start + end, `the next tensor at ${end}`, `${name} at ${from}`);
    end = to;
  }
  if (start + end !== bytes.length)
    refuse(start + end, "the end of the file", `${bytes.length - start - end} more bytes`);
  return { tensors, metadata: metadata as Record<string, string> };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
