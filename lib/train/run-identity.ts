import { isDeepStrictEqual } from "node:util";
import { invalidArgument, StepsizeError } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { shown, someOf } from "../quoting.js";

/** What may be another than in the run that wrote a checkpoint; see {@link LoadOptions}. */
export type Allowed = "schedule" | "data";

/** The names of {@link Allowed}. */
export const allowedNames: readonly Allowed[] = ["schedule", "data"];

/** Options of `Trainer.load`. */
export interface LoadOptions {
  /**
   * What may differ from the run that wrote the checkpoint; default nothing, so that what follows has the bits of a run
   * that was never interrupted.
   *
   * - `"schedule"`: the learning rates and the budget. The step count, the parameters and the optimizer's state go on. The
   *   rate of the next step is the new schedule's at that step, as if it had been this one from the beginning.
   * - `"data"`: other items, or the same in other batches. The next batch is the new source's at that step. Data that were
   *   only moved or renamed need no permission if their content is known (`BatchSource.digest`).
   */
  readonly allow?: readonly Allowed[] | undefined;
}

const loadNames = optionNames<LoadOptions>({ allow: true });

/** What determines the losses to come besides the state of a run, as plain JSON: a checkpoint has it. */
export type RunIdentity = Readonly<Record<string, unknown>>;

/** The things that a call of `load` allows to differ. */
export function allowedBy(options: LoadOptions): ReadonlySet<Allowed> {
  expectOptions("load", loadNames, options);
  const { allow = [] } = options;
  if (!Array.isArray(allow) || !allow.every((one) => allowedNames.includes(one)))
    invalidArgument("load.allow", 'a list of "schedule" and "data"', allow);
  return new Set(allow);
}

/** One way in which a run is another than the one that wrote a checkpoint. */
export interface Difference {
  readonly words: string;
  /** What allows it; `undefined` if nothing does. */
  readonly allowedAs: Allowed | undefined;
}

/** How the run that wrote a checkpoint differs from this one. */
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
 * Throws for differences that nothing allowed.
 * @throws StepsizeError `invalid-file` naming each, and how to go on all the same if that is possible
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

/** As JSON, of which a hostile file may have any amount. */
function inShort(value: unknown): string {
  return shown(String(JSON.stringify(value)), 400);
}

/** The content of data decides if both sides know it; else what they are called. */
function comparableData(saved: unknown, own: unknown): [unknown, unknown] {
  const [before, now] = [saved, own].map((data) => ({ ...(data as { digest?: unknown; dataset?: unknown }) }));
  const known = [before, now].every((data) => typeof data?.digest === "string");
  const ignored = known ? "dataset" : "digest";
  for (const data of [before, now]) delete data?.[ignored];
  return [before, now];
}

function kindOf(key: string, before: unknown, now: unknown): Allowed | undefined {
  if (key === "schedule" || key === "data") return key;
  // Groups may have learning rates of their own, and must be the same otherwise.
  const isRates = key === "groups" && isDeepStrictEqual(withoutRates(before), withoutRates(now));
  return isRates ? "schedule" : undefined;
}

function withoutRates(groups: unknown): unknown {
  return Array.isArray(groups) ? groups.map(({ lr: _, ...rest }) => rest) : groups;
}
