import { expectObject } from "../arguments.js";
import { StepsizeError } from "../errors.js";
import { zip } from "../lookup.js";
import type { Adam, AdamW } from "../optim/index.js";
import { bfloat16Value } from "../tensor/bfloat16.js";
import type { Tensor } from "../tensor/index.js";
import type { Checkpoint } from "../weights/checkpoint-file.js";
import type { HostTensor } from "../weights/index.js";

/**
 * Divisors of the steps of all weights, by the path of their parameter: above 0, `Infinity` for a weight that does not
 * move.
 */
export type Preconditioner = ReadonlyMap<string, Float64Array>;

/**
 * Returns the divisors √v̂ + ε of Adam's steps, from an optimizer or a checkpoint.
 *
 * The divisor of a weight that never had a gradient is `Infinity`. A division by ε alone would amplify rounding errors.
 *
 * @param source an Adam or AdamW optimizer, or a checkpoint that `readCheckpoint` returned
 * @throws StepsizeError `invalid-argument` if the state is not that of Adam or AdamW, or if no step was made;
 * `unsupported` if parameter groups have different β₂ or ε
 *
 * @example
 * ```ts
 * import { Adam, adamPreconditioner, openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const weights = tensor(device, [1, 2, 3], undefined, { requiresGrad: true });
 * const optimizer = new Adam([weights], { lr: 0.1 });
 * weights.square().sum().backward();
 * optimizer.step();
 * const divisors = await adamPreconditioner(optimizer); // for the option `preconditioner` of `curvature`
 * ```
 */
export async function adamPreconditioner(source: Adam | AdamW | Checkpoint): Promise<Preconditioner> {
  expectObject("source", source, "an Adam or AdamW, or a checkpoint as readCheckpoint(…) gives it");
  const live = "stateDict" in source;
  if (!live) expectObject("source.info", source.info, "that of a checkpoint, as readCheckpoint(…) gives it");
  const settings = (live ? source.toJSON() : source.info.run) as AdamSettings;
  const state = live ? await onHost(source.stateDict()) : source.optimizer;
  const { optimizer = "none", rule, groups = [] } = settings;
  if (rule !== "adam" && rule !== "adamAmsgrad")
    throw new StepsizeError(
      "invalid-argument",
      `preconditioner: expected the state of Adam or AdamW, got ${optimizer}`,
    );
  const [beta2, epsilon] = [
    common(groups, ({ betas }) => betas?.[1] ?? 0.999),
    common(groups, (g) => g.epsilon ?? 1e-8),
  ];
  if (beta2 === undefined || epsilon === undefined)
    throw new StepsizeError("unsupported", "preconditioner: parameter groups with different betas or epsilon");
  const suffix = rule === "adam" ? ".expAvgSq" : ".maxExpAvgSq";
  const moments = [...state].filter(([name]) => name.endsWith(suffix));
  const updates = updatesOf(state, moments.length);
  if (!updates.some((count) => count > 0))
    throw new StepsizeError("invalid-argument", "preconditioner: Adam has made no step yet, its moments are not there");
  return new Map(
    Array.from(zip(moments, updates), ([[name, moment], count]) => {
      const correction = 1 - beta2 ** count;
      const divisor = (v: number) => (v === 0 ? Infinity : Math.sqrt(v / correction) + epsilon);
      return [name.slice(0, -suffix.length), numbersOf(moment).map(divisor)];
    }),
  );
}

/** Reads tensors. All reads are enqueued before the first is awaited, so that they see the same step. */
async function onHost(tensors: Iterable<readonly [string, Tensor]>): Promise<Map<string, HostTensor>> {
  const reads = [...tensors].map(
    async ([name, t]): Promise<[string, HostTensor]> => [
      name,
      { dtype: t.dtype, shape: t.shape, data: await t.read() },
    ],
  );
  return new Map(await Promise.all(reads));
}

/** Returns the number of updates of each parameter with moments. Earlier versions saved one number for all. */
function updatesOf(state: ReadonlyMap<string, HostTensor>, parameters: number): readonly number[] {
  const steps = state.get("state")?.data[1] ?? 0;
  const counts = [...(state.get("updates")?.data ?? [])];
  // A tabulated optimizer has moments of every parameter. Others have them only for parameters that were updated.
  const updates = counts.length === parameters ? counts : counts.filter((count) => count > 0);
  if (updates.length !== parameters) return Array(parameters).fill(steps);
  return updates.map((count) => (count < 0 ? steps : count));
}

/** The part of an optimizer's JSON that this file reads. */
interface AdamSettings {
  readonly optimizer?: string | undefined;
  readonly rule?: string | undefined;
  readonly groups?: readonly { readonly betas?: readonly [number, number]; readonly epsilon?: number }[];
}

/** Returns the value that all groups have; `undefined` if they differ. */
function common<T>(groups: AdamSettings["groups"], read: (group: NonNullable<AdamSettings["groups"]>[number]) => T) {
  const [first, ...others] = (groups ?? []).map(read);
  return others.every((value) => value === first) ? first : undefined;
}

function numbersOf({ dtype, data }: HostTensor): Float64Array {
  const values: Iterable<number> = data;
  return Float64Array.from(values, (value) => (dtype === "bfloat16" ? bfloat16Value(value) : value));
}
