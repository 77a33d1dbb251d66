import { invalidArgument } from "../errors.js";
import type { Resolved } from "../options.js";
import type { CommonOptions, Definition, RateOptions } from "./definition.js";
import { resolve } from "./resolve.js";
import type { Schedule } from "./schedule.js";

/**
 * Makes a schedule from its definition. It checks the options, puts warm-up and hold before the rule, repeats the last
 * value past the budget, and freezes the result. All schedules but joined ones are made here.
 *
 * @throws StepsizeError `invalid-argument` for an option that is unknown, missing or out of range
 */
export function build<O extends object>(definition: Definition<O>, given: O): Schedule {
  const { name, riseOption } = definition;
  if (riseOption !== undefined) refuseSecondWarmup(name, riseOption, given);
  const resolved = resolve<Readonly<Record<string, unknown>>>(name, definition.options, given);
  const options = resolved as Resolved<O> & Resolved<RateOptions> & CommonOptions;
  const { budget, maxLr, minLr, warmup = 0, hold = 0, convention } = options;
  const { steps: rise = warmup, peak = maxLr } = definition.warmup?.(options) ?? {};
  checkTogether(name, { budget, maxLr, minLr, warmup, hold });
  const steps = budget - rise - hold;
  definition.check?.(options, steps);
  const rule = definition.rule(options, steps);

  const peers = convention === "peers";
  const last = budget - 1;
  const end = peers && definition.reachesEnd ? budget : last;
  const clamped = (step: number) => Math.min(checkStep(step), last);
  const schedule = (step: number): number => {
    const at = Math.min(checkStep(step), end);
    // The quotient is computed first: at the end of the warm-up it is exactly 1, so the rate is exactly the peak.
    if (at < rise) return peak * ((peers ? at : at + 1) / rise);
    return at < rise + hold ? peak : rule.rate(at - rise - hold);
  };
  const { momentum } = rule;
  return withProperties(schedule, {
    name,
    budget,
    options: resolved,
    toJSON: () => ({ name, ...resolved }),
    ...(momentum && { momentum: (step: number) => momentum(clamped(step)) }),
  });
}

/** Adds the properties of a schedule to a function from a step to a rate, and freezes it. */
export function withProperties<P extends object>(rate: (step: number) => number, properties: P) {
  // A function's own `name` can be redefined but not assigned.
  Object.defineProperty(rate, "name", { writable: true, enumerable: true });
  return Object.freeze(Object.assign(rate, properties));
}

function refuseSecondWarmup(
  name: string,
  riseOption: string,
  given: { readonly warmup?: unknown } | null | undefined,
): void {
  const warmup = given?.warmup;
  if (warmup === undefined) return;
  invalidArgument(`${name}.warmup`, `none, because the schedule brings its own (set ${riseOption} instead)`, warmup);
}

function checkTogether(
  name: string,
  { budget, maxLr, minLr, warmup, hold }: { [option in "budget" | "maxLr" | "minLr" | "warmup" | "hold"]: number },
): void {
  if (minLr > maxLr) invalidArgument(`${name}.minLr`, `at most maxLr, which is ${maxLr}`, minLr);
  if (warmup >= budget) invalidArgument(`${name}.warmup`, `fewer steps than the budget of ${budget}`, warmup);
  const remaining = budget - warmup;
  if (hold >= remaining)
    invalidArgument(`${name}.hold`, `fewer steps than the warm-up leaves of the budget, ${remaining}`, hold);
}

/**
 * Returns the step if it is valid for a schedule.
 *
 * @throws StepsizeError `invalid-argument` if it is not an integer ≥ 0
 */
export function checkStep(step: number): number {
  if (Number.isInteger(step) && step >= 0) return step;
  invalidArgument("step", "an integer of at least 0 (steps count from 0)", step);
}
