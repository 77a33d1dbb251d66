import { StepsizeError } from "../errors.js";
import { givenOptions } from "../options.js";
import { factsOf, type ParameterFacts, type ParameterLike } from "./parameters.js";

/**
 * A function from a step to a learning rate: a schedule, or a function of your own.
 *
 * It must always return the same rate for the same step. A captured step reads its rates from a table that was computed
 * before, and a resumed run computes them again.
 */
export interface LearningRateFunction {
  /**
   * Returns the learning rate of a step, a finite number ≥ 0.
   *
   * @param step the index of the step, from 0
   */
  (step: number): number;
  /** Number of steps that the function plans. It is the default budget of a trainer. A function may have none. */
  readonly budget?: number;
  /** Returns the momentum of a step. It replaces the optimizer's `momentum`, or the first of its `betas`. */
  readonly momentum?: (step: number) => number;
  /**
   * Returns a description as plain JSON for a checkpoint. For a function without it, a checkpoint stores its values.
   */
  toJSON?(): unknown;
}

/** The learning rate: a number, or a function of the step, such as a schedule. */
export type LearningRate = number | LearningRateFunction;

/** Returns whether a learning rate is a function without `toJSON`, which only its values describe. */
export function isCustom(lr: LearningRate): boolean {
  return typeof lr === "function" && typeof lr.toJSON !== "function";
}

/**
 * Returns the number of rows in the table of a learning rate: 1 for a number, the budget for a custom function, and the
 * budget + 1 for a schedule, whose last row is the rate past the budget. Returns `undefined` for a function without a
 * budget.
 */
export function rowsOf(lr: LearningRate): number | undefined {
  if (typeof lr === "number") return 1;
  return lr.budget === undefined || isCustom(lr) ? lr.budget : lr.budget + 1;
}

/** Returns a learning rate as plain JSON; `{ name: "custom" }` for a function without `toJSON`. */
export function learningRateJson(lr: LearningRate): unknown {
  return typeof lr === "number" ? lr : (lr.toJSON?.() ?? { name: "custom" });
}

/**
 * A group of parameters and the options that differ for them. A parameter belongs to the first group whose `where`
 * accepts it. A parameter that no group accepts has the optimizer's own options.
 *
 * @example
 * ```ts
 * import { AdamW, type AdamGroupOptions, models, openDevice, type ParameterGroup } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.mlp({ inputs: 4, hidden: [8], classes: 2, device, seed: 0 });
 * const noDecay: ParameterGroup<AdamGroupOptions> = { where: (_, { shape }) => shape.length === 1, weightDecay: 0 };
 * const optimizer = new AdamW(model.parameters(), { lr: 1e-3, groups: [noDecay] });
 * ```
 */
export type ParameterGroup<Options> = Partial<Options> & {
  /**
   * Returns whether a parameter belongs to the group. `name` is the parameter's path in its model, or its index in the
   * list of parameters if it has no path.
   */
  readonly where: (name: string, parameter: ParameterFacts) => boolean;
};

/** The parameters of a group with their complete options. */
export interface ResolvedGroup<Options> {
  readonly parameters: readonly ParameterLike[];
  readonly options: Options;
}

/**
 * Divides parameters into groups. The parameters that no group accepts come first, with the shared options.
 *
 * @throws StepsizeError `invalid-argument` if a group accepts no parameter, which is most likely a mistake in its
 * `where`
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
