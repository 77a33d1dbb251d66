import { totalmem } from "node:os";
import { basename, join, resolve } from "node:path";
import { expectFunction, expectSignal, expectText, isListOf, isSafeInteger } from "../arguments.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import { itemAt } from "../lookup.js";
import { checkedOptions, optionNames } from "../options.js";
import { isObject } from "../realms.js";
import { ArrayDataset } from "./dataset.js";
import { type DecodeImage, type ImageFit, type ImageForm, loadDecoder } from "./decode-image.js";
import { type BadImage, type ImageFile, type ImageFolder, type ImageSplit, listImageFolder } from "./image-folder.js";
import { sharedArray } from "./items.js";

/** Options of {@link images}. */
export interface ImagesOptions {
  /** The split to load. Default `"train"`. */
  readonly split?: ImageSplit | undefined;
  /** Size of the decoded images in pixels: one number for both sides, or both. Default 64. */
  readonly size?: number | { readonly width: number; readonly height: number } | undefined;
  /**
   * How images of other proportions are fitted to the size. `"crop"` fills it and cuts what is outside, at the center.
   * `"letterbox"` shows the whole image between black bars. Default `"crop"`.
   */
  readonly fit?: ImageFit | undefined;
  /** 3 for RGB, 1 for gray. Images of the other kind are converted. Default 3. */
  readonly channels?: 1 | 3 | undefined;
  /** Names of the classes, in the order of the labels. The folders must be among them. Default: the sorted folders. */
  readonly classes?: readonly string[] | undefined;
  /** What to do with files that are no readable image: throw one error that lists them, or leave them out. Default `"stop"`. */
  readonly onError?: "stop" | "skip" | undefined;
  /** Called for each file that is left out, with the reason. Default none. */
  readonly onSkip?: ((path: string, why: string) => void) | undefined;
  /** Called after each image with the number of finished and of all images. Default none. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Aborts the loading, which then rejects with the signal's reason. Default none. */
  readonly signal?: AbortSignal | undefined;
}

const names = optionNames<ImagesOptions>({
  split: true,
  size: true,
  fit: true,
  channels: true,
  classes: true,
  onError: true,
  onSkip: true,
  onProgress: true,
  signal: true,
});

/**
 * Loads a folder of images with one folder per class, or with `train/`, `test/` and perhaps `val/`, each of which has
 * one folder per class. The package `sharp` decodes JPEG, PNG, WebP, GIF, AVIF, TIFF and SVG; install it with
 * `npm install sharp`. docs/your-own-data.md describes the folder, the splits and the conversion of images.
 *
 * All images are decoded once, into memory: uint8 of shape `[height, width, channels]`. Without `test/`, a fifth of the
 * images is held back for the test split, chosen by a hash of their class and name.
 *
 * @throws StepsizeError `not-found` if the folder or the package sharp is missing; `invalid-file` naming a folder that
 * is not as described, or the files that are no readable images; `out-of-memory` if the decoded images need more than
 * three quarters of the memory; `invalid-argument` for a wrong option
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * // pets/cat/1.jpg, pets/cat/2.png, …, pets/dog/1.webp, …
 * const train = await data.images("pets", { size: 64 });
 * const test = await data.images("pets", { size: 64, split: "test" });
 * console.log(train.classes, train.inputs.shape, test.length); // ["cat", "dog"], [64, 64, 3], …
 * ```
 */
export async function images(dir: string, options: ImagesOptions = {}): Promise<ArrayDataset> {
  const { split = "train" } = checkedOptions("images", names, options);
  if (!imageSplits.includes(split)) invalidArgument("images.split", oneOf(imageSplits), split);
  const { splits } = await readImages(dir, { ...options, splits: [split] });
  const found = splits.get(split);
  if (found) return found;
  throw new StepsizeError(
    "not-found",
    `${dir}: there is no ${split} split; it would be in the folder ${join(dir, "val")}`,
  );
}

const imageSplits: readonly ImageSplit[] = ["train", "validation", "test", "all"];

/** @internal Options of {@link readImages}. */
export interface ReadImagesOptions extends Omit<ImagesOptions, "split" | "channels"> {
  /** Checked as in {@link ImagesOptions}. */
  readonly channels?: number | undefined;
  /** The splits to read. One that the folder does not have is left out. */
  readonly splits: readonly ImageSplit[];
}

/** @internal Reads several splits of a folder of images, as {@link images} does. Their bad files are listed together. */
export async function readImages(
  dir: string,
  options: ReadImagesOptions,
): Promise<{ readonly form: ImageForm; readonly splits: ReadonlyMap<ImageSplit, ArrayDataset> }> {
  const { onError = "stop", onSkip, onProgress, signal } = options;
  expectText("dir", dir, "the path of a folder");
  const form = formOf(options);
  if (onError !== "stop" && onError !== "skip") invalidArgument("images.onError", '"stop" or "skip"', onError);
  if (onSkip !== undefined) expectFunction("images.onSkip", onSkip);
  if (onProgress !== undefined) expectFunction("images.onProgress", onProgress);
  expectSignal("images.signal", signal);
  if (options.classes !== undefined && !isListOf(options.classes, (name) => typeof name === "string"))
    invalidArgument("images.classes", "an array of names", options.classes);
  const decode = loadDecoder(`images ${dir}`);
  const folder = await listImageFolder(dir, options.classes);
  const wanted = options.splits.filter((split) => folder.splits.has(split));
  const filesOf = (split: ImageSplit) => folder.splits.get(split) ?? [];
  const total = wanted.reduce((sum, split) => sum + filesOf(split).length, 0);
  expectMemory(dir, total, form);
  const bad: BadImage[] = [...folder.bad];
  let done = 0;
  const decoded = new Map<ImageSplit, Decoded>();
  for (const split of wanted) {
    const onFile = (problem: BadImage | undefined) => {
      if (problem) bad.push(problem);
      onProgress?.(++done, total);
    };
    decoded.set(split, await decodeAll(filesOf(split), form, { decode, signal, onFile }));
  }
  if (bad.length > 0) {
    // Files are decoded at the same time, so they fail in any order.
    bad.sort((a, b) => (a.path < b.path ? -1 : 1));
    if (onError === "stop") throw unreadable(dir, bad, total);
    for (const { path, why } of bad) onSkip?.(path, why);
  }
  return {
    form,
    splits: new Map([...decoded].map(([split, parts]) => [split, datasetOf(dir, split, folder, form, parts)])),
  };
}

