import { expectState } from "../arguments.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import { valueAt } from "../lookup.js";
import type { Device, TypedArray } from "../native/index.js";
import { copy, noGrad, type Tensor, type TorchLayout, tensor } from "../tensor/index.js";
import {
  type Described,
  type OptimizerState,
  placesOf,
  type Slot,
  type StateLayout,
  type StatePlaces,
  type StepCount,
} from "./state.js";
import { fromTorch, stepsMade, type TorchMoments, torchMoments, torchPlaces, toTorch } from "./torch.js";

/** @internal A source of a PyTorch optimizer's state, such as a file. See `Optimizer.fillTorchState`. */
export interface TorchStateSource {
  readonly read: (name: string) => Promise<number>;
  readonly fill: (name: string, to: Tensor, layout: TorchLayout) => Promise<void>;
  readonly ready: () => Promise<void>;
}

/** The counters of an optimizer, and the number of updates of each parameter. */
interface OwnCounts {
  readonly counters: Float64Array;
  readonly updates: Int32Array;
}

/** What an optimizer saves. */
export interface SavedParts {
  readonly device: Device;
  readonly slots: readonly Slot[];
  readonly layout: StateLayout;
  /** The counters, in the order of `layout`. */
  readonly state: Tensor;
  /** Number of updates of each parameter, in the order of the slots. */
  readonly updates: Tensor;
  readonly optimizerState: OptimizerState;
  readonly count: StepCount;
  /** Returns the learning rate of each group at step 0. */
  readonly firstRates: () => number[];
}

/**
 * The state of an optimizer as others keep it: as tensors by name, as values from a file, and in PyTorch's form.
 * `Optimizer` documents the methods of the same purpose.
 */
export class SavedState {
  readonly #parts: SavedParts;

  constructor(parts: SavedParts) {
    this.#parts = parts;
  }

