import { invalidArgument, StepsizeError } from "../errors.js";
import { itemAt, valueAt, zip } from "../lookup.js";
import type { NativeList, StepLayout } from "../native/addon.js";
import type { Device, TypedArray } from "../native/index.js";
import { shown, someOf } from "../quoting.js";
import { elementCount, sameShape } from "../shapes.js";
import { hostValues } from "../tensor/host-values.js";
import { cast, copy, fill, type HasTorchNames, noGrad, Tensor, tidy, zeros } from "../tensor/index.js";
import type { StepOptions } from "./options.js";
import {
  elementOf,
  type Foreign,
  factsOf,
  isForeign,
  listedBy,
  type ParameterLike,
  type ResolvedGroup,
} from "./parameters.js";

/** A parameter of an optimizer with its group, its place and its optimizer state. */
export interface Slot {
  readonly parameter: ParameterLike;
  /** The parameter's name in the state. The name of the tensor itself changes if a part of its model is listed. */
  readonly key: string;
  /** The parameter's name when the optimizer was made. It is a path in the model `listedBy`. */
  readonly path: string;
  readonly listedBy: HasTorchNames | undefined;
  /** Index of the parameter's group. */
  readonly group: number;
  /** Index of the parameter among all parameters of the optimizer, in the order in which they were given. */
  readonly place: number;
  readonly shape: readonly number[];
  /** The optimizer state of the parameter, in the order of {@link OptimizerState.names}; empty before the first gradient. */
  tensors: readonly Tensor[];
}

/**
 * Makes the slots of an optimizer's parameters. A slot's key is the parameter's name, or its index if it has no name or
 * shares the name with another parameter.
 */