/** Images as bytes, one after the other, and their classes. */
interface Decoded {
  readonly pixels: Uint8Array;
  readonly labels: Int32Array;
}

/** Number of images that are decoded at the same time. Node has four threads for this by default, and as many wait. */
const inFlight = 8;

/** Decodes files into shared memory, in their order. Bad files take no room. */
async function decodeAll(
  files: readonly ImageFile[],
  form: ImageForm,
  {
    decode,
    signal,
    onFile,
  }: {
    readonly decode: DecodeImage;
    readonly signal: AbortSignal | undefined;
    readonly onFile: (problem: BadImage | undefined) => void;
  },
): Promise<Decoded> {
  const itemSize = form.height * form.width * form.channels;
  const pixels = sharedArray("uint8", files.length * itemSize);
  const labels = sharedArray("int32", files.length);
  const isGood = new Uint8Array(files.length);
  let next = 0;
  const decodeNext = async () => {
    while (next < files.length) {
      signal?.throwIfAborted();
      const item = next++;
      const { path, label } = itemAt(files, item);
      labels[item] = label;
      try {
        pixels.set(await decode(path, form), item * itemSize);
        isGood[item] = 1;
        onFile(undefined);
      } catch (error) {
        if (!(error instanceof StepsizeError) || error.code === "out-of-memory") throw error;
        onFile({ path, why: error.message.replace(`${path}: `, "") });
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, decodeNext));
  let kept = 0;
  for (let item = 0; item < files.length; item++) {
    if (isGood[item] === 0) continue;
    if (kept < item) {
      pixels.copyWithin(kept * itemSize, item * itemSize, (item + 1) * itemSize);
      labels.copyWithin(kept, item, item + 1);
    }
    kept++;
  }
  return { pixels: pixels.subarray(0, kept * itemSize), labels: labels.subarray(0, kept) };
}

function datasetOf(
  dir: string,
  split: ImageSplit,
  { classes, splits }: ImageFolder,
  { height, width, channels }: ImageForm,
  { pixels, labels }: Decoded,
): ArrayDataset {
  // A class whose files were all left out would be trained without an image.
  const present = new Set(labels);
  for (const { label } of splits.get(split) ?? [])
    if (!present.has(label))
      throw new StepsizeError(
        "invalid-file",
        `${dir}: expected at least one readable image of the class ${classes[label]} in the ${split} split, found none`,
      );
  return new ArrayDataset({
    inputs: { data: pixels, shape: [height, width, channels], dtype: "uint8" },
    labels,
    classes,
    // Only the last part of the path, so that a run can be resumed after its data were moved.
    name: `${basename(resolve(dir))} (${split})`,
  });
}

const maxSide = 65_535;

function formOf({ size = 64, fit = "crop", channels = 3 }: Omit<ReadImagesOptions, "splits">): ImageForm {
  const isSide = (side: unknown): side is number => isSafeInteger(side) && side >= 1 && side <= maxSide;
  const { width, height } = isObject(size) ? size : { width: size, height: size };
  if (!isSide(width) || !isSide(height))
    invalidArgument("images.size", `a number of pixels from 1 to ${maxSide}, or { width, height }`, size);
  if (fit !== "crop" && fit !== "letterbox") invalidArgument("images.fit", '"crop" or "letterbox"', fit);
  if (channels !== 1 && channels !== 3) invalidArgument("images.channels", "1 or 3", channels);
  return { height, width, channels, fit };
}

function expectMemory(dir: string, items: number, { height, width, channels }: ImageForm): void {
  const limit = 0.75 * Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
  const bytes = items * height * width * channels;
  if (bytes <= limit) return;
  const gigabytes = (value: number) => `${(value / 1e9).toFixed(1)} GB`;
  throw new StepsizeError(
    "out-of-memory",
    `${dir}: ${items} images of ${width} × ${height} pixels take ${gigabytes(bytes)}, more than three quarters of ` +
      `this machine's memory (${gigabytes(limit)}); choose a smaller size`,
  );
}

/** Largest number of files that one error lists. */
const maxListed = 20;

function unreadable(dir: string, bad: readonly BadImage[], total: number): StepsizeError {
  const list = bad.slice(0, maxListed).map(({ path, why }) => `\n  ${path}: ${why}`);
  const more = bad.length > maxListed ? `\n  and ${bad.length - maxListed} more` : "";
  const files = `${bad.length} of ${total} file${total === 1 ? "" : "s"}`;
  const advice = 'remove them, or leave them out with onError: "skip" (--on-error skip)';
  const message = `${dir}: ${files} cannot be used as images; ${advice}:${list.join("")}${more}`;
  return new StepsizeError("invalid-file", message);
}

function oneOf(words: readonly string[]): string {
  return words.map((word) => JSON.stringify(word)).join(" or ");
}
