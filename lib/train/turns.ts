/**
 * Orders the asynchronous work on one model and its optimizer.
 *
 * Steps of a run, evaluations and loads take turns. Checkpoints are read at any time, but not while the state changes.
 */
export class Turns {
  #current: Promise<void> | undefined;
  #change: Promise<void> | undefined;
  readonly #reads = new Set<Promise<void>>();

  /** Runs `work` when no other turn is taken, at once if possible. */
  async take<T>(work: () => T | Promise<T>): Promise<T> {
    while (this.#current) await this.#current;
    const { promise, end } = pending();
    this.#current = promise;
    try {
      return await work();
    } finally {
      this.#current = undefined;
      end();
    }
  }

  /** Runs work during which the state is in between two steps. Reads that are requested meanwhile wait for it. */
  async change(work: () => Promise<void>): Promise<void> {
    const { promise, end } = pending();
    this.#change = promise;
    try {
      await work();
    } finally {
      this.#change = undefined;
      end();
    }
  }

  /** Runs work that reads the state, after a change in progress. Whoever changes the state waits for it. */
  async read(work: () => Promise<void>): Promise<void> {
    while (this.#change) await this.#change;
    const reading = work();
    this.#reads.add(reading);
    try {
      await reading;
    } finally {
      this.#reads.delete(reading);
    }
  }

  /** Whether the state is being read. */
  get isBeingRead(): boolean {
    return this.#reads.size > 0;
  }

  /** Waits for the reads in progress. Others may have begun in the meantime. */
  async readsInProgress(): Promise<void> {
    await Promise.allSettled(this.#reads);
  }
}

/** Returns a promise with the function that fulfills it. */
function pending(): { readonly promise: Promise<void>; readonly end: () => void } {
  let end: () => void = () => {};
  const promise = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { promise, end };
}
