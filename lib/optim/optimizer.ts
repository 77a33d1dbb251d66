import { invalidArgument, StepsizeError } from "../errors.js";
import { itemAt } from "../lookup.js";
import type { Device, TypedArray } from "../native/index.js";
import { expectOptions, optionNames } from "../options.js";
import { claim, strangerBeside } from "../tensor/claims.js";
import { noGrad, Tensor, tidy } from "../tensor/index.js";
import { type Hyper, HyperRows } from "./hyper-rows.js";
import {
  type LearningRate,
  learningRateAt,
  learningRateJson,
  type StepOptions,
  validateStepOptions,
} from "./options.js";
import {
  type Foreign,
  factsOf,
  type GivenParameters,
  isForeign,
  type ParameterGroup,
  parametersIn,
  type ResolvedGroup,
  resolveGroups,
  validateParameters,
} from "./parameters.js";
import { SavedState, type TorchStateSource } from "./saved-state.js";
import {
  type Described,
  OptimizerState,
  type OptimizerStats,
  type Slot,
  StateLayout,
  type StatePlaces,
  StepCount,
  StepLists,
  slotsOf,
} from "./state.js";
import type { TorchMoments } from "./torch.js";

/** Options of a single step. They replace those of the optimizer. */
export interface StepOverrides extends Pick<StepOptions, "gradientScale"> {
  /**
   * Divisor of the gradients: a float32 scalar on the device, such as the sum of `nn.weightOf` over several losses with
   * reduction `"sum"`. If it is 0, because no label counted, the step's gradient is zero. Default: no divisor.
   */
  readonly totalWeight?: Tensor | undefined;
}

const overrideNames = optionNames<StepOverrides>({ gradientScale: true, totalWeight: true });

/**
 * The base class of all optimizers: parameter groups, the learning rate, optimizer state on the device, and the step.
 *
 * A step enqueues at most three operations and does not wait for the device: the gradient norm (only for clipping and
 * the non-finite check), the step's scalars, and one update of all tensors of all groups.
 *
 * @example
 * ```ts
 * import { type Optimizer, SGD } from "stepsize";
 *
 * const weights = new Float32Array([1, 2, 3]);
 * const optimizer: Optimizer<any> = new SGD([weights], { lr: 0.1, clipNorm: 1 });
 * optimizer.step([new Float32Array([3, 4, 0])]);
 * const { updates, norm, coefficient } = await optimizer.stats(); // 1, 5, about 0.2
 * ```
 */
export abstract class Optimizer<Options extends { lr: LearningRate }> {
  /** @internal */
  readonly groups: readonly ResolvedGroup<Options>[];
  readonly #slots: readonly Slot[];
  readonly #device: Device;
  readonly #stepOptions: StepOptions;
  readonly #hyper: HyperRows;
  readonly #layout: StateLayout;
  /** The counters, in the order of `#layout`. */
  readonly #state: Tensor;
  /** Number of updates of each parameter, in the order of the slots. */
  readonly #updates: Tensor;
  /** Index of each parameter's group, in the order of the slots. */
  readonly #groupOf: Tensor;
  readonly #optimizerState: OptimizerState;
  readonly #lists: StepLists;
  readonly #count: StepCount;
  readonly #saved: SavedState;

