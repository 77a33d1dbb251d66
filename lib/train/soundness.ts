import { StepsizeError } from "../errors.js";
import { messageOf } from "../realms.js";

/** A checkpoint and its step. */
export interface CheckpointPlace {
  /** Path of the file. */
  readonly path: string;
  /** Number of steps that had been made. */
  readonly step: number;
}

/**
 * Whether model and optimizer are in the state after a whole number of steps, and the last checkpoint of such a state.
 * A non-finite step and a step that failed halfway leave an invalid state.
 */
export class Soundness {
  /** The checkpoint that was last written or loaded. */
  checkpoint: CheckpointPlace | undefined;
  #loss: { readonly reason: StepsizeError; readonly after: number } | undefined;

  /**
   * Records that the state became invalid. Only the first reason is kept.
   *
   * @param after number of steps after which the state was still valid
   */
  lose(error: unknown, after: number): void {
    const code = error instanceof StepsizeError ? error.code : "invalid-state";
    const message = messageOf(error);
    this.#loss ??= { reason: new StepsizeError(code, message, { cause: error }), after };
  }

  /** Records that a step failed after it had changed running statistics, which cannot be restored. */
  loseHalfMade(step: number, cause: unknown): void {
    const message = `step ${step} failed after it had changed the model's running statistics: ${messageOf(cause)}`;
    const code = cause instanceof StepsizeError ? cause.code : "invalid-state";
    this.lose(new StepsizeError(code, message, { cause }), step);
  }

  /** Records that the state is that of a checkpoint and so is valid. */
  regain(checkpoint: CheckpointPlace): void {
    this.checkpoint = checkpoint;
    this.#loss = undefined;
  }

  /**
   * Throws if the state is invalid, with the code of the first failure and the last checkpoint in the message.
   *
   * @param consequence what is not done because of it, for the message
   * @param step number of steps of the state that was read before. Default: the present state.
   */
  expect(consequence: string, step = Number.POSITIVE_INFINITY): void {
    if (!this.#loss || step <= this.#loss.after) return;
    const { reason } = this.#loss;
    throw new StepsizeError(reason.code, `${consequence}: ${reason.message}. ${this.lastGood}`, { cause: reason });
  }

  /** Advice for the error message: the last checkpoint to load. */
  get lastGood(): string {
    if (!this.checkpoint) return "No checkpoint was written or loaded before";
    return `Load the last checkpoint, ${this.checkpoint.path}, of step ${this.checkpoint.step}`;
  }
}
