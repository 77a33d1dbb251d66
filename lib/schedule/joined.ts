import { invalidArgument } from "../errors.js";
import { checkStep } from "./build.js";
import { increasing, integer, type OptionTable, optional } from "./option.js";
import { resolve } from "./resolve.js";
import type { Schedule, ScheduleJSON } from "./schedule.js";

/** A part of {@link joinSchedules}: a schedule, or any function of the step. */
export type SchedulePart = Schedule | ((step: number) => number);

/** Options of {@link joinSchedules}. */
export interface JoinOptions {
  /**
   * The steps at which the next part begins: one less than there are parts, increasing, each at least 1. By default each
   * part has its own budget; with a part that has none, a plain function before the last, they have to be given.
   */
  readonly boundaries?: readonly number[] | undefined;
  /** Steps of the whole run. By default until the last part's budget ends. */
  readonly budget?: number | undefined;
}

/**
 * Schedules one after the other. From each boundary on the next part has its turn, and counts its steps from there, as
 * with optax's `join_schedules` and PyTorch's SequentialLR. Parts may have a warm-up and may be joined schedules.
 *
 *     const lr = joinSchedules([
 *       constant({ budget: 800, maxLr: 1e-2, warmup: 50 }),
 *       oneMinusSqrt({ budget: 200, maxLr: 1e-2 }),
 *     ]);
 *
 * A part that is cut short goes only as far as the next boundary. One that is over before it holds its last rate, and so
 * does the last part past the budget. The schedule has a `momentum` if all parts have one. In JSON a plain function is
 * `{ "name": "custom" }`, which {@link fromJSON} refuses, because a function cannot be stored: join it again.
 *
 * @throws StepsizeError `invalid-argument` for no parts, boundaries that do not fit, or parts of which only some have a
 * momentum
 */
export function joinSchedules(parts: readonly SchedulePart[], options: JoinOptions = {}): Schedule {
  return join(parts, options);
}

/** The table of the options of a joined schedule in JSON. */
export const joinedTable: OptionTable = {
  budget: optional(integer("steps of the whole run", { min: 1 }), "until the last part ends"),
  parts: {
    kind: "schedules",
    description: "the schedules one after the other, each with its name and options",
    read: (path, value) =>
      Array.isArray(value) && value.length > 0
        ? value
        : invalidArgument(path, "an array of at least one schedule", value),
  },
  boundaries: optional(
    increasing("the steps at which the next part begins", { min: 1 }),
    "where the budget of the part before ends",
  ),
};

/** Makes a joined schedule from its JSON; `make` makes each part. */
export function joinedFromJSON(options: unknown, make: (part: unknown) => Schedule): Schedule {
  const { parts, ...rest } = resolve("joined", joinedTable, options) as JoinOptions & {
    parts?: readonly unknown[];
  };
  return join((parts ?? []).map(make), rest);
}

function join(parts: readonly SchedulePart[], given: JoinOptions): Schedule {
  if (!Array.isArray(parts) || parts.length === 0)
    invalidArgument("joined.parts", "an array of at least one schedule", parts);
  for (const [i, part] of parts.entries())
    if (typeof part !== "function") invalidArgument(`joined.parts[${i}]`, "a schedule or a function of the step", part);
  const { parts: _parts, ...table } = joinedTable;
  const { boundaries, budget } = resolve("joined", table, given) as JoinOptions;
  const starts = [0, ...(boundaries ?? startsOf(parts))];
  if (starts.length !== parts.length)
    invalidArgument("joined.boundaries", `${parts.length - 1} steps, one less than there are parts`, boundaries);
  for (const [i, start] of starts.entries())
    if (!Number.isSafeInteger(start)) invalidArgument(`joined.boundaries[${i - 1}]`, "a whole number", start);
  const steps = budget ?? starts.at(-1)! + budgetOf(parts, parts.length - 1, "joined.budget");

  // Past its own end the last part knows what follows. A run that is cut short, or ends in a function, stays as it was.
  const isWhole = starts.at(-1)! + ((parts.at(-1) as Partial<Schedule>).budget ?? Number.NaN) === steps;
  const within = (step: number) => (isWhole ? checkStep(step) : Math.min(checkStep(step), steps - 1));
  const turn = (step: number) => starts.findLastIndex((start) => start <= step);
  const lr = (step: number): number => {
    const at = within(step);
    const i = turn(at);
    const rate = parts[i]!(at - starts[i]!);
    if (Number.isFinite(rate) && rate >= 0) return rate;
    invalidArgument(`joined.parts[${i}](${at - starts[i]!})`, "a finite learning rate of at least 0", rate);
  };
  const momenta = parts.map((part) => (part as Partial<Schedule>).momentum);
  if (momenta.some((each) => each === undefined) && momenta.some((each) => each !== undefined))
    invalidArgument("joined.parts", "all with a momentum or all without", parts.map(nameOf));
  const options = Object.freeze({
    budget: steps,
    parts: Object.freeze(parts.map((part) => Object.freeze(jsonOf(part)))),
    boundaries: Object.freeze(starts.slice(1)),
  });
  const properties: Record<string, unknown> = {
    name: "joined",
    budget: steps,
    options,
    toJSON: () => ({ name: "joined", ...options }),
    ...(momenta[0] && {
      momentum: (step: number) => {
        const i = turn(within(step));
        return momenta[i]!(within(step) - starts[i]!);
      },
    }),
  };
  for (const [key, value] of Object.entries(properties)) {
    // A function's own `name` can be redefined but not assigned.
    Object.defineProperty(lr, key, { value, enumerable: true });
  }
  return Object.freeze(lr) as unknown as Schedule;
}

/** Where each part but the first begins, if all run for their budgets. */
function startsOf(parts: readonly SchedulePart[]): number[] {
  let sum = 0;
  return parts.slice(0, -1).map((_, i) => (sum += budgetOf(parts, i, "joined.boundaries")));
}

function budgetOf(parts: readonly SchedulePart[], i: number, option: string): number {
  const { budget } = parts[i] as Partial<Schedule>;
  return budget ?? invalidArgument(option, `given, because part ${i} is a function without a budget`, undefined);
}

function nameOf(part: SchedulePart): string {
  return jsonOf(part).name;
}

function jsonOf(part: SchedulePart): ScheduleJSON {
  return (part as Partial<Schedule>).toJSON?.() ?? { name: "custom" };
}
