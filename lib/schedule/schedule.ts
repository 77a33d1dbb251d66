import { allocate } from "../allocate.js";
import { invalidArgument } from "../errors.js";

/**
 * A learning rate schedule: a pure function from a step to a rate. Its properties are frozen, and enough to plot, store
 * and rebuild it.
 *
 * Steps count from 0 to `budget − 1`. A step past the budget has the rate of the last step, unless the option
 * `convention` is `"peers"`, so that a run can be prolonged.
 *
 * @example
 * ```ts
 * import { fromJSON, uba } from "stepsize/schedule";
 *
 * const lr = uba({ budget: 100, maxLr: 0.1, warmup: 10 });
 * console.log(lr(0), lr(9), lr(99)); // the warm-up rises from 0.01 to 0.1; the last rate is close to 0
 * const same = fromJSON(JSON.parse(JSON.stringify(lr)));
 * ```
 */
export interface Schedule {
  /**
   * Returns the learning rate of a step.
   *
   * @param step the index of the step, from 0
   * @throws StepsizeError `invalid-argument` if the step is negative, fractional or NaN
   */
  (step: number): number;
  /** The schedule's name in kebab case, as {@link create} takes it: `"uba"`, `"one-cycle"`, … */
  readonly name: string;
  /** Number of steps of the run, including the warm-up. */
  readonly budget: number;
  /**
   * All options with their values, including defaults, as plain JSON. {@link create} rebuilds the schedule from them.
   */
  readonly options: Readonly<Record<string, unknown>>;
  /**
   * Returns the momentum of a step. Only schedules that cycle the momentum have it, such as {@link oneCycleMomentum}.
   */
  readonly momentum?: (step: number) => number;
  /** Returns `{ name, ...options }`. `JSON.stringify` calls it; {@link fromJSON} reads the result. */
  toJSON(): ScheduleJSON;
}

/** A schedule as plain JSON. */
export interface ScheduleJSON {
  /** The schedule's name; see {@link Schedule.name}. */
  readonly name: string;
  /** The schedule's options. */
  readonly [option: string]: unknown;
}

/**
 * Returns the learning rates of all steps of a schedule's budget, for example for a plot.
 *
 * @throws StepsizeError `invalid-argument` if `schedule` is not a schedule; `out-of-memory` for a budget whose array
 * does not fit into memory
 */
export function tabulate(schedule: Schedule): Float64Array {
  if (typeof schedule !== "function" || !Number.isSafeInteger(schedule.budget))
    invalidArgument("schedule", "a schedule, such as uba({ … })", schedule);
  const rates = allocate("the rates of all steps", () => new Float64Array(schedule.budget));
  for (let step = 0; step < rates.length; step++) rates[step] = schedule(step);
  return rates;
}
