import { invalidArgument } from "../errors.js";
import { nearest } from "../nearest.js";
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

/** A definition whose own options do not matter, because `build` checks them against its table. */
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

/** Every schedule's name in kebab case, as {@link create} takes it. */
export const names: readonly string[] = Object.freeze([...definitions.keys(), "joined"]);

/** What a program needs in order to offer a schedule: for a help text, a form or a parser of arguments. */
export interface ScheduleDescription {
  readonly name: string;
  readonly description: string;
  /** Where the formula was published; empty for what is older than any paper. */
  readonly source: string;
  readonly options: readonly OptionDescription[];
}

/** One option of a schedule. */
export interface OptionDescription {
  readonly name: string;
  readonly kind: OptionKind;
  readonly description: string;
  /** What holds where the option is not given, in words; absent where there is no default. */
  readonly default?: string;
  /** True where the schedule cannot be made without the option. */
  readonly required: boolean;
  /** For kind `"choice"`: the values. */
  readonly choices?: readonly string[];
}

/** Every schedule with its options, in the order of {@link names}. */
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
 * Throws `invalid-argument` for an unknown name, with the nearest one, and for options that are unknown, missing or
 * out of range, with those the schedule takes.
 */
export function create(name: string, options: object): Schedule {
  const definition = definitions.get(name);
  if (definition !== undefined) return build(definition, options as Record<string, unknown>);
  if (name === "joined") return joinedFromJSON(options, fromJSON);
  if (name === "custom")
    invalidArgument(
      "schedule",
      "one that can be made from its name; a function of your own has to be given again",
      name,
    );
  const suggestion = typeof name === "string" ? ` (did you mean ${nearest(name, names)}?)` : "";
  invalidArgument("schedule", `one of ${names.join(", ")}${suggestion}`, name);
}

/**
 * Makes the schedule that `JSON.stringify(schedule)` wrote: `{ name, ...options }`, parsed.
 *
 * Throws as {@link create} does, and for something that is no object.
 */
export function fromJSON(json: unknown): Schedule {
  if (typeof json !== "object" || json === null) {
    invalidArgument("schedule", "an object with a name and the schedule's options", json);
  }
  const { name, ...options } = json as { name?: unknown };
  return create(name as string, options);
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
