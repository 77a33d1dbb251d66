import { isDeepStrictEqual } from "node:util";
import { invalidArgument, StepsizeError } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { shown, someOf } from "../quoting.js";

/** A difference from the run of a checkpoint that can be allowed; see {@link LoadOptions}. */
export type Allowed = "schedule" | "data";

/** The values of {@link Allowed}. */
export const allowedNames: readonly Allowed[] = ["schedule", "data"];

/** Options of `Trainer.load`. */
export interface LoadOptions {
  /**
   * Differences from the run that wrote the checkpoint that are allowed. Default none, so that the run continues with
   * the bits of an uninterrupted one.
   *
   * - `"schedule"`: the learning rates and the budget. The step count, the parameters and the optimizer state are kept.
   *   The next step has the new schedule's rate at that step, as if the schedule had been used from the beginning.
   * - `"data"`: other items, or the same items in other batches. The next batch is the new source's at that step. Data
   *   that were only moved or renamed do not count as different if their content can be compared
   *   (`BatchSource.digest`).
   */
  readonly allow?: readonly Allowed[] | undefined;
}

const loadNames = optionNames<LoadOptions>({ allow: true });

/** Everything besides the state that determines the losses to come, as plain JSON. A checkpoint contains it. */
export type RunIdentity = Readonly<Record<string, unknown>>;

/**
 * Returns the differences that a call of `load` allows.
 *
 * @throws StepsizeError `invalid-argument` for an unknown or invalid option
 */
export function allowedBy(options: LoadOptions): ReadonlySet<Allowed> {
  expectOptions("load", loadNames, options);
  const { allow = [] } = options;
  if (!Array.isArray(allow) || !allow.every((one) => allowedNames.includes(one)))
    invalidArgument("load.allow", 'a list of "schedule" and "data"', allow);
  return new Set(allow);
}

/** One difference between a run and the run that wrote a checkpoint. */
export interface Difference {
  /** Description of the difference. */
  readonly words: string;
  /** The value of `allow` that allows it; `undefined` if none does. */
  readonly allowedAs: Allowed | undefined;
}

/** Returns the differences between the run that wrote a checkpoint and this one. */
export function differencesOf(saved: RunIdentity, own: RunIdentity): Difference[] {
  const keys = [...new Set([...Object.keys(saved), ...Object.keys(own)])];
  return keys.flatMap((key) => {
    const [before, now] = key === "data" ? comparableData(saved[key], own[key]) : [saved[key], own[key]];
    if (isDeepStrictEqual(before, now)) return [];
    const words = `the ${shown(key)} was ${inShort(before)}, this run has ${inShort(now)}`;
    return [{ words, allowedAs: kindOf(key, before, now) }];
  });
}

/**
 * Throws for differences that are not allowed.
 *
 * @throws StepsizeError `invalid-file` listing the differences and, if possible, how to allow them
 */
export function expectAllowed(path: string, differences: readonly Difference[], allowed: ReadonlySet<Allowed>): void {
  const refused = differences.filter(({ allowedAs }) => allowedAs === undefined || !allowed.has(allowedAs));
  if (refused.length === 0) return;
  const kinds = new Set(refused.map(({ allowedAs }) => allowedAs));
  const list = [...kinds].map((kind) => JSON.stringify(kind)).join(", ");
  const flag = [...kinds].join(",");
  const hint = kinds.has(undefined)
    ? ""
    : `. To go on all the same: load(path, { allow: [${list}] }), or --allow ${flag}`;
  const words = someOf(refused.map((each) => each.words));
  throw new StepsizeError("invalid-file", `${path}: the checkpoint is of another run: ${words}${hint}`);
}

/** Returns a value as JSON. It is cut, because a file may contain JSON of any length. */
function inShort(value: unknown): string {
  return shown(String(JSON.stringify(value)), 400);
}

/** Returns data to compare: by content if both digests are known, otherwise by name. */
function comparableData(saved: unknown, own: unknown): [unknown, unknown] {
  const [before, now] = [saved, own].map((data) => ({ ...(data as { digest?: unknown; dataset?: unknown }) }));
  const known = [before, now].every((data) => typeof data?.digest === "string");
  const ignored = known ? "dataset" : "digest";
  for (const data of [before, now]) delete data?.[ignored];
  return [before, now];
}

function kindOf(key: string, before: unknown, now: unknown): Allowed | undefined {
  if (key === "schedule" || key === "data") return key;
  // Only the learning rates of the groups may differ.
  const isRates = key === "groups" && isDeepStrictEqual(withoutRates(before), withoutRates(now));
  return isRates ? "schedule" : undefined;
}

function withoutRates(groups: unknown): unknown {
  return Array.isArray(groups) ? groups.map(({ lr: _, ...rest }) => rest) : groups;
}
