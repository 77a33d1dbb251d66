import { invalidArgument } from "../errors.js";
import { itemAt } from "../lookup.js";
import { checkStep, withProperties } from "./build.js";
import { increasing, integer, type OptionTable, optional } from "./option.js";
import { resolve } from "./resolve.js";
import type { Schedule, ScheduleJSON } from "./schedule.js";

/** A part of {@link joinSchedules}: a schedule, or a function from a step to a learning rate. */
export type SchedulePart = Schedule | ((step: number) => number);

/** Any part. A function may have the properties of a schedule or not. */
interface Part extends Partial<Pick<Schedule, "budget" | "momentum" | "toJSON">> {
  (step: number): number;
}

/** Options of {@link joinSchedules}. */
export interface JoinOptions {
  /**
   * Steps at which the second and each further part begins: increasing, each at least 1, one fewer than there are
   * parts. By default each part runs for its own budget. Required if a part before the last is a function without a
   * budget.
   */
  readonly boundaries?: readonly number[] | undefined;
  /** Number of steps of the whole run. By default the run ends with the budget of the last part. */
  readonly budget?: number | undefined;
}

/**
 * Joins schedules one after the other.
 *
 * Each part counts its steps from its boundary, as with optax's `join_schedules` and PyTorch's `SequentialLR`. Parts
 * may have a warm-up and may be joined schedules themselves. A part that is longer than its turn is cut off at the next
 * boundary. A part that is shorter keeps its last rate until the boundary, and the last part keeps it past the budget.
 *
 * The schedule has a `momentum` if all parts have one. In JSON a plain function is `{ "name": "custom" }`. A function
 * cannot be stored, so {@link fromJSON} throws for it; join the parts again instead.
 *
 * @throws StepsizeError `invalid-argument` if there are no parts, if the boundaries do not fit, or if only some parts
 * have a momentum. The schedule itself throws it if a part returns anything but a finite number ≥ 0.
 *
 * @example
 * ```ts
 * import { constant, joinSchedules, oneMinusSqrt } from "stepsize/schedule";
 *
 * const lr = joinSchedules([
 *   constant({ budget: 800, maxLr: 1e-2, warmup: 50 }),
 *   oneMinusSqrt({ budget: 200, maxLr: 1e-2 }),
 * ]);
 * console.log(lr.budget, lr(799), lr(999)); // 1000, 0.01, close to 0
 * ```
 */
export function joinSchedules(parts: readonly SchedulePart[], options: JoinOptions = {}): Schedule {
  return join(parts, options);
}

/** The options of a joined schedule in JSON. */
interface JoinedJSON extends JoinOptions {
  readonly parts: readonly unknown[];
}

/** The table of {@link JoinedJSON}. */
export const joinedTable: OptionTable<JoinedJSON> = {
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

/** Makes a joined schedule from its JSON. `make` makes each part. */
export function joinedFromJSON(options: unknown, make: (part: unknown) => Schedule): Schedule {
  const { parts, ...rest } = resolve("joined", joinedTable, options);
  return join(parts.map(make), rest);
}

function join(parts: readonly Part[], given: JoinOptions): Schedule {
  if (!Array.isArray(parts) || parts.length === 0)
    invalidArgument("joined.parts", "an array of at least one schedule", parts);
  for (const [i, part] of parts.entries())
    if (typeof part !== "function") invalidArgument(`joined.parts[${i}]`, "a schedule or a function of the step", part);
  const { parts: _parts, ...table } = joinedTable;
  const { boundaries, budget } = resolve<JoinOptions>("joined", table, given);
  const starts = [0, ...(boundaries ?? startsOf(parts))];
  if (starts.length !== parts.length)
    invalidArgument("joined.boundaries", `${parts.length - 1} steps, one less than there are parts`, boundaries);
  for (const [i, start] of starts.entries())
    if (!Number.isSafeInteger(start)) invalidArgument(`joined.boundaries[${i - 1}]`, "a whole number", start);
  const lastStart = itemAt(starts, parts.length - 1);
  const steps = budget ?? lastStart + budgetOf(parts, parts.length - 1, "joined.budget");

  // Past the budget a whole last part returns its own rate. If it is cut off, or a function, the last step is repeated.
  const isWhole = lastStart + (parts.at(-1)?.budget ?? Number.NaN) === steps;
  const clamped = (step: number) => (isWhole ? checkStep(step) : Math.min(checkStep(step), steps - 1));
  /** Returns the part that has a step, and the index of the step in it. */
  const placeOf = (step: number) => {
    const at = clamped(step);
    const index = starts.findLastIndex((start) => start <= at);
    return { index, partStep: at - itemAt(starts, index) };
  };
  const lr = (step: number): number => {
    const { index, partStep } = placeOf(step);
    const rate = itemAt(parts, index)(partStep);
    if (Number.isFinite(rate) && rate >= 0) return rate;
    invalidArgument(`joined.parts[${index}](${partStep})`, "a finite learning rate of at least 0", rate);
  };
  const momenta = parts.flatMap((part) => part.momentum ?? []);
  if (momenta.length > 0 && momenta.length < parts.length)
    invalidArgument("joined.parts", "all with a momentum or all without", parts.map(nameOf));
  const options = Object.freeze({
    budget: steps,
    parts: Object.freeze(parts.map((part) => Object.freeze(jsonOf(part)))),
    boundaries: Object.freeze(starts.slice(1)),
  });
  return withProperties(lr, {
    name: "joined",
    budget: steps,
    options,
    toJSON: () => ({ name: "joined", ...options }),
    ...(momenta.length > 0 && {
      momentum: (step: number) => {
        const { index, partStep } = placeOf(step);
        return itemAt(momenta, index)(partStep);
      },
    }),
  });
}

/** Returns the first step of each part but the first, if all parts run for their budgets. */
function startsOf(parts: readonly Part[]): number[] {
  let sum = 0;
  return parts.slice(0, -1).map((_, i) => (sum += budgetOf(parts, i, "joined.boundaries")));
}

function budgetOf(parts: readonly Part[], i: number, option: string): number {
  return (
    parts[i]?.budget ?? invalidArgument(option, `given, because part ${i} is a function without a budget`, undefined)
  );
}

function nameOf(part: Part): string {
  return jsonOf(part).name;
}

function jsonOf(part: Part): ScheduleJSON {
  return part.toJSON?.() ?? { name: "custom" };
}
