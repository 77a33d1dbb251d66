import { StepsizeError } from "../errors.js";
import type { Schedule } from "../schedule/index.js";
import { factsOf, type ParameterFacts, type ParameterLike } from "./parameters.js";

/** The learning rate: a number, or a function of the step. */
export type LearningRate = number | Schedule;

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
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    resolved.push({ parameters: members, options: { ...shared, ...given } });
  });
  return resolved;
}
