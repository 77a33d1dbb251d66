import { type OptimizerName, optimizersByName } from "../optim/by-name.js";
import type { LearningRate, Optimizer, StepOptions, Trainable } from "../optim/index.js";

/** An optimizer as it is measured. */
interface MeasuredOptimizer {
  /** Name and options of PyTorch's optimizer; absent if PyTorch has none. */
  readonly torch?: { readonly name: string; readonly options: Readonly<Record<string, number>> };
  /** Name of the update rule in `native/update/rules.h`. */
  readonly rule: string;
  /** Number of moments per parameter. */
  readonly moments: number;
  readonly make: (parameters: readonly Trainable[], options: StepOptions) => Optimizer<{ lr: LearningRate }>;
}

// The rate is so small that the parameters hardly change in any number of steps.
const lr = 1e-6;

/** Describes how an optimizer of the library is measured. `rule` and `momentum` are for SGD with momentum. */
function measured(
  name: OptimizerName,
  { moments, rule = optimizersByName[name].rule, ...more }: { moments: number; rule?: string; momentum?: number },
): MeasuredOptimizer {
  const { class: Class, torch } = optimizersByName[name];
  const given = { lr, ...more };
  return {
    ...(torch !== undefined && { torch: { name: torch, options: given } }),
    rule,
    moments,
    make: (parameters, options) => new Class(parameters, { ...given, ...options }),
  };
}

const momentum = optimizersByName.sgd.momentum as number;

/** The names of the optimizers that can be measured. SGD with momentum has its own name here. */
export const measuredOptimizerNames = ["adamw", "adam", "sgd", "momentum", "lion"] as const;
export type MeasuredOptimizerName = (typeof measuredOptimizerNames)[number];

const measuredOptimizers: Readonly<Record<MeasuredOptimizerName, MeasuredOptimizer>> = {
  adamw: measured("adamw", { moments: 2 }),
  adam: measured("adam", { moments: 2 }),
  sgd: measured("sgd", { moments: 0 }),
  momentum: measured("sgd", { moments: 1, rule: "sgdMomentum", momentum }),
  lion: measured("lion", { moments: 1 }),
};

/** Storage of parameters and gradients. `bfloat16-master` has float32 master weights of bfloat16 parameters. */
export const storageNames = ["float32", "bfloat16-master", "bfloat16"] as const;
/** Storage types of moments. */
export const momentNames = ["float32", "bfloat16"] as const;

/** A storage type of a list of tensors. */
type StorageType = (typeof momentNames)[number];

/** The measured optimizer and its storage types. */
export interface Setting {
  readonly optimizer: MeasuredOptimizerName;
  readonly dtype: (typeof storageNames)[number];
  readonly moments: StorageType;
}

/** Returns the properties of a setting's optimizer. */
export function optimizerOf({ optimizer }: Setting): MeasuredOptimizer {
  return measuredOptimizers[optimizer];
}

/** Returns the type of the parameters and gradients of a setting. */
export function parameterType({ dtype }: Setting): StorageType {
  return dtype === "float32" ? "float32" : "bfloat16";
}

/** Creates the optimizer of a setting. */
export function makeMeasuredOptimizer(
  setting: Setting,
  parameters: readonly Trainable[],
): Optimizer<{ lr: LearningRate }> {
  const masterWeights = setting.dtype === "bfloat16-master";
  return optimizerOf(setting).make(parameters, { masterWeights, momentType: setting.moments });
}

/**
 * Returns the types of the lists that an update works on, in its order: updated weights, gradients, moments, and bfloat16
 * copies of master weights.
 */
export function listTypes(setting: Setting): StorageType[] {
  const master = setting.dtype === "bfloat16-master";
  const type = parameterType(setting);
  const moments = Array.from({ length: optimizerOf(setting).moments }, () => setting.moments);
  return [master ? "float32" : type, type, ...moments, ...(master ? [type] : [])];
}

const sizes: Readonly<Record<StorageType, number>> = { float32: 4, bfloat16: 2 };

/** Returns the bytes that an update moves per parameter. Gradients are read, copies written, all others both. */
export function bytesPerParameter(setting: Setting): number {
  const types = listTypes(setting);
  const copies = setting.dtype === "bfloat16-master" ? types.length - 1 : -1;
  return types.reduce((sum, type, list) => sum + sizes[type] * (list === 1 || list === copies ? 1 : 2), 0);
}
