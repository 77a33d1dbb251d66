import { type Problem, type ProblemOptions, readProblem } from "./input.js";
import { bestConstant, fitUba } from "./uba-fit.js";

/** Parameters for {@link uba}, what they promise, and under which assumptions. */
export interface Suggestion {
  /** UBA's φ; without effect where `minLr` equals `maxLr`. */
  readonly phi: number;
  readonly maxLr: number;
  readonly minLr: number;
  /** The natural logarithm of what UBA with these three leaves of an error at worst; above 0 it grows. */
  readonly worstCase: number;
  /** What the suggestion takes for granted and what it does not know, in sentences. */
  readonly assumptions: readonly string[];
}

/**
 * UBA's parameters for a quadratic with curvatures in a range: φ and the bounds together, because φ means nothing
 * without them. Without bounds that matter φ = 2κ, η_max = 1/λ_l, η_min = 1/λ_u, which no steps can beat. With a bound φ and
 * η_min are searched on UBA's exact product (docs/uba.md); where theory asks for a constant rate, `minLr` equals `maxLr`.
 *
 * `maxLr` and `minLr` are within the bounds themselves, so that a warm-up, which rises to `maxLr`, is too.
 *
 *     const { phi, maxLr, minLr } = suggest({ curvature: [0.1, 10], budget: 500, maxLr: 1 });
 *     const lr = uba({ budget: 500, phi, maxLr, minLr });
 *
 * Takes 0.1 to 0.3 s, whatever the budget.
 *
 * @param options rates in units of 1/curvature; see {@link ProblemOptions}
 * @throws `invalid-argument` for options out of range
 */
export function suggest(options: ProblemOptions): Suggestion {
  const problem = readProblem("suggest", options);
  const { phi, maxLr, minLr, value } = fitUba(problem, false);
  return { phi, maxLr, minLr, worstCase: value, assumptions: assumptionsOf(problem, maxLr, minLr, value) };
}

function assumptionsOf(problem: Problem, maxLr: number, minLr: number, value: number): string[] {
  const { lowest, highest, budget } = problem;
  const sentences = [
    `The loss is a quadratic with curvatures from ${short(lowest)} to ${short(highest)}; each step is plain gradient descent.`,
    "Gradients are exact: noise is not in it, and with noise decay has a use that this theory does not see.",
    `All ${budget} steps are UBA's; a warm-up takes steps away and is not counted.`,
  ];
  const stable = 2 / highest;
  if (minLr === maxLr) {
    const { maxLr: constant } = bestConstant(problem);
    const why =
      problem.maxLr <= constant
        ? `up to 2/(λ_l + λ_u) = ${short(2 / (lowest + highest))} no decay helps`
        : problem.minLr >= constant
          ? "the lowest rate allowed is already as high as one rate should be"
          : lowest === highest
            ? "one curvature is removed by one rate"
            : "no UBA found within the bounds is better";
    sentences.push(`Theory asks for a constant rate: ${why}.`);
  }
  if (maxLr > stable) {
    sentences.push(
      `maxLr is ${short(maxLr / stable)} times the stability limit 2/λ_u = ${short(stable)} of a repeated step: errors grow on the way before they shrink, which only a quadratic forgives.`,
    );
  }
  if (value >= 0) sentences.push("Within these bounds no UBA found contracts every curvature of the range.");
  return sentences;
}

function short(value: number): string {
  return String(Number(value.toPrecision(4)));
}
