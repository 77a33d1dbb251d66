import { invalidArgument } from "../errors.js";
import type { Device } from "../native/index.js";
import { expectOptions, type Names, optionNames } from "../options.js";
import { expectNumber } from "./hyper.js";

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
 * @param groupNames the names that a group may have besides `where`
 * @throws StepsizeError `invalid-argument` if a name is no option, or if `groups` is not an array
 */
export function expectOptionNames(optimizer: string, names: Names, groupNames: Names, options: object): void {
  expectOptions(optimizer, names, options);
  const { groups = [] } = options as { groups?: readonly unknown[] };
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
