import { allocate } from "../allocate.js";
import { invalidArgument } from "../errors.js";

/**
 * A learning rate for every step of a run: a pure function of the step, with everything needed to plot, store and
 * rebuild it as frozen properties.
 *
 * Steps count from 0 to `budget − 1`. A step past the budget gives the last step's rate, so that a run may be
 * prolonged; a step that is negative, fractional or NaN throws `invalid-argument`.
 */
export interface Schedule {
  (step: number): number;
  /** The schedule's name in kebab case, as {@link create} takes it: `"uba"`, `"one-cycle"`, … */
  readonly name: string;
  /** Number of steps the run has, warm-up included. */
  readonly budget: number;
  /** Every option with the value in use, defaults filled in: plain JSON, enough for {@link create} to rebuild it. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Momentum for a step; there only where the schedule was asked to cycle it ({@link oneCycle}). */
  readonly momentum?: (step: number) => number;
  /** `{ name, ...options }`, which `JSON.stringify` picks up and {@link fromJSON} reads back. */
  toJSON(): ScheduleJSON;
}

/** A schedule as plain JSON. */
export interface ScheduleJSON {
  readonly name: string;
  readonly [option: string]: unknown;
}

/** All of a schedule's learning rates, one per step of its budget, for plotting or for one upload to a device. */
export function tabulate(schedule: Schedule): Float64Array {
  if (typeof schedule !== "function" || !Number.isSafeInteger(schedule.budget))
    invalidArgument("schedule", "a schedule, such as uba({ … })", schedule);
  const rates = allocate("the rates of all steps", () => new Float64Array(schedule.budget));
  for (let step = 0; step < rates.length; step++) rates[step] = schedule(step);
  return rates;
}
