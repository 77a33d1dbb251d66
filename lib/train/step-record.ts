import { StepsizeError } from "../errors.js";
import type { OptimizerStats } from "../optim/index.js";
import type { Evaluation } from "./evaluate.js";
import { lossFrom } from "./step-loss.js";

/** One step, as `trainer.run` yields it. */
export interface StepRecord {
  /** From 0. */
  readonly step: number;
  /** Before the update; of accumulated batches the mean over all that counts in them, as if they were one batch. */
  readonly loss: number;
  /** Of the first parameter group. */
  readonly learningRate: number;
  /** Items seen in this step. */
  readonly items: number;
  /** Global norm of the gradient, where the optimizer clips or checks it. */
  readonly gradientNorm?: number;
  /** Whether the update was left out because a gradient was not finite. */
  readonly skipped?: boolean;
  /** What `evaluateEvery` found after this step. */
  readonly evaluation?: Evaluation;
  /** Whether that is the best evaluation so far; absent if there was none. */
  readonly best?: boolean;
}

/** What the host knows of a step when it enqueues it. */
export type EnqueuedStep = Pick<StepRecord, "step" | "learningRate" | "items">;

/** What the device tells of a step when it is done. */
export interface StepMetrics {
  /** What the loss is computed from; see `partsOf` in step-loss.ts. */
  readonly losses: readonly number[];
  /** Where the optimizer measures gradients. */
  readonly stats?: OptimizerStats | undefined;
}

/** Makes the records of a run, step by step. */
export class StepRecords {
  /** Steps that were left out so far. */
  skipped = 0;
  readonly #skipsNonFinite: boolean;

  /** @param skipsNonFinite whether a step that is not finite is no error */
  constructor(skipsNonFinite: boolean) {
    this.#skipsNonFinite = skipsNonFinite;
  }

  /** @throws StepsizeError `non-finite` */
  next(known: EnqueuedStep, { losses, stats }: StepMetrics): StepRecord {
    const loss = lossFrom(losses);
    const skipped = stats !== undefined && stats.skipped > this.skipped;
    this.skipped = stats?.skipped ?? 0;
    const finite = Number.isFinite(loss) && (stats === undefined || Number.isFinite(stats.norm));
    if (!finite && !this.#skipsNonFinite) {
      const what = Number.isFinite(loss) ? `the gradient's norm is ${stats?.norm}` : `the loss is ${loss}`;
      // Nothing divided by nothing.
      const empty = Number.isNaN(loss) ? ". A step whose batches have no label that counts has no loss" : "";
      throw new StepsizeError(
        "non-finite",
        `step ${known.step}: ${what} at learning rate ${known.learningRate}. A lower learning rate, a longer warm-up or` +
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