  /** Returns the tensors by name. See `Optimizer.stateDict`. */
  tensors(): Map<string, Tensor> {
    const state = new Map<string, Tensor>([
      ["state", this.#parts.state],
      ["updates", this.#parts.updates],
    ]);
    const { names } = this.#parts.optimizerState;
    for (const { key, tensors } of this.#parts.slots)
      for (const [i, tensor] of tensors.entries()) state.set(`${key}.${names[i]}`, tensor);
    return state;
  }

  /** See `Optimizer.loadStateDict`. Throws instead of rejecting if the state does not fit. */
  load(state: ReadonlyMap<string, Tensor>): Promise<void> {
    expectState("state", state);
    const { expected, unused } = this.check(state);
    const counters = valueAt(state, "state");
    this.#prepareLoad(state, unused);
    noGrad(() => {
      for (const [name, tensor] of state) copy(valueAt(expected, name).tensor(), tensor);
      for (const slot of unused) this.#parts.optimizerState.reset(slot);
    });
    this.#parts.optimizerState.markCurrent();
    const counted = this.#parts.count.load(counters);
    // A caller that does not await the promise must not cause an unhandled rejection.
    counted.catch(() => {});
    return counted;
  }

  /** Allocates the optimizer state of all parameters that the loaded state contains. */
  #prepareLoad(state: ReadonlyMap<string, Described>, unused: readonly Slot[]): void {
    noGrad(() => this.#parts.optimizerState.allocate(this.#parts.slots.filter((slot) => !unused.includes(slot))));
    // A state without `updates` comes from an earlier version, which had one count for all parameters.
    if (!state.has("updates"))
      this.#parts.updates.write(
        Int32Array.from(this.#parts.slots, (slot) =>
          unused.includes(slot) ? 0 : this.#parts.device.stepLayout.asManyAsAll,
        ),
      );
  }

  /** See `Optimizer.loadTorchState`. */
  async loadTorch(state: ReadonlyMap<string, Tensor>, steps?: number): Promise<void> {
    expectState("state", state);
    if (steps !== undefined && typeof steps !== "number") invalidArgument("steps", "a number of steps", steps);
    this.#expectNoMasters("loadTorchState");
    const { tensors, steps: counts } = await fromTorch(state, this.#parts.slots, this.#parts.optimizerState);
    try {
      this.#loadTranslated(tensors, this.#countsOf(tensors, steps, counts));
    } finally {
      for (const one of tensors.values()) one.dispose();
    }
  }

  /** See `Optimizer.toTorchState`. */
  async toTorch(): Promise<Map<string, Tensor>> {
    this.#expectNoMasters("toTorchState");
    const counted = this.#parts.optimizerState.names.includes("expAvgSq");
    // This read is enqueued together with those of the moments, so that all see the same step.
    const updates = counted ? this.#parts.updates.read() : undefined;
    return await toTorch(this.#parts.slots, this.#parts.optimizerState, async ({ place }) => (await updates)?.[place]);
  }

  #expectNoMasters(method: string): void {
    if (this.#parts.optimizerState.hasMasters)
      throw new StepsizeError("unsupported", `${method}: PyTorch's state has no float32 masters`);
  }

  /**
   * Returns the counters of this optimizer for a state of PyTorch.
   *
   * @param translated the tensors of the state by their names here
   * @param steps number of steps so far, if the caller gave it
   * @param counts the `step` of each parameter in the state
   */
  #countsOf(
    translated: ReadonlyMap<string, unknown>,
    steps: number | undefined,
    counts: ReadonlyMap<Slot, number>,
  ): OwnCounts {
    const made = stepsMade(steps === undefined ? counts.values() : [steps]);
    const counters = this.#parts.layout.valuesAt(made, this.#parts.firstRates());
    const updated = (slot: Slot) =>
      this.#parts.optimizerState.names.some((name) => translated.has(`${slot.key}.${name}`));
    const updatesOf = (slot: Slot) => (updated(slot) ? (steps ?? counts.get(slot) ?? made) : 0);
    return { counters, updates: Int32Array.from(this.#parts.slots, updatesOf) };
  }

  /** Loads a translated state. `tensors` have the names and layouts used here. */
  #loadTranslated(tensors: ReadonlyMap<string, Tensor>, { counters, updates }: OwnCounts): void {
    const own = tensor(this.#parts.device, counters);
    const ownCounts = tensor(this.#parts.device, updates);
    try {
      this.load(new Map([["state", own], ["updates", ownCounts], ...tensors]));
    } finally {
      own.dispose();
      ownCounts.dispose();
    }
  }

  /** See `Optimizer.fillState`. */
  async fill(
    state: ReadonlyMap<string, Described>,
    counters: Float64Array,
    fill: (name: string, to: Tensor) => Promise<void>,
  ): Promise<void> {
    const { expected, unused } = this.check(state);
    this.#prepareLoad(state, unused);
    for (const name of state.keys()) await fill(name, valueAt(expected, name).tensor());
    noGrad(() => {
      for (const slot of unused) this.#parts.optimizerState.reset(slot);
    });
    this.#parts.optimizerState.markCurrent();
    this.#parts.count.take(counters[0]);
  }

  /** See `Optimizer.fillTorchState`. */
  async fillTorch(
    state: ReadonlyMap<string, Described>,
    steps: number | undefined,
    { read, fill, ready }: TorchStateSource,
  ): Promise<void> {
    if (steps !== undefined && typeof steps !== "number") invalidArgument("steps", "a number of steps", steps);
    this.#expectNoMasters("loadTorchState");
    const { moments, counts } = torchPlaces(state, this.#parts.slots, this.#parts.optimizerState);
    await ready();
    const found = new Map<Slot, number>();
    for (const { path, slot } of counts) found.set(slot, await read(path));
    const places = new Map(moments.map(({ path, name, parameter }) => [name, { path, ...parameter }]));
    const translated = new Map(
      [...places].map(([name, { path, slot }]) => [name, { ...valueAt(state, path), shape: slot.shape }]),
    );
    const { counters, updates } = this.#countsOf(translated, steps, found);
    const own = new Map<string, TypedArray>([
      ["state", counters],
      ["updates", updates],
    ]);
    const described = new Map<string, Described>([
      ["state", { dtype: "float64", shape: [counters.length] }],
      ["updates", { dtype: "int32", shape: [updates.length] }],
      ...translated,
    ]);
    await this.fill(described, counters, async (name, to) => {
      const values = own.get(name);
      if (values) return to.write(values);
      const { path, layout } = valueAt(places, name);
      await fill(path, to, layout);
    });
  }

  /** See `Optimizer.torchStateParts`. */
  torchParts(): { parameters: readonly TorchMoments[]; updates: Promise<TypedArray> | undefined } {
    this.#expectNoMasters("toTorchState");
    const counted = this.#parts.optimizerState.names.includes("expAvgSq");
    return {
      parameters: torchMoments(this.#parts.slots, this.#parts.optimizerState),
      updates: counted ? this.#parts.updates.read() : undefined,
    };
  }

  /** See `Optimizer.checkStateDict`. */
  check(state: ReadonlyMap<string, Described>): StatePlaces {
    return placesOf(
      state,
      { state: this.#parts.state, updates: this.#parts.updates },
      this.#parts.slots,
      this.#parts.optimizerState,
    );
  }
}
