import type { Curvature } from "../../curvature/index.js";
import { optionalNumberIn } from "../../schedule/option.js";
import { type Suggestion, suggest } from "../../schedule/theory/index.js";
import { short, some } from "../output/text.js";
import { optimizersFor, type Subject } from "./curvature-subject.js";

/** UBA parameters that theory suggests for the measured curvatures. */
export interface Suggested extends Suggestion {
  readonly curvature: readonly [lowest: number, highest: number];
  readonly budget: number;
}

/** The flags that the suggestion depends on. */
export interface SuggestionOptions {
  readonly budget?: number | undefined;
  readonly maxLr?: number | undefined;
  readonly adam: boolean;
}

/**
 * Suggests UBA parameters for curvatures from λ_q (at least the noise floor) to λ_max.
 * @returns the suggestion; `undefined` if λ_max is not above the noise floor
 */
export function suggestionFor(
  { lambdaMax, lambdaQ, noiseFloor }: Curvature,
  { run }: Subject,
  given: SuggestionOptions,
): Suggested | undefined {
  if (!(lambdaMax > noiseFloor)) return undefined;
  // The highest rate of the run applies only if its optimizer has the updates that the curvature was measured for.
  const fits = run.optimizer !== undefined && optimizersFor(given.adam).includes(run.optimizer);
  const runMaxLr = fits ? optionalNumberIn(run, "maxLr") : undefined;
  const { budget = run.budget ?? 600, maxLr = runMaxLr } = given;
  const curvature = [Math.max(lambdaQ.estimate, noiseFloor), lambdaMax] as const;
  return { curvature, budget, ...suggest({ curvature, budget, ...(maxLr !== undefined && { maxLr }) }) };
}

const heuristic =
  "This is a heuristic. The loss of a network is not quadratic, and its curvature changes during training (compare\n" +
  "checkpoints). Gradient noise and momentum are not considered.";

/** Describes the suggestion, with its assumptions and limits. */
export function suggestionText(suggested: Suggested | undefined, { noiseFloor }: Curvature): string {
  if (!suggested) return `No curvature is above the noise floor, so there is no suggestion.\n${heuristic}`;
  const { curvature, budget, phi, maxLr, minLr, worstCase, assumptions } = suggested;
  const [lowest, highest] = curvature;
  const floor = lowest === noiseFloor ? " (the noise floor; smaller curvatures cannot be measured)" : "";
  const rates = `--phi ${short(phi)} --max-lr ${short(maxLr)} --min-lr ${short(minLr)}`;
  return [
    `On a quadratic with curvatures from ${short(lowest)}${floor} to ${short(highest)}, for ${some(budget, "step")}, theory suggests`,
    `  ${minLr === maxLr ? `--schedule constant --max-lr ${short(maxLr)}` : `--schedule uba ${rates}`}`,
    `This reduces the error to ${short(Math.exp(worstCase))} of its initial value or less.`,
    ...assumptions.map((sentence) => `  - ${sentence}`),
    heuristic,
  ].join("\n");
}
