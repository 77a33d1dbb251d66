import { allocate } from "../allocate.js";
import { expectState } from "../arguments.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import type { NativeTensor } from "../native/addon.js";
import type { Device, TypedArray } from "../native/index.js";
import { expectOptions, optionNames } from "../options.js";
import { claim, strangerBeside } from "../tensor/claims.js";
import { copy, noGrad, Tensor, type TorchLayout, tensor, tidy } from "../tensor/index.js";
import {
  isCustom,
  type LearningRate,
  learningRateJson,
  type ParameterGroup,
  type ResolvedGroup,
  resolveGroups,
  rowsOf,
} from "./groups.js";
import { type Hyper, hyperFields, hyperRow, learningRateAt, scheduledFields, scheduledRow } from "./hyper.js";
import {
  type Foreign,
  factsOf,
  isForeign,
  type ParameterLike,
  type Trainable,
  validateParameters,
} from "./parameters.js";
import { Keeper, type Slot, slotsOf } from "./slots.js";
import { type Described, placesOf, type StatePlaces } from "./state-dict.js";
import { StepCount } from "./step-count.js";
import { StepLists } from "./step-lists.js";
import { type StepOptions, validateStepOptions } from "./step-options.js";
import { fromTorch, stepsMade, type TorchMoments, torchMoments, torchPlaces, toTorch } from "./torch-state.js";

/** What `stats()` reads from the device. */
export interface OptimizerStats {
  /** Steps so far, applied or not. */
  readonly iteration: number;
  /** Steps that were applied. How often each parameter was updated is `updates` in `stateDict()`. */
  readonly updates: number;
  /** Steps left out because a gradient was not finite. */
  readonly skipped: number;
  /** The step (from 0) whose gradient was not finite, where that stopped the updates. */
  readonly stoppedAt: number | undefined;
  /** Global norm of the last gradient after scaling and before clipping, in float64; 0 if it was not asked for. */
  readonly norm: number;
  /** What clipping multiplied the last gradient by; 1: nothing. */
  readonly coefficient: number;
  /** The last step's learning rate, of each group. */
  readonly learningRates: readonly number[];
}

/** Options of one step, in place of the optimizer's own. */
export interface StepOverrides extends Pick<StepOptions, "gradientScale"> {
  /**
   * The gradients are sums over this total weight and are divided by it: a float32 scalar on the device, such as the sum
   * of several losses' `nn.weightOf`. Of 0, if nothing counted, the step's gradient is zero. Default: none.
   */
  readonly totalWeight?: Tensor | undefined;
}

/** @internal Where a state of PyTorch's is read from. */
export interface TorchStateSource {
  readonly read: (name: string) => Promise<number>;
  readonly fill: (name: string, to: Tensor, layout: TorchLayout) => Promise<void>;
  readonly ready: () => Promise<void>;
}

/** An optimizer's counters, and how often each parameter was updated. */
interface OwnCounts {
  readonly counters: Float64Array;
  readonly updates: Int32Array;
}

const overrideNames = optionNames<StepOverrides>({ gradientScale: true, totalWeight: true });

const stateFields = 6;
const stateFieldsPerGroup = 3;
/** In place of a parameter's count: `kAsManyAsAll` of native/update/scalars.h. */
const asManyAsAll = -1;

/**
 * What all optimizers share: groups, the learning rate, state on the device and the step itself, which is three
 * enqueued operations at most and never waits for the device: the gradient's norm (only for clipping and the non-finite
 * check), the step's scalars, and one update of all tensors of all groups.
 */
export abstract class Optimizer<Options extends { lr: LearningRate }> {
  /** @internal */
  readonly groups: readonly ResolvedGroup<Options>[];
  readonly #slots: readonly Slot[];
  readonly #device: Device;
  readonly #stepOptions: StepOptions;
  readonly #hyper: Tensor;
  /** What stands in `#hyper`, so that it is written again only when it changes. */
  #written: Float64Array | undefined;
  readonly #state: Tensor;
  /** How often each parameter was updated, in the order of the slots. */
  readonly #updates: Tensor;
  /** The group of each parameter. */
  readonly #groupOf: Tensor;
  readonly #keeper: Keeper;
  readonly #lists: StepLists;
  readonly #count: StepCount;
  #schedule: Tensor | undefined;
  /** The rows of `#schedule`. */
  #rows = new Float64Array();

