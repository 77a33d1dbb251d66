import { StepsizeError } from "../errors.js";
import type { OptimizerStats } from "../optim/index.js";
import type { Evaluation } from "./evaluate.js";
import { lossFrom } from "./step-loss.js";

/** The result of one step, as `trainer.run` yields it. */
export interface StepRecord {
  /** Index of the step, from 0. */
  readonly step: number;
  /** Loss before the update. With several batches per step, it is the mean over all of them, as for one large batch. */
  readonly loss: number;
  /** Learning rate of the first parameter group at this step. */
  readonly learningRate: number;
  /** Number of items in the batches of this step. */
  readonly items: number;
  /** Global 2-norm of the gradient before clipping. Absent unless the optimizer clips or checks gradients. */
  readonly gradientNorm?: number;
  /** True if the update was left out because a gradient was not finite; otherwise absent. */
  readonly skipped?: boolean;
  /** Result of the `evaluateEvery` evaluation after this step. Absent if none was due. */
  readonly evaluation?: Evaluation;
  /** Whether `evaluation` is the best so far. Absent if there is no `evaluation`. */
  readonly best?: boolean;
}

/** The part of a record that the host knows when it enqueues the step. */
export type EnqueuedStep = Pick<StepRecord, "step" | "learningRate" | "items">;

/** The results of a step that are read from the device. */
export interface StepMetrics {
  /** The values from which the loss is computed; see `partsOf` in step-loss.ts. */
  readonly losses: readonly number[];
  /** Statistics of the optimizer, if it measures gradients. */
  readonly stats?: OptimizerStats | undefined;
}

/** Makes the records of a run, step by step. */
export class StepRecords {
  /** Number of updates that were left out so far. */
  skipped = 0;
  readonly #skipsNonFinite: boolean;

  /**
   * Creates the records of a trainer.
   *
   * @param skipsNonFinite whether the optimizer skips non-finite steps, so that they are not an error
   */
  constructor(skipsNonFinite: boolean) {
    this.#skipsNonFinite = skipsNonFinite;
  }

  /**
   * Returns the record of the next step.
   *
   * @throws StepsizeError `non-finite` if the loss or the gradient norm is not finite and such steps are not skipped,
   * or if an earlier gradient stopped the updates
   */
  next(known: EnqueuedStep, { losses, stats }: StepMetrics): StepRecord {
    const loss = lossFrom(losses);
    const skipped = stats !== undefined && stats.skipped > this.skipped;
    this.skipped = stats?.skipped ?? 0;
    const finite = Number.isFinite(loss) && (stats === undefined || Number.isFinite(stats.norm));
    if (!finite && !this.#skipsNonFinite) {
      const what = Number.isFinite(loss) ? `the gradient's norm is ${stats?.norm}` : `the loss is ${loss}`;
      // The mean of a step without a counted label is 0/0.
      const empty = Number.isNaN(loss) ? ". A step whose batches have no label that counts has no loss" : "";
      throw new StepsizeError(
        "non-finite",
        `step ${known.step}: ${what} at learning rate ${Number(known.learningRate.toPrecision(4))}. A lower learning rate, a longer warm-up or` +
          ` clipping may help; skipping such steps goes on without them${empty}`,
      );
    }
    if (stats?.stoppedAt !== undefined)
      throw new StepsizeError(
        "non-finite",
        `step ${known.step}: the gradient of step ${stats.stoppedAt} was not finite, and nothing is updated since` +
          ' (nonFinite: "stop"). Load a checkpoint from before it',
      );
    return { ...known, loss, ...(stats && { gradientNorm: stats.norm }), ...(skipped && { skipped }) };
  }
}
