import { itemAt } from "../lookup.js";
import type { EnqueuedStep, StepMetrics } from "./step-record.js";

/** Number of steps, or of bursts of replayed steps, that may be enqueued before the result of the oldest one is awaited. */
export const stepsAhead = 2;

/** Longest time between two reads of replayed steps, in milliseconds. A delay this short is not noticeable. */
const maxDelay = 5;

/** A step that was enqueued operation by operation. Its metrics are read on their own. */
export interface EagerStep {
  readonly known: EnqueuedStep;
  /** Rejects if the step failed. */
  readonly metrics: Promise<StepMetrics>;
}

/** A step that was enqueued by a replay. Its metrics wait on the device until those of a burst are read at once. */
export interface ReplayedStep {
  readonly known: EnqueuedStep;
  readonly replays: ReplayMetrics;
}

/** The metrics of replayed steps on the device. */
export interface ReplayMetrics {
  /** Reads the metrics of the replays since the last call, in order. Rejects if one of them failed. */
  metrics(): Promise<readonly StepMetrics[]>;
}

/** A step that was enqueued. */
export type MadeStep = EagerStep | ReplayedStep;

/** A completed step. */
export interface MeasuredStep {
  readonly known: EnqueuedStep;
  readonly metrics: StepMetrics;
}

/** Options of {@link StepQueue}. */
interface QueueOptions {
  /** Largest number of replayed steps whose metrics are read at once. */
  readonly maxBurst: number;
  /** The time in milliseconds, of any clock. Default: `performance.now`. */
  readonly now?: () => number;
}

/**
 * The steps that were enqueued and whose results were not taken yet, in order.
 *
 * The metrics of an eager step are read at once. Replayed steps are collected, and the metrics of a burst are read
 * together. The results of at most {@link stepsAhead} reads are outstanding if the caller takes steps while the queue
 * is full.
 */
export class StepQueue {
  /** Replayed steps whose metrics are not being read yet. */
  #collected: ReplayedStep[] = [];
  /** One promise per read. It rejects if one of the steps failed. */
  readonly #reads: Promise<readonly MeasuredStep[]>[] = [];
  /** The remaining steps of the read that was awaited last. */
  #arrived: MeasuredStep[] = [];
  /** Number of reads in progress. */
  #unread = 0;
  /** When the last read ended. */
  #lastRead = Number.NEGATIVE_INFINITY;
  readonly #burst: BurstLength;
  readonly #now: () => number;

  constructor({ maxBurst, now = () => performance.now() }: QueueOptions) {
    this.#burst = new BurstLength(maxBurst);
    this.#now = now;
  }

  /** Whether a step must be taken before the next one is made. */
  get isFull(): boolean {
    return this.#arrived.length > 0 || this.#reads.length > stepsAhead;
  }

  /** Whether there is no step. */
  get isEmpty(): boolean {
    return this.#arrived.length + this.#reads.length + this.#collected.length === 0;
  }

  /**
   * The time since which the results of all steps have been read, so that the device has nothing to do; `undefined` while
   * it may be working.
   */
  get idleSince(): number | undefined {
    return this.#unread + this.#collected.length > 0 ? undefined : this.#lastRead;
  }

  /** Adds a step that was enqueued. Its failure does not count as unhandled. */
  push(step: MadeStep): void {
    if ("metrics" in step) {
      this.flush();
      this.#addRead(measured(step));
    } else {
      this.#collected.push(step);
      if (this.#collected.length >= this.#burst.steps) this.flush();
    }
  }

  /** Begins to read the metrics of the collected steps, although their burst is not complete. */
  flush(): void {
    const steps = this.#collected;
    const [first] = steps;
    if (first === undefined) return;
    this.#collected = [];
    this.#addRead(this.#measuredBurst(first.replays, steps));
  }

  /**
   * Awaits the oldest step and removes it.
   *
   * @returns the step; `undefined` if the queue is empty. Rejects with the error of a failed step. The other steps of
   * the same read are lost with it, because it is unknown which of them failed. The next call goes on behind them.
   */
  async next(): Promise<MeasuredStep | undefined> {
    if (this.#arrived.length === 0) {
      if (this.#reads.length === 0) this.flush();
      this.#arrived = [...((await this.#reads.shift()) ?? [])];
    }
    return this.#arrived.shift();
  }

  /** Removes all steps and waits until their reads are done. Their errors are ignored. */
  async clear(): Promise<void> {
    this.flush();
    this.#arrived = [];
    await Promise.allSettled(this.#reads.splice(0));
  }

  #addRead(read: Promise<readonly MeasuredStep[]>): void {
    this.#unread++;
    const ended = () => {
      this.#unread--;
      this.#lastRead = this.#now();
    };
    read.then(ended, ended);
    this.#reads.push(quiet(read));
  }

  async #measuredBurst(replays: ReplayMetrics, steps: readonly ReplayedStep[]): Promise<MeasuredStep[]> {
    const metrics = await replays.metrics();
    this.#burst.arrived(steps.length, this.#now());
    return steps.map(({ known }, i) => ({ known, metrics: itemAt(metrics, i) }));
  }
}

async function measured({ known, metrics }: EagerStep): Promise<MeasuredStep[]> {
  return [{ known, metrics: await metrics }];
}

/**
 * The number of replays whose metrics are read at once. A read costs the host about as much as a replay. So steps of
 * less than a millisecond share a read, and each slow step has its own.
 */
class BurstLength {
  /** Number of steps in the next burst. */
  steps = 1;
  readonly #max: number;
  #lastArrival: number | undefined;

  constructor(max: number) {
    this.#max = max;
  }

  /** Adapts the length when the metrics of a burst of `steps` arrive at the time `now`, in milliseconds. */
  arrived(steps: number, now: number): void {
    if (this.#lastArrival !== undefined) {
      const fitting = Math.floor((maxDelay * steps) / (now - this.#lastArrival));
      this.steps = Math.max(1, Math.min(fitting, this.steps * 2, this.#max));
    }
    this.#lastArrival = now;
  }
}

/** Returns a promise whose failure does not count as unhandled. It is awaited later. */
export function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
