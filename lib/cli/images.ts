import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { readIdx } from "../data/index.js";
import { StepsizeError } from "../errors.js";
import { UsageError } from "./failure.js";
import { isPnm, readPnm } from "./pnm.js";
import { some } from "./text.js";

/** An image to be classified. */
export interface NamedImage {
  /** The file, and where it holds several, which one. */
  readonly name: string;
  readonly data: Uint8Array;
}

/**
 * Reads the images of a file: PGM or PPM; an IDX file, of which `indices` says which images; or, by its ending `.raw` or
 * `.bin`, bare bytes.
 *
 * @param shape what the model takes: [height, width, channels]
 * @throws StepsizeError `invalid-file` for a file that is damaged or of another size, UsageError for a wrong `--index`
 */
export async function readImages(
  path: string,
  shape: readonly number[],
  indices: readonly number[] | undefined,
): Promise<NamedImage[]> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === "ENOENT" ? "there is no such file" : `cannot be read (${error.message})`;
    throw new StepsizeError("not-found", `${path}: ${why}`);
  });
  // A raw image may begin with any bytes, so its name decides before its content.
  const raw = [".raw", ".bin"].includes(extname(path).toLowerCase());
  if (!raw && isIdx(bytes)) return fromIdx(path, shape, indices);
  if (indices) throw new UsageError(`--index: only an IDX file holds several images, and ${path} is none`);
  const expected = `an image of ${words(shape)}`;
  if (raw) {
    const length = shape.reduce((product, size) => product * size, 1);
    if (bytes.length !== length) wrongSize(path, `${expected}: ${length} bytes`, some(bytes.length, "byte"));
    return [{ name: path, data: Uint8Array.from(bytes) }];
  }
  if (!isPnm(bytes))
    wrongSize(path, "a PGM or PPM image, an IDX file, or bare bytes named .raw or .bin", "something else");
  const { height, width, channels, data } = readPnm(path, bytes);
  const found = [height, width, channels];
  if (words(found) !== words(shape)) wrongSize(path, expected, `one of ${words(found)}`);
  return [{ name: path, data }];
}

async function fromIdx(path: string, shape: readonly number[], indices: readonly number[] | undefined) {
  const { data, dtype, shape: all } = await readIdx(path);
  const [items = 0, ...rest] = all;
  const own = rest.length === 2 ? [...rest, 1] : rest;
  if (dtype !== "uint8" || words(own) !== words(shape))
    wrongSize(path, `images of ${words(shape)}, as uint8`, `items of ${words(own)}, as ${dtype}`);
  if (!indices)
    throw new UsageError(`--index: expected which of the ${items} images in ${path}, such as 0 or 0-9, got none`);
  const length = shape.reduce((product, size) => product * size, 1);
  return indices.map((index): NamedImage => {
    if (index >= items) throw new UsageError(`--index: expected at most ${items - 1} for ${path}, got ${index}`);
    return { name: `${path}[${index}]`, data: Uint8Array.from(data.subarray(index * length, (index + 1) * length)) };
  });
}

/** Indices out of text such as `3`, `0-9` or `0,2,7-9`. */
export function parseIndices(text: string): number[] {
  return text.split(",").flatMap((part) => {
    const [, first, last = first] = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part) ?? [];
    const [from, to] = [Number(first), Number(last)];
    if (first === undefined || to < from || to - from > 1_000_000)
      throw new UsageError(`--index: expected numbers from 0, such as 3, 0-9 or 0,2,7-9, got ${JSON.stringify(text)}`);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

/** Plain or gzipped; two zero bytes and a type begin it. */
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
