import { invalidArgument } from "../errors.js";
import type { Device } from "../native/index.js";
import { expectOptions, type Names, optionNames } from "../options.js";
import { expectNumber } from "./hyper.js";

/** Options that every optimizer takes, for all parameters together. */
export interface StepOptions {
  /**
   * Scales the gradient down to this global norm if it is longer; default: no clipping. The norm is right for every
   * finite gradient. One that is not finite, if `nonFinite` does not leave the step out, does what it does in PyTorch:
   * with a NaN all parameters become NaN, with an infinity the finite gradients count as 0.
   */
  readonly clipNorm?: number | undefined;
  /**
   * What happens when a gradient is not finite. `"stop"`: this and all later updates leave everything as it is, until
   * the optimizer's state is reset. `"skip"`: this update is left out and counted. Default: not checked, which saves
   * reading the gradients once.
   */
  readonly nonFinite?: "stop" | "skip" | undefined;
  /** Multiplies every gradient first: 1/n for the mean over n accumulated batches. Default 1. */
  readonly gradientScale?: number | undefined;
  /**
   * Whether the update leaves zeros in the gradients, in the same pass, also where a step that is not finite is left
   * out. Default false.
   */
  readonly zeroGradients?: boolean | undefined;
  /**
   * For bfloat16 parameters: keep a float32 master of each, update that, and write its rounded copy in the same pass.
   * Without, the parameters themselves are updated with stochastic rounding. Default true.
   */
  readonly masterWeights?: boolean | undefined;
  /** Type of what is kept per parameter; bfloat16 is rounded stochastically. Default `float32`. */
  readonly momentType?: "float32" | "bfloat16" | undefined;
  /** Seed of stochastic rounding: a safe integer ≥ 0, default 0. */
  readonly seed?: number | undefined;
  /** The device whose memory the parameters are, where they are no tensors; default: the CPU. */
  readonly device?: Device | undefined;
}

/** The names of these options. */
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
 * @param groupNames what a group may have, besides `where`
 * @throws StepsizeError `invalid-argument` for a name that is no option
 */
export function expectOptionNames(optimizer: string, names: Names, groupNames: Names, options: object): void {
  expectOptions(optimizer, names, options);
  const { groups = [] } = options as { groups?: readonly unknown[] };
  if (!Array.isArray(groups)) invalidArgument(`${optimizer}.groups`, "an array of groups, { where, … }", groups);
  for (const [i, group] of groups.entries())
    expectOptions(`${optimizer}.groups[${i}]`, { where: true, ...groupNames }, group);
}

/** Separates these options from those of a rule. */
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
