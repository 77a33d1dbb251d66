import { allocate } from "../../allocate.js";
import { invalidArgument } from "../../errors.js";
import { byDefault, integer, number, type Option, type OptionTable } from "../option.js";
import { resolve } from "../resolve.js";
import { type Schedule, tabulate } from "../schedule.js";

/** The lowest and the highest curvature of a loss: eigenvalues of its Hessian, above 0, the lowest first. */
export type CurvatureRange = readonly [lowest: number, highest: number];

/** Learning rates in the order they are taken: a schedule over its whole budget, or its rates one by one. */
export type Steps = Schedule | ArrayLike<number>;

/** What {@link minimax} and {@link suggest} are asked. */
export interface ProblemOptions {
  /** The curvatures to be ready for, in units of 1/learning rate. */
  readonly curvature: CurvatureRange;
  /** Steps of the run: a positive integer. */
  readonly budget: number;
  /** No learning rate may be above this. Default: no bound. */
  readonly maxLr?: number;
  /** No learning rate may be below this, from 0 to `maxLr`. Default 0. */
  readonly minLr?: number;
}

/** The same with every option checked and in place. */
export interface Problem {
  readonly lowest: number;
  readonly highest: number;
  readonly budget: number;
  /** `Infinity` where there is no bound. */
  readonly maxLr: number;
  readonly minLr: number;
}

const range: Option = {
  kind: "numbers",
  description: "the lowest and the highest curvature",
  read: (path, value) => readRange(path, value),
};

const table: OptionTable = {
  curvature: range,
  budget: integer("steps of the run", { min: 1 }),
  maxLr: { ...number("the highest learning rate allowed", { above: 0 }), mayBeAbsent: true },
  minLr: number("the lowest learning rate allowed", { min: 0 }, byDefault(0)),
};

/** Checks what `name` was asked; throws `invalid-argument` with the option's path. */
export function readProblem(name: string, given: unknown): Problem {
  const { curvature, budget, maxLr = Infinity, minLr } = resolve(name, table, given) as unknown as ProblemOptions;
  if (minLr! > maxLr) invalidArgument(`${name}.minLr`, `at most maxLr, which is ${maxLr}`, minLr);
  return { lowest: curvature[0], highest: curvature[1], budget, maxLr, minLr: minLr! };
}

/** Checks a range of curvatures. */
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

/** Learning rates one by one, checked: finite and at least 0. */
export function readSteps(path: string, steps: Steps): Float64Array {
  const known = typeof steps === "function" || (typeof steps === "object" && steps !== null && "length" in steps);
  if (!known) invalidArgument(path, "a schedule or an array of learning rates", steps);
  const rates = typeof steps === "function" ? tabulate(steps) : allocate(path, () => Float64Array.from(steps));
  const bad = rates.findIndex((rate) => !(Number.isFinite(rate) && rate >= 0));
  if (bad >= 0) invalidArgument(`${path}[${bad}]`, "a finite learning rate of at least 0", rates[bad]);
  return rates;
}
