import { StepsizeError } from "../errors.js";
import { itemAt, valueAt } from "../lookup.js";
import { shown, someOf } from "../quoting.js";
import { sameShape } from "../shapes.js";
import { type HasTorchNames, type Tensor, type TorchNames, tensor } from "../tensor/index.js";
import { fromTorchOrder, type TorchLayout, torchLayoutOf, torchShape, toTorchOrder } from "../tensor/torch-layout.js";
import type { Described, OptimizerState, Slot } from "./state.js";

/** The names of the optimizer state in PyTorch, with the names here. */
const ownNames = new Map([
  ["momentum_buffer", "momentumBuffer"],
  ["exp_avg", "expAvg"],
  ["exp_avg_sq", "expAvgSq"],
  ["max_exp_avg_sq", "maxExpAvgSq"],
]);
const torchNames = new Map([...ownNames].map(([torch, own]) => [own, torch]));

/** A parameter of an optimizer with its name and layout in PyTorch. */
export interface TorchParameter {
  readonly slot: Slot;
  readonly name: string;
  readonly layout: TorchLayout;
}

/** The state of a PyTorch optimizer, translated to the names and layouts used here. */
export interface TranslatedState {
  /** Tensors on the device. The caller disposes of them. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Steps of each parameter for which the state has a `step`. */
  readonly steps: ReadonlyMap<Slot, number>;
}

/** The parameters and names to which the tensors of a PyTorch optimizer's state belong. */
export interface TorchPlaces {
  /** For each moment: its name in PyTorch (`path`), its name here, and its parameter with the layout of the values. */
  readonly moments: readonly { readonly path: string; readonly name: string; readonly parameter: TorchParameter }[];
  /** For each parameter that has one: the name of the tensor that counts its steps. */
  readonly counts: readonly { readonly path: string; readonly slot: Slot }[];
}

/**
 * Translates the state of a PyTorch optimizer. Changes nothing.
 *
 * @throws StepsizeError `invalid-file` if a name, a shape, a type or a number of steps does not fit
 */
export async function fromTorch(
  state: ReadonlyMap<string, Tensor>,
  slots: readonly Slot[],
  optimizerState: OptimizerState,
): Promise<TranslatedState> {
  const { moments, counts } = torchPlaces(state, slots, optimizerState);
  const given = (path: string) => valueAt(state, path);
  // All reads are enqueued before the first is awaited, so that they see the same step.
  const [made, read] = await Promise.all([
    Promise.all(counts.map(async ({ path, slot }) => [slot, await given(path).item()] as const)),
    Promise.all(moments.map(async (moment) => ({ ...moment, values: await given(moment.path).read() }))),
  ]);
  const tensors = read.map(({ values, path, name, parameter: { slot, layout } }): [string, Tensor] => {
    const ordered = fromTorchOrder(values, slot.shape, layout);
    const { device, dtype } = given(path);
    return [name, tensor(device, ordered, slot.shape, { dtype })];
  });
  return { tensors: new Map(tensors), steps: new Map(made) };
}

/**
 * Finds the parameters to which the tensors of a PyTorch optimizer's state belong.
 *
 * @throws StepsizeError `invalid-file` if a name, a shape or a type does not fit
 */
export function torchPlaces(
  state: ReadonlyMap<string, Described>,
  slots: readonly Slot[],
  optimizerState: OptimizerState,
): TorchPlaces {
  const entries = [...state].map(([path, from]) => ({ path, from, ...partsOf(path) }));
  const unknown = entries.filter(({ parameter, last }) => parameter === "" || (last !== "step" && !ownNames.has(last)));
  if (unknown.length > 0) {
    const expected = [...ownNames.keys(), "step"].map((name) => `<parameter>.${name}`).join(", ");
    refuse([`expected ${expected}, found ${unknown.slice(0, 3).map(({ path }) => shown(path))}`]);
  }
  const found = parametersOf(slots, new Set(entries.map(({ parameter }) => parameter)));
  const problems: string[] = [];
  const moments: TorchPlaces["moments"][number][] = [];
  const counts: TorchPlaces["counts"][number][] = [];
  for (const { path, from, parameter: name, last } of entries) {
    const parameter = found.get(name);
    const own = ownNames.get(last);
    if (!parameter || (own !== undefined && !optimizerState.names.includes(own))) {
      problems.push(`${shown(path)} is not part of this optimizer${parameter ? "" : adviceOn(name)}`);
    } else if (own === undefined) {
      counts.push({ path, slot: parameter.slot });
    } else {
      problems.push(...differences(path, from, parameter, optimizerState.typeOf(optimizerState.names.indexOf(own))));
      moments.push({ path, name: `${parameter.slot.key}.${own}`, parameter });
    }
  }
  problems.push(...missing(state, found, optimizerState));
  if (problems.length > 0) refuse(problems);
  return { moments, counts };
}

/**
 * Returns the optimizer state under PyTorch's names and in its layout. The caller disposes of the tensors.
 *
 * @param stepsOf returns the steps of a parameter, written as `step`; nothing is written for `undefined`
 */
