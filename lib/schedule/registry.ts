import { invalidArgument } from "../errors.js";
import { suggestionInside } from "../nearest.js";
import { build } from "./build.js";
import { cosineRestartsDefinition, cyclicalDefinition } from "./cycle.js";
import {
  constantDefinition,
  cosineDefinition,
  exponentialDefinition,
  linearDefinition,
  oneMinusSqrtDefinition,
  polynomialDefinition,
  rexDefinition,
  stepDefinition,
} from "./decay.js";
import type { Definition } from "./definition.js";
import { inverseSqrtDefinition } from "./inverse-sqrt.js";
import { joinedFromJSON, joinedTable } from "./joined.js";
import { oneCycleDefinition, oneCycleMomentumDefinition } from "./one-cycle.js";
import type { Option, OptionKind } from "./option.js";
import type { Schedule } from "./schedule.js";
import { ubaDefinition } from "./uba.js";
import { warmupStableDecayDefinition } from "./warmup-stable-decay.js";

/** A definition without the type of its options, which `build` checks against the definition's table. */
type AnyDefinition = Definition<Record<string, unknown>>;

const definitions: ReadonlyMap<string, AnyDefinition> = new Map(
  (
    [
      ubaDefinition,
      constantDefinition,
      stepDefinition,
      exponentialDefinition,
      polynomialDefinition,
      linearDefinition,
      cosineDefinition,
      cosineRestartsDefinition,
      cyclicalDefinition,
      oneCycleDefinition,
      rexDefinition,
      inverseSqrtDefinition,
      warmupStableDecayDefinition,
      oneMinusSqrtDefinition,
      oneCycleMomentumDefinition,
    ] as readonly AnyDefinition[]
  ).map((definition) => [definition.name, definition]),
);

/** The names of all schedules in kebab case, as {@link create} takes them. */
export const names: readonly string[] = Object.freeze([...definitions.keys(), "joined"]);

/** A description of a schedule, for a help text, a form or a parser of arguments. */
export interface ScheduleDescription {
  /** The schedule's name in kebab case. */
  readonly name: string;
  /** What the schedule does, in a few words. */
  readonly description: string;
  /** The publication of the formula; empty if there is none. */
  readonly source: string;
  /** The schedule's options. */
  readonly options: readonly OptionDescription[];
}

/** A description of one option of a schedule. */
export interface OptionDescription {
  /** The option's name. */
  readonly name: string;
  /** The kind of its value. */
  readonly kind: OptionKind;
  /** What the option means, in a few words. */
  readonly description: string;
  /** The default in words; absent if there is none. */
  readonly default?: string;
  /** Whether the schedule needs the option. */
  readonly required: boolean;
  /** The allowed values of an option of kind `"choice"`. */
  readonly choices?: readonly string[];
}

/** The descriptions of all schedules, in the order of {@link names}. */
export const catalog: readonly ScheduleDescription[] = Object.freeze(
  [
    ...definitions.values(),
    { name: "joined", description: "Other schedules one after the other", source: "", options: joinedTable },
  ].map(({ name, description, source, options }) =>
    Object.freeze({
      name,
      description,
      source,
      options: Object.freeze(Object.entries(options).map(([option, row]) => describeOption(option, row))),
    }),
  ),
);

/**
 * Makes a schedule from its name and options.
 *
 * @throws StepsizeError `invalid-argument` for an unknown name, and for an option that is unknown, missing or out of
 * range
 *
 * @example
 * ```ts
 * import { create } from "stepsize/schedule";
 *
 * const lr = create("cosine", { budget: 100, maxLr: 0.1 });
 * ```
 */
export function create(name: string, options: object): Schedule {
  return createNamed(name, options);
}

function createNamed(name: unknown, options: object): Schedule {
  const definition = typeof name === "string" ? definitions.get(name) : undefined;
  if (definition !== undefined) return build(definition, options as Record<string, unknown>);
  if (name === "joined") return joinedFromJSON(options, fromJSON);
  if (name === "custom")
    invalidArgument(
      "schedule",
      "one that can be made from its name; a function of your own has to be given again",
      name,
    );
  invalidArgument("schedule", `one of ${names.join(", ")}${suggestionInside(name, names)}`, name);
}

/**
 * Makes a schedule from its JSON.
 *
 * @param json the parsed result of `JSON.stringify(schedule)`: `{ name, ...options }`
 * @throws StepsizeError `invalid-argument` if `json` is not an object, for an unknown name, and for an option that is
 * unknown, missing or out of range
 */
export function fromJSON(json: unknown): Schedule {
  if (typeof json !== "object" || json === null) {
    invalidArgument("schedule", "an object with a name and the schedule's options", json);
  }
  const { name, ...options }: { readonly name?: unknown } = json;
  return createNamed(name, options);
}

function describeOption(name: string, row: Option): OptionDescription {
  const { kind, description, fallback, choices, mayBeAbsent } = row;
  return Object.freeze({
    name,
    kind,
    description,
    required: fallback === undefined && !mayBeAbsent,
    ...(fallback && { default: fallback.text }),
    ...(choices && { choices }),
  });
}
