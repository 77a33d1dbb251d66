import { readFile } from "node:fs/promises";
import { expectText } from "../arguments.js";
import { StepsizeError } from "../errors.js";

/** A tensor as it stands in a safetensors file. */
export interface StoredTensor {
  /** The format's name of the type, such as `F32`. */
  readonly code: string;
  readonly shape: readonly number[];
  /** A view of the file's bytes, at any alignment. */
  readonly bytes: Uint8Array;
}

/** Bytes of an element. */
const sizeOf = new Map([
  ...["F64", "I64", "U64"].map((code) => [code, 8] as const),
  ...["F32", "I32", "U32"].map((code) => [code, 4] as const),
  ...["F16", "BF16", "I16", "U16"].map((code) => [code, 2] as const),
  ...["I8", "U8", "BOOL"].map((code) => [code, 1] as const),
]);

// The format's own limit.
const mostHeaderBytes = 100_000_000;

/** Throws an `invalid-file` error about what stands at an offset. */
export function refuse(path: string, offset: number, expected: string, found: string): never {
  throw new StepsizeError("invalid-file", `${path}, byte ${offset}: expected ${expected}, found ${found}`);
}

/**
 * Reads a safetensors file (https://huggingface.co/docs/safetensors#format) without an opinion on its types.
 *
 * @throws StepsizeError `not-found`, or `invalid-file` with the offset, what was expected and what was found
 */
export async function readStored(
  path: string,
): Promise<{ stored: Map<string, StoredTensor>; metadata: Record<string, string> }> {
  expectText("path", path, "the path of a file");
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") throw new StepsizeError("not-found", `${path}: there is no such file`);
    if (error.code === "EISDIR")
      throw new StepsizeError("invalid-file", `${path}: is a folder; loadHuggingFace reads one of Hugging Face's`);
    throw new StepsizeError("invalid-file", `${path}: could not be read (${error.message})`, { cause: error });
  });
  const { header, start } = readHeader(path, bytes);
  const { __metadata__: metadata = {}, ...entries } = header;
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === "string"))
    refuse(path, 8, "__metadata__ of texts", JSON.stringify(metadata).slice(0, 40));
  const stored = new Map<string, StoredTensor>();
  const spans: Span[] = [];
  for (const [name, entry] of Object.entries(entries)) {
    const { code, shape, from, to } = readEntry(path, name, entry);
    if (start + to > bytes.length)
      refuse(
        path,
        start + from,
        `the ${to - from} bytes of ${name}`,
        `the end of the file at ${bytes.length}: it is cut short`,
      );
    spans.push({ name, from, to });
    // A plain array, because `slice` of a Buffer does not copy.
    const view = new Uint8Array(bytes.buffer, bytes.byteOffset + start + from, to - from);
    stored.set(name, { code, shape, bytes: view });
  }
  checkSpans(path, spans, start, bytes.length);
  return { stored, metadata: metadata as Record<string, string> };
}

function readHeader(path: string, bytes: Buffer): { header: Record<string, unknown>; start: number } {
  if (bytes.length < 8) refuse(path, 0, "the 8 bytes of a header length", `a file of ${bytes.length} bytes`);
  const length = Number(bytes.readBigUInt64LE(0));
  if (length > mostHeaderBytes)
    refuse(path, 0, "the header length of a safetensors file", ofTorchSave(bytes) ?? String(length));
  if (bytes.length < 8 + length)
    refuse(path, 8, `a header of ${length} bytes`, `the end of the file after ${bytes.length - 8}: it is cut short`);
  let header: unknown;
  try {
    header = JSON.parse(bytes.toString("utf8", 8, 8 + length));
  } catch {
    refuse(path, 8, "a JSON header", JSON.stringify(bytes.toString("latin1", 8, 28)));
  }
  if (!isObject(header)) refuse(path, 8, "a JSON object", "another value");
  return { header: header as Record<string, unknown>, start: 8 + length };
}

/** Says so where the file looks like one that `torch.save` wrote: a zip archive, or of old a pickle. */
function ofTorchSave(bytes: Buffer): string | undefined {
  const zip = bytes.toString("latin1", 0, 4) === "PK\x03\x04";
  const pickle = bytes[0] === 0x80 && (bytes[1] as number) >= 2 && (bytes[1] as number) <= 5;
  if (!zip && !pickle) return undefined;
  return `a ${zip ? "zip archive" : "pickle"}, as torch.save writes it; write it with safetensors.torch.save_file instead`;
}

function readEntry(path: string, name: string, entry: unknown) {
  const { dtype: code, shape, data_offsets: offsets } = isObject(entry) ? entry : {};
  const size =
    sizeOf.get(code as string) ?? refuse(path, 8, `${name} of type ${[...sizeOf.keys()].join(", ")}`, String(code));
  const isSize = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!Array.isArray(shape) || !shape.every(isSize)) refuse(path, 8, `${name} with a shape`, JSON.stringify(shape));
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    refuse(path, 8, `${name} with two data_offsets`, JSON.stringify(offsets));
  const [from, to] = offsets as [number, number];
  const length = size * (shape as number[]).reduce((product, size) => product * size, 1);
  if (to - from !== length) refuse(path, 8, `${name} of ${length} bytes`, `offsets of ${to - from}`);
  return { code: code as string, shape: shape as number[], from, to };
}

interface Span {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** One after another from the start to the end of the file: the format allows neither gaps nor shared bytes. */
function checkSpans(path: string, spans: readonly Span[], start: number, fileLength: number): void {
  let end = 0;
  for (const { name, from, to } of [...spans].sort((a, b) => a.from - b.from || a.to - b.to)) {
    if (from !== end) refuse(path, start + end, `the next tensor at ${end}`, `${name} at ${from}`);
    end = to;
  }
  if (start + end !== fileLength)
    refuse(path, start + end, "the end of the file", `${fileLength - start - end} more bytes`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
