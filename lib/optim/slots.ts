import { StepsizeError } from "../errors.js";
import type { Device } from "../native/index.js";
import { cast, copy, fill, noGrad, Tensor, tidy, zeros } from "../tensor/index.js";
import type { ResolvedGroup } from "./groups.js";
import { factsOf, type ParameterLike } from "./parameters.js";
import type { StepOptions } from "./step-options.js";

/** A parameter with all that belongs to it. */
export interface Slot {
  readonly parameter: ParameterLike;
  /** What it is called in the state. A parameter's own name changes when a part of its model is listed. */
  readonly key: string;
  readonly group: number;
  readonly shape: readonly number[];
  /** What is kept of it, in the order of {@link Keeper.names}; empty until the first gradient. */
  kept: readonly Tensor[];
  /** The version at which parameter and master agreed. */
  version: number;
}

/** A parameter is called by its name, or by its place among those given where it has none or shares it. */
export function slotsOf(groups: readonly ResolvedGroup<object>[], given: readonly ParameterLike[]): Slot[] {
  const groupOf = new Map(groups.flatMap(({ parameters }, group) => parameters.map((one) => [one, group])));
  const counts = new Map<string, number>();
  for (const parameter of given) {
    const { name } = factsOf(parameter);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return given.map((parameter, i) => {
    const { name, shape } = factsOf(parameter);
    const key = name !== "" && counts.get(name) === 1 ? name : String(i);
    return { parameter, key, group: groupOf.get(parameter) as number, shape, kept: [], version: 0 };
  });
}

/** Counts the writes in place; of memory of others nobody counts them. */
export function versionOf(parameter: ParameterLike): number {
  return parameter instanceof Tensor ? parameter.handle.version : 0;
}

/** Makes and names what is kept per parameter: a float32 master of a bfloat16 one, and the rule's moments. */
export class Keeper {
  readonly #device: Device;
  readonly #momentType: "float32" | "bfloat16";
  readonly #momentNames: () => readonly string[];
  /** Of the parameters when the optimizer was made. */
  readonly dtype: string;
  /** Whether parameters are the rounded copies of float32 masters. */
  readonly hasMasters: boolean;

  constructor(device: Device, dtype: string, options: StepOptions, momentNames: () => readonly string[]) {
    this.#device = device;
    this.#momentType = options.momentType ?? "float32";
    this.#momentNames = momentNames;
    this.dtype = dtype;
    this.hasMasters = dtype === "bfloat16" && options.masterWeights !== false;
  }

  get names(): readonly string[] {
    return this.hasMasters ? ["master", ...this.#momentNames()] : this.#momentNames();
  }

  typeOf(index: number): "float32" | "bfloat16" {
    return this.hasMasters && index === 0 ? "float32" : this.#momentType;
  }

  /** What is kept of a parameter, made where it is not there yet. */
  keep(slot: Slot): readonly Tensor[] {
    if (slot.kept.length === 0) {
      // Kept together: where the second does not fit, the first must not stay behind.
      const made = this.names.map((name, i) =>
        name === "master" ? masterOf(slot) : zeros(this.#device, slot.shape, this.typeOf(i)),
      );
      for (const tensor of made) tensor.keep();
      slot.kept = made;
      slot.version = versionOf(slot.parameter);
    } else if (this.hasMasters && slot.version !== versionOf(slot.parameter)) {
      // Written by somebody else, a loaded checkpoint perhaps: the master follows.
      renewMaster(slot);
      slot.version = versionOf(slot.parameter);
    }
    return slot.kept;
  }

  /** Begins anew, as before the first gradient; what was made stays where it is, for captured work. */
  reset(slot: Slot): void {
    for (const [i, tensor] of slot.kept.entries()) {
      if (this.hasMasters && i === 0) renewMaster(slot);
      else fill(tensor, 0);
    }
  }

  /**
   * Lets masters follow parameters that were written since they agreed. After dispose there is nothing to follow, and
   * nothing is made anew.
   */
  follow(slots: readonly Slot[]): void {
    if (!this.hasMasters) return;
    const gone = ({ parameter }: Slot) => parameter instanceof Tensor && parameter.disposed;
    noGrad(() => {
      for (const slot of slots) if (slot.kept.length > 0 && !gone(slot)) this.keep(slot);
    });
  }

  /** Notes that masters and parameters agree. Asking a thousand tensors takes time, so only where it matters. */
  settle(slots: readonly Slot[]): void {
    if (this.hasMasters) for (const slot of slots) slot.version = versionOf(slot.parameter);
  }
}

/** The master takes its parameter's values. */
function renewMaster(slot: Slot): void {
  const master = masterOf(slot);
  copy(slot.kept[0] as Tensor, master);
  master.dispose();
}

function masterOf({ parameter, key }: Slot): Tensor {
  if (parameter instanceof Tensor) return noGrad(() => tidy(() => cast(parameter.detach(), "float32")));
  throw new StepsizeError(
    "unsupported",
    `parameters[${key}]: bfloat16 memory of others is updated without a master; set masterWeights: false`,
  );
}
