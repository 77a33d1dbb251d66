import { isUtf8 } from "node:buffer";
import { describe, StepsizeError } from "../errors.js";
import { JsonFault, parseJson } from "../json.js";
import { quoted, shown } from "../quoting.js";

/** Where a tensor lies in a safetensors file, and what it is. */
export interface StoredEntry {
  /** The format's name of the type, such as `F32`. */
  readonly code: string;
  readonly shape: readonly number[];
  /** Its bytes: offsets in the file, not in the data, from the first to after the last. */
  readonly from: number;
  readonly to: number;
}

/** What the header of a safetensors file says, checked: the bytes of every entry are in the file, and no other's. */
export interface SafetensorsHeader {
  /** By name, in the order of the header. */
  readonly entries: ReadonlyMap<string, StoredEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Bytes of an element. */
const sizeOf = new Map([
  ...["F64", "I64", "U64"].map((code) => [code, 8] as const),
  ...["F32", "I32", "U32"].map((code) => [code, 4] as const),
  ...["F16", "BF16", "I16", "U16"].map((code) => [code, 2] as const),
  ...["I8", "U8", "BOOL"].map((code) => [code, 1] as const),
]);

/** Bytes before the header, which say how long it is. */
export const lengthBytes = 8;

// The format's own limit.
const mostHeaderBytes = 100_000_000;
// More than any library's tensors have.
const mostAxes = 64;

/** Throws an `invalid-file` error about what stands at an offset. */
export function refuse(path: string, offset: number, expected: string, found: string): never {
  throw new StepsizeError("invalid-file", `${path}, byte ${offset}: expected ${expected}, found ${found}`);
}

/**
 * How many bytes the header has that follows the first eight bytes of a file.
 *
 * @param first the beginning of the file: eight bytes, or all of a shorter one
 * @throws StepsizeError `invalid-file` where there is no such header: nothing needs to be read for that, nor allocated
 */
export function readHeaderLength(path: string, first: Uint8Array, fileSize: number): number {
  if (fileSize < lengthBytes || first.length < lengthBytes)
    refuse(path, 0, "the 8 bytes of a header length", `a file of ${fileSize} bytes`);
  const view = new DataView(first.buffer, first.byteOffset, lengthBytes);
  const length = Number(view.getBigUint64(0, true));
  if (length > mostHeaderBytes)
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
 * Reads the header of a safetensors file (https://huggingface.co/docs/safetensors#format) without an opinion on its types.
 *
 * @param json the bytes of the header, without the eight that say its length
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
  // JSON may have white space before it, but not here.
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

/** Says so where the file looks like one that `torch.save` wrote: a zip archive, or of old a pickle. */
function ofTorchSave(bytes: Uint8Array): string | undefined {
  const zip = bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4;
  const pickle = bytes[0] === 0x80 && (bytes[1] as number) >= 2 && (bytes[1] as number) <= 5;
  if (!zip && !pickle) return undefined;
  return `a ${zip ? "zip archive" : "pickle"}, as torch.save writes it; write it with safetensors.torch.save_file instead`;
}

/** Some writers put null for none. */
function readMetadata(path: string, metadata: unknown): Record<string, string> {
  if (metadata === null) return {};
  if (!isObject(metadata)) refuse(path, lengthBytes, "__metadata__ of texts", describe(metadata));
  for (const [name, value] of Object.entries(metadata))
    if (typeof value !== "string")
      refuse(path, lengthBytes, `__metadata__ of texts`, `${describe(value)} as ${shown(name)}`);
  return metadata as Record<string, string>;
}

function readEntry(path: string, name: string, entry: unknown, start: number, fileSize: number): StoredEntry {
  const own = shown(name);
  const { dtype: code, shape, data_offsets: offsets } = isObject(entry) ? entry : {};
  const size =
    sizeOf.get(code as string) ??
    refuse(path, lengthBytes, `${own} of type ${[...sizeOf.keys()].join(", ")}`, describe(code));
  if (!isSizes(shape) || shape.length > mostAxes)
    refuse(path, lengthBytes, `${own} with a shape of at most ${mostAxes} whole numbers`, describe(shape));
  if (!isSizes(offsets) || offsets.length !== 2)
    refuse(path, lengthBytes, `${own} with two data_offsets`, describe(offsets));
  const [from, to] = offsets as [number, number];
  const length = shape.includes(0) ? 0 : shape.reduce((product, extent) => product * extent, size);
  if (to - from !== length) refuse(path, lengthBytes, `${own} of ${length} bytes`, `offsets of ${to - from}`);
  if (start + to > fileSize)
    refuse(
      path,
      start + from,
      `the ${to - from} bytes of ${own}`,
      `the end of the file at ${fileSize}: it is cut short`,
    );
  return { code: code as string, shape, from: start + from, to: start + to };
}

/** One after another from the start to the end of the file: the format allows neither gaps nor shared bytes. */
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

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
