import type { StepQueue } from "./step-queue.js";

/** The part of a {@link StepQueue} that shows whether the device works. */
type Queue = Pick<StepQueue, "flush" | "idleSince">;

/**
 * Measures for how long the device has nothing to do because the data of the next step are not there. The time in which
 * it still works on earlier steps does not count.
 */
export class DataWait {
  /** The time so far. */
  seconds = 0;
  readonly #queue: Queue;
  readonly #now: () => number;

  /** @param now the time in milliseconds, of the same clock as the queue's. Default: `performance.now`. */
  constructor(queue: Queue, now: () => number = () => performance.now()) {
    this.#queue = queue;
    this.#now = now;
  }

  /** Calls a function that draws data, and adds the time for which the device waits for it. */
  async during<T>(draw: () => Promise<T>): Promise<T> {
    const start = this.#now();
    // If the data are not there at once, the results of all steps are read meanwhile. Only they tell when the device is
    // done, and the host has nothing else to do.
    const flush = setImmediate(() => this.#queue.flush());
    try {
      return await draw();
    } finally {
      clearImmediate(flush);
      const { idleSince } = this.#queue;
      if (idleSince !== undefined) this.seconds += (this.#now() - Math.max(start, idleSince)) / 1000;
    }
  }
}
