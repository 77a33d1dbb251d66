import { isUtf8 } from "node:buffer";
import { describe, StepsizeError } from "../errors.js";
import { JsonFault, parseJson } from "../json.js";
import { valueAt } from "../lookup.js";
import { quoted, shown } from "../quoting.js";
import { isObject } from "../realms.js";

/** An entry of a safetensors header: the type, shape and position of a tensor. */
export interface StoredEntry {
  /** Type of the values as the format names it, such as `F32`. */
  readonly code: string;
  /** Shape of the tensor. */
  readonly shape: readonly number[];
  /** Offset of the first byte in the file (not in the data). */
  readonly from: number;
  /** Offset after the last byte in the file. */
  readonly to: number;
}

/** The checked header of a safetensors file. The bytes of every entry are in the file and do not overlap. */
export interface SafetensorsHeader {
  /** Entries by name, in the order of the header. */
  readonly entries: ReadonlyMap<string, StoredEntry>;
  /** The metadata; empty if there are none. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Bytes per element of each type. */
const sizeOf = new Map([
  ...["F64", "I64", "U64"].map((code) => [code, 8] as const),
  ...["F32", "I32", "U32"].map((code) => [code, 4] as const),
  ...["F16", "BF16", "I16", "U16"].map((code) => [code, 2] as const),
  ...["I8", "U8", "BOOL"].map((code) => [code, 1] as const),
]);

/** Number of bytes before the header, which contain its length. */
export const lengthBytes = 8;

// The limit of the format.
const maxHeaderBytes = 100_000_000;
// More than any library supports.
const maxAxes = 64;

/** Throws an `invalid-file` error about the content at an offset. */
export function refuse(path: string, offset: number, expected: string, found: string): never {
  throw new StepsizeError("invalid-file", `${path}, byte ${offset}: expected ${expected}, found ${found}`);
}

/**
 * Returns the length of the header, in bytes, from the first eight bytes of a file.
 *
 * Nothing is allocated and nothing more is read to find that there is no header.
 *
 * @param first the first eight bytes of the file, or all of a shorter one
 * @throws StepsizeError `invalid-file` if the file has no such header
 */
export function readHeaderLength(path: string, first: Uint8Array, fileSize: number): number {
  if (fileSize < lengthBytes || first.length < lengthBytes)
    refuse(path, 0, "the 8 bytes of a header length", `a file of ${fileSize} bytes`);
  const view = new DataView(first.buffer, first.byteOffset, lengthBytes);
  const length = Number(view.getBigUint64(0, true));
  if (length > maxHeaderBytes)
    refuse(path, 0, "the header length of a safetensors file", ofTorchSave(first) ?? String(length));
  if (fileSize < lengthBytes + length)
    refuse(
      path,
      lengthBytes,
      `a header of ${length} bytes`,
      `the end of the file after ${fileSize - lengthBytes}: it is cut short`,
    );
  return length;
}

/**
 * Parses and checks the header of a safetensors file (https://huggingface.co/docs/safetensors#format), without
 * restrictions on the types.
 *
 * @param json bytes of the header, without the eight bytes of its length
 * @throws StepsizeError `invalid-file` with the offset, what was expected and what was found
 */
export function readHeader(path: string, json: Uint8Array, fileSize: number): SafetensorsHeader {
  const header = parseHeader(path, json);
  const start = lengthBytes + json.length;
  const entries = new Map<string, StoredEntry>();
  let metadata: Record<string, string> = {};
  for (const name of Object.keys(header)) {
    if (name === "__metadata__") metadata = readMetadata(path, header[name]);
    else entries.set(name, readEntry(path, name, header[name], start, fileSize));
  }
  checkSpans(path, entries, start, fileSize);
  return { entries, metadata };
}

function parseHeader(path: string, json: Uint8Array): Record<string, unknown> {
  const bytes = Buffer.from(json.buffer, json.byteOffset, json.byteLength);
  const beginning = quoted(bytes.toString("latin1", 0, 20));
  // JSON may begin with white space, but this format does not allow it.
  if (bytes[0] !== 0x7b) refuse(path, lengthBytes, "a JSON object that begins with {", beginning);
  if (!isUtf8(bytes)) refuse(path, lengthBytes, "a JSON header in UTF-8", beginning);
  const text = bytes.toString("utf8");
  try {
    return parseJson(text, { plainCounts: true }) as Record<string, unknown>;
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    const at = lengthBytes + Buffer.byteLength(text.slice(0, error.at));
    refuse(path, lengthBytes, "a JSON header", `${beginning} and, at byte ${at}: ${error.message}`);
  }
}

/**
 * Describes a file of `torch.save`, which is a zip archive or, in old versions, a pickle; `undefined` for other files.
 */
function ofTorchSave(bytes: Uint8Array): string | undefined {
  const zip = bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4;
  const pickle = bytes[0] === 0x80 && [2, 3, 4, 5].some((protocol) => bytes[1] === protocol);
  if (!zip && !pickle) return undefined;
  return `a ${zip ? "zip archive" : "pickle"}, as torch.save writes it; write it with safetensors.torch.save_file instead`;
}

/** Returns the metadata. Some programs write null if there are none. */
function readMetadata(path: string, metadata: unknown): Record<string, string> {
  if (metadata === null) return {};
  if (!isObject(metadata)) refuse(path, lengthBytes, "__metadata__ of texts", describe(metadata));
  const entries = Object.entries(metadata).map(([name, value]) => {
    if (typeof value !== "string")
      refuse(path, lengthBytes, `__metadata__ of texts`, `${describe(value)} as ${shown(name)}`);
    return [name, value] as const;
  });
  return Object.fromEntries(entries);
}

function readEntry(path: string, name: string, entry: unknown, start: number, fileSize: number): StoredEntry {
  const tensor = shown(name);
  const { dtype: code, shape, data_offsets: offsets }: Record<string, unknown> = isObject(entry) ? entry : {};
  if (typeof code !== "string" || !sizeOf.has(code))
    refuse(path, lengthBytes, `${tensor} of type ${[...sizeOf.keys()].join(", ")}`, describe(code));
  if (!isSizes(shape) || shape.length > maxAxes)
    refuse(path, lengthBytes, `${tensor} with a shape of at most ${maxAxes} whole numbers`, describe(shape));
  if (!isPair(offsets)) refuse(path, lengthBytes, `${tensor} with two data_offsets`, describe(offsets));
  const [from, to] = offsets;
  const length = shape.includes(0) ? 0 : shape.reduce((product, extent) => product * extent, valueAt(sizeOf, code));
  if (to - from !== length) refuse(path, lengthBytes, `${tensor} of ${length} bytes`, `offsets of ${to - from}`);
  if (start + to > fileSize)
    refuse(
      path,
      start + from,
      `the ${to - from} bytes of ${tensor}`,
      `the end of the file at ${fileSize}: it is cut short`,
    );
  return { code, shape, from: start + from, to: start + to };
}

/**
 * Checks that tensors follow each other from the start of the data to the end of the file. The format allows neither
 * gaps nor shared bytes.
 */
function checkSpans(path: string, entries: ReadonlyMap<string, StoredEntry>, start: number, fileSize: number): void {
  let end = start;
  for (const [name, { from, to }] of [...entries].sort(([, a], [, b]) => a.from - b.from || a.to - b.to)) {
    if (from !== end) refuse(path, end, `the next tensor at ${end - start}`, `${shown(name)} at ${from - start}`);
    end = to;
  }
  if (end !== fileSize) refuse(path, end, "the end of the file", `${fileSize - end} more bytes`);
}

function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function isPair(value: unknown): value is readonly [number, number] {
  return isSizes(value) && value.length === 2;
}
