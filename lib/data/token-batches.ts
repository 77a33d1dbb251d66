import { invalidArgument, StepsizeError } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { checkSeed, PhiloxStream, Purpose } from "../random.js";
import { type Batch, type BatchSource, checkReuse, checkStep, type IterationOptions } from "./batch.js";
import { readAhead } from "./read-ahead.js";
import { TokenFile, type TokenStore } from "./token-file.js";

/** Options of {@link TokenDataset.batches}. */
export interface TokenBatchOptions {
  /** Number of windows per batch, an integer of at least 1. */
  readonly size: number;
  /** Seed of the positions of windows, a safe integer of at least 0. Default 0. */
  readonly seed?: number | undefined;
  /** Number of batches to read ahead, from 0 to 64. The batches are the same. Default 2. */
  readonly prefetch?: number | undefined;
  /** Largest number of windows of `once`, evenly spread over the text, an integer of at least 1. Default all. */
  readonly maxItems?: number | undefined;
}

/** Largest number of ids in a batch, 1 GiB as int32. */
const maxIds = 2 ** 28;

const names = optionNames<TokenBatchOptions>({ size: true, seed: true, prefetch: true, maxItems: true });

/** A text of tokens that batches are read from. */
export interface TokenText {
  readonly store: TokenStore;
  /** Number of ids per window. */
  readonly context: number;
  readonly name: string;
  /** Identifies the contents of the text. */
  readonly digest: string;
}

/**
 * Batches of windows of a text of tokens. Inputs are int32 `[size, context]`. Labels have the same shape and are the ids
 * that follow, so a window reads `context + 1` ids.
 *
 * `at` and `from` return windows at uniformly random positions. The position of window k, which is item `k % size` of step
 * `⌊k / size⌋`, depends only on the seed and k. Two batches of 8 therefore have the same windows as one batch of 16. An
 * epoch has as many windows as fit into the text without overlap, but random windows overlap and miss some of it.
 *
 * `once` returns the windows without overlap, in order, or `most` of them. Ids after the last whole window are left out.
 */
export class TokenBatches implements BatchSource {
  readonly batchesPerEpoch: number;
  readonly items: number;
  readonly size: number;
  readonly #text: TokenText;
  readonly #file: TokenFile;
  readonly #seed: number;
  readonly #prefetch: number;
  /** Number of windows that fit into the text without overlap. */
  readonly #windows: number;
  #closed = false;

  /** @internal */
  constructor(text: TokenText, options: TokenBatchOptions) {
    expectOptions("batches", names, options);
    const { size, seed = 0, prefetch = 2, maxItems } = options;
    if (maxItems !== undefined && (!Number.isSafeInteger(maxItems) || maxItems < 1))
      invalidArgument("batches.maxItems", "an integer of at least 1", maxItems);
    if (!Number.isSafeInteger(size) || size < 1) invalidArgument("batches.size", "an integer of at least 1", size);
    if (!Number.isSafeInteger(prefetch) || prefetch < 0 || prefetch > 64) {
      invalidArgument("batches.prefetch", "an integer from 0 to 64", prefetch);
    }
    if (size * text.context > maxIds)
      invalidArgument(
        "batches.size",
        `at most ${Math.floor(maxIds / text.context)} windows of ${text.context} ids`,
        size,
      );
    this.#text = text;
    this.#file = new TokenFile(text.store);
    this.#seed = checkSeed(seed, "batches.seed");
    this.#prefetch = prefetch;
    this.size = size;
    this.#windows = Math.floor((text.store.tokens - 1) / text.context);
    this.items = Math.min(maxItems ?? this.#windows, this.#windows);
    this.batchesPerEpoch = Math.max(1, Math.floor(this.#windows / size));
  }

  /**
   * Returns the batch of one step, in memory of its own.
   *
   * @throws StepsizeError `invalid-argument` if the step is not an integer of at least 0; `invalid-state` after
   * `close`; `not-found` or `invalid-file` if the file is missing, was changed, or has an id beyond the vocabulary
   */
  async at(step: number): Promise<Batch> {
    return this.#random(checkStep(step));
  }

  /**
   * Iterates over the batches from one step on, without end.
   *
   * @throws StepsizeError `invalid-argument` if the step is not an integer of at least 0; see {@link at} for errors of
   * reading
   */
  from(step: number, options?: IterationOptions): AsyncIterableIterator<Batch> {
    // `reuse` is only checked, because every batch is read into memory of its own.
    checkReuse("from", options);
    return readAhead(checkStep(step), Number.POSITIVE_INFINITY, this.#prefetch, (k) => this.#random(k));
  }

  once(options?: IterationOptions): AsyncIterableIterator<Batch> {
    checkReuse("once", options);
    return readAhead(0, Math.ceil(this.items / this.size), this.#prefetch, (k) => this.#inOrder(k));
  }

  /** Closes the file. Pending and later requests are rejected. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#file.close();
  }

  toJSON(): object {
    const { name, digest, context, store } = this.#text;
    // `prefetch` is left out, because it does not affect the batches.
    return { dataset: name, tokens: store.tokens, digest, context, size: this.size, seed: this.#seed };
  }

  #random(step: number): Promise<Batch> {
    const { store, context } = this.#text;
    const places = store.tokens - context;
    const starts = Array.from({ length: this.size }, (_, item) =>
      // Each window has its own stream, so that its position does not depend on other windows.
      new PhiloxStream(this.#seed, step * this.size + item, Purpose.window).integer(places),
    );
    const epoch = Math.floor(step / this.batchesPerEpoch);
    return this.#read(starts, epoch, step - epoch * this.batchesPerEpoch);
  }

  #inOrder(index: number): Promise<Batch> {
    const first = index * this.size;
    const size = Math.min(this.size, this.items - first);
    const starts = Array.from({ length: size }, (_, item) => {
      const window = Math.floor(((first + item) * this.#windows) / this.items);
      return window * this.#text.context;
    });
    return this.#read(starts, 0, index);
  }

  async #read(starts: readonly number[], epoch: number, index: number): Promise<Batch> {
    this.#checkOpen();
    const { context } = this.#text;
    const size = starts.length;
    const inputs = new Int32Array(size * context);
    const labels = new Int32Array(size * context);
    await Promise.all(
      starts.map(async (start, item) => {
        const ids = await this.#file.read(start, context + 1);
        inputs.set(ids.subarray(0, context), item * context);
        labels.set(ids.subarray(1), item * context);
      }),
    );
    this.#checkOpen();
    const shape = [size, context];
    return { inputs: { data: inputs, shape, dtype: "int32" }, labels: { data: labels, shape }, size, epoch, index };
  }

  #checkOpen(): void {
    if (this.#closed) throw new StepsizeError("invalid-state", `the batches of ${this.#text.name} were closed`);
  }
}
