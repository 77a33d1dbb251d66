import { StepsizeError } from "../errors.js";
import type { BestEvaluation, BestMetric } from "../weights/index.js";
import type { Evaluation } from "./evaluate.js";

/**
 * Returns the best evaluation after a new one. A value that is not finite is never better.
 *
 * @param before the best evaluation so far; `undefined` if there is none
 * @param step number of steps made so far
 * @param minDelta smallest improvement that counts
 * @throws StepsizeError `invalid-argument` for the metric `"accuracy"` if the labels are not classes
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
  // Values of different metrics cannot be compared.
  const known = before?.metric === metric ? before : undefined;
  const gain = known && (metric === "loss" ? known.value - value : value - known.value);
  const better = Number.isFinite(value) && (gain === undefined || gain > minDelta);
  if (better) return { step, metric, value, since: 0 };
  return known && { ...known, since: known.since + 1 };
}