  protected constructor(
    parameters: readonly ParameterLike[],
    shared: Options,
    groups: readonly ParameterGroup<Options>[],
    stepOptions: StepOptions,
  ) {
    validateStepOptions(stepOptions);
    this.#device = validateParameters(parameters, stepOptions.device);
    for (const parameter of parameters) if (parameter instanceof Tensor) claim(parameter);
    this.groups = resolveGroups(parameters, shared, groups);
    for (const { options } of this.groups) this.validate(options);
    this.#stepOptions = stepOptions;
    this.#slots = slotsOf(this.groups, parameters);
    const native = this.#device.native;
    const { length } = this.groups;
    this.#hyper = new Tensor(this.#device, native.create("float64", [length, hyperFields])).keep();
    this.#state = new Tensor(
      this.#device,
      native.create("float64", [stateFields + stateFieldsPerGroup * length], initialState(length)),
    ).keep();
    this.#count = new StepCount(this.#state);
    const parameterCount = [this.#slots.length];
    this.#updates = new Tensor(
      this.#device,
      native.create("int32", parameterCount, new Int32Array(this.#slots.length)),
    ).keep();
    const groupOf = Int32Array.from(this.#slots, ({ group }) => group);
    this.#groupOf = new Tensor(this.#device, native.create("int32", parameterCount, groupOf)).keep();
    const { dtype } = factsOf(parameters[0] as ParameterLike);
    this.#keeper = new Keeper(this.#device, dtype, stepOptions, () => this.momentNames);
    this.#lists = new StepLists(this.#device, this.#keeper);
  }

  /** Throws for options that make no sense. */
  protected abstract validate(options: Options): void;
  /** The hyper-parameters of a group's next step. */
  protected abstract hyper(options: Options, learningRate: number, step: number): Hyper;
  /** Names of the tensors that the rule keeps per parameter; empty where there are none. */
  protected abstract readonly momentNames: readonly string[];
  /** The update rule, as `native/update/rules.h` names it. */
  protected abstract readonly rule: string;

  /** Whether a step measures the gradient's norm. */
  get checksGradients(): boolean {
    return this.#stepOptions.clipNorm !== undefined || this.#stepOptions.nonFinite !== undefined;
  }

  /** What a step multiplies every gradient by, unless it is told otherwise. */
  get gradientScale(): number {
    return this.#stepOptions.gradientScale ?? 1;
  }

  /** Whether a step whose gradient is not finite is left out and counted. */
  get skipsNonFinite(): boolean {
    return this.#stepOptions.nonFinite === "skip";
  }

  /**
   * Steps made so far; indexes the schedule.
   *
   * @throws StepsizeError `invalid-state` while only the device knows it: see {@link loadStateDict}
   */
  get iteration(): number {
    const { made } = this.#count;
    if (made !== undefined) return made;
    throw new StepsizeError(
      "invalid-state",
      "iteration: only the device knows how many steps the loaded state has made; await loadStateDict(…) first",
    );
  }

  set iteration(steps: number) {
    if (!Number.isSafeInteger(steps) || steps < 0) invalidArgument("iteration", "a whole number of steps ≥ 0", steps);
    this.#count.made = steps;
  }

  /** The learning rate of each group's next step, in the order the groups were resolved. */
  learningRates(): number[] {
    return this.groups.map(({ options }) => learningRateAt(options.lr, this.iteration));
  }

  /**
   * Applies one update. Of tensors, every one that has a gradient takes part, in stream order, and the call returns at
   * once. Memory of others takes a gradient for each parameter, in their order, and of arrays the call returns when the
   * step is done. Updates are counted per parameter, as in PyTorch: the first update of one whose first gradient comes
   * late is corrected as a first one.
   *
   * The gradients of a loss that failed, over a label that is no class for example, spoil the step: all parameters that
   * took part and what the optimizer keeps of them then reject with that error whenever they are read, also after
   * further steps. They are good again once they are written: load a checkpoint into the model and
   * {@link loadStateDict | into the optimizer}. On arrays the call throws the error, and nothing has changed. In memory
   * of a device that somebody else owns there is nobody to tell: read {@link stats}, which fails if the step measures
   * the gradient's norm, or the loss.
   *
   * Gradients of several batches add up. The step of them together divides their sum by what they count:
   *
   * ```ts
   * for (const { x, y } of parts) tidy(() => nn.crossEntropy(model.forward(x), y, { reduction: "sum" }).backward());
   * optimizer.step({ gradientScale: 1 / labelsThatCount });
   * optimizer.zeroGrad();
   * ```
   *
   * @param gradients for memory of others: as many as parameters, of their lengths
   * @param options gradientScale, in place of the optimizer's own; totalWeight, for sums over a weight on the device
   * @throws StepsizeError `invalid-state` where no parameter has a gradient, an array was detached or resized, or the
   * step cannot be captured; `invalid-argument` for an unknown option, or where a gradient does not fit its parameter or
   * memory overlaps. Nothing has changed then.
   */
  step(options?: StepOverrides): void;
  step(gradients: readonly Foreign[], options?: StepOverrides): void;
  step(first: readonly Foreign[] | StepOverrides = {}, second: StepOverrides = {}): void {
    const [given, options] = Array.isArray(first) ? [first, second] : [undefined, first as StepOverrides];
    const slots = this.#slotsWithGradient(given);
    expectOptions("step", overrideNames, options);
    noGrad(() => tidy(() => this.#step(slots, given ?? slots.map(gradientOf), { ...this.#stepOptions, ...options })));
  }

  #step(slots: readonly Slot[], gradients: readonly (Tensor | Foreign)[], options: StepOptions & StepOverrides): void {
    const { clipNorm = 0, nonFinite, gradientScale = 1, totalWeight, zeroGradients = false, seed = 0 } = options;
    const { capturing } = this.#device;
    if (this.#count.made === undefined && !this.#schedule) this.#leaveCounting();
    this.#expectTabulated();
    const hyper = this.#hyperRows();
    if (capturing) this.#expectCapturable(slots, hyper);
    // Before anything counts the step: they are the memory that may not be there.
    this.#keeper.keep(slots);
    this.#lists.set(slots, gradients);
    if (!sameValues(hyper, this.#written)) this.#hyper.write(hyper);
    this.#written = hyper;

    const checkFinite = nonFinite !== undefined;
    const skipNonFinite = nonFinite === "skip";
    const scheduled = this.#schedule !== undefined;
    const device = this.#device;
    const norm = clipNorm > 0 || checkFinite ? device.enqueue("gradientNorm", [], {}, [this.#lists.gradients]) : [];
    const schedule = this.#schedule ? [this.#schedule.handle] : [];
    const kept = [this.#hyper, this.#state, this.#updates, this.#groupOf].map(({ handle }) => handle);
    const weight = totalWeight ? [totalWeight.handle] : [];
    const [scalars] = device.enqueue("prepareStep", [...kept, ...norm, ...weight, ...schedule], {
      maxNorm: clipNorm,
      checkFinite,
      skipNonFinite,
      gradientScale,
      scheduled,
      weighed: totalWeight !== undefined,
    }) as [NativeTensor];
    const attributes = { rule: this.rule, zeroGradients, roundingSeed: seed };
    device.enqueue("update", [scalars, this.#updates.handle], attributes, this.#lists.all);
    for (const handle of [...norm, scalars]) handle.dispose();
    if (capturing) {
      capturing.onReplay({
        before: () => {
          this.#expectTabulated();
          noGrad(() => this.#keeper.follow());
        },
        after: (times) => {
          this.#count.advance(times);
          this.#keeper.settle();
        },
      });
    } else {
      this.#count.advance(1);
    }
    this.#keeper.settle();
  }

  /**
   * Prepares steps that need nothing from the host: the learning rates (and momenta) of all steps go to the device,
   * which counts the steps itself, and what the rule keeps per parameter is made. The updates have the same bits.
   * `device.capture` needs it.
   *
   * @param steps how many steps from 0 on; default: those of the longest schedule and the one
   * after its budget, 1 without a schedule. Later steps have the values of the last one.
   * @throws StepsizeError `unsupported` where a schedule moves more than rate and momentum; `invalid-argument` without
   * steps if a learning rate is a function without a budget.
   */
  tabulate(steps?: number): void {
    const count = steps ?? this.#rowsOfTable();
    if (count === undefined)
      throw new StepsizeError(
        "invalid-argument",
        "steps: a learning rate is a function without a budget; say for how many steps it is tabulated",
      );
    if (!Number.isSafeInteger(count) || count < 1) invalidArgument("steps", "a whole number of at least 1", count);
    const first = this.groups.map(({ options }) => this.hyper(options, learningRateAt(options.lr, 0), 0));
    const length = count * this.groups.length * scheduledFields;
    const rows = allocate("steps: the table of the schedule", () => new Float64Array(length));
    let offset = 0;
    for (let step = 0; step < count; step++)
      for (const [g, { options }] of this.groups.entries()) {
        const hyper = this.hyper(options, learningRateAt(options.lr, step), step);
        rows.set(scheduledRow(first[g] as Hyper, hyper), offset);
        offset += scheduledFields;
      }
    const { native } = this.#device;
    this.#rows = rows;
    this.#schedule?.dispose();
    const shape = [count, this.groups.length, scheduledFields];
    this.#schedule = new Tensor(this.#device, native.create("float64", shape, rows)).keep();
    // The rows themselves no longer change: what does stands in the table.
    this.#written = this.#hyperRows();
    this.#hyper.write(this.#written);
    noGrad(() => this.#keeper.keep(this.#slots));
  }

  /** Forgets the gradients of all parameters, and gives back their memory. */
  zeroGrad(): void {
    for (const { parameter } of this.#slots) if (parameter instanceof Tensor) parameter.zeroGrad();
  }

  /** What the device counted and measured, when the steps enqueued so far are done. */
  async stats(): Promise<OptimizerStats> {
    return this.statsOf((await this.#state.read()) as Float64Array);
  }

  /** @internal What {@link stats} reads, a vector of float64. */
  get deviceState(): Tensor {
    return this.#state;
  }

  /** @internal {@link deviceState}'s values by name. */
  statsOf(state: Float64Array): OptimizerStats {
    const [iteration, updates, skipped, stopped, norm, coefficient, ...groups] = state as unknown as [
      ...[number, number, number, number, number, number],
      ...number[],
    ];
    const learningRates = this.groups.map((_, g) => groups[stateFieldsPerGroup * g + 2] as number);
    const stoppedAt = stopped > 0 ? stopped - 1 : undefined;
    return { iteration, updates, skipped, stoppedAt, norm, coefficient, learningRates };
  }

  /**
   * Everything a resumed run needs besides the parameters: the step's counters as `state`, the number of updates of each
   * parameter, in the order in which they were given, as `updates`, and per parameter what is kept of it as
   * `<parameter>.<name>`. The tensors themselves, not copies.
   */
  stateDict(): Map<string, Tensor> {
    const state = new Map<string, Tensor>([
      ["state", this.#state],
      ["updates", this.#updates],
    ]);
    const { names } = this.#keeper;
    for (const { key, kept } of this.#slots)
      for (const [i, tensor] of kept.entries()) state.set(`${key}.${names[i]}`, tensor);
    return state;
  }

  /**
   * Restores what {@link stateDict} gave, read from a file as `name → values`, {@link iteration} with it: the schedule
   * goes on. The values are copied in stream order, and the call returns at once. What it returns resolves when the host
   * knows the iteration: at once for tensors made of values of the host and for another optimizer's state, otherwise when
   * the device was read. Steps may be made before, except with a learning rate that is a function without a budget.
   *
   * Counters of dropout layers belong to the model: see `Module.loadCounters`.
   *
   * @throws StepsizeError `invalid-file` where it is of other parameters or of another optimizer; nothing has changed
   * then.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>): Promise<void> {
    try {
      return this.#load(state);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #load(state: ReadonlyMap<string, Tensor>): Promise<void> {
    expectState("state", state);
    const { expected, unused } = this.checkStateDict(state);
    const counters = state.get("state") as Tensor;
    this.#prepareLoad(state, unused);
    noGrad(() => {
      for (const [name, tensor] of state) copy((expected.get(name) as { tensor: () => Tensor }).tensor(), tensor);
      for (const slot of unused) this.#keeper.reset(slot);
    });
    this.#keeper.settle();
    const counted = this.#count.load(counters);
    // Who does not await it may not need it.
    counted.catch(() => {});
    return counted;
  }

  /** Makes what is kept of the parameters that a state has something of. */
  #prepareLoad(state: ReadonlyMap<string, Described>, unused: readonly Slot[]): void {
    noGrad(() => this.#keeper.keep(this.#slots.filter((slot) => !unused.includes(slot))));
    // A state without counts comes from an earlier version, which had one for all parameters.
    if (!state.has("updates"))
      this.#updates.write(Int32Array.from(this.#slots, (slot) => (unused.includes(slot) ? 0 : asManyAsAll)));
  }

  /**
   * Continues a run of PyTorch: reads the state of `torch.optim.SGD`, `Adam` or `AdamW` from tensors named
   * `<parameter>.<name>`. The parameter has its PyTorch name, as the model's `torchNames()` gives it, or its path here;
   * the name is PyTorch's: `exp_avg`, `exp_avg_sq`, `max_exp_avg_sq`, `momentum_buffer`, and `step`, how often the
   * parameter was updated. Tensors have PyTorch's shapes and order of axes. A parameter without state begins anew.
   *
   * @param steps steps made so far, and updates of each parameter that has a state; default: the largest `step` found,
   * and the `step` of each. SGD has none.
   * @throws StepsizeError `invalid-file` if it does not fit; nothing has changed then. `unsupported` for parameters with
   * float32 masters, which PyTorch's state does not have.
   */
  async loadTorchState(state: ReadonlyMap<string, Tensor>, steps?: number): Promise<void> {
    expectState("state", state);
    if (steps !== undefined && typeof steps !== "number") invalidArgument("steps", "a number of steps", steps);
    this.#expectNoMasters("loadTorchState");
    const { tensors, steps: counts } = await fromTorch(state, this.#slots, this.#keeper);
    try {
      this.#loadTranslated(tensors, this.#countsOf(tensors, steps, counts));
    } finally {
      for (const one of tensors.values()) one.dispose();
    }
  }

  /**
   * The state as PyTorch has it, for `torch.optim.SGD`, `Adam` or `AdamW`: tensors named `<parameter>.<name>` with
   * PyTorch's names of both, in its shapes and order of axes, and for Adam and AdamW each parameter's `step`. The caller
   * disposes of the tensors. Parameters that never had a gradient are left out.
   *
   * @throws StepsizeError `unsupported` for parameters with float32 masters, which PyTorch's state does not have
   */
  async toTorchState(): Promise<Map<string, Tensor>> {
    this.#expectNoMasters("toTorchState");
    const counted = this.#keeper.names.includes("expAvgSq");
    // Enqueued with the reads of the moments: all are of one moment.
    const updates = counted ? this.#updates.read() : undefined;
    return await toTorch(
      this.#slots,
      this.#keeper,
      async ({ place }) => (await updates)?.[place] as number | undefined,
    );
  }

  #expectNoMasters(method: string): void {
    if (this.#keeper.hasMasters)
      throw new StepsizeError("unsupported", `${method}: PyTorch's state has no float32 masters`);
  }

  /**
   * Our counts for a state of PyTorch's.
   *
   * @param translated what there is of it, by our names
   * @param steps made so far, if the caller says it
   * @param counts what the state says of each parameter
   */
  #countsOf(
    translated: ReadonlyMap<string, unknown>,
    steps: number | undefined,
    counts: ReadonlyMap<Slot, number>,
  ): OwnCounts {
    const made = stepsMade(steps === undefined ? counts.values() : [steps]);
    const counters = initialState(this.groups.length);
    counters[0] = counters[1] = made;
    this.groups.forEach(({ options }, g) => {
      counters[stateFields + stateFieldsPerGroup * (g + 1) - 1] = learningRateAt(options.lr, 0);
    });
    const updated = (slot: Slot) => this.#keeper.names.some((name) => translated.has(`${slot.key}.${name}`));
    const updatesOf = (slot: Slot) => (updated(slot) ? (steps ?? counts.get(slot) ?? made) : 0);
    return { counters, updates: Int32Array.from(this.#slots, updatesOf) };
  }

  /** @param tensors in our names and layout */
  #loadTranslated(tensors: ReadonlyMap<string, Tensor>, { counters, updates }: OwnCounts): void {
    const own = tensor(this.#device, counters);
    const ownCounts = tensor(this.#device, updates);
    try {
      this.#load(new Map([["state", own], ["updates", ownCounts], ...tensors]));
    } finally {
      own.dispose();
      ownCounts.dispose();
    }
  }

  /**
   * @internal {@link loadStateDict} from where no tensors are, such as a file: each is filled in its turn, and the
   * optimizer has no state of any step until the promise resolves.
   *
   * @param counters the values of `state`
   * @param fill writes the values of this name
   */
  async fillState(
    state: ReadonlyMap<string, Described>,
    counters: Float64Array,
    fill: (name: string, to: Tensor) => Promise<void>,
  ): Promise<void> {
    const { expected, unused } = this.checkStateDict(state);
    this.#prepareLoad(state, unused);
    for (const name of state.keys()) await fill(name, (expected.get(name) as { tensor: () => Tensor }).tensor());
    noGrad(() => {
      for (const slot of unused) this.#keeper.reset(slot);
    });
    this.#keeper.settle();
    this.#count.take(counters[0]);
  }

  /**
   * @internal {@link loadTorchState} from where no tensors are, such as a file.
   *
   * @param read gives the number that a tensor of one element holds
   * @param fill writes the values of PyTorch's name, which have this layout
   * @param ready called when it is known that all of it fits; nothing has changed if it throws
   */
  async fillTorchState(
    state: ReadonlyMap<string, Described>,
    steps: number | undefined,
    { read, fill, ready }: TorchStateSource,
  ): Promise<void> {
    if (steps !== undefined && typeof steps !== "number") invalidArgument("steps", "a number of steps", steps);
    this.#expectNoMasters("loadTorchState");
    const { moments, counts } = torchPlaces(state, this.#slots, this.#keeper);
    await ready();
    const found = new Map<Slot, number>();
    for (const { path, slot } of counts) found.set(slot, await read(path));
    const places = new Map(moments.map(({ path, name, parameter }) => [name, { path, ...parameter }]));
    const translated = new Map(
      [...places].map(([name, { path, slot }]) => [name, { ...state.get(path)!, shape: slot.shape }]),
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
    await this.fillState(described, counters, async (name, to) => {
      const values = own.get(name);
      if (values) return to.write(values);
      const { path, layout } = places.get(name) as { path: string; layout: TorchLayout };
      await fill(path, to, layout);
    });
  }

  /** @internal What {@link toTorchState} copies: the tensors themselves, and how often each parameter was updated. */
  torchStateParts(): { parameters: readonly TorchMoments[]; updates: Promise<TypedArray> | undefined } {
    this.#expectNoMasters("toTorchState");
    const counted = this.#keeper.names.includes("expAvgSq");
    return { parameters: torchMoments(this.#slots, this.#keeper), updates: counted ? this.#updates.read() : undefined };
  }

  /** @internal Throws what {@link loadStateDict} would throw, and changes nothing. */
  checkStateDict(state: ReadonlyMap<string, Described>): StatePlaces {
    return placesOf(state, { state: this.#state, updates: this.#updates }, this.#slots, this.#keeper);
  }

  /**
   * What determines the updates, as plain JSON. Each group has its options, without the learning rate where that is the
   * first group's.
   */
  toJSON(): Record<string, unknown> {
    const { clipNorm, gradientScale, masterWeights, momentType, seed } = this.#stepOptions;
    const shared = this.groups[0]?.options.lr;
    const groups = this.groups.map(({ options: { lr, ...options } }) => ({
      ...options,
      ...(lr !== shared && { lr: learningRateJson(lr) }),
    }));
    const optimizer = this.constructor.name;
    return { optimizer, rule: this.rule, groups, clipNorm, gradientScale, masterWeights, momentType, seed };
  }

  /** Gives back the memory of the optimizer's own tensors. */
  dispose(): void {
    this.#keeper.dispose(this.#slots);
    this.#schedule?.dispose();
    for (const own of [this.#hyper, this.#state, this.#updates, this.#groupOf]) own.dispose();
  }

  #slotsWithGradient(given: readonly Foreign[] | undefined): readonly Slot[] {
    const { parameter: first } = this.#slots[0] as Slot;
    const foreign = isForeign(first);
    const { dtype } = factsOf(first);
    if (dtype !== this.#keeper.dtype)
      throw new StepsizeError(
        "invalid-state",
        `step: the parameters were ${this.#keeper.dtype} when the optimizer was made, now they are ${dtype};` +
          " call setPrecision before",
      );
    if (!foreign) {
      if (given) throw new StepsizeError("invalid-argument", "step: the gradients of tensors are their own `grad`");
      const slots = this.#slots.filter(({ parameter }) => (parameter as Trainable).grad);
      expectNoStranger(slots);
      if (slots.length > 0) return slots;
      throw new StepsizeError("invalid-state", "step: no parameter has a gradient; call backward() on a loss first");
    }
    if (given?.length !== this.#slots.length)
      throw new StepsizeError(
        "invalid-argument",
        `gradients: expected one for each of ${this.#slots.length} parameters, got ${given ? given.length : "none"}`,
      );
    return this.#slots;
  }

  #expectCapturable(slots: readonly Slot[], hyper: Float64Array): void {
    const scheduled = this.groups.some(({ options }) => typeof options.lr === "function");
    // A master that is behind its parameter would be overwritten by every replay.
    const incomplete = slots.some(({ kept }) => kept.length < this.#keeper.names.length) || !this.#keeper.agrees;
    if ((scheduled && !this.#schedule) || incomplete || !sameValues(hyper, this.#written))
      throw new StepsizeError(
        "invalid-state",
        "step: what the host decides at each step cannot be captured; call optimizer.tabulate() before device.capture",
      );
  }

  /** The budget of the longest schedule, 1 without one; `undefined` if a learning rate has none. */
  #rowsOfTable(): number | undefined {
    const rows = this.groups.map(({ options: { lr } }) => rowsOf(lr));
    const known = rows.filter((count) => count !== undefined);
    return known.length === rows.length ? Math.max(...known) : undefined;
  }

  /** Lets the device find its place in the schedule, which only it knows. */
  #leaveCounting(): void {
    if (this.groups.every(({ options: { lr } }) => typeof lr === "number")) return;
    if (this.#rowsOfTable() === undefined)
      throw new StepsizeError(
        "invalid-state",
        "step: only the device knows how many steps the loaded state has made, and a learning rate is a function without a" +
          " budget, which only the host can ask; await loadStateDict(…) first",
      );
    this.tabulate();
  }

  /** Throws where a function gives another value now than when it was tabulated: the device goes by the table. */
  #expectTabulated(): void {
    const { made } = this.#count;
    if (!this.#schedule || made === undefined) return;
    for (const [g, { options }] of this.groups.entries()) {
      if (!isCustom(options.lr)) continue;
      const [steps, groups] = this.#schedule.shape as [number, number];
      const offset = (Math.min(made, steps - 1) * groups + g) * scheduledFields;
      const tabulated = this.#rows.subarray(offset, offset + scheduledFields);
      const hyper = this.hyper(options, learningRateAt(options.lr, made), made);
      if (sameValues(Float64Array.from(scheduledRow(hyper, hyper)), tabulated)) continue;
      throw new StepsizeError(
        "invalid-state",
        `step: at step ${made} the learning rate is ${hyper.learningRate}, but tabulate(${steps}) noted ${tabulated[0]}.` +
          " A function must give the same rate for a step whenever it is asked, and be tabulated for as many steps as are made",
      );
    }
  }

  #hyperRows(): Float64Array {
    // Constant rates do not depend on it.
    const step = this.#schedule ? 0 : (this.#count.made ?? 0);
    return Float64Array.from(
      this.groups.flatMap(({ options }) => hyperRow(this.hyper(options, learningRateAt(options.lr, step), step))),
    );
  }
}

/** Throws where the model has a parameter that this step, and every other one, would leave as it is. */
function expectNoStranger(slots: readonly Slot[]): void {
  const stranger = strangerBeside(slots);
  if (!stranger) return;
  throw new StepsizeError(
    "invalid-state",
    `step: a parameter of shape [${stranger.shape.join(", ")}] has a gradient, but no module lists it and no optimizer has` +
      " it, so it is neither trained nor saved. Hold it, or its module, in a public property of the module that uses it;" +
      " not in a closure, a private or static field, a WeakMap or behind a getter. What you update by hand is no" +
      " Parameter but a tensor with requiresGrad",
  );
}

function gradientOf({ parameter }: Slot): Tensor {
  return (parameter as Trainable).grad as Tensor;
}

function sameValues(a: TypedArray, b: TypedArray | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((value, i) => value === b[i]);
}

/** Nothing is clipped yet. */
function initialState(groups: number): Float64Array {
  const state = new Float64Array(stateFields + stateFieldsPerGroup * groups);
  state[stateFields - 1] = 1;
  return state;
}
