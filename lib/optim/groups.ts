import { StepsizeError } from "../errors.js";
import { givenOptions } from "../options.js";
import { factsOf, type ParameterFacts, type ParameterLike } from "./parameters.js";

/**
 * A learning rate for every step: a schedule, or a function of your own. It must give the same rate for the same step
 * whenever it is asked, since a captured step has its rates in a table and a resumed run makes the same ones.
 */
export interface LearningRateFunction {
  /** @param step from 0 */
  (step: number): number;
  /** Number of steps that it plans, if it plans any; the default budget of a trainer. */
  readonly budget?: number;
  /** Momentum for a step, in place of the optimizer's. */
  readonly momentum?: (step: number) => number;
  /** What it is, as plain JSON. A checkpoint has the values of one without. */
  toJSON?(): unknown;
}

/** The learning rate: a number, or a function of the step, such as a schedule. */
export type LearningRate = number | LearningRateFunction;

/** Whether a learning rate is a function that nothing but its values describes. */
export function isCustom(lr: LearningRate): boolean {
  return typeof lr === "function" && typeof lr.toJSON !== "function";
}

/**
 * How many steps a table of a learning rate has; `undefined` for a function without a budget. That of a schedule ends
 * with the rate that it has past its budget.
 */
export function rowsOf(lr: LearningRate): number | undefined {
  if (typeof lr === "number") return 1;
  return lr.budget === undefined || isCustom(lr) ? lr.budget : lr.budget + 1;
}

/** What a learning rate is, as plain JSON. */
export function learningRateJson(lr: LearningRate): unknown {
  return typeof lr === "number" ? lr : (lr.toJSON?.() ?? { name: "custom" });
}

/** Chooses parameters, and the options that differ for them. The first group that matches a parameter takes it. */
export type ParameterGroup<Options> = Partial<Options> & {
  /** Whether the parameter belongs to the group; `name` is its path in the model, or its place in the list. */
  readonly where: (name: string, parameter: ParameterFacts) => boolean;
};

/** Parameters with their complete options. */
export interface ResolvedGroup<Options> {
  readonly parameters: readonly ParameterLike[];
  readonly options: Options;
}

/**
 * Divides parameters into groups: those that a group chooses, and the rest with the options given for all.
 *
 * @throws StepsizeError `invalid-argument` for a group that chooses none, which is most likely a mistake in its
 * condition.
 */
export function resolveGroups<Options extends object>(
  parameters: readonly ParameterLike[],
  shared: Options,
  groups: readonly ParameterGroup<Options>[],
): ResolvedGroup<Options>[] {
  const chosen: ParameterLike[][] = groups.map(() => []);
  const rest: ParameterLike[] = [];
  parameters.forEach((parameter, i) => {
    const facts = factsOf(parameter);
    const group = groups.findIndex(({ where }) => where(facts.name || String(i), facts));
    (chosen[group] ?? rest).push(parameter);
  });
  const resolved: ResolvedGroup<Options>[] = rest.length > 0 ? [{ parameters: rest, options: shared }] : [];
  groups.forEach(({ where: _, ...options }, i) => {
    const members = chosen[i] as ParameterLike[];
    if (members.length === 0)
      throw new StepsizeError(
        "invalid-argument",
        `groups[${i}].where: chooses none of ${parameters.length} parameters (the first is named "${factsOf(parameters[0] as ParameterLike).name || "0"}")`,
      );
    resolved.push({ parameters: members, options: { ...shared, ...givenOptions(options) } });
  });
  return resolved;
}
