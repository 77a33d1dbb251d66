/** Lets asynchronous work on one model take turns: the steps of a run, evaluations and the loading of a checkpoint. */
export class Turns {
  #current: Promise<void> | undefined;

  /** Does the work at once if nothing else is under way, and otherwise after it. */
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
