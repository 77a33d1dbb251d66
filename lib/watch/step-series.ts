import { isObject } from "../realms.js";
import type { Curve, CurveField } from "./messages.js";

/** Largest number of buckets of a series. */
const capacity = 2048;
/** Largest number of fields of a record that are kept. */
const maxFields = 24;
/** Larger steps are no steps. */
const maxStep = 1e12;

/** The values of one field, per bucket. */
interface Buckets {
  readonly sum: Float64Array;
  readonly count: Uint32Array;
  readonly min: Float32Array;
  readonly max: Float32Array;
}

/** Reads a number of a record. JSON has no numbers that are not finite; see `jsonLine`. */
export function numberIn(value: unknown): number {
  if (typeof value === "number") return value;
  return value === "Infinity" || value === "-Infinity" ? Number(value) : Number.NaN;
}

/**
 * The records of a run in bounded memory: every numeric field as mean, minimum and maximum of equally wide buckets of
 * steps. If there are more steps than buckets, neighbors are merged and the width doubles.
 *
 * Widths are powers of two and buckets begin at step 0, so buckets of different runs with the same width have the same
 * steps.
 */
export class StepSeries {
  /** Steps per bucket. */
  width: number;
  /** Number of buckets, up to the last one with a record. */
  count = 0;
  /** The largest step. */
  lastStep = -1;
  /** Number of records. */
  records = 0;
  readonly #fields = new Map<string, Buckets>();
  /** Training time at the last record of each bucket, in seconds; NaN if it has none. */
  readonly #seconds = new Float64Array(capacity).fill(Number.NaN);
  /** Offset in the file of the first record of each bucket; NaN if it has none. */
  readonly #offsets = new Float64Array(capacity).fill(Number.NaN);

  readonly #isPart: boolean;

  /**
   * @param width steps per bucket, a power of two
   * @param isPart whether there were steps before step 0, as in a part of a run; default false
   */
  constructor(width = 1, { isPart = false }: { readonly isPart?: boolean } = {}) {
    this.width = width;
    this.#isPart = isPart;
  }

