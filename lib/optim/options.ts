import { describe, invalidArgument, StepsizeError } from "../errors.js";
import type { Device } from "../native/index.js";
import { expectOptions, type Names, optionNames } from "../options.js";

/**
 * A function from a step to a learning rate: a schedule, or a function of your own.
 *
 * It must always return the same rate for the same step. A captured step reads its rates from a table that was computed
 * before, and a resumed run computes them again.
 */
export interface LearningRateFunction {
  /**
   * Returns the learning rate of a step, a finite number ≥ 0.
   *
   * @param step the index of the step, from 0
   */
  (step: number): number;
  /** Number of steps that the function plans. It is the default budget of a trainer. A function may have none. */
  readonly budget?: number;
  /** Returns the momentum of a step. It replaces the optimizer's `momentum`, or the first of its `betas`. */
  readonly momentum?: (step: number) => number;
  /**
   * Returns a description as plain JSON for a checkpoint. For a function without it, a checkpoint stores its values.
   */
  toJSON?(): unknown;
}

/** The learning rate: a number, or a function of the step, such as a schedule. */
export type LearningRate = number | LearningRateFunction;

/** Returns whether a learning rate is a function without `toJSON`, which only its values describe. */
export function isCustom(lr: LearningRate): boolean {
  return typeof lr === "function" && typeof lr.toJSON !== "function";
}

/**
 * Returns the number of rows in the table of a learning rate: 1 for a number, the budget for a custom function, and the
 * budget + 1 for a schedule, whose last row is the rate past the budget. Returns `undefined` for a function without a
 * budget.
 */
export function rowsOf(lr: LearningRate): number | undefined {
  if (typeof lr === "number") return 1;
  return lr.budget === undefined || isCustom(lr) ? lr.budget : lr.budget + 1;
}

/** Returns a learning rate as plain JSON; `{ name: "custom" }` for a function without `toJSON`. */
export function learningRateJson(lr: LearningRate): unknown {
  return typeof lr === "number" ? lr : (lr.toJSON?.() ?? { name: "custom" });
}

/**
 * Returns the learning rate of a step. The value is checked because a schedule may be a function of the caller.
 *
 * @throws StepsizeError `invalid-argument` if it is not a finite number ≥ 0
 */
export function learningRateAt(lr: LearningRate, step: number): number {
  const rate = typeof lr === "number" ? lr : lr(step);
  // With a rate of NaN the device would set all parameters to NaN without an error.
  if (!Number.isFinite(rate) || rate < 0)
    throw new StepsizeError("invalid-argument", `lr: expected a number ≥ 0 at step ${step}, got ${describe(rate)}`);
  return rate;
}

/**
 * Checks that `value` is a finite number that `holds` accepts.
 *
 * @throws StepsizeError `invalid-argument` that names the argument and what was expected
 */
export function expectNumber(name: string, value: unknown, expected: string, holds: (value: number) => boolean): void {
  if (typeof value !== "number" || !Number.isFinite(value) || !holds(value)) invalidArgument(name, expected, value);
}

/**
 * Checks that `lr` is a finite number ≥ 0 or a function.
 *
 * @throws StepsizeError `invalid-argument` otherwise
 */
export function expectLearningRate(lr: unknown): void {
  if (typeof lr === "function") return;
  if (typeof lr !== "number" || !(lr >= 0) || !Number.isFinite(lr))
    throw new StepsizeError("invalid-argument", `lr: expected a number ≥ 0 or a schedule, got ${describe(lr)}`);
}

/**
 * Checks that `betas` is an array of two numbers from 0 to below 1.
 *
 * @throws StepsizeError `invalid-argument` otherwise
 */
export function expectBetas(betas: unknown): void {
  if (!Array.isArray(betas) || betas.length !== 2) invalidArgument("betas", "two numbers", betas);
  for (const beta of betas) expectNumber("betas", beta, "numbers from 0 to below 1", (b) => b >= 0 && b < 1);
}

/**
 * Checks that `weightDecay` is a finite number ≥ 0.
 *
 * @throws StepsizeError `invalid-argument` otherwise
 */
export function expectWeightDecay(weightDecay: unknown): void {
  expectNumber("weightDecay", weightDecay, "a number ≥ 0", (value) => value >= 0);
}

