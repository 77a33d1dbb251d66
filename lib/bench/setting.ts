import type { DataType } from "../native/index.js";
import { Adam, AdamW, Lion, type Optimizer, SGD, type StepOptions, type Trainable } from "../optim/index.js";

// biome-ignore lint/suspicious/noExplicitAny: the options differ by optimizer, and nobody asks for them here
type AnyOptimizer = Optimizer<any>;

interface Kind {
  /** As PyTorch calls it, where it has it. */
  readonly torch?: { readonly name: string; readonly options: Readonly<Record<string, number>> };
  /** The update rule, as `native/update/rules.h` names it. */
  readonly rule: string;
  readonly moments: number;
  readonly make: (parameters: readonly Trainable[], options: StepOptions) => AnyOptimizer;
}

// A rate so small that no number of steps takes the parameters anywhere.
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

/** How parameters and gradients are stored: `bfloat16-master` has float32 masters of bfloat16 parameters. */
export const storageNames = ["float32", "bfloat16-master", "bfloat16"] as const;
export const momentNames = ["float32", "bfloat16"] as const;

/** What is measured: a rule and its storage. */
export interface Setting {
  readonly optimizer: OptimizerName;
  readonly dtype: (typeof storageNames)[number];
  readonly moments: (typeof momentNames)[number];
}

export function kindOf({ optimizer }: Setting): Kind {
  return kinds[optimizer];
}

/** The type that the parameters of a setting have, seen from outside. */
export function parameterType({ dtype }: Setting): DataType {
  return dtype === "float32" ? "float32" : "bfloat16";
}

export function makeOptimizer(setting: Setting, parameters: readonly Trainable[]): AnyOptimizer {
  const masterWeights = setting.dtype === "bfloat16-master";
  return kindOf(setting).make(parameters, { masterWeights, momentType: setting.moments });
}

/** The types of the lists that an update works on, in its order: what is updated, gradients, moments, copies. */
export function listTypes(setting: Setting): DataType[] {
  const master = setting.dtype === "bfloat16-master";
  const type = parameterType(setting);
  const moments = Array.from({ length: kindOf(setting).moments }, () => setting.moments);
  return [master ? "float32" : type, type, ...moments, ...(master ? [type] : [])];
}

const sizes: Partial<Record<DataType, number>> = { float32: 4, bfloat16: 2 };

/** Bytes that an update moves per parameter: gradients are read, copies written, all others both. */
export function bytesPerParameter(setting: Setting): number {
  const types = listTypes(setting);
  const copies = setting.dtype === "bfloat16-master" ? types.length - 1 : -1;
  return types.reduce((sum, type, list) => sum + (sizes[type] as number) * (list === 1 || list === copies ? 1 : 2), 0);
}
