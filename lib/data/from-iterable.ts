import { invalidArgument, StepsizeError } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { isFloat32Array, isInt32Array } from "../realms.js";
import { elementCount, sameShape } from "../shapes.js";
import { type Batch, type BatchSource, checkReuse, checkStep, type IterationOptions } from "./batch.js";
import { checkClasses, checkFinite, checkShape, type InputArray, type InputType, typeOf } from "./items.js";

/** A batch from a user's iterable. Shapes are those of the whole batch, items first. */
export interface GivenBatch {
  /** The inputs: the values, item after item, and their shape. */
  readonly inputs: { readonly data: InputArray; readonly shape: readonly number[] };
  /** A class index per item, or an object with data and shape: several class indices per item, or float targets. */
  readonly labels: Int32Array | { readonly data: Float32Array | Int32Array; readonly shape: readonly number[] };
}

/** An iterable or async iterable of batches. */
export type GivenBatches = Iterable<GivenBatch> | AsyncIterable<GivenBatch>;

/** Options of {@link fromIterable}. */
export interface FromIterableOptions {
  /** Number of items of every batch; default: the batches may differ in size. */
  readonly size?: number | undefined;
  /** Number of batches that count as an epoch; default `Infinity`: a single epoch. */
  readonly batchesPerEpoch?: number | undefined;
  /** Name of the data in messages and results. Default `"iterable"`. */
  readonly name?: string | undefined;
}

const names = optionNames<FromIterableOptions>({ size: true, batchesPerEpoch: true, name: true });

/**
 * Creates a source of batches from an iterable, or from a function that returns one. Every `from`, every `once` and
 * every step backward iterates from the start. A generator object can be iterated only once, so it supports only one of
 * them. A function supports any number.
 *
 * Batches are checked and passed on without a copy, and none is read ahead. The iterable owns the memory of a batch. If
 * it fills the same array again, earlier batches change.
 *
 * `from(k)` and `at(k)` reach step k by reading and dropping the batches before it. An iterable is not started again at
 * its end, so for several epochs it must continue by itself.
 *
 * @throws StepsizeError `invalid-argument` for a wrong option, and, when it is read, for a wrong batch; `invalid-state`
 * if the iterable ends before a requested step, or if a generator object is iterated again
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * async function* numbers() {
 *   for (let step = 0; ; step++)
 *     yield { inputs: { data: Float32Array.of(step, step + 1), shape: [2, 1] }, labels: Int32Array.of(0, 1) };
 * }
 * const batches = data.fromIterable(numbers, { size: 2 });
 * const { inputs } = await batches.at(5); // 5, 6
 * ```
 */
export function fromIterable(
  source: GivenBatches | (() => GivenBatches),
  options: FromIterableOptions = {},
): BatchSource {
  return new IterableBatches(source, options);
}

type Walk = { readonly iterator: Iterator<GivenBatch> | AsyncIterator<GivenBatch>; next: number };

class IterableBatches implements BatchSource {
  readonly batchesPerEpoch: number;
  readonly #source: GivenBatches | (() => GivenBatches);
  readonly #name: string;
  readonly #givenSize: number | undefined;
  #first: { shape: readonly number[]; dtype: InputType; labels: string; size: number } | undefined;
  #started = false;
  #closed = false;
  #cursor: Walk | undefined;
  /** The last call of `at`. Calls run one after the other, because they share one iterator. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(source: GivenBatches | (() => GivenBatches), options: FromIterableOptions) {
    if (typeof source !== "function" && !isIterable(source)) {
      invalidArgument("fromIterable.source", "an iterable, an async iterable or a function that returns one", source);
    }
    expectOptions("fromIterable", names, options);
    const { size, batchesPerEpoch = Number.POSITIVE_INFINITY, name = "iterable" } = options;
    if (size !== undefined) checkCount("size", size);
    if (batchesPerEpoch !== Number.POSITIVE_INFINITY) checkCount("batchesPerEpoch", batchesPerEpoch);
    this.#source = source;
    this.#givenSize = size;
    this.batchesPerEpoch = batchesPerEpoch;
    this.#name = name;
  }

  /** The given size, or that of the first batch; 0 until the first batch is read. */
  get size(): number {
    return this.#givenSize ?? this.#first?.size ?? 0;
  }

  get items(): number {
    return this.#givenSize === undefined ? Number.POSITIVE_INFINITY : this.#givenSize * this.batchesPerEpoch;
  }

  async at(step: number): Promise<Batch> {
    checkStep(step);
    const batch = this.#turn.then(() => this.#seek(step));
    this.#turn = batch.catch(() => {});
    return batch;
  }

  from(step: number, options?: IterationOptions): AsyncIterableIterator<Batch> {
    checkReuse("from", options);
    return this.#walk(checkStep(step), true);
  }

  once(options?: IterationOptions): AsyncIterableIterator<Batch> {
    checkReuse("once", options);
    return this.#walk(0, false);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const cursor = this.#cursor;
    this.#cursor = undefined;
    await cursor?.iterator.return?.();
  }

  toJSON(): object {
    const { batchesPerEpoch } = this;
    // JSON cannot represent infinity.
    const known = Number.isFinite(batchesPerEpoch) ? batchesPerEpoch : null;
    return { dataset: this.#name, size: this.#givenSize ?? null, batchesPerEpoch: known };
  }

  async *#walk(first: number, endless: boolean): AsyncGenerator<Batch, undefined> {
    const walk = this.#start();
    let ended = false;
    try {
      for (;;) {
        const step = walk.next;
        const batch = await this.#read(walk);
        ended = batch === undefined;
        if (batch !== undefined && step >= first) yield batch;
        if (batch === undefined && endless) this.#endedEarly(step, Math.max(step, first));
        if (batch === undefined) return;
      }
    } finally {
      if (!ended) await walk.iterator.return?.();
    }
  }