/** Options that every optimizer takes. They apply to all parameters together. */
export interface StepOptions {
  /**
   * Largest gradient norm, above 0: longer gradients are scaled down to it. Default: no clipping.
   *
   * The norm does not overflow for finite gradients. If a gradient is not finite and `nonFinite` does not leave the
   * step out, the result is that of PyTorch: with a NaN all parameters become NaN, with an infinity the finite
   * gradients count as 0.
   */
  readonly clipNorm?: number | undefined;
  /**
   * What a step does if a gradient is not finite. Default: gradients are not checked, which saves one pass over them.
   *
   * - `"stop"`: this update and all later ones change nothing, until a state is loaded into the optimizer.
   * - `"skip"`: this update is left out and counted.
   *
   * What the forward pass changed stays. The running statistics of batch norm have taken in the batch of a step that is
   * left out, as with PyTorch's `GradScaler`; but a channel whose statistics were not finite in that batch keeps those
   * from before, which become NaN in PyTorch and remain so.
   */
  readonly nonFinite?: "stop" | "skip" | undefined;
  /** Factor of every gradient, applied first: 1/n gives the mean over n accumulated batches. Default 1. */
  readonly gradientScale?: number | undefined;
  /**
   * Whether the update also sets the gradients to zero, in the same pass. It does so even if the step is left out
   * because a gradient is not finite. Default false.
   */
  readonly zeroGradients?: boolean | undefined;
  /**
   * Whether to keep float32 master weights of bfloat16 parameters. Default true. If true, a step updates the master and
   * writes its rounded copy into the parameter in the same pass. If false, a step updates the parameter itself with
   * stochastic rounding.
   */
  readonly masterWeights?: boolean | undefined;
  /** Storage type of the moments. `"bfloat16"` is rounded stochastically. Default `"float32"`. */
  readonly momentType?: "float32" | "bfloat16" | undefined;
  /** Seed of stochastic rounding: a safe integer ≥ 0. Default 0. */
  readonly seed?: number | undefined;
  /** Device of the memory that arrays or device pointers are in. Default: the CPU. Required for device pointers. */
  readonly device?: Device | undefined;
}

/** The names of the options in {@link StepOptions}. */
export const stepNames = optionNames<StepOptions>({
  clipNorm: true,
  nonFinite: true,
  gradientScale: true,
  zeroGradients: true,
  masterWeights: true,
  momentType: true,
  seed: true,
  device: true,
});

/**
 * Checks the names of an optimizer's options and of those of its groups.
 *
 * @param groupNames the names that a group may have besides `where`, and a list of parameters besides `params`
 * @param lists the parameters, if they were given as lists with options of their own
 * @throws StepsizeError `invalid-argument` if a name is not an option, or if `groups` is not an array
 */
export function expectOptionNames(
  optimizer: string,
  names: Names,
  groupNames: Names,
  options: { readonly groups?: readonly object[] | undefined },
  lists: readonly object[] = [],
): void {
  expectOptions(optimizer, names, options);
  for (const [i, list] of lists.entries()) expectOptions(`parameters[${i}]`, { params: true, ...groupNames }, list);
  const { groups = [] } = options;
  if (!Array.isArray(groups)) invalidArgument(`${optimizer}.groups`, "an array of groups, { where, … }", groups);
  for (const [i, group] of groups.entries())
    expectOptions(`${optimizer}.groups[${i}]`, { where: true, ...groupNames }, group);
}

/** Separates the options in {@link StepOptions} from those of an update rule. */
export function splitStepOptions<Options extends StepOptions>(options: Options) {
  const { clipNorm, nonFinite, gradientScale, zeroGradients, masterWeights, momentType, seed, device, ...rest } =
    options;
  const step: StepOptions = {
    clipNorm,
    nonFinite,
    gradientScale,
    zeroGradients,
    masterWeights,
    momentType,
    seed,
    device,
  };
  return { step, rest };
}

/**
 * Checks the values of the options in {@link StepOptions}, except `device`.
 *
 * @throws StepsizeError `invalid-argument` if a value has the wrong type or is out of range
 */
export function validateStepOptions(options: StepOptions): void {
  const { clipNorm, nonFinite, gradientScale, zeroGradients, masterWeights, momentType, seed } = options;
  if (clipNorm !== undefined) expectNumber("clipNorm", clipNorm, "a number above 0", (value) => value > 0);
  if (nonFinite !== undefined && nonFinite !== "stop" && nonFinite !== "skip")
    invalidArgument("nonFinite", '"stop" or "skip"', nonFinite);
  if (gradientScale !== undefined) expectNumber("gradientScale", gradientScale, "a finite number", () => true);
  for (const [name, value] of Object.entries({ zeroGradients, masterWeights }))
    if (value !== undefined && typeof value !== "boolean") invalidArgument(name, "true or false", value);
  if (momentType !== undefined && momentType !== "float32" && momentType !== "bfloat16")
    invalidArgument("momentType", '"float32" or "bfloat16"', momentType);
  if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0))
    invalidArgument("seed", "a whole number from 0 to 2^53 - 1", seed);
}