export async function toTorch(
  slots: readonly Slot[],
  optimizerState: OptimizerState,
  stepsOf: (slot: Slot) => Promise<number | undefined>,
): Promise<Map<string, Tensor>> {
  const all = torchMoments(slots, optimizerState).map(async ({ name, slot, moments }) => {
    // The reads of all parameters are enqueued before the first is awaited, so that they see the same step.
    const [steps, read] = await Promise.all([
      stepsOf(slot),
      Promise.all(moments.map(async (one) => ({ one, values: await one.kept.read() }))),
    ]);
    const made = read.map(({ one, values }): [string, Tensor] => {
      const { device, dtype } = one.kept;
      const ordered = toTorchOrder(values, slot.shape, one.layout);
      return [one.name, tensor(device, ordered, one.shape, { dtype })];
    });
    const [first] = slot.tensors;
    if (first === undefined || steps === undefined) return made;
    const counted: [string, Tensor] = [`${name}.step`, tensor(first.device, steps)];
    return [counted, ...made];
  });
  return new Map((await Promise.all(all)).flat());
}

/** The moments of a parameter with their names and layouts in PyTorch. */
export interface TorchMoments {
  /** The parameter's name in PyTorch. */
  readonly name: string;
  readonly slot: Slot;
  readonly moments: readonly {
    readonly name: string;
    readonly kept: Tensor;
    /** The shape in PyTorch. */
    readonly shape: readonly number[];
    readonly layout: TorchLayout;
  }[];
}

/** Returns the moments of parameters with PyTorch's names and layouts. */
export function torchMoments(slots: readonly Slot[], optimizerState: OptimizerState): TorchMoments[] {
  return torchParameters(slots).map(({ slot, name, layout }) => {
    const shape = torchShape(slot.shape, layout);
    const moments = slot.tensors.map((kept, i) => {
      const moment = itemAt(optimizerState.names, i);
      return { name: `${name}.${torchNames.get(moment) ?? moment}`, kept, shape, layout };
    });
    return { name, slot, moments };
  });
}

/** Returns parameters with PyTorch's names. The name here is used if PyTorch's is unknown, or if two would be equal. */
function torchParameters(slots: readonly Slot[]): TorchParameter[] {
  const tables = new Map<HasTorchNames | undefined, TorchNames | undefined>();
  const all = slots.map((slot) => {
    const { listedBy, path, shape, key } = slot;
    if (!tables.has(listedBy)) tables.set(listedBy, listedBy?.torchNames());
    const table = tables.get(listedBy);
    return { slot, name: table?.names.get(path) ?? key, layout: torchLayoutOf(table, path, shape) };
  });
  const counts = new Map<string, number>();
  for (const { name } of all) counts.set(name, (counts.get(name) ?? 0) + 1);
  return all.map((one) => (counts.get(one.name) === 1 ? one : { ...one, name: one.slot.key }));
}

/** Returns parameters by the names that a state uses: PyTorch's, or those used here if more of the names match them. */
function parametersOf(slots: readonly Slot[], names: ReadonlySet<string>): Map<string, TorchParameter> {
  const all = torchParameters(slots);
  const torch = new Map(all.map((one) => [one.name, one]));
  const own = new Map(all.map((one) => [one.slot.key, one]));
  const known = (table: ReadonlyMap<string, unknown>) => [...names].filter((name) => table.has(name)).length;
  return known(own) > known(torch) ? own : torch;
}

function partsOf(path: string): { parameter: string; last: string } {
  const dot = path.lastIndexOf(".");
  return { parameter: path.slice(0, Math.max(0, dot)), last: path.slice(dot + 1) };
}

function differences(path: string, from: Described, { slot, layout }: TorchParameter, dtype: string): string[] {
  const shape = torchShape(slot.shape, layout);
  if (!sameShape(from.shape, shape)) return [`${shown(path)} is [${from.shape}], expected [${shape}]`];
  return from.dtype === dtype ? [] : [`${shown(path)} is ${from.dtype}, expected ${dtype}`];
}

/** Returns what is missing: a parameter must have all of its moments or none. */
function missing(
  state: ReadonlyMap<string, Described>,
  found: ReadonlyMap<string, TorchParameter>,
  optimizerState: OptimizerState,
): string[] {
  return [...found.keys()].flatMap((parameter) => {
    const names = optimizerState.names.map((own) => `${parameter}.${torchNames.get(own)}`);
    const absent = names.filter((name) => !state.has(name));
    return absent.length === names.length ? [] : absent.map((name) => `${name} is missing`);
  });
}

/** Returns advice about an unknown parameter whose name is a number, as in PyTorch's `optimizer.state_dict()`. */
function adviceOn(name: string): string {
  return /^\d+$/.test(name)
    ? " (PyTorch's state_dict() numbers the parameters; write their names in place of the numbers)"
    : "";
}

/**
 * Returns the number of steps of a run from the counts of its parameters: the largest.
 *
 * @throws StepsizeError `invalid-file` if there is no count, or if one is not a whole number ≥ 0
 */
export function stepsMade(counts: Iterable<number>): number {
  const all = [...counts];
  if (all.length === 0) refuse(["it has no step; say how many steps were made"]);
  for (const made of all) if (!Number.isSafeInteger(made) || made < 0) refuse([`step is ${made}`]);
  return all.reduce((largest, count) => Math.max(largest, count));
}

function refuse(problems: readonly string[]): never {
  throw new StepsizeError("invalid-file", `the state is not that of a PyTorch optimizer: ${someOf(problems)}`);
}
