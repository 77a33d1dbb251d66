import { isDeepStrictEqual } from "node:util";
import type { BatchSource } from "../data/index.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import type { Device } from "../native/index.js";
import type { Module } from "../nn/index.js";
import type { LearningRate, Optimizer } from "../optim/index.js";
import { learningRateJson } from "../optim/options.js";
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

/** Everything besides the state that determines the losses to come. A checkpoint contains it as plain JSON. */
export interface RunIdentity {
  /** The learning rates of the first parameter group. */
  readonly schedule: unknown;
  /** The data, and a hash of their content if it is known. */
  readonly data: object;
  /** Number of batches per step. */
  readonly accumulate: number;
  /** The precision of the model, the device's `float32Products`, and what the optimizer adds. */
  readonly [key: string]: unknown;
}

/** The identity that a checkpoint contains. Its fields may have any values. */
export type SavedIdentity = Readonly<Record<string, unknown>>;

/** What determines the losses to come. */
interface IdentityParts {
  readonly model: Module;
  readonly optimizer: Optimizer<{ lr: LearningRate }>;
  readonly device: Device;
  readonly data: BatchSource;
  readonly accumulate: number;
}

/** Returns the identity of a run. A resumed run must have the same. */
export function identityOf({ model, optimizer, device, data, accumulate }: IdentityParts): RunIdentity {
  const { lr } = optimizer.groups[0]?.options ?? {};
  return {
    ...(model.precision !== "float32" && { precision: model.precision }),
    ...(device.float32Products !== "float32" && { float32Products: device.float32Products }),
    schedule: lr === undefined ? undefined : learningRateJson(lr),
    ...optimizer.toJSON(),
    data: data.toJSON(),
    accumulate,
  };
}

/** Adds the hash of the data's content to an identity. */
export function withDigest(identity: RunIdentity, digest: string | undefined): RunIdentity {
  return digest === undefined ? identity : { ...identity, data: { ...identity.data, digest } };
}

/** Returns whether an identity has the hash of the data's content. */
export function hasDigest(identity: SavedIdentity): boolean {
  return digestOf(fieldsOf(identity["data"])) !== undefined;
}

/**
 * Returns the differences that a call of `load` allows.
 *
 * @throws StepsizeError `invalid-argument` for an unknown or invalid option
 */
export function allowedBy(options: LoadOptions): ReadonlySet<Allowed> {
  expectOptions("load", loadNames, options);
  const { allow = [] } = options;
  if (!Array.isArray(allow) || !allow.every((name) => allowedNames.includes(name)))
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
export function differencesOf(saved: SavedIdentity, identity: RunIdentity): Difference[] {
  // Values are compared as JSON writes them.
  const present: SavedIdentity = JSON.parse(JSON.stringify(identity));
  const keys = [...new Set([...Object.keys(saved), ...Object.keys(present)])];
  return keys.flatMap((key) => {
    const pair = [saved[key], present[key]] as const;
    const [before, now] = key === "data" ? comparableData(...pair) : pair;
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
function comparableData(saved: unknown, present: unknown): readonly [unknown, unknown] {
  const [before, now] = [fieldsOf(saved), fieldsOf(present)];
  const known = digestOf(before) !== undefined && digestOf(now) !== undefined;
  const ignored = known ? "dataset" : "digest";
  delete before[ignored];
  delete now[ignored];
  return [before, now];
}

/** Returns a copy of an object's fields. Other values may come from a file. */
function fieldsOf(value: unknown): Record<string, unknown> {
  return Object.assign({}, value);
}

function digestOf({ digest }: Record<string, unknown>): string | undefined {
  return typeof digest === "string" ? digest : undefined;
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
