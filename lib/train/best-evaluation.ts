import { StepsizeError } from "../errors.js";
import type { Evaluation } from "./evaluate.js";

/** What evaluations are compared by. */
export type BestMetric = "loss" | "accuracy";

/** The best evaluation of a run so far; saved with a checkpoint, so that a resumed run compares with it. */
export interface BestEvaluation {
  /** Steps made when it was found. */
  readonly step: number;
  readonly metric: BestMetric;
  readonly value: number;
  /** Evaluations since then, none of which was better. */
  readonly since: number;
}

/**
 * The best evaluation once another one is there. One that is not finite is never better.
 *
 * @param minDelta by how much it must be better
 * @throws StepsizeError `invalid-argument` for the accuracy of labels that are not classes
 */
export function bestOf(
  before: BestEvaluation | undefined,
  evaluation: Evaluation,
  { step, metric, minDelta }: { readonly step: number; readonly metric: BestMetric; readonly minDelta: number },
): BestEvaluation | undefined {
  const value = evaluation[metric];
  if (value === undefined)
    throw new StepsizeError(
      "invalid-argument",
      'run.evaluateEvery.metric: expected "loss", since the labels are not classes and have no accuracy',
    );
  // Another metric is another comparison.
  const known = before?.metric === metric ? before : undefined;
  const gain = known && (metric === "loss" ? known.value - value : value - known.value);
  const better = Number.isFinite(value) && (gain === undefined || gain > minDelta);
  if (better) return { step, metric, value, since: 0 };
  return known && { ...known, since: known.since + 1 };
}
