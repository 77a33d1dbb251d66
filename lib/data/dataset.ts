import { invalidArgument } from "../errors.js";
import { checkedOptions, optionNames } from "../options.js";
import { permutation } from "../random.js";
import { isInt32Array } from "../realms.js";
import type { BatchOptions, BatchSource } from "./batch.js";
import { DatasetBatches } from "./dataset-batches.js";
import { count, type Dataset, type Inputs, type ItemLabels, sharedArray } from "./items.js";
import { type Preprocessing, type Statistics, statisticsOf } from "./statistics.js";

/** How {@link ArrayDataset.split} divides. */
export interface SplitOptions {
  /** The share of items that is held back, above 0 and below 1, rounded to whole items. */
  readonly validation: number;
  /** A safe integer of at least 0; default 0. */
  readonly seed?: number;
}

const splitNames = optionNames<SplitOptions>({ validation: true, seed: true });

/** What a loader hands over: checked arrays of whole items, in shared memory. */
export interface Store {
  readonly inputs: Inputs;
  readonly labels: ItemLabels;
  readonly classes?: readonly string[];
  readonly name: string;
}

/**
 * A dataset in memory. Its parts (`split`, `subset`) are views by index on the same memory. The loaders and
 * `fromArrays` make these.
 */
export class ArrayDataset implements Dataset {
  readonly length: number;
  readonly name: string;
  readonly classes?: readonly string[];
  readonly #store: Store;
  /** Which items of the store this view has; all of them where undefined. */
  readonly #index: Uint32Array | undefined;
  #inputs: Inputs | undefined;
  #labels: ItemLabels | undefined;
  #statistics: Statistics | undefined;

  /** @internal */
  constructor(store: Store, index?: Uint32Array, name: string = store.name) {
    this.#store = store;
    this.#index = index;
    this.name = name;
    this.length = index?.length ?? store.inputs.data.length / count(store.inputs.shape);
    if (store.classes !== undefined) this.classes = store.classes;
  }

  /**
   * All inputs, item after item, with the shape of one item. On a view the data are gathered into an array of their
   * own when `data` is first read; batches do not need that.
   */
  get inputs(): Inputs {
    this.#inputs ??= this.#viewInputs();
    return this.#inputs;
  }

  /** All labels, item after item: class indices, or float targets with the shape of one item's. */
  get labels(): ItemLabels {
    this.#labels ??= this.#viewLabels();
    return this.#labels;
  }

  /**
   * Two disjoint parts that together are this dataset, each in the order of this dataset; which item goes where is
   * drawn from the seed.
   *
   * @throws `invalid-argument` where one of the parts would be empty
   */
  split(options: SplitOptions): {
    train: ArrayDataset;
    validation: ArrayDataset;
  } {
    const { validation, seed = 0 } = checkedOptions("split", splitNames, options);
    if (!(typeof validation === "number" && validation > 0 && validation < 1)) {
      invalidArgument("split.validation", "a fraction above 0 and below 1", validation);
    }
    const held = Math.round(this.length * validation);
    if (held === 0 || held === this.length) {
      const parts = `${this.length - held} for training and ${held} for validation`;
      invalidArgument("split.validation", `a fraction of ${this.length} items that leaves none empty`, parts);
    }
    const order = permutation(this.length, seed, 0);
    return {
      train: this.#view(order.subarray(held).sort(), "train part"),
      validation: this.#view(order.subarray(0, held).sort(), "validation part"),
    };
  }

  /** The items named, in that order; an index may come more than once. */
  subset(indices: ArrayLike<number>): ArrayDataset {
    if (!(indices?.length >= 1)) invalidArgument("subset.indices", "an array of at least one index", indices);
    for (let i = 0; i < indices.length; i++) {
      const index = indices[i]!;
      if (Number.isInteger(index) && index >= 0 && index < this.length) continue;
      invalidArgument(`subset.indices[${i}]`, `an index from 0 to ${this.length - 1}`, index);
    }
    return this.#view(Uint32Array.from(indices), "subset");
  }

  /** Batches of this dataset, for training or evaluation; see {@link BatchOptions}. */
  batches(options: BatchOptions): BatchSource {
    return new DatasetBatches(this.#store, this.#index, this.name, options);
  }

  /**
   * The mean and the (population) standard deviation of each channel, for normalising: a channel is an index of the
   * last dimension. uint8 inputs count as 0 … 1, that is divided by 255; other types as they are.
   */
  statistics(): Statistics {
    this.#statistics ??= statisticsOf(this.#store.inputs, this.#index);
    return this.#statistics;
  }

  /** What brings every channel to mean 0 and standard deviation 1: for a model card, from the training data. */
  preprocessing(): Preprocessing {
    const { shape, dtype } = this.#store.inputs;
    return { shape, dtype, scale: dtype === "uint8" ? 1 / 255 : 1, ...this.statistics() };
  }

  #view(positions: Uint32Array, part: string): ArrayDataset {
    const own = this.#index;
    // In shared memory, so that a thread that gathers batches does not need a copy.
    const index = new Uint32Array(new SharedArrayBuffer(positions.length * 4));
    for (let i = 0; i < index.length; i++) index[i] = own === undefined ? positions[i]! : own[positions[i]!]!;
    return new ArrayDataset(this.#store, index, `${this.name}, ${part}`);
  }

  #viewInputs(): Inputs {
    const { inputs } = this.#store;
    const index = this.#index;
    if (index === undefined) return inputs;
    const { data, dtype, shape } = inputs;
    let own: Inputs["data"] | undefined;
    return {
      dtype,
      shape,
      get data() {
        own ??= pick(data, index, count(shape), sharedArray(dtype, index.length * count(shape)));
        return own;
      },
    };
  }

  #viewLabels(): ItemLabels {
    const { labels } = this.#store;
    const index = this.#index;
    if (index === undefined) return labels;
    if (isInt32Array(labels)) return pick(labels, index, 1, sharedArray("int32", index.length));
    const size = count(labels.shape);
    return { data: pick(labels.data, index, size, sharedArray("float32", index.length * size)), shape: labels.shape };
  }
}

function pick<T extends Inputs["data"]>(from: T, index: Uint32Array, itemSize: number, to: T): T {
  for (let i = 0; i < index.length; i++) {
    const start = index[i]! * itemSize;
    to.set(from.subarray(start, start + itemSize), i * itemSize);
  }
  return to;
}
