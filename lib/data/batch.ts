import { invalidArgument } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { checkSeed } from "../random.js";
import type { Inputs, Labels } from "./items.js";

/** Some items side by side. */
export interface Batch {
  /** `shape` is of the whole batch: items first, then the shape of one. */
  readonly inputs: Inputs;
  /** A class index per item; or several per item, or float targets, `shape` being of the whole batch. */
  readonly labels: Labels;
  /** [size, 3], for images that are changed on the device: rows down, columns across, whether mirrored (0 or 1). */
  readonly moves?: Int32Array;
  /** How many items: the size asked for, or fewer in a last short batch. */
  readonly size: number;
  /** Which pass over the dataset, from 0. */
  readonly epoch: number;
  /** Which batch of its epoch, from 0. */
  readonly index: number;
}

/** Where batches come from. Steps count from 0 and go on through the epochs. */
export interface BatchSource {
  /** How many batches one epoch has; `Infinity` where nobody knows. */
  readonly batchesPerEpoch: number;
  /** How many items one epoch draws from; `Infinity` where nobody knows. */
  readonly items: number;
  /** How many items a full batch has. */
  readonly size: number;
  /** The batch of one step, in memory of its own. */
  at(step: number): Promise<Batch>;
  /**
   * The batches from one step on, through all epochs, without end, each in memory of its own unless
   * {@link IterationOptions.reuse} is set. Leaving the loop stops what was under way.
   */
  from(step: number, options?: IterationOptions): AsyncIterableIterator<Batch>;
  /** One pass over all items in their own order, not augmented, with the last short batch: for evaluation. */
  once(options?: IterationOptions): AsyncIterableIterator<Batch>;
  /** Ends what runs on other threads. Everything asked for later, or still under way, is rejected. */
  close(): Promise<void>;
  /** What determines the batches, as plain JSON: two sources with the same give the same batches. */
  toJSON(): object;
  /**
   * A hash of the items, if they can be hashed: a resumed run then knows its data by their content, and not by their name.
   * A source whose `toJSON()` has a `digest` needs none.
   */
  digest?(): Promise<string>;
}

/** How batches are walked; see {@link BatchSource}. */
export interface IterationOptions {
  /**
   * Lets a batch's memory be used again once the next batch is asked for, which saves allocating and copying it: for a
   * loop that is done with a batch by then, such as the trainer's. Default false: every batch owns its memory.
   */
  readonly reuse?: boolean;
}

/** Random changes to images, drawn for each item and epoch. */
export interface AugmentOptions {
  /** Rows and columns of zeros put around the image before it is cropped; an integer of at least 0. Default 0. */
  readonly pad?: number;
  /** Cuts a window of the image's own size from a random place of the padded image. Default: when `pad` is above 0. */
  readonly crop?: boolean;
  /** Mirrors half of the images left to right. Default false. */
  readonly flip?: boolean;
  /**
   * `host`: the batch has the changed images. `device`: it has them as they are, and says in {@link Batch.moves} what is
   * to be done, which the trainer does on the device, in the pass that normalises them. The same values. Default `host`.
   */
  readonly on?: "host" | "device";
}

/** How a dataset is cut into batches. */
export interface BatchOptions {
  /** Items per batch: an integer of at least 1. */
  readonly size: number;
  /** Of the order and the augmentation: a safe integer of at least 0. Default 0. */
  readonly seed?: number;
  /** Draws a new order for each epoch. Default true. */
  readonly shuffle?: boolean;
  /** Leaves out the last batch of an epoch where it would be short. Default true. */
  readonly dropLast?: boolean;
  /** Default: none. Needs items of shape `[height, width, channels]`. */
  readonly augment?: AugmentOptions;
  /**
   * How many batches are gathered ahead, on another thread; 0 gathers on the calling thread. The batches are the
   * same. Default 2.
   */
  readonly prefetch?: number;
}

/** Augmentation as it is done: `pad` 0 and no flip where there is none. */
export interface Augment {
  readonly pad: number;
  readonly flip: boolean;
  readonly on: "host" | "device";
}

/** {@link BatchOptions}, checked and complete. */
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

/** Checks the options against the dataset they are for. */
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

/** The step itself, or an error where it is none. */
export function checkStep(step: unknown): number {
  if (Number.isSafeInteger(step) && (step as number) >= 0) return step as number;
  invalidArgument("step", "an integer of at least 0 (steps count from 0)", step);
}

const iterationNames = optionNames<IterationOptions>({ reuse: true });

/** Whether the caller of `from` or `once` lets batches share memory. */
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
  // Each is nothing without the other: a padded image has to come back to its size, and there is one window otherwise.
  const crop = flag("augment.crop", given.crop, pad > 0);
  if (crop !== pad > 0) {
    invalidArgument("batches.augment.crop", crop ? "a pad above 0 to go with it" : "true, to go with pad", crop);
  }
  const flip = flag("augment.flip", given.flip, false);
  const { on = "host" } = given;
  if (on !== "host" && on !== "device") invalidArgument("batches.augment.on", '"host" or "device"', on);
  if ((crop || flip) && itemShape.length !== 3) {
    const shape = `[${itemShape.join(", ")}]`;
    invalidArgument("batches.augment", "none, or items of shape [height, width, channels]", `items of shape ${shape}`);
  }
  return { pad, flip, on };
}

function flag(name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  return typeof value === "boolean" ? value : invalidArgument(`batches.${name}`, "true or false", value);
}
