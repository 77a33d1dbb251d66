import { StepsizeError } from "../errors.js";
import type { Schedule } from "../schedule/index.js";
import type { Tensor } from "../tensor/index.js";

/** A tensor that an optimizer updates; `name` is a parameter's path in its model, where it has one. */
export type Trainable = Tensor & { readonly name?: string };

/** The learning rate: a number, or a function of the step. */
export type LearningRate = number | Schedule;

/** Chooses parameters, and the options that differ for them. The first group that matches a parameter takes it. */
export type ParameterGroup<Options> = Partial<Options> & {
  /** Whether the parameter belongs to the group; `name` is its path in the model. */
  readonly where: (name: string, parameter: Trainable) => boolean;
};

/** Parameters with their complete options. */
export interface ResolvedGroup<Options> {
  readonly parameters: readonly Trainable[];
  readonly options: Options;
}

/**
 * Divides parameters into groups: those that a group chooses, and the rest with the options given for all.
 *
 * @throws StepsizeError `invalid-argument` for no parameters, one given twice, one that is not float32 or on another
 * device than the first, or a group that chooses none, which is most likely a mistake in its condition.
 */
export function resolveGroups<Options extends object>(
  parameters: readonly Trainable[],
  shared: Options,
  groups: readonly ParameterGroup<Options>[],
): ResolvedGroup<Options>[] {
  if (parameters.length === 0)
    throw new StepsizeError("invalid-argument", "parameters: expected at least one, got an empty list");
  const seen = new Set<Tensor>();
  const chosen: Trainable[][] = groups.map(() => []);
  const rest: Trainable[] = [];
  parameters.forEach((parameter, i) => {
    const what = `parameters[${i}]${parameter.name ? ` (${parameter.name})` : ""}`;
    if (parameter.dtype !== "float32")
      throw new StepsizeError("invalid-argument", `${what}: expected float32, got ${parameter.dtype}`);
    if (seen.has(parameter)) throw new StepsizeError("invalid-argument", `${what}: this tensor was given twice`);
    if (parameter.device !== parameters[0]?.device)
      throw new StepsizeError("invalid-argument", `${what}: is on another device than the first`);
    seen.add(parameter);
    const group = groups.findIndex(({ where }) => where(parameter.name || String(i), parameter));
    (chosen[group] ?? rest).push(parameter);
  });
  const resolved: ResolvedGroup<Options>[] = rest.length > 0 ? [{ parameters: rest, options: shared }] : [];
  groups.forEach(({ where: _, ...options }, i) => {
    const members = chosen[i] as Trainable[];
    if (members.length === 0)
      throw new StepsizeError(
        "invalid-argument",
        `groups[${i}].where: chooses none of ${parameters.length} parameters (the first is named "${parameters[0]?.name || "0"}")`,
      );
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    resolved.push({ parameters: members, options: { ...shared, ...given } });
  });
  return resolved;
}
