import { allocate } from "../../allocate.js";
import { invalidArgument } from "../../errors.js";
import { byDefault, integer, number, type Option, type OptionTable } from "../option.js";
import { resolve } from "../resolve.js";
import { type Schedule, tabulate } from "../schedule.js";

/** The lowest and the highest curvature of a loss: eigenvalues of its Hessian, above 0. The lowest comes first. */
export type CurvatureRange = readonly [lowest: number, highest: number];

/** Learning rates in the order of the steps: a schedule over its whole budget, or an array of rates. */
export type Steps = Schedule | ArrayLike<number>;

/** Options of {@link minimax} and {@link suggest}. */
export interface ProblemOptions {
  /** Range of curvatures of the quadratic, in units of 1/learning rate. */
  readonly curvature: CurvatureRange;
  /** Number of steps: a positive integer. */
  readonly budget: number;
  /** Upper bound of the learning rates, above 0. Default: no bound. */
  readonly maxLr?: number | undefined;
  /** Lower bound of the learning rates, from 0 to `maxLr`. Default 0. */
  readonly minLr?: number | undefined;
}

/** {@link ProblemOptions}, checked and with all defaults. */
export interface Problem {
  readonly lowest: number;
  readonly highest: number;
  readonly budget: number;
  /** Upper bound of the learning rates; `Infinity` if there is none. */
  readonly maxLr: number;
  readonly minLr: number;
}

const range: Option<CurvatureRange> = {
  kind: "numbers",
  description: "the lowest and the highest curvature",
  read: (path, value) => readRange(path, value),
};

/** {@link ProblemOptions} with the default of `minLr`. */
interface ResolvedOptions extends Omit<ProblemOptions, "maxLr" | "minLr"> {
  readonly maxLr: number | undefined;
  readonly minLr: number;
}

const table: OptionTable<ResolvedOptions> = {
  curvature: range,
  budget: integer("steps of the run", { min: 1 }),
  maxLr: { ...number("the highest learning rate allowed", { above: 0 }), mayBeAbsent: true },
  minLr: number("the lowest learning rate allowed", { min: 0 }, byDefault(0)),
};

/**
 * Checks the options of the function `name`.
 *
 * @throws StepsizeError `invalid-argument` with the path of the option
 */
export function readProblem(name: string, given: unknown): Problem {
  const { curvature, budget, maxLr = Infinity, minLr } = resolve(name, table, given);
  if (minLr > maxLr) invalidArgument(`${name}.minLr`, `at most maxLr, which is ${maxLr}`, minLr);
  return { lowest: curvature[0], highest: curvature[1], budget, maxLr, minLr };
}

/**
 * Checks a range of curvatures.
 *
 * @throws StepsizeError `invalid-argument` unless it is two finite numbers above 0 in rising order
 */
export function readRange(path: string, value: unknown): CurvatureRange {
  if (!Array.isArray(value) || value.length !== 2) {
    invalidArgument(path, "[lowest, highest], two curvatures above 0", value);
  }
  for (const [i, curvature] of value.entries()) {
    if (!Number.isFinite(curvature) || curvature <= 0) {
      invalidArgument(`${path}[${i}]`, "a finite number above 0", curvature);
    }
  }
  if (value[0] > value[1]) invalidArgument(`${path}[0]`, `at most the highest, which is ${value[1]}`, value[0]);
  return [value[0], value[1]];
}

/**
 * Returns learning rates as an array.
 *
 * @throws StepsizeError `invalid-argument` unless all are finite and at least 0; `out-of-memory`
 */
export function readSteps(path: string, steps: Steps): Float64Array {
  const hasRates = typeof steps === "function" || (typeof steps === "object" && steps !== null && "length" in steps);
  if (!hasRates) invalidArgument(path, "a schedule or an array of learning rates", steps);
  const rates = typeof steps === "function" ? tabulate(steps) : allocate(path, () => Float64Array.from(steps));
  const bad = rates.findIndex((rate) => !(Number.isFinite(rate) && rate >= 0));
  if (bad >= 0) invalidArgument(`${path}[${bad}]`, "a finite learning rate of at least 0", rates[bad]);
  return rates;
}
