import { invalidArgument, StepsizeError } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { checkSeed, PhiloxStream, Purpose } from "../random.js";
import { type Batch, type BatchSource, checkReuse, checkStep, type IterationOptions } from "./batch.js";
import { readAhead } from "./read-ahead.js";
import { TokenFile, type TokenStore } from "./token-file.js";

/** How a text of tokens is cut into batches. */
export interface TokenBatchOptions {
  /** Windows per batch: an integer of at least 1. */
  readonly size: number;
  /** Of the places of the windows: a safe integer of at least 0. Default 0. */
  readonly seed?: number;
  /** How many batches are read ahead while one is in use; the batches are the same. Default 2. */
  readonly prefetch?: number;
  /** At most so many windows for `once`, evenly spread over the text: an integer of at least 1. Default all. */
  readonly most?: number;
}

/** Of a batch: a gigabyte of them. */
const mostIds = 2 ** 28;

const names = optionNames<TokenBatchOptions>({ size: true, seed: true, prefetch: true, most: true });

/** What the batches are cut from. */
export interface TokenText {
  readonly store: TokenStore;
  /** Ids a window. */
  readonly context: number;
  readonly name: string;
  /** Tells this text from others. */
  readonly digest: string;
}

/**
 * Windows of a text of tokens. Inputs are int32 `[size, context]`; labels, of the same shape, are the ids that follow:
 * a window reads `context + 1` of them.
 *
 * `at` and `from` give windows from random places, each place equally likely. Window k of a seed, which is item
 * `k % size` of step `⌊k / size⌋`, lies where number k of the seed says, whatever the size of the batches: two batches
 * of 8 have the windows of one of 16. An epoch is as many batches as the text has windows side by side, though they
 * overlap and miss some. `once` gives these windows side by side, in order, or `most` of them; ids after the last whole
 * one are left out.
 */
export class TokenBatches implements BatchSource {
  readonly batchesPerEpoch: number;
  readonly items: number;
  readonly size: number;
  readonly #text: TokenText;
  readonly #file: TokenFile;
  readonly #seed: number;
  readonly #prefetch: number;
  /** Windows that the text has side by side. */
  readonly #windows: number;
  #closed = false;

  /** @internal */
  constructor(text: TokenText, options: TokenBatchOptions) {
    expectOptions("batches", names, options);
    const { size, seed = 0, prefetch = 2, most } = options;
    if (most !== undefined && (!Number.isSafeInteger(most) || most < 1))
      invalidArgument("batches.most", "an integer of at least 1", most);
    if (!Number.isSafeInteger(size) || size < 1) invalidArgument("batches.size", "an integer of at least 1", size);
    if (!Number.isSafeInteger(prefetch) || prefetch < 0 || prefetch > 64) {
      invalidArgument("batches.prefetch", "an integer from 0 to 64", prefetch);
    }
    if (size * text.context > mostIds)
      invalidArgument(
        "batches.size",
        `at most ${Math.floor(mostIds / text.context)} windows of ${text.context} ids`,
        size,
      );
    this.#text = text;
    this.#file = new TokenFile(text.store);
    this.#seed = checkSeed(seed, "batches.seed");
    this.#prefetch = prefetch;
    this.size = size;
    this.#windows = Math.floor((text.store.tokens - 1) / text.context);
    this.items = Math.min(most ?? this.#windows, this.#windows);
    this.batchesPerEpoch = Math.max(1, Math.floor(this.#windows / size));
  }

  /** @throws `invalid-argument` for a step that is not an integer of at least 0; `invalid-state` once closed */
  async at(step: number): Promise<Batch> {
    return this.#random(checkStep(step));
  }

  /** @throws `invalid-argument` for a step that is not an integer of at least 0; `invalid-state` once closed */
  from(step: number, options?: IterationOptions): AsyncIterableIterator<Batch> {
    // Every batch is read into memory of its own.
    checkReuse("from", options);
    return readAhead(checkStep(step), Number.POSITIVE_INFINITY, this.#prefetch, (k) => this.#random(k));
  }

  once(options?: IterationOptions): AsyncIterableIterator<Batch> {
    checkReuse("once", options);
    return readAhead(0, Math.ceil(this.items / this.size), this.#prefetch, (k) => this.#inOrder(k));
  }

  /** Gives the file back. Everything asked for later, or still under way, is rejected. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#file.close();
  }

  toJSON(): object {
    const { name, digest, context, store } = this.#text;
    // Without prefetch: it changes no batch.
    return { dataset: name, tokens: store.tokens, digest, context, size: this.size, seed: this.#seed };
  }

  #random(step: number): Promise<Batch> {
    const { store, context } = this.#text;
    const places = store.tokens - context;
    const starts = Array.from({ length: this.size }, (_, item) =>
      // A stream for each window, so that it depends on no other.
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
