import { StepsizeError } from "../errors.js";
import { messageOf } from "../realms.js";

/** A checkpoint, and the steps that it was made after. */
export interface CheckpointPlace {
  readonly path: string;
  readonly step: number;
}

/**
 * Whether model and optimizer are those after some number of steps, and the last checkpoint in which they are. They are
 * not after a step that was not finite or that failed halfway: what such a step leaves behind is no state of the run.
 */
export class Soundness {
  /** The checkpoint that was last written or loaded. */
  checkpoint: CheckpointPlace | undefined;
  #loss: { readonly reason: StepsizeError; readonly after: number } | undefined;

  /**
   * Notes why they are not any more. The first reason stays.
   * @param after the steps after which they still were
   */
  lose(error: unknown, after: number): void {
    const code = error instanceof StepsizeError ? error.code : "invalid-state";
    const message = messageOf(error);
    this.#loss ??= { reason: new StepsizeError(code, message, { cause: error }), after };
  }

  /** Notes that they are those of a checkpoint. */
  regain(checkpoint: CheckpointPlace): void {
    this.checkpoint = checkpoint;
    this.#loss = undefined;
  }

  /**
   * Throws if they are not, with the reason and the last checkpoint.
   *
   * @param consequence what is not done because of it
   * @param step the steps made, of what was read before; default: now
   */
  expect(consequence: string, step = Number.POSITIVE_INFINITY): void {
    if (!this.#loss || step <= this.#loss.after) return;
    const { reason } = this.#loss;
    throw new StepsizeError(reason.code, `${consequence}: ${reason.message}. ${this.lastGood}`, { cause: reason });
  }

  /** What can be done about it, in words. */
  get lastGood(): string {
    if (!this.checkpoint) return "No checkpoint was written or loaded before";
    return `Load the last checkpoint, ${this.checkpoint.path}, of step ${this.checkpoint.step}`;
  }
}