  async #seek(step: number): Promise<Batch> {
    if (this.#cursor === undefined || step < this.#cursor.next) {
      await this.#cursor?.iterator.return?.();
      this.#cursor = this.#start();
    }
    const walk = this.#cursor;
    for (;;) {
      const at = walk.next;
      const batch = await this.#read(walk);
      if (batch === undefined) {
        this.#cursor = undefined;
        this.#endedEarly(at, step);
      }
      if (at === step) return batch;
    }
  }

  #start(): Walk {
    this.#checkOpen();
    const source = typeof this.#source === "function" ? this.#source() : this.#source;
    if (!isIterable(source)) invalidArgument("fromIterable.source", "a function that returns an iterable", source);
    const iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    // A generator object is its own iterator, so it cannot start again.
    if (this.#started && Object.is(iterator, this.#source)) {
      const advice = "give fromIterable a function that returns a new one";
      throw new StepsizeError("invalid-state", `${this.#name}: this iterable can be iterated only once; ${advice}`);
    }
    this.#started = true;
    return { iterator, next: 0 };
  }

  async #read(walk: Walk): Promise<Batch | undefined> {
    this.#checkOpen();
    const result = await walk.iterator.next();
    if (result.done === true) return undefined;
    const step = walk.next++;
    return this.#check(result.value, step);
  }

  #check(given: GivenBatch, step: number): Batch {
    const path = `batch ${step} of ${this.#name}`;
    const { data, shape, dtype, size } = checkInputs(`${path}: inputs`, given?.inputs);
    const labels = checkLabels(`${path}: labels`, given.labels, size);
    const itemShape = shape.slice(1);
    const kind = kindOf(labels);
    this.#first ??= { shape: itemShape, dtype, labels: kind, size };
    const first = this.#first;
    if (dtype !== first.dtype) invalidArgument(`${path}: inputs`, `${first.dtype}, as in the first batch`, dtype);
    if (!sameShape(itemShape, first.shape)) {
      invalidArgument(`${path}: inputs.shape`, `items of shape [${first.shape}], as in the first batch`, itemShape);
    }
    if (kind !== first.labels) invalidArgument(`${path}: labels`, `${first.labels}, as in the first batch`, kind);
    if (this.#givenSize !== undefined && size !== this.#givenSize) {
      invalidArgument(`${path}: inputs.shape`, `${this.#givenSize} items, the size that was given`, size);
    }
    const epoch = Math.floor(step / this.batchesPerEpoch);
    const index = epoch === 0 ? step : step - epoch * this.batchesPerEpoch;
    return { inputs: { data, shape, dtype }, labels, size, epoch, index };
  }

  #checkOpen(): void {
    if (this.#closed) throw new StepsizeError("invalid-state", `the batches of ${this.#name} were closed`);
  }

  #endedEarly(batches: number, step: number): never {
    const message = `${this.#name}: the iterable ended after ${batches} batches, but step ${step} was requested`;
    throw new StepsizeError("invalid-state", message);
  }
}

function checkInputs(name: string, inputs: GivenBatch["inputs"] | undefined): Batch["inputs"] & Pick<Batch, "size"> {
  const dtype = typeOf(inputs?.data);
  if (inputs === undefined || dtype === undefined) {
    invalidArgument(name, "{ data: Uint8Array, Float32Array or Int32Array, shape }", inputs?.data ?? inputs);
  }
  const shape = checkShape(`${name}.shape`, inputs.shape);
  const [size] = shape;
  if (size === undefined) invalidArgument(`${name}.shape`, "items first, then the shape of one", shape);
  checkLength(`${name}.data`, inputs.data.length, shape);
  if (isFloat32Array(inputs.data)) checkFinite(`${name}.data`, inputs.data);
  return { data: inputs.data, shape, dtype, size };
}

function checkLabels(name: string, labels: GivenBatch["labels"], size: number): Batch["labels"] {
  if (isInt32Array(labels)) {
    if (labels.length !== size) invalidArgument(name, `one for each of ${size} items`, `${labels.length} labels`);
    checkClasses(name, labels, undefined);
    return labels;
  }
  const data = labels?.data;
  if (!(isFloat32Array(data) || isInt32Array(data))) {
    invalidArgument(name, "an Int32Array or { data: Float32Array or Int32Array, shape }", labels);
  }
  const shape = checkShape(`${name}.shape`, labels.shape);
  if (shape[0] !== size) invalidArgument(`${name}.shape`, `${size} items first`, labels.shape);
  checkLength(`${name}.data`, data.length, shape);
  if (isInt32Array(data)) {
    checkClasses(`${name}.data`, data, undefined);
    return { data, shape };
  }
  checkFinite(`${name}.data`, data);
  return { data, shape };
}

function kindOf(labels: Batch["labels"]): string {
  if (isInt32Array(labels)) return "an Int32Array";
  const what = isInt32Array(labels.data) ? "class indices" : "targets";
  return `${what} of shape [${labels.shape.slice(1)}]`;
}

function checkLength(name: string, length: number, shape: readonly number[]): void {
  if (length !== elementCount(shape))
    invalidArgument(name, `${elementCount(shape)} numbers for shape [${shape}]`, length);
}

function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    invalidArgument(`fromIterable.${name}`, "an integer of at least 1", value);
  }
}

function isIterable(value: unknown): value is GivenBatches {
  return typeof value === "object" && value !== null && (Symbol.asyncIterator in value || Symbol.iterator in value);
}
