import { isSafeInteger } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { checkSeed } from "../random.js";
import { hasThreeAxes, type Inputs, type Labels } from "./items.js";

/** A batch of items and their labels. */
export interface Batch {
  /** The inputs. `shape` is `[size, ...shape of one item]`. */
  readonly inputs: Inputs;
  /** A class index per item, or several per item or float targets, with the shape of the whole batch. */
  readonly labels: Labels;
  /** Augmentation for the device, as `[size, 3]`: shift of rows, shift of columns, and 1 if mirrored, else 0. */
  readonly moves?: Int32Array | undefined;
  /** Number of items: the requested size, or fewer in the last batch of an epoch. */
  readonly size: number;
  /** Index of the pass over the dataset, from 0. */
  readonly epoch: number;
  /** Index of the batch in its epoch, from 0. */
  readonly index: number;
}

/** A source of batches. Steps count from 0 and continue over all epochs. */
export interface BatchSource {
  /** Number of batches per epoch; `Infinity` if it is unknown. */
  readonly batchesPerEpoch: number;
  /** Number of items that an epoch draws from; `Infinity` if it is unknown. */
  readonly items: number;
  /** Number of items of a full batch. */
  readonly size: number;
  /**
   * Returns the batch of one step, in memory of its own.
   *
   * @throws StepsizeError `invalid-argument` if `step` is not an integer of at least 0; `invalid-state` after `close`.
   * The promise rejects then.
   */
  at(step: number): Promise<Batch>;
  /**
   * Iterates over the batches from one step on, through all epochs, without end. Each batch has memory of its own
   * unless {@link IterationOptions.reuse} is set. Leaving the loop stops pending work.
   *
   * @throws StepsizeError `invalid-argument` for a wrong step or option, at the call; `invalid-state` after `close`
   */
  from(step: number, options?: IterationOptions): AsyncIterableIterator<Batch>;
  /**
   * Iterates once over all items in their original order, without augmentation, for evaluation. The last batch may be
   * short.
   *
   * @throws StepsizeError `invalid-argument` for a wrong option, at the call; `invalid-state` after `close`
   */
  once(options?: IterationOptions): AsyncIterableIterator<Batch>;
  /** Ends the source's threads. Pending and later requests are rejected. */
  close(): Promise<void>;
  /** Returns everything that determines the batches, as plain JSON. Sources with equal JSON give the same batches. */
  toJSON(): object;
  /**
   * Computes a hash of the items, if they can be hashed. A resumed run then compares its data by content instead of by
   * name. A source whose `toJSON()` has a `digest` does not need this method.
   */
  digest?(): Promise<string>;
}

/** Options of {@link BatchSource.from} and {@link BatchSource.once}. */
export interface IterationOptions {
  /**
   * Whether the memory of a batch may be reused as soon as the next batch is requested. This saves an allocation and a
   * copy. Default false: every batch has memory of its own.
   */
  readonly reuse?: boolean | undefined;
}

/** Random augmentation of images, drawn for each item and epoch. */
export interface AugmentOptions {
  /** Number of rows and columns of zeros on each side of the image before it is cropped, from 0 to 65536. Default 0. */
  readonly pad?: number | undefined;
  /** Crops a window of the image's size from a random position of the padded image. Default: true if `pad` is above 0. */
  readonly crop?: boolean | undefined;
  /** Mirrors each image left to right with a probability of 1/2. Default false. */
  readonly flip?: boolean | undefined;
  /**
   * Where images are augmented; the values are the same. With `host`, the batch has augmented images. With `device`, it
   * has the original images and {@link Batch.moves}, and the trainer augments them when it normalizes them on the device.
   * Default `host`.
   */
  readonly on?: "host" | "device" | undefined;
}

/** Options of {@link ArrayDataset.batches}. */
export interface BatchOptions {
  /** Number of items per batch, an integer of at least 1. */
  readonly size: number;
  /** Seed of the shuffling order and of the augmentation, a safe integer of at least 0. Default 0. */
  readonly seed?: number | undefined;
  /** Whether to draw a new order for each epoch. Default true. */
  readonly shuffle?: boolean | undefined;
  /** Whether to leave out the last batch of an epoch if it is short. Default true. */
  readonly dropLast?: boolean | undefined;
  /** Random augmentation of images of shape `[height, width, channels]`. Default none. */
  readonly augment?: AugmentOptions | undefined;
  /**
   * Number of batches to gather ahead on another thread, from 0 to 64. With 0, the calling thread gathers. The batches are
   * the same. Default 2.
   */
  readonly prefetch?: number | undefined;
}