  /**
   * Adds a record. Anything without a valid step is ignored.
   * @param offset index of its first byte in the file
   */
  add(record: unknown, offset: number): void {
    if (!isObject(record)) return;
    const { step, seconds } = record;
    if (typeof step !== "number" || !Number.isSafeInteger(step) || step < 0 || step > maxStep) return;
    while (step >= this.width * capacity) this.#merge();
    const index = Math.floor(step / this.width);
    this.count = Math.max(this.count, index + 1);
    this.lastStep = Math.max(this.lastStep, step);
    this.records++;
    if (Number.isNaN(this.#offsets[index])) this.#offsets[index] = offset;
    if (typeof seconds === "number") this.#seconds[index] = seconds;
    for (const name in record) {
      if (name === "step" || name === "seconds") continue;
      const value = record[name];
      if (typeof value === "boolean" || (typeof value === "string" && !/^(NaN|-?Infinity)$/.test(value))) continue;
      if (value !== null && typeof value === "object") continue;
      const buckets = this.#bucketsOf(name);
      if (buckets) addTo(buckets, index, numberIn(value));
    }
  }

  /** Number of buckets of a width, which is a multiple of {@link width}. */
  countAt(width: number): number {
    return this.count === 0 ? 0 : Math.floor(this.lastStep / width) + 1;
  }

  /** Offset in the file of the first record at or after a step; `undefined` if there is none. */
  offsetAt(step: number): number | undefined {
    for (let index = Math.max(0, Math.floor(step / this.width)); index < this.count; index++) {
      const offset = this.#offsets[index];
      if (offset !== undefined && !Number.isNaN(offset)) return offset;
    }
    return undefined;
  }

  /** The last step whose training time is at most this many seconds; -1 if there is none. */
  stepAtSeconds(seconds: number): number {
    let found = -1;
    for (let index = 0; index < this.count; index++) if ((this.#seconds[index] ?? Number.NaN) <= seconds) found = index;
    return found < 0 ? -1 : Math.min(this.lastStep, (found + 1) * this.width - 1);
  }

  /**
   * Returns the curves of the buckets `from` to `to`, merged to a larger width.
   *
   * @param width a power-of-two multiple of {@link width}
   * @param from index of the first bucket of that width
   * @param to index after the last; default all
   */
  curve(width: number, from = 0, to = this.countAt(width)): Curve {
    const factor = width / this.width;
    const end = Math.min(to, this.countAt(width));
    const fields: Record<string, CurveField> = {};
    for (const [name, { sum, count, min, max }] of this.#fields) {
      if (name === "items" || name === "dataWait") continue;
      const field = { mean: [] as (number | null)[], min: [] as (number | null)[], max: [] as (number | null)[] };
      for (let bucket = from; bucket < end; bucket++) {
        let [total, number, low, high] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
        for (let index = bucket * factor; index < Math.min(this.count, (bucket + 1) * factor); index++) {
          total += sum[index] ?? 0;
          number += count[index] ?? 0;
          low = Math.min(low, min[index] ?? Number.POSITIVE_INFINITY);
          high = Math.max(high, max[index] ?? Number.NEGATIVE_INFINITY);
        }
        field.mean.push(number > 0 ? rounded(total / number) : null);
        field.min.push(number > 0 ? rounded(low) : null);
        field.max.push(number > 0 ? rounded(high) : null);
      }
      fields[name] = field;
    }
    const items = this.#fields.get("items");
    const waited = this.#fields.get("dataWait");
    if (items)
      fields["itemsPerSecond"] = { mean: this.#rates(width, from, end, (first, last) => sumOf(items, first, last)) };
    // The time of waiting is counted from the beginning of the run.
    if (waited)
      fields["dataWaitShare"] = {
        mean: this.#rates(width, from, end, (first, last) => largestIn(waited, 0, last) - largestIn(waited, 0, first)),
      };
    return { width, from, lastStep: this.lastStep, seconds: this.#secondsOf(width, from, end), fields };
  }

  #secondsOf(width: number, from: number, to: number): (number | null)[] {
    return Array.from({ length: to - from }, (_, i) => {
      const seconds = this.#secondsBefore((from + i + 1) * width);
      return seconds === undefined ? null : rounded(seconds);
    });
  }

  /** Training time at the last record before a step; `undefined` if there is none in the bucket before it. */
  #secondsBefore(step: number): number | undefined {
    const index = Math.min(this.count, Math.ceil(step / this.width)) - 1;
    for (let at = index; at >= 0 && at > index - 8; at--) {
      const seconds = this.#seconds[at];
      if (seconds !== undefined && !Number.isNaN(seconds)) return seconds;
    }
    return undefined;
  }

  /**
   * A quantity per second of training. The device runs ahead of the host, so several records come at once. The rate is
   * therefore that of a hundredth of the run before each bucket, and at least of 8 records.
   *
   * @param amount the quantity in the buckets from the first to the last, which is excluded
   */
  #rates(width: number, from: number, to: number, amount: (first: number, last: number) => number): (number | null)[] {
    const factor = width / this.width;
    const window = Math.max(factor, Math.ceil(this.count / 100), Math.ceil(8 / this.width));
    return Array.from({ length: to - from }, (_, i) => {
      const end = Math.min(this.count, (from + i + 1) * factor);
      const start = Math.max(0, end - window);
      const after = this.#secondsBefore(end * this.width);
      const before = start > 0 ? this.#secondsBefore(start * this.width) : this.#isPart ? undefined : 0;
      if (after === undefined || before === undefined || after <= before) return null;
      return rounded(amount(start, end) / (after - before));
    });
  }

  #bucketsOf(name: string): Buckets | undefined {
    const known = this.#fields.get(name);
    if (known || this.#fields.size >= maxFields) return known;
    const buckets = {
      sum: new Float64Array(capacity),
      count: new Uint32Array(capacity),
      min: new Float32Array(capacity).fill(Number.POSITIVE_INFINITY),
      max: new Float32Array(capacity).fill(Number.NEGATIVE_INFINITY),
    };
    this.#fields.set(name, buckets);
    return buckets;
  }

  /** Merges neighboring buckets. */
  #merge(): void {
    const half = capacity / 2;
    for (const { sum, count, min, max } of this.#fields.values()) {
      for (let i = 0; i < half; i++) {
        sum[i] = (sum[2 * i] ?? 0) + (sum[2 * i + 1] ?? 0);
        count[i] = (count[2 * i] ?? 0) + (count[2 * i + 1] ?? 0);
        min[i] = Math.min(min[2 * i] ?? Number.NaN, min[2 * i + 1] ?? Number.NaN);
        max[i] = Math.max(max[2 * i] ?? Number.NaN, max[2 * i + 1] ?? Number.NaN);
      }
      sum.fill(0, half);
      count.fill(0, half);
      min.fill(Number.POSITIVE_INFINITY, half);
      max.fill(Number.NEGATIVE_INFINITY, half);
    }
    for (let i = 0; i < half; i++) {
      const [first = Number.NaN, second = Number.NaN] = this.#offsets.subarray(2 * i, 2 * i + 2);
      this.#offsets[i] = Number.isNaN(first) ? second : first;
      const [early = Number.NaN, late = Number.NaN] = this.#seconds.subarray(2 * i, 2 * i + 2);
      this.#seconds[i] = Number.isNaN(late) ? early : late;
    }
    this.#offsets.fill(Number.NaN, half);
    this.#seconds.fill(Number.NaN, half);
    this.width *= 2;
    this.count = Math.ceil(this.count / 2);
  }
}

function addTo({ sum, count, min, max }: Buckets, index: number, value: number): void {
  if (!Number.isFinite(value)) return;
  sum[index] = (sum[index] ?? 0) + value;
  count[index] = (count[index] ?? 0) + 1;
  min[index] = Math.min(min[index] ?? value, value);
  max[index] = Math.max(max[index] ?? value, value);
}

function sumOf({ sum }: Buckets, first: number, last: number): number {
  let total = 0;
  for (let index = first; index < last; index++) total += sum[index] ?? 0;
  return total;
}

/** The value of a field that only grows, at the end of some buckets; 0 if it has none. */
function largestIn({ max }: Buckets, first: number, last: number): number {
  for (let index = last - 1; index >= first; index--) {
    const value = max[index] ?? Number.NEGATIVE_INFINITY;
    if (value > Number.NEGATIVE_INFINITY) return value;
  }
  return 0;
}

/** Rounds to six digits, which is enough for a figure. */
function rounded(value: number): number {
  return Number(value.toPrecision(6));
}
