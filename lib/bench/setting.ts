import type { DataType } from "../native/index.js";
import { Adam, AdamW, Lion, type Optimizer, SGD, type StepOptions, type Trainable } from "../optim/index.js";

// biome-ignore lint/suspicious/noExplicitAny: the options differ by optimizer and are not used here
type AnyOptimizer = Optimizer<any>;

interface Kind {
  /** Name and options of PyTorch's optimizer; absent if PyTorch has none. */
  readonly torch?: { readonly name: string; readonly options: Readonly<Record<string, number>> };
  /** Name of the update rule in `native/update/rules.h`. */
  readonly rule: string;
  /** Number of moments per parameter. */
  readonly moments: number;
  readonly make: (parameters: readonly Trainable[], options: StepOptions) => AnyOptimizer;
}

// The rate is so small that the parameters hardly change in any number of steps.
const lr = 1e-6;

/** The optimizers that can be measured. */
export const kinds = {
  adamw: {
    torch: { name: "AdamW", options: { lr } },
    rule: "adam",
    moments: 2,
    make: (parameters, options) => new AdamW(parameters, { lr, ...options }),
  },
  adam: {
    torch: { name: "Adam", options: { lr } },
    rule: "adam",
    moments: 2,
    make: (parameters, options) => new Adam(parameters, { lr, ...options }),
  },
  sgd: {
    torch: { name: "SGD", options: { lr } },
    rule: "sgd",
    moments: 0,
    make: (parameters, options) => new SGD(parameters, { lr, ...options }),
  },
  momentum: {
    torch: { name: "SGD", options: { lr, momentum: 0.9 } },
    rule: "sgdMomentum",
    moments: 1,
    make: (parameters, options) => new SGD(parameters, { lr, momentum: 0.9, ...options }),
  },
  lion: { rule: "lion", moments: 1, make: (parameters, options) => new Lion(parameters, { lr, ...options }) },
} satisfies Readonly<Record<string, Kind>>;

export type OptimizerName = keyof typeof kinds;
export const optimizerNames = Object.keys(kinds) as OptimizerName[];

/** Storage of parameters and gradients. `bfloat16-master` has float32 master weights of bfloat16 parameters. */
export const storageNames = ["float32", "bfloat16-master", "bfloat16"] as const;
/** Storage types of moments. */
export const momentNames = ["float32", "bfloat16"] as const;

/** The measured optimizer and its storage types. */
export interface Setting {
  readonly optimizer: OptimizerName;
  readonly dtype: (typeof storageNames)[number];
  readonly moments: (typeof momentNames)[number];
}

/** Returns the properties of a setting's optimizer. */
export function kindOf({ optimizer }: Setting): Kind {
  return kinds[optimizer];
}

/** Returns the type of the parameters and gradients of a setting. */
export function parameterType({ dtype }: Setting): DataType {
  return dtype === "float32" ? "float32" : "bfloat16";
}

/** Creates the optimizer of a setting. */
export function makeOptimizer(setting: Setting, parameters: readonly Trainable[]): AnyOptimizer {
  const masterWeights = setting.dtype === "bfloat16-master";
  return kindOf(setting).make(parameters, { masterWeights, momentType: setting.moments });
}

/**
 * Returns the types of the lists that an update works on, in its order: updated weights, gradients, moments, and bfloat16
 * copies of master weights.
 */
export function listTypes(setting: Setting): DataType[] {
  const master = setting.dtype === "bfloat16-master";
  const type = parameterType(setting);
  const moments = Array.from({ length: kindOf(setting).moments }, () => setting.moments);
  return [master ? "float32" : type, type, ...moments, ...(master ? [type] : [])];
}

const sizes: Partial<Record<DataType, number>> = { float32: 4, bfloat16: 2 };

/** Returns the bytes that an update moves per parameter. Gradients are read, copies written, all others both. */
export function bytesPerParameter(setting: Setting): number {
  const types = listTypes(setting);
  const copies = setting.dtype === "bfloat16-master" ? types.length - 1 : -1;
  return types.reduce((sum, type, list) => sum + (sizes[type] as number) * (list === 1 || list === copies ? 1 : 2), 0);
}
