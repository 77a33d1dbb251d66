import { describe, invalidArgument, StepsizeError } from "../errors.js";
import type { LearningRate } from "./groups.js";

/** One group's hyper-parameters, in the order of `native/update/scalars.h`. */
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

/** Doubles in a row of {@link hyperRow}. */
export const hyperFields = fields.length;

export function hyperRow(hyper: Hyper): number[] {
  return fields.map((field) => Number(hyper[field] ?? 0));
}

// What a schedule may move, as `Scheduled` in native/update/scalars.h.
const scheduled = ["learningRate", "beta1", "momentum"] as const;

/** Doubles per group and step of {@link scheduledRows}. */
export const scheduledFields = scheduled.length;

/**
 * What a schedule moves of a group, for every step: `rowOf(0)`, `rowOf(1)`, …
 * @throws StepsizeError `unsupported` where it moves anything else.
 */
export function scheduledRow(first: Hyper, hyper: Hyper): number[] {
  for (const field of fields) {
    const moves = (scheduled as readonly string[]).includes(field);
    if (!moves && hyper[field] !== first[field])
      throw new StepsizeError("unsupported", `tabulate: ${field} changes from step to step`);
  }
  return scheduled.map((field) => hyper[field] ?? 0);
}

/** The learning rate of a step, checked: a schedule may be anybody's function. */
export function learningRateAt(lr: LearningRate, step: number): number {
  const rate = typeof lr === "number" ? lr : lr(step);
  // The device would spread a NaN over all parameters without a word.
  if (!Number.isFinite(rate) || rate < 0)
    throw new StepsizeError("invalid-argument", `lr: expected a number ≥ 0 at step ${step}, got ${describe(rate)}`);
  return rate;
}

/** Throws unless `value` is a finite number that `holds` accepts. */
export function expectNumber(name: string, value: unknown, expected: string, holds: (value: number) => boolean): void {
  if (typeof value !== "number" || !Number.isFinite(value) || !holds(value)) invalidArgument(name, expected, value);
}

export function expectLearningRate(lr: unknown): void {
  if (typeof lr === "function") return;
  if (typeof lr !== "number" || !(lr >= 0) || !Number.isFinite(lr))
    throw new StepsizeError("invalid-argument", `lr: expected a number ≥ 0 or a schedule, got ${describe(lr)}`);
}

export function expectBetas(betas: unknown): void {
  if (!Array.isArray(betas) || betas.length !== 2) invalidArgument("betas", "two numbers", betas);
  for (const beta of betas) expectNumber("betas", beta, "numbers from 0 to below 1", (b) => b >= 0 && b < 1);
}

export function expectWeightDecay(weightDecay: unknown): void {
  expectNumber("weightDecay", weightDecay, "a number ≥ 0", (value) => value >= 0);
}
