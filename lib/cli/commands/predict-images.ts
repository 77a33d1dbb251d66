import { readdir, stat } from "node:fs/promises";
import { extname, join, relative, sep } from "node:path";
import { allocate } from "../../allocate.js";
import { type DecodeImage, loadDecoder } from "../../data/decode-image.js";
import { type ImageFit, readIdx } from "../../data/index.js";
import { isNotFound, StepsizeError } from "../../errors.js";
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
 * Returns the files that paths name. A folder stands for all files in it and in its folders, sorted, except for hidden
 * ones.
 *
 * @throws StepsizeError `not-found` if there is no such file or folder, or if a folder has no file
 */
export async function filesOf(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    const found = await stat(path).catch(() => undefined);
    // A missing file is reported when it is read, beside the results of the others.
    if (!found?.isDirectory()) {
      files.push(path);
      continue;
    }
    const inside = (await readdir(path, { recursive: true, withFileTypes: true }))
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name))
      .filter(
        (file) =>
          !relative(path, file)
            .split(sep)
            .some((part) => part.startsWith(".")),
      )
      .sort();
    if (inside.length === 0) throw new StepsizeError("not-found", `${path}: expected a folder with images, found none`);
    for (const file of inside) files.push(file);
  }
  return files;
}

/** The form in which a model takes images. */
export interface ModelForm {
  /** The input shape of the model: [height, width, channels]. */
  readonly shape: readonly number[];
  /** How images of other proportions are fitted to it. */
  readonly fit: ImageFit;
}

/**
 * Reads the images of files. JPEG, PNG and other images that sharp decodes are resized to the size of the model. PGM and
 * PPM images, images of an IDX file and raw bytes must have that size.
 */
export class ImageReader {
  readonly #form: ModelForm;
  readonly #indices: readonly number[] | undefined;
  #decode: DecodeImage | undefined;

  /** @param indices which images of an IDX file to read; must be `undefined` for other files */
  constructor(form: ModelForm, indices: readonly number[] | undefined) {
    this.#form = form;
    this.#indices = indices;
  }

  /**
   * Reads the images of a file.
   *
   * @throws StepsizeError `invalid-file` if the file is missing, damaged or of another size; `not-found` if it needs
   * sharp, which is not installed; `out-of-memory`
   * @throws UsageError for a wrong `--index`
   */
  async read(path: string): Promise<NamedImage[]> {
    const { shape } = this.#form;
    const indices = this.#indices;
    const { file, size } = await openFile(path).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
      const advice = /[*?]/.test(path) ? ", and a pattern is expanded by the shell only without quotes" : "";
      throw new StepsizeError("invalid-file", `${error.message}${advice}`, { cause: error });
    });
    try {
      const beginning = new Uint8Array(Math.min(size, beginningBytes));
      await readInto({ file, path }, beginning, 0);
      // A raw image may begin with any bytes, so its name decides before its content.
      const isRaw = [".raw", ".bin"].includes(extname(path).toLowerCase());
      if (!isRaw && isIdx(beginning)) return await fromIdx(path, shape, indices);
      if (indices) throw new UsageError(`--index: expected only with an IDX file, got ${path}`);
      if (!isRaw && !isPnm(beginning)) return [{ name: path, data: await this.#decoded(path) }];
      const minBytes = isRaw ? expectRaw(path, shape, size) : expectPnm(path, shape, size, beginning);
      // The size was checked before, so the allocation is not larger than an image of the model's size.
      const bytes = allocate(path, () => new Uint8Array(size));
      if ((await readInto({ file, path }, bytes, 0)) < minBytes) wrongSize(path, `${minBytes} bytes`, "fewer");
      return [{ name: path, data: isRaw ? bytes : readPnm(path, bytes).data }];
    } finally {
      await file.close();
    }
  }

  #decoded(path: string): Promise<Uint8Array> {
    const { shape, fit } = this.#form;
    const [height = 1, width = 1, channels = 1] = shape;
    if (channels !== 1 && channels !== 3) wrongSize(path, `an image of ${words(shape)}`, "a file that sharp decodes");
    this.#decode ??= loadDecoder(path);
    return this.#decode(path, { height, width, channels, fit });
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

/** Whether a file is gzipped or begins with two zero bytes, as an IDX file does. AVIF images do as well. */
function isIdx(bytes: Uint8Array): boolean {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return true;
  return bytes[0] === 0 && bytes[1] === 0 && Buffer.from(bytes.subarray(4, 8)).toString("latin1") !== "ftyp";
}

function wrongSize(path: string, expected: string, found: string): never {
  throw new StepsizeError("invalid-file", `${path}: expected ${expected}, found ${found}`);
}

function words(shape: readonly number[]): string {
  const [height, width, channels] = shape;
  return `${height} × ${width} pixels with ${some(channels ?? 1, "channel")}`;
}
