import { StepsizeError } from "../errors.js";

/** Whether a trainer's run is at work, or suspended at a record while the loop body runs. It allows calls or not. */
export class RunState {
  /** `undefined` if there is no run. */
  #current: { readonly at: "work" } | ({ readonly at: "record" } & RecordPlace) | undefined;

  /**
   * Throws if there is a run already.
   *
   * @throws StepsizeError `invalid-state`
   */
  expectNoRun(): void {
    const current = this.#current;
    if (!current) return;
    const where = current.at === "record" ? `it is at the record of step ${current.step}` : "it is making a step";
    throw new StepsizeError(
      "invalid-state",
      `run: another run of this trainer has not ended (${where}); leave its loop first, or call return() of its iterator`,
    );
  }

  /** The run begins, or continues after a record. */
  work(): void {
    this.#current = { at: "work" };
  }

  /** The run is suspended at a record. */
  suspend(place: RecordPlace): void {
    this.#current = { at: "record", ...place };
  }

  /** The run has ended. */
  end(): void {
    this.#current = undefined;
  }

  /**
   * Throws in a loop body whose record is behind the weights.
   *
   * @param call name of the method that needs the weights of the record
   * @param option the option of `run` to use instead
   * @param made number of steps that were made
   * @throws StepsizeError `invalid-state`
   */
  expectExact(call: string, option: string, made: number): void {
    if (this.#current?.at !== "record" || !this.#current.isAhead) return;
    throw new StepsizeError(
      "invalid-state",
      `${call}: the record is that of step ${this.#current.step}, but the run is ahead and has made ${made} steps. ` +
        `Use the option ${option} of run, which acts after exact steps, name this step in exactEvery, or leave out runAhead`,
    );
  }

  /**
   * Throws if a run is at work.
   *
   * @throws StepsizeError `invalid-state`
   */
  expectNoWork(call: string): void {
    if (this.#current?.at === "work")
      throw new StepsizeError(
        "invalid-state",
        `${call}: a run is making a step; call it in the body of its loop, or after it`,
      );
  }
}

/** The record at which a run is suspended. */
interface RecordPlace {
  /** Index of the step. */
  readonly step: number;
  /** Whether later steps were made already. */
  readonly isAhead: boolean;
}