  protected constructor(
    given: GivenParameters<Options>,
    shared: Options,
    groups: readonly ParameterGroup<Options>[],
    stepOptions: StepOptions,
  ) {
    validateStepOptions(stepOptions);
    const parameters = parametersIn(given);
    this.#device = validateParameters(parameters, stepOptions.device);
    for (const parameter of parameters) if (parameter instanceof Tensor) claim(parameter);
    this.groups = resolveGroups(given, shared, groups);
    for (const { options } of this.groups) this.validate(options);
    this.#stepOptions = stepOptions;
    this.#slots = slotsOf(this.groups, parameters);
    const { native } = this.#device;
    const hyperGroups = this.groups.map(({ options }) => ({
      lr: options.lr,
      at: (step: number) => this.hyper(options, learningRateAt(options.lr, step), step),
    }));
    this.#hyper = new HyperRows(this.#device, hyperGroups);
    this.#layout = new StateLayout(this.#device.stepLayout, this.groups.length);
    const counters = this.#layout.valuesAt(0);
    this.#state = new Tensor(this.#device, native.create("float64", [counters.length], counters)).keep();
    this.#count = new StepCount(this.#state);
    const parameterCount = [this.#slots.length];
    this.#updates = new Tensor(
      this.#device,
      native.create("int32", parameterCount, new Int32Array(this.#slots.length)),
    ).keep();
    const groupOf = Int32Array.from(this.#slots, ({ group }) => group);
    this.#groupOf = new Tensor(this.#device, native.create("int32", parameterCount, groupOf)).keep();
    const { dtype } = factsOf(itemAt(parameters, 0));
    this.#optimizerState = new OptimizerState(this.#device, dtype, stepOptions, () => this.momentNames);
    this.#lists = new StepLists(this.#device, this.#optimizerState);
    this.#saved = new SavedState({
      device: this.#device,
      slots: this.#slots,
      layout: this.#layout,
      state: this.#state,
      updates: this.#updates,
      optimizerState: this.#optimizerState,
      count: this.#count,
      firstRates: () => this.groups.map(({ options }) => learningRateAt(options.lr, 0)),
    });
  }

  /** Checks the options of a group. Throws `invalid-argument` if one is out of range. */
  protected abstract validate(options: Options): void;
  /** Returns the hyperparameters of a group at a step. */
  protected abstract hyper(options: Options, learningRate: number, step: number): Hyper;
  /** Names of the moments that the update rule keeps per parameter; empty if it keeps none. */
  protected abstract readonly momentNames: readonly string[];
  /** Name of the update rule in `native/update/rules.h`. */
  protected abstract readonly rule: string;

  /** Whether a step measures the gradient norm: `clipNorm` or `nonFinite` is set. */
  get checksGradients(): boolean {
    return this.#stepOptions.clipNorm !== undefined || this.#stepOptions.nonFinite !== undefined;
  }

  /** Factor of every gradient in a step that has no `gradientScale` of its own. */
  get gradientScale(): number {
    return this.#stepOptions.gradientScale ?? 1;
  }

  /** Whether a step with a gradient that is not finite is left out and counted: `nonFinite` is `"skip"`. */
  get skipsNonFinite(): boolean {
    return this.#stepOptions.nonFinite === "skip";
  }

  /**
   * Number of steps so far. It is the index of the next step in the schedule.
   *
   * @throws StepsizeError `invalid-state` when read while only the device knows the number (see {@link loadStateDict});
   * `invalid-argument` when set to anything but a whole number ≥ 0
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

  /**
   * Returns the learning rate of each group's next step. Parameters that no group accepts come first; the groups follow
   * in the order in which they were given.
   *
   * @throws StepsizeError `invalid-state` while only the device knows the number of steps; `invalid-argument` if a
   * schedule returns anything but a finite number ≥ 0
   */
  learningRates(): number[] {
    return this.groups.map(({ options }) => learningRateAt(options.lr, this.iteration));
  }

  /**
   * Applies one update to all parameters that have a gradient.
   *
   * For tensors, the call enqueues the update and returns at once. For caller-owned memory, it takes one gradient per
   * parameter, in the order of the parameters. For arrays, it returns when the update is done.
   *
   * Updates are counted per parameter, as in PyTorch. A parameter that gets its first gradient late has the bias
   * correction of a first update.
   *
   * If an operation of the loss failed, for example because of a label that is not a class, its gradients spoil the
   * step. Reading a parameter that took part, or its optimizer state, then rejects with that error, also after further
   * steps. To continue, overwrite the spoiled memory: load a checkpoint into the model and
   * {@link loadStateDict | into the optimizer}. For arrays, the call throws the error and changes nothing. For
   * caller-owned device memory, the error is reported only by the loss and, if the step measures the gradient norm, by
   * {@link stats}.
   *
   * Gradients of several batches add up. Divide their sum by the number of labels that count:
   *
   * ```ts
   * for (const { x, y } of parts) tidy(() => nn.crossEntropy(model.forward(x), y, { reduction: "sum" }).backward());
   * optimizer.step({ gradientScale: 1 / labelsThatCount });
   * optimizer.zeroGrad();
   * ```
   *
   * @param gradients for caller-owned memory: one per parameter, with its length and type
   * @param options options of this step; they replace those of the optimizer
   * @throws StepsizeError `invalid-argument` if an option is unknown, a gradient does not fit its parameter, memory
   * overlaps, or a schedule returns anything but a finite number ≥ 0; `invalid-state` if no parameter has a gradient, a
   * parameter has a gradient but no module or optimizer lists it, an array was detached or resized, the type of the
   * parameters changed, a learning rate differs from the tabulated one, or the step cannot be captured; `unsupported`
   * for caller-owned bfloat16 memory without `masterWeights: false`; `out-of-memory`. Nothing has changed then.
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
    if (this.#count.made === undefined && !this.#hyper.table) this.#leaveCounting();
    this.#hyper.expectTabulated(this.#count.made);
    const hyper = this.#hyper.at(this.#count.made);
    if (capturing) this.#expectCapturable(slots, hyper);
    // State is allocated before the step is counted, because the allocation may fail.
    this.#optimizerState.allocate(slots);
    this.#lists.set(slots, gradients);
    this.#hyper.upload(hyper);

    const checkFinite = nonFinite !== undefined;
    const skipNonFinite = nonFinite === "skip";
    const { table } = this.#hyper;
    const device = this.#device;
    const norm = clipNorm > 0 || checkFinite ? device.enqueue("gradientNorm", [], {}, [this.#lists.gradients]) : [];
    const counters = [this.#hyper.rows, this.#state, this.#updates, this.#groupOf].map(({ handle }) => handle);
    const weight = totalWeight ? [totalWeight.handle] : [];
    const schedule = table ? [table.handle] : [];
    const scalars = device.enqueue("prepareStep", [...counters, ...norm, ...weight, ...schedule], {
      maxNorm: clipNorm,
      checkFinite,
      skipNonFinite,
      gradientScale,
      scheduled: table !== undefined,
      weighed: totalWeight !== undefined,
    });
    const attributes = { rule: this.rule, zeroGradients, roundingSeed: seed };
    device.enqueue("update", [...scalars, this.#updates.handle], attributes, this.#lists.all);
    for (const handle of [...norm, ...scalars]) handle.dispose();
    if (capturing) {
      capturing.onReplay({
        before: () => {
          this.#hyper.expectTabulated(this.#count.made);
          noGrad(() => this.#optimizerState.refreshMasters());
        },
        after: (times) => {
          this.#count.advance(times);
          this.#optimizerState.markCurrent();
        },
      });
    } else {
      this.#count.advance(1);
    }
    this.#optimizerState.markCurrent();
  }

  /**
   * Uploads a table of the learning rates and momenta of all steps, and allocates the optimizer state, so that later
   * steps need nothing from the host. The device then counts the steps itself. The updates have the same bits as
   * without the table.
   *
   * Call it before a step is captured with `device.capture`.
   *
   * @param steps number of steps in the table, from step 0. Later steps have the values of the last row. Default: the
   * budget of the longest schedule + 1, or 1 without a schedule.
   * @throws StepsizeError `invalid-argument` if `steps` is not a whole number ≥ 1, if it is missing and a learning rate
   * is a function without a budget, or if a schedule returns anything but a finite number ≥ 0; `unsupported` if a
   * schedule changes more than the rate and the momentum, or for caller-owned bfloat16 memory without `masterWeights:
   * false`; `out-of-memory`
   */
  tabulate(steps?: number): void {
    const count = steps ?? this.#hyper.plannedSteps;
    if (count === undefined)
      throw new StepsizeError(
        "invalid-argument",
        "steps: a learning rate is a function without a budget; say for how many steps it is tabulated",
      );
    if (!Number.isSafeInteger(count) || count < 1) invalidArgument("steps", "a whole number of at least 1", count);
    this.#hyper.tabulate(count);
    noGrad(() => this.#optimizerState.allocate(this.#slots));
  }

  /** Removes the gradients of all parameters and frees their memory. Has no effect on caller-owned memory. */
  zeroGrad(): void {
    for (const { parameter } of this.#slots) if (parameter instanceof Tensor) parameter.zeroGrad();
  }

  /**
   * Reads counters and measurements from the device, after the steps enqueued so far.
   *
   * @throws StepsizeError with the error of a failed operation, if it spoiled a step that measures the gradient norm;
   * `invalid-state` after {@link dispose}, or inside `device.capture`. The promise rejects then.
   */
  async stats(): Promise<OptimizerStats> {
    return this.statsOf(await this.#state.read());
  }

  /** @internal The float64 vector that {@link stats} reads. */
  get deviceState(): Tensor {
    return this.#state;
  }

  /** @internal Names the values of {@link deviceState}. */
  statsOf(state: TypedArray): OptimizerStats {
    return this.#layout.statsOf(state);
  }

  /**
   * Returns everything that a resumed run needs besides the parameters, by name: the counters as `state`, the number of
   * updates of each parameter in their order as `updates`, and the moments and master weights as `<parameter>.<name>`.
   *
   * The tensors are those of the optimizer, not copies.
   */
  stateDict(): Map<string, Tensor> {
    return this.#saved.tensors();
  }

  /**
   * Loads a state that {@link stateDict} returned, including {@link iteration}, so that the schedule continues.
   *
   * The call enqueues copies of the values and returns at once. The promise resolves when the host knows the iteration:
   * at once if the tensors were made from values of the host or belong to another optimizer, otherwise after a read
   * from the device. Steps may be made before it resolves, unless a learning rate is a function without a budget.
   *
   * The counters of dropout layers belong to the model; see `Module.loadCounters`.
   *
   * @throws StepsizeError `invalid-argument` if `state` is not a Map of tensors; `invalid-file` if it belongs to other
   * parameters or to another optimizer. The promise rejects then, and nothing has changed.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>): Promise<void> {
    try {
      return this.#saved.load(state);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Loads the state of PyTorch's `torch.optim.SGD`, `Adam` or `AdamW`, so that a run of PyTorch can be continued.
   *
   * Tensors are named `<parameter>.<name>`. `<parameter>` is the PyTorch name that the model's `torchNames()` returns,
   * or the parameter's path here. `<name>` is PyTorch's: `exp_avg`, `exp_avg_sq`, `max_exp_avg_sq`, `momentum_buffer`,
   * or `step` for the number of updates. Tensors have PyTorch's shapes and order of axes. The state of a parameter that
   * is not in `state` is reset.
   *
   * @param steps number of steps so far, and of updates of each parameter that has a state. Default: the largest
   * `step`, and the parameter's own `step`. Required for SGD, whose state has no `step`.
   * @throws StepsizeError `invalid-argument` if `state` is not a Map of tensors or `steps` is not a number;
   * `invalid-file` if the state does not fit; `unsupported` for parameters with float32 master weights, which PyTorch's
   * state does not have. Nothing has changed then.
   */
  async loadTorchState(state: ReadonlyMap<string, Tensor>, steps?: number): Promise<void> {
    await this.#saved.loadTorch(state, steps);
  }

  /**
   * Returns the state in PyTorch's form, for `torch.optim.SGD`, `Adam` or `AdamW`.
   *
   * Tensors are named `<parameter>.<name>` with PyTorch's names, and have its shapes and order of axes. For Adam and
   * AdamW each parameter also has a `step`. Parameters that never had a gradient are left out. The caller disposes of
   * the tensors.
   *
   * @throws StepsizeError `unsupported` for parameters with float32 master weights, which PyTorch's state does not have
   */
  async toTorchState(): Promise<Map<string, Tensor>> {
    return await this.#saved.toTorch();
  }

  /**
   * @internal Loads a state from a source without tensors, such as a file. Tensors are filled one after the other;
   * until the promise resolves, the optimizer's state is incomplete.
   *
   * @param state types and shapes by name
   * @param counters the values of `state`
   * @param fill writes the values of a name into a tensor
   */
  async fillState(
    state: ReadonlyMap<string, Described>,
    counters: Float64Array,
    fill: (name: string, to: Tensor) => Promise<void>,
  ): Promise<void> {
    await this.#saved.fill(state, counters, fill);
  }

  /**
   * @internal Loads a state of PyTorch from a source without tensors, such as a file.
   *
   * `read` returns the value of a tensor with one element. `fill` writes the values of a PyTorch name, given in a
   * layout, into a tensor. `ready` is called after all checks; if it throws, nothing has changed.
   *
   * @param state types and shapes by PyTorch's names
   * @param steps number of steps so far; see {@link loadTorchState}
   */
  async fillTorchState(
    state: ReadonlyMap<string, Described>,
    steps: number | undefined,
    source: TorchStateSource,
  ): Promise<void> {
    await this.#saved.fillTorch(state, steps, source);
  }

  /** @internal Returns the tensors that {@link toTorchState} copies, and the number of updates of each parameter. */
  torchStateParts(): { parameters: readonly TorchMoments[]; updates: Promise<TypedArray> | undefined } {
    return this.#saved.torchParts();
  }

  /** @internal Checks a state as {@link loadStateDict} does. Changes nothing. */
  checkStateDict(state: ReadonlyMap<string, Described>): StatePlaces {
    return this.#saved.check(state);
  }

  /**
   * Returns what determines the updates, as plain JSON. Each group has its options. Its learning rate is left out if it
   * is that of the first group.
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

  /** Frees the memory of the optimizer state. The parameters stay as they are. */
  dispose(): void {
    this.#optimizerState.dispose(this.#slots);
    this.#hyper.dispose();
    for (const counters of [this.#state, this.#updates, this.#groupOf]) counters.dispose();
  }

  #slotsWithGradient(given: readonly Foreign[] | undefined): readonly Slot[] {
    const { parameter: first } = itemAt(this.#slots, 0);
    const foreign = isForeign(first);
    const { dtype } = factsOf(first);
    if (dtype !== this.#optimizerState.dtype)
      throw new StepsizeError(
        "invalid-state",
        `step: the parameters were ${this.#optimizerState.dtype} when the optimizer was made, now they are ${dtype};` +
          " call setPrecision before",
      );
    if (!foreign) {
      if (given) throw new StepsizeError("invalid-argument", "step: the gradients of tensors are their own `grad`");
      const slots = this.#slots.filter(({ parameter }) => parameter instanceof Tensor && parameter.grad);
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
    // A captured copy of a parameter into its outdated master would overwrite the master at every replay.
    const incomplete =
      slots.some(({ tensors }) => tensors.length < this.#optimizerState.names.length) ||
      !this.#optimizerState.mastersAreCurrent;
    if ((scheduled && !this.#hyper.table) || incomplete || !this.#hyper.isUploaded(hyper))
      throw new StepsizeError(
        "invalid-state",
        "step: what the host decides at each step cannot be captured; call optimizer.tabulate() before device.capture",
      );
  }

  /** Uploads a table of the schedule, because only the device knows the number of steps so far. */
  #leaveCounting(): void {
    if (this.groups.every(({ options: { lr } }) => typeof lr === "number")) return;
    if (this.#hyper.plannedSteps === undefined)
      throw new StepsizeError(
        "invalid-state",
        "step: only the device knows how many steps the loaded state has made, and a learning rate is a function without a" +
          " budget, which only the host can ask; await loadStateDict(…) first",
      );
    this.tabulate();
  }
}

/** Throws if a parameter got a gradient in the same backward pass but belongs to no module and no optimizer. */
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

function gradientOf({ parameter, key }: Slot): Tensor {
  if (parameter instanceof Tensor && parameter.grad) return parameter.grad;
  throw new Error(`${key} has no gradient`);
}
