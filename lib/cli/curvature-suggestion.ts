import type { Curvature } from "../curvature/index.js";
import { type Suggestion, suggest } from "../schedule/theory/index.js";
import type { Subject } from "./curvature-subject.js";
import { short, some } from "./text.js";

/** What theory makes of the curvatures that were found. */
export interface Suggested extends Suggestion {
  readonly curvature: readonly [lowest: number, highest: number];
  readonly budget: number;
}

/** What the suggestion was asked to be for, by flags. */
export interface SuggestionOptions {
  readonly budget?: number;
  readonly maxLr?: number;
  readonly adam: boolean;
}

/** A suggestion for curvatures from λ_q, or the noise floor, to λ_max; `undefined` where none is above the floor. */
export function suggestionFor(
  { lambdaMax, lambdaQ, noiseFloor }: Curvature,
  { run }: Subject,
  given: SuggestionOptions,
): Suggested | undefined {
  if (!(lambdaMax > noiseFloor)) return undefined;
  // A run's rates are rates for this curvature only where its updates are the ones that it was measured for.
  const own = given.adam ? ["adam", "adamw"] : ["sgd"];
  const ownMaxLr = own.includes(run.optimizer ?? "") ? run.maxLr : undefined;
  const { budget = run.budget ?? 600, maxLr = ownMaxLr } = given;
  const curvature = [Math.max(lambdaQ.estimate, noiseFloor), lambdaMax] as const;
  return { curvature, budget, ...suggest({ curvature, budget, ...(maxLr !== undefined && { maxLr }) }) };
}

const heuristic =
  "This is a heuristic: a network's loss is no quadratic, its curvature changes while it trains (compare checkpoints),\n" +
  "and neither the noise of batches nor momentum is in it.";

/** The suggestion in words, with what it is worth. */
export function suggestionText(suggested: Suggested | undefined, { noiseFloor }: Curvature): string {
  if (!suggested) return `No curvature is above the noise floor: theory has nothing to suggest.\n${heuristic}`;
  const { curvature, budget, phi, maxLr, minLr, worstCase, assumptions } = suggested;
  const [lowest, highest] = curvature;
  const floor = lowest === noiseFloor ? " (the noise floor: what is below is not known)" : "";
  const rates = `--phi ${short(phi)} --max-lr ${short(maxLr)} --min-lr ${short(minLr)}`;
  return [
    `On a quadratic with curvatures from ${short(lowest)}${floor} to ${short(highest)}, for ${some(budget, "step")}, theory suggests`,
    `  ${minLr === maxLr ? `--schedule constant --max-lr ${short(maxLr)}` : `--schedule uba ${rates}`}`,
    `which leaves ${short(Math.exp(worstCase))} of an error at worst.`,
    ...assumptions.map((sentence) => `  - ${sentence}`),
    heuristic,
  ].join("\n");
}
