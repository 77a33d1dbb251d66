import { StepsizeError } from "../errors.js";
import { isInt32Array } from "../realms.js";
import { elementCount } from "../shapes.js";
import {
  type Batch,
  type BatchOptions,
  type BatchSource,
  type CheckedOptions,
  checkOptions,
  checkReuse,
  checkStep,
  type IterationOptions,
} from "./batch.js";
import type { Store } from "./dataset.js";
import { digestOfStore } from "./digest.js";
import { Gatherer, type GatherPlan, type Place, type Slot } from "./gather.js";
import { GatherThread } from "./gather-thread.js";
import { type ItemLabels, sharedArray, unsharedArray } from "./items.js";
import { readAhead } from "./read-ahead.js";

/** Size in bytes below which the calling thread gathers a batch, because a request to another thread costs as much. */
export const INLINE_BYTES = 64 * 1024;

/**
 * The batches of a dataset in memory. A batch is a pure function of the seed and the step. They determine its epoch, the
 * order of the epoch and the random numbers of the augmentation, so `from(k)` resumes with identical bits.
 */
export class DatasetBatches implements BatchSource {
  readonly batchesPerEpoch: number;
  readonly items: number;
  readonly size: number;
  /** Whether batches are gathered on another thread. */
  readonly offThread: boolean;
  /** A property and not a method, so that an object with these batches as its prototype can call it. */
  readonly digest: () => Promise<string>;
  readonly #name: string;
  readonly #options: CheckedOptions;
  readonly #store: Store;
  readonly #plan: GatherPlan;
  /** Shape of one target; `[]` for class indices. */
  readonly #targetShape: readonly number[];
  readonly #gatherer: Gatherer;
  readonly #thread: GatherThread;
  /** Slots in shared memory that `at` reuses. */
  readonly #spare: Slot[] = [];
  #closed = false;

  /** @internal */
  constructor(store: Store, index: Uint32Array | undefined, name: string, options: BatchOptions) {
    const { inputs, labels } = store;
    const itemSize = elementCount(inputs.shape);
    this.items = index?.length ?? inputs.data.length / itemSize;
    this.#options = checkOptions(options, this.items, inputs.shape);
    const { size, seed, shuffle, augment, dropLast, prefetch } = this.#options;
    this.size = size;
    this.batchesPerEpoch = dropLast ? Math.floor(this.items / size) : Math.ceil(this.items / size);
    this.#name = name;
    this.#store = store;
    this.#targetShape = isInt32Array(labels) ? [] : labels.shape;
    this.#plan = {
      inputs: inputs.data,
      itemShape: inputs.shape,
      labels: isInt32Array(labels) ? labels : labels.data,
      labelSize: elementCount(this.#targetShape),
      index,
      items: this.items,
      size,
      seed,
      shuffle,
      augment,
    };
    this.digest = () => digestOfStore(store, index);
    this.#gatherer = new Gatherer(this.#plan);
    this.#thread = new GatherThread(this.#plan);
    this.offThread =
      prefetch > 0 && Math.min(size, this.items) * itemSize * inputs.data.BYTES_PER_ELEMENT >= INLINE_BYTES;
  }

  async at(step: number): Promise<Batch> {
    const place = this.#placeOf(checkStep(step));
    if (!this.offThread) return this.#gather(place, this.#newSlot(false));
    const slot = this.#spare.pop() ?? this.#newSlot(true);
    const batch = copyOf(await this.#gather(place, slot));
    this.#spare.push(slot);
    return batch;
  }

  from(step: number, options?: IterationOptions): AsyncIterableIterator<Batch> {
    return this.#draw(checkStep(step), Number.POSITIVE_INFINITY, (k) => this.#placeOf(k), checkReuse("from", options));
  }

  once(options?: IterationOptions): AsyncIterableIterator<Batch> {
    const batches = Math.ceil(this.items / this.size);
    return this.#draw(0, batches, (k) => ({ epoch: 0, index: k, plain: true }), checkReuse("once", options));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#thread.close(closedError(this.#name));
  }

  toJSON(): object {
    // `prefetch` and `augment.on` are left out, because they do not affect the values.
    const { size, seed, shuffle, dropLast, augment } = this.#options;
    const { pad, flip } = augment;
    return { dataset: this.#name, items: this.items, size, seed, shuffle, dropLast, augment: { pad, flip } };
  }

  #draw(first: number, end: number, placeOf: (k: number) => Place, reuse: boolean): AsyncGenerator<Batch, undefined> {
    const ahead = this.offThread ? this.#options.prefetch : 0;
    if (!reuse && !this.offThread) {
      return readAhead(first, end, ahead, (k) => this.#gather(placeOf(k), this.#newSlot(false)));
    }
    // One slot per pending batch, and one for the batch in use.
    const ring = ahead + 1;
    const slots: Slot[] = [];
    return readAhead(first, end, ahead, async (k) => {
      const slot = slots[k % ring] ?? this.#newSlot(true);
      slots[k % ring] = slot;
      const batch = await this.#gather(placeOf(k), slot);
      return reuse ? batch : copyOf(batch);
    });
  }

  async #gather(place: Place, slot: Slot): Promise<DatasetBatch> {
    if (this.#closed) throw closedError(this.#name);
    if (this.offThread) await this.#thread.gather(place, slot);
    else this.#gatherer.gather(place, slot);
    return this.#batchOf(place, slot);
  }

  #placeOf(step: number): Place {
    const epoch = Math.floor(step / this.batchesPerEpoch);
    return { epoch, index: step - epoch * this.batchesPerEpoch, plain: false };
  }

  #newSlot(shared: boolean): Slot {
    const { itemShape, labelSize, augment } = this.#plan;
    const { inputs, labels } = this.#store;
    const size = Math.min(this.size, this.items);
    const hasMoves = augment.on === "device" && augment.image !== undefined;
    const zeros = shared ? sharedArray : unsharedArray;
    return {
      moves: hasMoves ? zeros("int32", 3 * size) : undefined,
      inputs: zeros(inputs.dtype, size * elementCount(itemShape)),
      labels: isInt32Array(labels) ? zeros("int32", size * labelSize) : zeros("float32", size * labelSize),
    };
  }

  #batchOf({ epoch, index, plain }: Place, slot: Slot): DatasetBatch {
    const { inputs } = this.#store;
    const size = Math.min(this.size, this.items - index * this.size);
    const data = slot.inputs.subarray(0, size * elementCount(inputs.shape));
    const labels = slot.labels.subarray(0, size * this.#plan.labelSize);
    return {
      inputs: { data, shape: [size, ...inputs.shape], dtype: inputs.dtype },
      labels: isInt32Array(labels) ? labels : { data: labels, shape: [size, ...this.#targetShape] },
      moves: plain ? undefined : slot.moves?.subarray(0, 3 * size),
      size,
      epoch,
      index,
    };
  }
}

/** A batch of a dataset in memory. */
interface DatasetBatch extends Batch {
  readonly labels: ItemLabels;
}

/**
 * Copies a batch into ordinary memory. The garbage collector does not count shared memory, so a loop over batches in
 * shared memory could exhaust the machine's memory.
 */
function copyOf(batch: DatasetBatch): Batch {
  const { inputs, labels, moves } = batch;
  return {
    ...batch,
    inputs: { ...inputs, data: inputs.data.slice() },
    labels: "data" in labels ? { ...labels, data: labels.data.slice() } : labels.slice(),
    moves: moves?.slice(),
  };
}

function closedError(name: string): StepsizeError {
  return new StepsizeError("invalid-state", `the batches of ${name} were closed`);
}
