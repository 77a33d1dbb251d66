import { describe, invalidArgument, StepsizeError } from "../errors.js";
import type { Device, TypedArray } from "../native/index.js";
import { copy, execute, fill, noGrad, Tensor, tidy, zeros } from "../tensor/index.js";
import { type LearningRate, type ParameterGroup, type ResolvedGroup, resolveGroups, type Trainable } from "./groups.js";

/** Options that every optimizer takes, for all parameters together. */
export interface StepOptions {
  /** Scales the gradient down to this global norm where it is longer; default: no clipping. */
  readonly clipNorm?: number | undefined;
  /**
   * What happens when a gradient is not finite. `"stop"`: this and all later updates leave everything as it is, until
   * the optimizer's state is reset. `"skip"`: this update is left out and counted. Default: not checked, which saves
   * reading the gradients once.
   */
  readonly nonFinite?: "stop" | "skip" | undefined;
  /** Multiplies every gradient first: 1/n for the mean over n accumulated batches. Default 1. */
  readonly gradientScale?: number | undefined;
}

/** What `stats()` reads from the device. */
export interface OptimizerStats {
  /** Steps so far, applied or not. */
  readonly iteration: number;
  /** Steps that were applied. */
  readonly updates: number;
  /** Steps left out because a gradient was not finite. */
  readonly skipped: number;
  /** The step (from 0) whose gradient was not finite, where that stopped the updates. */
  readonly stoppedAt: number | undefined;
  /** Global norm of the last gradient after scaling and before clipping; 0 where it was not asked for. */
  readonly norm: number;
  /** What clipping multiplied the last gradient by; 1: nothing. */
  readonly coefficient: number;
}

/** One group's row of hyper-parameters, in the order of `native/update/scalars.h`. */
export interface Hyper {
  learningRate: number;
  weightDecay: number;
  decoupledDecay: boolean;
  maximize: boolean;
  beta1: number;
  beta2: number;
  epsilon: number;
  momentum: number;
  dampening: number;
  nesterov: boolean;
}

const hyperFields = 10;
const stateFields = 6;

/**
 * What all optimizers share: groups, the learning rate, state on the device and the step itself, which is three
 * enqueued operations at most and never waits for the device: the gradient's norm (only for clipping and the non-finite
 * check), the step's scalars, and one update of all tensors of all groups.
 */
export abstract class Optimizer<Options extends { lr: LearningRate }> {
  /** Steps made so far; indexes the schedule. */
  iteration = 0;
  /** @internal */
  readonly groups: readonly ResolvedGroup<Options>[];
  readonly #parameters: readonly Trainable[];
  /** What each parameter is called in the state. A parameter's own name changes when a part of its model is listed. */
  readonly #keys: readonly string[];
  readonly #groupOf: readonly number[];
  readonly #device: Device;
  readonly #stepOptions: StepOptions;
  readonly #hyper: Tensor;
  readonly #state: Tensor;
  readonly #moments = new Map<Trainable, readonly Tensor[]>();
  #active: { readonly key: string; readonly parameters: readonly Trainable[]; readonly groups: Tensor } | undefined;

