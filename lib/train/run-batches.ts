import type { Batch, BatchSource } from "../data/index.js";
import { StepsizeError } from "../errors.js";

/** Where the batches of a run begin. */
interface Start {
  /** Index of the step. */
  readonly step: number;
  /** Number of batches per step. */
  readonly accumulate: number;
  /** Number of steps of the whole training. */
  readonly budget: number;
  /** Number of checkpoints that were loaded before. */
  readonly loads: number;
}

/** The batches of a run, from the step at which it continues. */
export class RunBatches {
  /** Number of checkpoints that were loaded before. The batches are obsolete after another load. */
  readonly loads: number;
  readonly #batches: AsyncIterator<Batch>;
  readonly #budget: number;

  constructor(data: BatchSource, { step, accumulate, budget, loads }: Start) {
    this.#batches = data.from(step * accumulate, { reuse: true });
    this.#budget = budget;
    this.loads = loads;
  }

  /**
   * Returns the next batch. Its memory may be reused for the one after it.
   *
   * @param step index of the step that needs it, for errors
   * @throws StepsizeError `invalid-state` if the data end. Errors of the data are passed on, with the step added.
   */
  async next(step: number): Promise<Batch> {
    const { value, done } = await this.#batches.next().catch((error: unknown) => {
      if (!(error instanceof StepsizeError)) throw error;
      const where = `the data of step ${step} of ${this.#budget}`;
      throw new StepsizeError(error.code, `${where}: ${error.message}`, { cause: error });
    });
    if (done)
      throw new StepsizeError(
        "invalid-state",
        `the data ended at step ${step} of ${this.#budget}; give an iterable that goes on, or a smaller budget`,
      );
    return value;
  }

  /** Ends the iteration of the data. */
  async close(): Promise<void> {
    await this.#batches.return?.();
  }
}
