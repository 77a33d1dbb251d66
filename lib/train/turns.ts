/** Runs asynchronous work on one model in turn: steps of a run, evaluations and loads of a checkpoint. */
export class Turns {
  #current: Promise<void> | undefined;

  /** Runs `work` when no other work is running, at once if possible. */
  async take<T>(work: () => T | Promise<T>): Promise<T> {
    while (this.#current) await this.#current;
    let end: () => void = () => {};
    this.#current = new Promise((resolve) => {
      end = resolve;
    });
    try {
      return await work();
    } finally {
      this.#current = undefined;
      end();
    }
  }
}
