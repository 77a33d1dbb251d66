import { invalidArgument } from "../errors.js";
import { checkedOptions, optionNames } from "../options.js";
import type { PreprocessingOptions } from "../preprocessing-options.js";
import { permutation } from "../random.js";
import { isInt32Array } from "../realms.js";
import { elementCount } from "../shapes.js";
import type { BatchOptions, BatchSource } from "./batch.js";
import { DatasetBatches } from "./dataset-batches.js";
import { type Dataset, type Inputs, type ItemLabels, sharedArray } from "./items.js";
import { type Statistics, statisticsOf } from "./statistics.js";

/** Options of {@link ArrayDataset.split}. */
export interface SplitOptions {
  /** Share of the items for the validation part, above 0 and below 1, rounded to whole items. */
  readonly validation: number;
  /** Seed of the selection, a safe integer of at least 0. Default 0. */
  readonly seed?: number | undefined;
}

const splitNames = optionNames<SplitOptions>({ validation: true, seed: true });

/** The checked data of a dataset: arrays of whole items, in shared memory. */
export interface Store {
  readonly inputs: Inputs;
  readonly labels: ItemLabels;
  readonly classes?: readonly string[] | undefined;
  readonly name: string;
}

/**
 * A dataset in memory, created by `mnist`, `cifar10`, `idx` and `fromArrays`. Its parts (`split`, `subset`) are views
 * by index on the same memory.
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * const inputs = new Float32Array([0, 0, 0, 1, 1, 0, 1, 1]);
 * const set = data.fromArrays({ inputs, labels: [0, 1, 1, 0], shape: [2] });
 * const { train, validation } = set.split({ validation: 0.25 });
 * console.log(train.length, validation.length); // 3 1
 * for await (const { inputs, labels } of set.subset([3, 0]).batches({ size: 2 }).once())
 *   console.log(inputs.data, labels); // 1, 1, 0, 0 and 0, 0
 * ```
 */
export class ArrayDataset implements Dataset {
  /** @internal The name in messages. Bundlers rename the class. */
  static readonly name: string = "ArrayDataset";
  readonly length: number;
  readonly name: string;
  readonly classes?: readonly string[] | undefined;
  readonly #store: Store;
  /** Indices of the store's items that this view has; `undefined` for all. */
  readonly #index: Uint32Array | undefined;
  #inputs: Inputs | undefined;
  #labels: ItemLabels | undefined;
  #statistics: Statistics | undefined;

  /** @internal */
  constructor(store: Store, index?: Uint32Array, name: string = store.name) {
    this.#store = store;
    this.#index = index;
    this.name = name;
    this.length = index?.length ?? store.inputs.data.length / elementCount(store.inputs.shape);
    this.classes = store.classes;
  }

  /**
   * All inputs, item after item, with the shape of one item. On a view, the first read of `data` gathers them into a new
   * array. Batches do not need this array.
   */
  get inputs(): Inputs {
    this.#inputs ??= this.#viewInputs();
    return this.#inputs;
  }

  /** All labels, item after item: class indices, or float targets with the shape of one target. */
  get labels(): ItemLabels {
    this.#labels ??= this.#viewLabels();
    return this.#labels;
  }

  /**
   * Splits the dataset at random into two disjoint parts. Each part keeps the order of the dataset.
   *
   * @throws StepsizeError `invalid-argument` for a wrong option, or if one of the parts would be empty
   */
  split(options: SplitOptions): {
    train: ArrayDataset;
    validation: ArrayDataset;
  } {
    const { validation, seed = 0 } = checkedOptions("split", splitNames, options);
    if (!(typeof validation === "number" && validation > 0 && validation < 1)) {
      invalidArgument("split.validation", "a fraction above 0 and below 1", validation);
    }
    const validationItems = Math.round(this.length * validation);
    if (validationItems === 0 || validationItems === this.length) {
      const parts = `${this.length - validationItems} for training and ${validationItems} for validation`;
      invalidArgument("split.validation", `a fraction of ${this.length} items that leaves none empty`, parts);
    }
    const order = permutation(this.length, seed, 0);
    return {
      train: this.#view(order.subarray(validationItems).sort(), "train part"),
      validation: this.#view(order.subarray(0, validationItems).sort(), "validation part"),
    };
  }

  /**
   * Returns a view of the items with these indices, in this order. An index may occur more than once.
   *
   * @throws StepsizeError `invalid-argument` for an empty list or an index that is out of range
   */
  subset(indices: ArrayLike<number>): ArrayDataset {
    if (!(indices?.length >= 1)) invalidArgument("subset.indices", "an array of at least one index", indices);
    // All are checked before any is copied: V8 ends the process if a sparse array of great length is iterated.
    for (let i = 0; i < indices.length; i++) {
      const index = indices[i];
      if (index !== undefined && Number.isInteger(index) && index >= 0 && index < this.length) continue;
      invalidArgument(`subset.indices[${i}]`, `an index from 0 to ${this.length - 1}`, index);
    }
    return this.#view(Uint32Array.from(indices), "subset");
  }

  /**
   * Returns batches of this dataset, for training or evaluation.
   *
   * @throws StepsizeError `invalid-argument` naming the wrong option
   */
  batches(options: BatchOptions): BatchSource {
    return new DatasetBatches(this.#store, this.#index, this.name, options);
  }

  /**
   * Computes the mean and the population standard deviation of each channel, for normalization. A channel is an index of
   * the last axis. uint8 inputs are divided by 255; other types are used unchanged.
   */
  statistics(): Statistics {
    this.#statistics ??= statisticsOf(this.#store.inputs, this.#index);
    return this.#statistics;
  }

  /** Returns the preprocessing that gives every channel mean 0 and standard deviation 1, for a model card. */
  preprocessing(): PreprocessingOptions {
    const { shape, dtype } = this.#store.inputs;
    return { shape, dtype, scale: dtype === "uint8" ? 1 / 255 : 1, ...this.statistics() };
  }

  #view(positions: Uint32Array, part: string): ArrayDataset {
    const parent = this.#index;
    // The index is in shared memory, so that the thread that gathers batches does not need a copy.
    const index = new Uint32Array(new SharedArrayBuffer(positions.length * 4));
    index.set(parent === undefined ? positions : positions.map((position) => parent[position]!));
    return new ArrayDataset(this.#store, index, `${this.name}, ${part}`);
  }

  #viewInputs(): Inputs {
    const { inputs } = this.#store;
    const index = this.#index;
    if (index === undefined) return inputs;
    const { data, dtype, shape } = inputs;
    let gathered: Inputs["data"] | undefined;
    return {
      dtype,
      shape,
      get data() {
        gathered ??= pick(data, index, elementCount(shape), sharedArray(dtype, index.length * elementCount(shape)));
        return gathered;
      },
    };
  }

  #viewLabels(): ItemLabels {
    const { labels } = this.#store;
    const index = this.#index;
    if (index === undefined) return labels;
    if (isInt32Array(labels)) return pick(labels, index, 1, sharedArray("int32", index.length));
    const size = elementCount(labels.shape);
    return { data: pick(labels.data, index, size, sharedArray("float32", index.length * size)), shape: labels.shape };
  }
}

function pick<T extends Inputs["data"]>(from: T, index: Uint32Array, itemSize: number, to: T): T {
  index.forEach((item, i) => {
    to.set(from.subarray(item * itemSize, (item + 1) * itemSize), i * itemSize);
  });
  return to;
}