  protected constructor(
    parameters: readonly Trainable[],
    shared: Options,
    groups: readonly ParameterGroup<Options>[],
    stepOptions: StepOptions,
  ) {
    this.groups = resolveGroups(parameters, shared, groups);
    for (const { options } of this.groups) this.validate(options);
    validateStepOptions(stepOptions);
    this.#stepOptions = stepOptions;
    this.#parameters = this.groups.flatMap((group) => group.parameters);
    this.#keys = uniqueKeys(this.#parameters);
    this.#groupOf = this.groups.flatMap((group, index) => group.parameters.map(() => index));
    this.#device = (this.#parameters[0] as Trainable).device;
    const native = this.#device.native;
    this.#hyper = new Tensor(this.#device, native.create("float64", [this.groups.length, hyperFields])).keep();
    this.#state = new Tensor(
      this.#device,
      native.create("float64", [stateFields + 2 * this.groups.length], initialState(this.groups.length)),
    ).keep();
  }

  /** Throws for options that make no sense. */
  protected abstract validate(options: Options): void;
  /** The hyper-parameters of a group's next step. */
  protected abstract hyper(options: Options, learningRate: number, step: number): Partial<Hyper>;
  /** Names of the tensors kept per parameter; empty where there are none. */
  protected abstract readonly momentNames: readonly string[];
  /** The update operation of the table and its attributes. */
  protected abstract readonly update: { readonly operation: string; readonly attributes: Record<string, boolean> };

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

  /** The learning rate of each group's next step, in the order the groups were resolved. */
  learningRates(): number[] {
    return this.groups.map(({ options }) => learningRateAt(options.lr, this.iteration));
  }

  /**
   * Applies one update to every parameter that has a gradient, in stream order; returns at once. All parameters share
   * one count of updates: one whose first gradient comes late is corrected as if the earlier ones had been zero.
   * @param options gradientScale, in place of the optimizer's own
   * @throws StepsizeError `invalid-state` where no parameter has a gradient, `invalid-argument` where one does not fit
   * its parameter; nothing has changed then.
   */
  step(options: Pick<StepOptions, "gradientScale"> = {}): void {
    noGrad(() =>
      tidy(() => {
        const { parameters, groups } = this.#activeParameters();
        const gradients = parameters.map((parameter) => this.#gradientOf(parameter));
        // Before anything counts the step: they are the memory that may not be there.
        const moments = parameters.map((parameter) => this.#momentsOf(parameter));
        this.#hyper.write(this.#hyperRows());
        const { clipNorm = 0, nonFinite, gradientScale = 1 } = { ...this.#stepOptions, ...options };
        const checkFinite = nonFinite !== undefined;
        const norm = clipNorm > 0 || checkFinite ? execute("gradientNorm", gradients) : [];
        const [scalars] = execute("prepareStep", [this.#hyper, this.#state, ...norm], {
          maxNorm: clipNorm,
          checkFinite,
          skipNonFinite: nonFinite === "skip",
          gradientScale,
        }) as [Tensor];
        const lists = this.momentNames.flatMap((_, list) => moments.map((tensors) => tensors[list] as Tensor));
        execute(this.update.operation, [scalars, groups, ...parameters, ...gradients, ...lists], {
          tensors: parameters.length,
          ...this.update.attributes,
        });
      }),
    );
    this.iteration++;
  }

  /** Forgets the gradients of all parameters, and gives back their memory. */
  zeroGrad(): void {
    for (const parameter of this.#parameters) parameter.zeroGrad();
  }

  /** What the device counted and measured, when the steps enqueued so far are done. */
  async stats(): Promise<OptimizerStats> {
    const [iteration, updates, skipped, stopped, norm, coefficient] = (await this.#state.read()) as unknown as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    return { iteration, updates, skipped, stoppedAt: stopped > 0 ? stopped - 1 : undefined, norm, coefficient };
  }

  /**
   * Everything a resumed run needs besides the parameters: the step's counters as `state`, and per parameter its
   * moments as `<parameter>.<moment>`. The tensors themselves, not copies.
   */
  stateDict(): Map<string, Tensor> {
    const state = new Map<string, Tensor>([["state", this.#state]]);
    this.#parameters.forEach((parameter, i) => {
      this.#moments.get(parameter)?.forEach((tensor, m) => {
        state.set(`${this.#keys[i]}.${this.momentNames[m]}`, tensor);
      });
    });
    return state;
  }

  /**
   * Restores what {@link stateDict} gave, read from a file as `name → values`. Set {@link iteration} as well where the
   * learning rate is a schedule.
   *
   * @throws StepsizeError `invalid-file` where it is of other parameters or of another optimizer; nothing has changed
   * then.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>): void {
    const { expected, unused } = this.checkStateDict(state);
    noGrad(() => {
      for (const [name, tensor] of state) copy((expected.get(name) as { tensor: () => Tensor }).tensor(), tensor);
      for (const parameter of unused) for (const moment of this.#moments.get(parameter) ?? []) fill(moment, 0);
    });
  }

  /**
   * @internal Throws what {@link loadStateDict} would throw, and changes nothing. Tells where each tensor belongs, and
   * the parameters whose moments begin anew.
   */
  checkStateDict(state: ReadonlyMap<string, Tensor>) {
    const problems: string[] = [];
    const expected = new Map<string, { tensor: () => Tensor; like: Tensor }>([
      ["state", { tensor: () => this.#state, like: this.#state }],
    ]);
    const unused: Trainable[] = [];
    this.#parameters.forEach((parameter, i) => {
      const names = this.momentNames.map((moment) => `${this.#keys[i]}.${moment}`);
      names.forEach((name, m) => {
        expected.set(name, { tensor: () => this.#momentsOf(parameter)[m] as Tensor, like: parameter });
      });
      // A parameter that had no gradient yet has no moments.
      const missing = names.filter((name) => !state.has(name));
      if (missing.length === names.length) unused.push(parameter);
      else problems.push(...missing.map((name) => `${name} is missing`));
    });
    for (const [name, tensor] of state) {
      const like = expected.get(name)?.like;
      if (!like) problems.push(`${name} is not part of this optimizer`);
      else if (like.size !== tensor.size) problems.push(`${name} has ${tensor.size} values, expected ${like.size}`);
      else if (like.dtype !== tensor.dtype) problems.push(`${name} is ${tensor.dtype}, expected ${like.dtype}`);
    }
    if (!state.has("state")) problems.push("state is missing");
    if (problems.length > 0)
      throw new StepsizeError(
        "invalid-file",
        `the state does not fit the optimizer: ${problems.slice(0, 5).join("; ")}`,
      );
    return { expected, unused };
  }

  /**
   * What determines the updates, as plain JSON. Each group has its options, without the learning rate where that is the
   * first group's.
   */
  toJSON(): Record<string, unknown> {
    const { clipNorm, gradientScale } = this.#stepOptions;
    const shared = this.groups[0]?.options.lr;
    const groups = this.groups.map(({ options: { lr, ...options } }) => ({
      ...options,
      ...(lr !== shared && { lr: typeof lr === "function" ? lr.toJSON() : lr }),
    }));
    return { optimizer: this.constructor.name, ...this.update.attributes, groups, clipNorm, gradientScale };
  }

  /** Gives back the memory of the optimizer's own tensors. */
  dispose(): void {
    for (const tensors of this.#moments.values()) for (const tensor of tensors) tensor.dispose();
    this.#moments.clear();
    this.#active?.groups.dispose();
    this.#hyper.dispose();
    this.#state.dispose();
  }

  /** The parameters that have a gradient. Which ones seldom changes, so their table of groups is kept. */
  #activeParameters() {
    const parameters = this.#parameters.filter((parameter) => parameter.grad);
    if (parameters.length === 0)
      throw new StepsizeError("invalid-state", "step: no parameter has a gradient; call backward() on a loss first");
    const key = this.#parameters.map((parameter) => (parameter.grad ? "1" : "0")).join("");
    if (this.#active?.key !== key) {
      this.#active?.groups.dispose();
      const indices = Int32Array.from(this.#groupOf.filter((_, i) => this.#parameters[i]?.grad));
      const groups = new Tensor(this.#device, this.#device.native.create("int32", [indices.length], indices)).keep();
      this.#active = { key, parameters, groups };
    }
    return this.#active;
  }

  #gradientOf(parameter: Trainable): Tensor {
    const gradient = parameter.grad as Tensor;
    if (gradient.dtype !== "float32" || String(gradient.shape) !== String(parameter.shape))
      throw new StepsizeError(
        "invalid-argument",
        `step: the gradient of ${this.#keys[this.#parameters.indexOf(parameter)]} is ` +
          `${gradient.dtype}[${gradient.shape}], the parameter float32[${parameter.shape}]`,
      );
    return gradient;
  }

  #momentsOf(parameter: Trainable): readonly Tensor[] {
    const known = this.#moments.get(parameter);
    if (known) return known;
    // Kept together: where the second does not fit, the first must not stay behind.
    const made = this.momentNames.map(() => zeros(this.#device, parameter.shape));
    for (const moment of made) moment.keep();
    this.#moments.set(parameter, made);
    return made;
  }

  #hyperRows(): TypedArray {
    const rows = new Float64Array(this.groups.length * hyperFields);
    this.groups.forEach(({ options }, group) => {
      const hyper = this.hyper(options, learningRateAt(options.lr, this.iteration), this.iteration);
      const { learningRate = 0, weightDecay = 0, decoupledDecay = false, maximize = false } = hyper;
      const { beta1 = 0, beta2 = 0, epsilon = 0, momentum = 0, dampening = 0, nesterov = false } = hyper;
      const row = [learningRate, weightDecay, Number(decoupledDecay), Number(maximize), beta1, beta2];
      rows.set([...row, epsilon, momentum, dampening, Number(nesterov)], group * hyperFields);
    });
    return rows;
  }
}

/** A parameter's name, or its place where it has none or shares it. */
function uniqueKeys(parameters: readonly Trainable[]): string[] {
  const counts = new Map<string, number>();
  for (const { name = "" } of parameters) counts.set(name, (counts.get(name) ?? 0) + 1);
  return parameters.map(({ name = "" }, i) => (name !== "" && counts.get(name) === 1 ? name : String(i)));
}

/** Nothing is clipped yet, and the running products β^t begin at 1. */
function initialState(groups: number): Float64Array {
  return new Float64Array(stateFields + 2 * groups).fill(1, stateFields - 1);
}

function learningRateAt(lr: LearningRate, step: number): number {
  const rate = typeof lr === "number" ? lr : lr(step);
  // A schedule may be anybody's function; the device would spread its NaN over all parameters without a word.
  if (!Number.isFinite(rate) || rate < 0)
    throw new StepsizeError("invalid-argument", `lr: expected a number ≥ 0 at step ${step}, got ${describe(rate)}`);
  return rate;
}

function validateStepOptions({ clipNorm, nonFinite, gradientScale }: StepOptions): void {
  if (clipNorm !== undefined) expectNumber("clipNorm", clipNorm, "a number above 0", (value) => value > 0);
  if (nonFinite !== undefined && nonFinite !== "stop" && nonFinite !== "skip")
    invalidArgument("nonFinite", '"stop" or "skip"', nonFinite);
  if (gradientScale !== undefined) expectNumber("gradientScale", gradientScale, "a finite number", () => true);
}

/** @internal Throws unless `value` is a finite number that `holds` accepts. */
export function expectNumber(name: string, value: unknown, expected: string, holds: (value: number) => boolean): void {
  if (typeof value !== "number" || !Number.isFinite(value) || !holds(value)) invalidArgument(name, expected, value);
}

/** @internal */
export function expectLearningRate(lr: unknown): void {
  if (typeof lr === "function") return;
  if (typeof lr !== "number" || !(lr >= 0) || !Number.isFinite(lr))
    throw new StepsizeError("invalid-argument", `lr: expected a number ≥ 0 or a schedule, got ${describe(lr)}`);
}