export function slotsOf(groups: readonly ResolvedGroup<object>[], given: readonly ParameterLike[]): Slot[] {
  const groupOf = new Map(groups.flatMap(({ parameters }, group) => parameters.map((one) => [one, group])));
  const counts = new Map<string, number>();
  for (const parameter of given) {
    const { name } = factsOf(parameter);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return given.map((parameter, i) => {
    const { name, shape } = factsOf(parameter);
    const key = name !== "" && counts.get(name) === 1 ? name : String(i);
    const group = valueAt(groupOf, parameter);
    return { parameter, key, path: name, listedBy: listedBy(parameter), group, place: i, shape, tensors: [] };
  });
}

/** Makes and names the optimizer state: float32 master weights of bfloat16 parameters, and the rule's moments. */
export class OptimizerState {
  readonly #device: Device;
  readonly #momentType: "float32" | "bfloat16";
  readonly #momentNames: () => readonly string[];
  /** Type of the parameters when the optimizer was made. */
  readonly dtype: string;
  /** Whether the parameters are rounded copies of float32 master weights. */
  readonly hasMasters: boolean;
  /** The slots that have a master. */
  #slotsWithMaster: readonly Slot[] = [];
  /**
   * The parameters of `#slotsWithMaster`. The list notes which of them were written since they last agreed with their master.
   */
  readonly #current: NativeList;

  constructor(device: Device, dtype: string, options: StepOptions, momentNames: () => readonly string[]) {
    this.#device = device;
    this.#momentType = options.momentType ?? "float32";
    this.#momentNames = momentNames;
    this.dtype = dtype;
    this.hasMasters = dtype === "bfloat16" && options.masterWeights !== false;
    this.#current = device.native.list();
  }

  /** Names of the tensors that are kept per parameter: `master` first if there are master weights, then the moments. */
  get names(): readonly string[] {
    return this.hasMasters ? ["master", ...this.#momentNames()] : this.#momentNames();
  }

  /** Returns the type of the tensors with a name, given by its index in {@link names}. */
  typeOf(index: number): "float32" | "bfloat16" {
    return this.hasMasters && index === 0 ? "float32" : this.#momentType;
  }

  /**
   * Makes the optimizer state of these parameters if it does not exist yet, and updates masters whose parameter was
   * written.
   *
   * @throws StepsizeError `unsupported` for caller-owned bfloat16 memory with master weights; `out-of-memory`
   */
  allocate(slots: readonly Slot[]): void {
    this.refreshMasters();
    const made: Slot[] = [];
    try {
      for (const slot of slots) {
        if (slot.tensors.length > 0 || this.names.length === 0) continue;
        // All tensors of a slot are made before any is stored: if one allocation fails, none is kept.
        const kept = this.names.map((name, i) =>
          name === "master" ? masterOf(slot) : zeros(this.#device, slot.shape, this.typeOf(i)),
        );
        for (const tensor of kept) tensor.keep();
        slot.tensors = kept;
        made.push(slot);
      }
    } finally {
      if (this.hasMasters && made.length > 0) {
        this.#slotsWithMaster = [...this.#slotsWithMaster.filter((slot) => !isDisposed(slot)), ...made];
        this.#current.set(this.#slotsWithMaster.map(({ parameter }) => elementOf(parameter)));
      }
    }
  }

  /**
   * Resets the state of a parameter to its initial values. The tensors stay the same because captured work uses them.
   */
  reset(slot: Slot): void {
    for (const [i, tensor] of slot.tensors.entries()) {
      if (this.hasMasters && i === 0) renewMaster(slot);
      else fill(tensor, 0);
    }
  }

  /** Whether no parameter was written since it last agreed with its master. */
  get mastersAreCurrent(): boolean {
    return this.#current.changed() === null;
  }

  /** Copies parameters that other code wrote, for example by loading a checkpoint, into their masters. */
  refreshMasters(): void {
    const changed = this.#current.changed();
    if (changed === null) return;
    for (const place of changed) renewMaster(itemAt(this.#slotsWithMaster, place));
    this.markCurrent();
  }

  /** Notes that all masters and parameters agree now. */
  markCurrent(): void {
    this.#current.note();
  }

  /** Disposes of the state of these parameters. Captured work that is replayed later no longer updates masters. */
  dispose(slots: readonly Slot[]): void {
    for (const slot of slots) {
      for (const tensor of slot.tensors) tensor.dispose();
      slot.tensors = [];
    }
    this.#slotsWithMaster = [];
    this.#current.set([]);
  }
}

function isDisposed({ parameter }: Slot): boolean {
  return parameter instanceof Tensor && parameter.disposed;
}

/** Copies a parameter into its master. */
function renewMaster(slot: Slot): void {
  const master = masterOf(slot);
  copy(itemAt(slot.tensors, 0), master);
  master.dispose();
}

function masterOf({ parameter, key }: Slot): Tensor {
  if (parameter instanceof Tensor) return noGrad(() => tidy(() => cast(parameter.detach(), "float32")));
  throw new StepsizeError(
    "unsupported",
    `parameters[${key}]: caller-owned bfloat16 memory is updated without a master; set masterWeights: false`,
  );
}

/** Type and shape of a saved tensor, known before its values are read. */
export type Described = Pick<Tensor, "dtype" | "shape">;

/** The tensors of the optimizer into which the tensors of a saved state are copied. */
export interface StatePlaces {
  /** The target of each name. `tensor()` may be called only after `OptimizerState.allocate` has made the parameter's state. */
  readonly expected: ReadonlyMap<string, { readonly tensor: () => Tensor }>;
  /** The parameters without saved state, because they had no gradient when it was saved. Their state is reset. */
  readonly unused: readonly Slot[];
}

/**
 * Finds the target of each tensor of a saved state. Changes nothing.
 *
 * @param saved the saved state by name
 * @param counters the optimizer's `state` and `updates`
 * @throws StepsizeError `invalid-file` if a name is missing or unknown, or a shape or a type differs
 */
export function placesOf(
  saved: ReadonlyMap<string, Described>,
  counters: { readonly state: Tensor; readonly updates: Tensor },
  slots: readonly Slot[],
  optimizerState: OptimizerState,
): StatePlaces {
  const problems: string[] = [];
  const expected = new Map<string, { tensor: () => Tensor; shape: readonly number[]; dtype: string }>();
  for (const [name, tensor] of Object.entries(counters))
    expected.set(name, { tensor: () => tensor, shape: tensor.shape, dtype: tensor.dtype });
  const unused: Slot[] = [];
  for (const slot of slots) {
    const names = optimizerState.names.map((kept) => `${slot.key}.${kept}`);
    names.forEach((name, i) => {
      expected.set(name, {
        tensor: () => itemAt(slot.tensors, i),
        shape: slot.shape,
        dtype: optimizerState.typeOf(i),
      });
    });
    const missing = names.filter((name) => !saved.has(name));
    if (missing.length === names.length) unused.push(slot);
    else for (const name of missing) problems.push(`${name} is missing`);
  }
  for (const [name, tensor] of saved) {
    const like = expected.get(name);
    if (!like) problems.push(`${shown(name)} is not part of this optimizer`);
    else if (elementCount(like.shape) !== elementCount(tensor.shape))
      problems.push(`${name} has ${elementCount(tensor.shape)} values, expected ${elementCount(like.shape)}`);
    else if (!sameShape(like.shape, tensor.shape))
      problems.push(`${name} is [${tensor.shape}], expected [${like.shape}]`);
    else if (like.dtype !== tensor.dtype) problems.push(`${name} is ${tensor.dtype}, expected ${like.dtype}`);
  }
  if (!saved.has("state")) problems.push("state is missing");
  if (problems.length > 0)
    throw new StepsizeError("invalid-file", `the state does not fit the optimizer: ${someOf(problems)}`);
  return { expected, unused };
}

/** Counters and measurements of an optimizer, as `stats()` reads them from the device. */
export interface OptimizerStats {
  /** Number of steps so far, applied or not. */
  readonly iteration: number;
  /** Number of steps that were applied. `stateDict()` has the number of updates of each parameter as `updates`. */
  readonly updates: number;
  /** Number of steps that were left out because a gradient was not finite. */
  readonly skipped: number;
  /** Index of the step whose gradient stopped the updates because it was not finite; `undefined` if none did. */
  readonly stoppedAt: number | undefined;
  /**
   * Gradient norm of the last step, after scaling and before clipping, in float64; 0 if the step did not measure it.
   */
  readonly norm: number;
  /** Factor by which clipping multiplied the last gradient; 1 if it was not clipped. */
  readonly coefficient: number;
  /** Learning rate of the last step, for each group. */
  readonly learningRates: readonly number[];
}

/** The layout of the `state` tensor: the optimizer's counters, then those of each group. All values are float64. */
export class StateLayout {
  readonly #names: StepLayout;
  readonly #groups: number;

  constructor(names: StepLayout, groups: number) {
    this.#names = names;
    this.#groups = groups;
  }

  /** Returns the counters after a number of steps without clipping, all of them applied. */
  valuesAt(steps: number, learningRates: readonly number[] = []): Float64Array {
    const { state, groupState } = this.#names;
    const head: Readonly<Record<string, number>> = { iteration: steps, updates: steps, coefficient: 1 };
    const values = state.map((name) => head[name] ?? 0);
    for (let g = 0; g < this.#groups; g++)
      values.push(...groupState.map((name) => (name === "learningRate" ? (learningRates[g] ?? 0) : 0)));
    return Float64Array.from(values);
  }

  /** Names the values of the tensor. */
  statsOf(values: TypedArray): OptimizerStats {
    const { state, groupState } = this.#names;
    const at = (name: string) => values[state.indexOf(name)] ?? 0;
    const first = state.length + groupState.indexOf("learningRate");
    const learningRates = Array.from({ length: this.#groups }, (_, g) => values[first + g * groupState.length] ?? 0);
    return {
      iteration: at("iteration"),
      updates: at("updates"),
      skipped: at("skipped"),
      stoppedAt: at("stoppedAt") > 0 ? at("stoppedAt") - 1 : undefined,
      norm: at("norm"),
      coefficient: at("coefficient"),
      learningRates,
    };
  }
}

/** The step counts of optimizers by their `state` tensor, in which the device counts too. */
const live = new WeakMap<Tensor, StepCount>();

/** The number of steps that an optimizer has made, as far as the host knows it. */
export class StepCount {
  readonly #state: Tensor;
  #made: number | undefined = 0;
  /** Steps since a state was loaded whose count the host does not know yet. */
  #since = 0;
  #reading: Promise<void> | undefined;

  /** @param state the optimizer's `state` tensor, whose first value is the device's count */
  constructor(state: Tensor) {
    this.#state = state;
    live.set(state, this);
  }

  /** The number of steps; `undefined` while only the device knows it. */
  get made(): number | undefined {
    return this.#made;
  }

  set made(steps: number) {
    this.#made = steps;
    this.#reading = undefined;
  }

  /** Counts steps. */
  advance(times: number): void {
    if (this.#made === undefined) this.#since += times;
    else this.#made += times;
  }

  /** Sets the count to the first value of a state that the host knows. */
  take(known: number | undefined): void {
    this.made = countOf(known);
  }

  /**
   * Sets the count to that of a state which the device copies into the optimizer's. The count is known at once if the
   * tensor was made from values of the host or is the state of another optimizer. Otherwise it is read from the device,
   * and steps that are made in the meantime are added to it.
   *
   * @returns a promise that resolves when the count is known
   */
  async load(given: Tensor): Promise<void> {
    const known = live.get(given)?.made ?? hostValues(given)?.[0];
    if (known !== undefined) return this.take(known);
    this.#made = undefined;
    this.#since = 0;
    const reading = this.#state.read().then(([made]) => {
      // Another state may have been loaded, or another count set, since this read began.
      if (this.#reading === reading) this.made = countOf(made) + this.#since;
    });
    this.#reading = reading;
    await reading;
  }
}

/** Returns the count as the device interprets it: a value that is not above 0 counts as 0. */
function countOf(value: number | undefined): number {
  return value !== undefined && value > 0 ? Math.trunc(value) : 0;
}

/**
 * The lists of tensors of a step. A device keeps a table of each list, so a list is set again only when it changes. The
 * parameters that take part rarely change; the gradients may be new tensors at every step.
 */
export class StepLists {
  /** The gradients of the slots, in their order. */
  readonly gradients: NativeList;
  /** The other lists in the order of the update: the updated tensors, the moments, the rounded copies. */
  #updated: readonly NativeList[] = [];
  readonly #device: Device;
  readonly #optimizerState: OptimizerState;
  #slots: readonly Slot[] = [];
  #lastGradients: readonly unknown[] = [];

  constructor(device: Device, optimizerState: OptimizerState) {
    this.#device = device;
    this.#optimizerState = optimizerState;
    this.gradients = device.native.list();
  }

  /** All lists in the order in which the update takes them. */
  get all(): readonly NativeList[] {
    return [...this.#updated.slice(0, 1), this.gradients, ...this.#updated.slice(1)];
  }

  /**
   * Sets the parameters that take part in a step and their gradients.
   *
   * @throws StepsizeError `invalid-argument` if a gradient does not fit its parameter or memory overlaps;
   * `invalid-state` if an array was detached or resized
   */
  set(slots: readonly Slot[], gradients: readonly (Tensor | Foreign)[]): void {
    const foreign = isForeign(itemAt(slots, 0).parameter);
    if (foreign) expectUnresized(slots);
    this.#setUpdated(slots, foreign);
    this.#setGradients(slots, gradients);
    if (foreign) this.#expectDistinct();
  }

  #setUpdated(slots: readonly Slot[], foreign: boolean): void {
    const same = this.#slots.length === slots.length && slots.every((slot, i) => slot === this.#slots[i]);
    if (same && !foreign) return;
    const places = Int32Array.from(slots, ({ place }) => place);
    const parameters = slots.map(({ parameter }) => elementOf(parameter));
    const kept = this.#optimizerState.names.map((_, i) => slots.map((slot) => itemAt(slot.tensors, i).handle));
    // With master weights, the masters are updated and the parameters are their rounded copies.
    const contents = this.#optimizerState.hasMasters ? [...kept, parameters] : [parameters, ...kept];
    const lists = contents.map((_, i) => this.#updated[i] ?? this.#device.native.list());
    this.#slots = [];
    for (const [list, content] of zip(lists, contents)) if (!same || content === parameters) list.set(content, places);
    this.#updated = lists;
    this.#slots = slots;
  }

  #setGradients(slots: readonly Slot[], gradients: readonly (Tensor | Foreign)[]): void {
    const elements = gradients.map((gradient) => (gradient instanceof Tensor ? gradient.handle : gradient));
    const unchanged =
      elements.length === this.#lastGradients.length && elements.every((one, i) => one === this.#lastGradients[i]);
    // An array may have been detached since. Only setting the list again finds that before the step begins.
    if (unchanged && gradients[0] instanceof Tensor) return;
    const { dtype } = factsOf(itemAt(slots, 0).parameter);
    for (const [i, slot] of slots.entries()) {
      const gradient = gradients[i];
      const own = slot.parameter instanceof Tensor;
      const what = own ? `step: the gradient of ${slot.key}` : `gradients[${i}]`;
      if (gradient === undefined || own !== gradient instanceof Tensor || (!own && !isForeign(gradient)))
        invalidArgument(what, "an array like its parameter", gradient);
      const facts = factsOf(gradient);
      if (facts.dtype !== dtype || !sameShape(facts.shape, slot.shape))
        throw new StepsizeError(
          "invalid-argument",
          `${what} is ${facts.dtype}[${facts.shape}], the parameter ${dtype}[${slot.shape}]`,
        );
    }
    this.#lastGradients = [];
    this.gradients.set(elements);
    this.#lastGradients = elements;
  }

  /** Throws if caller-owned memory overlaps: an update may not write memory that it also reads as something else. */
  #expectDistinct(): void {
    const found = this.#device.native.overlap([...this.#updated, this.gradients], this.#updated.length);
    if (!found) return;
    const names = [
      ...(this.#optimizerState.hasMasters ? [] : ["parameters"]),
      ...this.#optimizerState.names,
      "gradients",
    ];
    const place = (list: number, index: number) => `${names[list]}[${index}]`;
    const [list, index, otherList, otherIndex] = found;
    throw new StepsizeError(
      "invalid-argument",
      `${place(list, index)} overlaps ${place(otherList, otherIndex)}: each needs memory of its own`,
    );
  }
}

function expectUnresized(slots: readonly Slot[]): void {
  for (const [i, { parameter, shape }] of slots.entries()) {
    const [length] = factsOf(parameter).shape;
    if (length !== shape[0])
      throw new StepsizeError(
        "invalid-state",
        `parameters[${i}]: the array was detached or resized: it had ${shape[0]} elements, now ${length}`,
      );
  }
}