/** Height, width and channels of an image. */
export type ImageShape = readonly [height: number, width: number, channels: number];

/** Checked augmentation. Without augmentation, `pad` is 0, `flip` is false and `image` is `undefined`. */
export interface Augment {
  readonly pad: number;
  readonly flip: boolean;
  readonly on: "host" | "device";
  readonly image: ImageShape | undefined;
}

/** Checked {@link BatchOptions} with defaults. */
export interface CheckedOptions {
  readonly size: number;
  readonly seed: number;
  readonly shuffle: boolean;
  readonly dropLast: boolean;
  readonly augment: Augment;
  readonly prefetch: number;
}

const batchNames = optionNames<BatchOptions>({
  size: true,
  seed: true,
  shuffle: true,
  dropLast: true,
  augment: true,
  prefetch: true,
});
const augmentNames = optionNames<AugmentOptions>({ pad: true, crop: true, flip: true, on: true });

/**
 * Checks the options of batches against their dataset.
 *
 * @param items number of items of the dataset
 * @throws StepsizeError `invalid-argument` naming the wrong option
 */
export function checkOptions(options: BatchOptions, items: number, itemShape: readonly number[]): CheckedOptions {
  expectOptions("batches", batchNames, options);
  const { size, prefetch = 2 } = options;
  if (!Number.isSafeInteger(size) || size < 1) invalidArgument("batches.size", "an integer of at least 1", size);
  if (!Number.isSafeInteger(prefetch) || prefetch < 0 || prefetch > 64) {
    invalidArgument("batches.prefetch", "an integer from 0 to 64", prefetch);
  }
  const dropLast = flag("dropLast", options.dropLast, true);
  if (dropLast && items < size) {
    invalidArgument("batches.size", `at most the dataset's ${items} items (or dropLast: false)`, size);
  }
  return {
    size,
    seed: checkSeed(options.seed ?? 0, "batches.seed"),
    shuffle: flag("shuffle", options.shuffle, true),
    dropLast,
    augment: checkAugment(options.augment ?? {}, itemShape),
    prefetch,
  };
}

/**
 * Checks a step and returns it.
 *
 * @throws StepsizeError `invalid-argument` if it is not an integer of at least 0
 */
export function checkStep(step: unknown): number {
  if (isSafeInteger(step) && step >= 0) return step;
  invalidArgument("step", "an integer of at least 0 (steps count from 0)", step);
}

const iterationNames = optionNames<IterationOptions>({ reuse: true });

/**
 * Checks the options of `from` or `once` and returns `reuse`.
 *
 * @throws StepsizeError `invalid-argument` naming the wrong option
 */
export function checkReuse(path: string, options: IterationOptions = {}): boolean {
  expectOptions(path, iterationNames, options);
  const { reuse = false } = options;
  return typeof reuse === "boolean" ? reuse : invalidArgument(`${path}.reuse`, "true or false", reuse);
}

function checkAugment(given: AugmentOptions, itemShape: readonly number[]): Augment {
  expectOptions("batches.augment", augmentNames, given);
  const { pad = 0 } = given;
  if (!Number.isSafeInteger(pad) || pad < 0 || pad > 65_536)
    invalidArgument("batches.augment.pad", "an integer from 0 to 65536", pad);
  // Padding needs a crop to restore the size, and without padding there is only one window to crop.
  const crop = flag("augment.crop", given.crop, pad > 0);
  if (crop !== pad > 0) {
    invalidArgument("batches.augment.crop", crop ? "a pad above 0 to go with it" : "true, to go with pad", crop);
  }
  const flip = flag("augment.flip", given.flip, false);
  const { on = "host" } = given;
  if (on !== "host" && on !== "device") invalidArgument("batches.augment.on", '"host" or "device"', on);
  if (!crop && !flip) return { pad, flip, on, image: undefined };
  if (!hasThreeAxes(itemShape)) {
    const shape = `[${itemShape.join(", ")}]`;
    invalidArgument("batches.augment", "none, or items of shape [height, width, channels]", `items of shape ${shape}`);
  }
  return { pad, flip, on, image: itemShape };
}

function flag(name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  return typeof value === "boolean" ? value : invalidArgument(`batches.${name}`, "true or false", value);
}
