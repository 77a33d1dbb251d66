import { describe, invalidArgument, StepsizeError } from "../errors.js";
import type { LearningRate } from "./groups.js";

/** The hyperparameters of one group at one step, in the order of `native/update/scalars.h`. */
export interface Hyper {
  readonly learningRate: number;
  readonly weightDecay?: number;
  readonly decoupledDecay?: boolean;
  readonly maximize?: boolean;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  readonly momentum?: number;
  readonly dampening?: number;
  readonly nesterov?: boolean;
  readonly biasCorrection?: boolean;
}

const fields = [
  "learningRate",
  "weightDecay",
  "decoupledDecay",
  "maximize",
  "beta1",
  "beta2",
  "epsilon",
  "momentum",
  "dampening",
  "nesterov",
  "biasCorrection",
] as const;

/** Number of values in a row of {@link hyperRow}. */
export const hyperFields = fields.length;

/** Returns hyperparameters as a row of numbers for the device. A field that is missing is 0. */

export function hyperRow(hyper: Hyper): number[] {
  return fields.map((field) => Number(hyper[field] ?? 0));
}

// The fields that a schedule may change, in the order of `Scheduled` in native/update/scalars.h.
const scheduled = ["learningRate", "beta1", "momentum"] as const;

/** Number of values per group and step in the table of a schedule; see {@link scheduledRow}. */
export const scheduledFields = scheduled.length;

/**
 * Returns the values that a schedule may change, for one group and one step: a row of the table on the device.
 *
 * @param first the group's hyperparameters at step 0
 * @param hyper the group's hyperparameters at the step of the row
 * @throws StepsizeError `unsupported` if any other field differs from `first`
 */
export function scheduledRow(first: Hyper, hyper: Hyper): number[] {
  for (const field of fields) {
    const moves = (scheduled as readonly string[]).includes(field);
    if (!moves && hyper[field] !== first[field])
      throw new StepsizeError("unsupported", `tabulate: ${field} changes from step to step`);
  }
  return scheduled.map((field) => hyper[field] ?? 0);
}

/**
 * Returns the learning rate of a step. The value is checked because a schedule may be a function of the caller.
 *
 * @throws StepsizeError `invalid-argument` if it is not a finite number ≥ 0
 */
export function learningRateAt(lr: LearningRate, step: number): number {
  const rate = typeof lr === "number" ? lr : lr(step);
  // With a rate of NaN the device would set all parameters to NaN without an error.
  if (!Number.isFinite(rate) || rate < 0)
    throw new StepsizeError("invalid-argument", `lr: expected a number ≥ 0 at step ${step}, got ${describe(rate)}`);
  return rate;
}

/**
 * Checks that `value` is a finite number that `holds` accepts.
 *
 * @throws StepsizeError `invalid-argument` that names the argument and what was expected
 */
export function expectNumber(name: string, value: unknown, expected: string, holds: (value: number) => boolean): void {
  if (typeof value !== "number" || !Number.isFinite(value) || !holds(value)) invalidArgument(name, expected, value);
}

/**
 * Checks that `lr` is a finite number ≥ 0 or a function.
 *
 * @throws StepsizeError `invalid-argument` otherwise
 */
export function expectLearningRate(lr: unknown): void {
  if (typeof lr === "function") return;
  if (typeof lr !== "number" || !(lr >= 0) || !Number.isFinite(lr))
    throw new StepsizeError("invalid-argument", `lr: expected a number ≥ 0 or a schedule, got ${describe(lr)}`);
}

/**
 * Checks that `betas` is an array of two numbers from 0 to below 1.
 *
 * @throws StepsizeError `invalid-argument` otherwise
 */
export function expectBetas(betas: unknown): void {
  if (!Array.isArray(betas) || betas.length !== 2) invalidArgument("betas", "two numbers", betas);
  for (const beta of betas) expectNumber("betas", beta, "numbers from 0 to below 1", (b) => b >= 0 && b < 1);
}

/**
 * Checks that `weightDecay` is a finite number ≥ 0.
 *
 * @throws StepsizeError `invalid-argument` otherwise
 */
export function expectWeightDecay(weightDecay: unknown): void {
  expectNumber("weightDecay", weightDecay, "a number ≥ 0", (value) => value >= 0);
}
