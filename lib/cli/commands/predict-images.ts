import { extname } from "node:path";
import { allocate } from "../../allocate.js";
import { readIdx } from "../../data/index.js";
import { StepsizeError } from "../../errors.js";
import { quoted } from "../../quoting.js";
import { openFile, readInto } from "../../read-file.js";
import { elementCount } from "../../shapes.js";
import { UsageError } from "../failure.js";
import { some } from "../output/text.js";
import { isPnm, readPnm, readPnmHeader } from "./pnm.js";

/** An image to classify. */
export interface NamedImage {
  /** The file; for an image of an IDX file also its index, as in `images[3]`. */
  readonly name: string;
  readonly data: Uint8Array;
}

/**
 * Reads the images of a file: a PGM or PPM image, images of an IDX file, or raw bytes in a file named `.raw` or `.bin`.
 *
 * @param shape the input shape of the model: [height, width, channels]
 * @param indices which images of an IDX file to read; must be `undefined` for other files
 * @throws StepsizeError `not-found` or `invalid-file` if a file is missing, damaged or of another size; `out-of-memory`
 * @throws UsageError for a wrong `--index`
 */
export async function readImages(
  path: string,
  shape: readonly number[],
  indices: readonly number[] | undefined,
): Promise<NamedImage[]> {
  const { file, size } = await openFile(path);
  try {
    const beginning = new Uint8Array(Math.min(size, beginningBytes));
    await readInto({ file, path }, beginning, 0);
    // A raw image may begin with any bytes, so its name decides before its content.
    const isRaw = [".raw", ".bin"].includes(extname(path).toLowerCase());
    if (!isRaw && isIdx(beginning)) return await fromIdx(path, shape, indices);
    if (indices) throw new UsageError(`--index: expected only with an IDX file, got ${path}`);
    const minBytes = isRaw ? expectRaw(path, shape, size) : expectPnm(path, shape, size, beginning);
    // The size was checked before, so the allocation is not larger than an image of the model's size.
    const bytes = allocate(path, () => new Uint8Array(size));
    if ((await readInto({ file, path }, bytes, 0)) < minBytes) wrongSize(path, `${minBytes} bytes`, "fewer");
    return [{ name: path, data: isRaw ? bytes : readPnm(path, bytes).data }];
  } finally {
    await file.close();
  }
}

/** Bytes read to detect the kind of a file. The header of an image fits, unless its comments are long. */
const beginningBytes = 65_536;

function expectRaw(path: string, shape: readonly number[], size: number): number {
  const length = elementCount(shape);
  if (size !== length) wrongSize(path, `an image of ${words(shape)}: ${length} bytes`, some(size, "byte"));
  return length;
}

/** Largest number of bytes per value of a plain image, including spaces and line ends. */
const maxTextBytes = 64;

function expectPnm(path: string, shape: readonly number[], size: number, beginning: Uint8Array): number {
  if (!isPnm(beginning))
    wrongSize(
      path,
      "a PGM or PPM image, an IDX file, or raw bytes in a file named .raw or .bin",
      "another kind of file",
    );
  const { height, width, channels, maximum, isBinary, bytes } = readPnmHeader(path, beginning);
  const found = [height, width, channels];
  if (words(found) !== words(shape)) wrongSize(path, `an image of ${words(shape)}`, `one of ${words(found)}`);
  const values = height * width * channels;
  const maxBytes = isBinary ? bytes + 1 + values * (maximum > 255 ? 2 : 1) : beginningBytes + maxTextBytes * values;
  if (size > maxBytes) wrongSize(path, `at most ${some(maxBytes, "byte")} for ${words(shape)}`, some(size, "byte"));
  return bytes;
}

async function fromIdx(path: string, shape: readonly number[], indices: readonly number[] | undefined) {
  const { data, dtype, shape: fileShape } = await readIdx(path);
  const [items = 0, ...rest] = fileShape;
  const itemShape = rest.length === 2 ? [...rest, 1] : rest;
  if (dtype !== "uint8" || words(itemShape) !== words(shape))
    wrongSize(path, `images of ${words(shape)}, as uint8`, `items of ${words(itemShape)}, as ${dtype}`);
  if (!indices)
    throw new UsageError(`--index: expected indices of the ${items} images in ${path}, such as 0 or 0-9, got none`);
  const length = elementCount(shape);
  return indices.map((index): NamedImage => {
    if (index >= items) throw new UsageError(`--index: expected at most ${items - 1} for ${path}, got ${index}`);
    return { name: `${path}[${index}]`, data: Uint8Array.from(data.subarray(index * length, (index + 1) * length)) };
  });
}

const maxIndices = 1_000_000;

/**
 * Parses indices such as `3`, `0-9` or `0,2,7-9`.
 * @throws UsageError for other text, or for more than a million indices
 */
export function parseIndices(text: string): number[] {
  const indices: number[] = [];
  for (const part of text.split(",")) {
    const [, first, last = first] = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part) ?? [];
    const [from, to] = [Number(first), Number(last)];
    if (first === undefined || to < from || indices.length + to - from >= maxIndices)
      throw new UsageError(
        `--index: expected numbers from 0, such as 3, 0-9 or 0,2,7-9, at most a million, got ${quoted(text)}`,
      );
    for (let index = from; index <= to; index++) indices.push(index);
  }
  return indices;
}

/** Whether a file is gzipped or begins with two zero bytes, as an IDX file does. */
function isIdx(bytes: Uint8Array): boolean {
  return (bytes[0] === 0x1f && bytes[1] === 0x8b) || (bytes[0] === 0 && bytes[1] === 0);
}

function wrongSize(path: string, expected: string, found: string): never {
  throw new StepsizeError("invalid-file", `${path}: expected ${expected}, found ${found}`);
}

function words(shape: readonly number[]): string {
  const [height, width, channels] = shape;
  return `${height} × ${width} pixels with ${some(channels ?? 1, "channel")}`;
}
