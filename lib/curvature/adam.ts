import { expectObject } from "../arguments.js";
import { StepsizeError } from "../errors.js";
import type { Adam, AdamW } from "../optim/index.js";
import { bfloat16Value } from "../tensor/bfloat16.js";
import type { Tensor } from "../tensor/index.js";
import type { HostTensor } from "../train/index.js";
import type { Checkpoint } from "../train/saved-model.js";

/** What each weight's step is divided by, above 0, by the path of its parameter; `Infinity` for one that stays. */
export type Preconditioner = ReadonlyMap<string, Float64Array>;

/**
 * What Adam divides each weight's step by, √v̂ + ε: an optimizer's, or that of a checkpoint's run. A weight that never
 * had a gradient stays where it is: dividing by ε would only magnify its rounding.
 *
 * @throws StepsizeError `invalid-argument` where it is not Adam's or no step was made; `unsupported` where parameter groups
 * have different β₂ or ε
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
    moments.map(([name, moment], i) => {
      const correction = 1 - beta2 ** (updates[i] as number);
      const divisor = (v: number) => (v === 0 ? Infinity : Math.sqrt(v / correction) + epsilon);
      return [name.slice(0, -suffix.length), numbersOf(moment).map(divisor)];
    }),
  );
}

/** Reads tensors. All reads are enqueued before anything is awaited, so they see one moment of a run. */
async function onHost(tensors: Iterable<readonly [string, Tensor]>): Promise<Map<string, HostTensor>> {
  const reads = [...tensors].map(
    async ([name, t]): Promise<[string, HostTensor]> => [
      name,
      { dtype: t.dtype, shape: t.shape, data: await t.read() },
    ],
  );
  return new Map(await Promise.all(reads));
}

/** How often each parameter that has moments was updated; in checkpoints of earlier versions all as often. */
function updatesOf(state: ReadonlyMap<string, HostTensor>, parameters: number): readonly number[] {
  const made = (state.get("state")?.data[1] as number | undefined) ?? 0;
  const counts = Array.from((state.get("updates")?.data ?? []) as Int32Array);
  // A tabulated optimizer has moments of every parameter, any other of those that were updated.
  const own = counts.length === parameters ? counts : counts.filter((count) => count > 0);
  return own.length === parameters ? own.map((count) => (count < 0 ? made : count)) : Array(parameters).fill(made);
}

/** The part of an optimizer's JSON that is read here. */
interface AdamSettings {
  readonly optimizer?: string;
  readonly rule?: string;
  readonly groups?: readonly { readonly betas?: readonly [number, number]; readonly epsilon?: number }[];
}

/** What all groups have; `undefined` where they differ. */
function common<T>(groups: AdamSettings["groups"], read: (group: NonNullable<AdamSettings["groups"]>[number]) => T) {
  const [first, ...others] = (groups ?? []).map(read);
  return others.every((value) => value === first) ? first : undefined;
}

function numbersOf({ dtype, data }: HostTensor): Float64Array {
  return Float64Array.from(data as ArrayLike<number>, (value) => (dtype === "bfloat16" ? bfloat16Value(value) : value));
}
