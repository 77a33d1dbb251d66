import { type Problem, type ProblemOptions, readProblem } from "./input.js";
import { bestConstant, fitUba } from "./uba-fit.js";

/** Suggested parameters of {@link uba}, with their worst case and the assumptions behind them. */
export interface Suggestion {
  /** UBA's φ. It has no effect if `minLr` equals `maxLr`. */
  readonly phi: number;
  /** UBA's `maxLr`. */
  readonly maxLr: number;
  /** UBA's `minLr`. */
  readonly minLr: number;
  /** Natural logarithm of the worst contraction of UBA with these parameters. If it is above 0, the error grows. */
  readonly worstCase: number;
  /** The assumptions and limits of the suggestion, as sentences. */
  readonly assumptions: readonly string[];
}

/**
 * Suggests UBA's parameters for a quadratic with curvatures in a range.
 *
 * The result has φ together with the bounds, because φ has no meaning without them. If the bounds in `options` do not
 * matter, φ = 2κ, η_max = 1/λ_l and η_min = 1/λ_u, and no steps are better. Otherwise the parameters are searched on
 * UBA's exact product (docs/uba.md). If a constant rate is best, `minLr` equals `maxLr`.
 *
 * `maxLr` and `minLr` are within the bounds, so a warm-up to `maxLr` is within them too. The call takes 0.1 to 0.3 s
 * for any budget.
 *
 * @param options rates in units of 1/curvature; see {@link ProblemOptions}
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 *
 * @example
 * ```ts
 * import { uba } from "stepsize/schedule";
 * import { suggest } from "stepsize/theory";
 *
 * const { phi, maxLr, minLr } = suggest({ curvature: [0.1, 10], budget: 500, maxLr: 1 });
 * const lr = uba({ budget: 500, phi, maxLr, minLr });
 * ```
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
    const reason =
      problem.maxLr <= constant
        ? `up to 2/(λ_l + λ_u) = ${short(2 / (lowest + highest))} no decay helps`
        : problem.minLr >= constant
          ? "the lowest rate allowed is already as high as one rate should be"
          : lowest === highest
            ? "one curvature is removed by one rate"
            : "no UBA found within the bounds is better";
    sentences.push(`Theory asks for a constant rate: ${reason}.`);
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
