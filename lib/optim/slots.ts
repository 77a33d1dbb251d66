import { StepsizeError } from "../errors.js";
import type { NativeList } from "../native/addon.js";
import type { Device } from "../native/index.js";
import { cast, copy, fill, type HasTorchNames, noGrad, Tensor, tidy, zeros } from "../tensor/index.js";
import type { ResolvedGroup } from "./groups.js";
import { factsOf, listedBy, type ParameterLike } from "./parameters.js";
import type { StepOptions } from "./step-options.js";

/** A parameter with all that belongs to it. */
export interface Slot {
  readonly parameter: ParameterLike;
  /** What it is called in the state. A parameter's own name changes when a part of its model is listed. */
  readonly key: string;
  /** Its name when the optimizer was made, and the model that it is a path in. */
  readonly path: string;
  readonly listedBy: HasTorchNames | undefined;
  readonly group: number;
  /** Among all parameters of the optimizer, in the order in which they were given. */
  readonly place: number;
  readonly shape: readonly number[];
  /** What is kept of it, in the order of {@link Keeper.names}; empty until the first gradient. */
  kept: readonly Tensor[];
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
    const group = groupOf.get(parameter) as number;
    return { parameter, key, path: name, listedBy: listedBy(parameter), group, place: i, shape, kept: [] };
  });
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
  /** Those with a master. */
  #mastered: readonly Slot[] = [];
  /** Their parameters, and how often each had been written when it agreed with its master. */
  readonly #agreed: NativeList;

  constructor(device: Device, dtype: string, options: StepOptions, momentNames: () => readonly string[]) {
    this.#device = device;
    this.#momentType = options.momentType ?? "float32";
    this.#momentNames = momentNames;
    this.dtype = dtype;
    this.hasMasters = dtype === "bfloat16" && options.masterWeights !== false;
    this.#agreed = device.native.list();
  }

  get names(): readonly string[] {
    return this.hasMasters ? ["master", ...this.#momentNames()] : this.#momentNames();
  }

  typeOf(index: number): "float32" | "bfloat16" {
    return this.hasMasters && index === 0 ? "float32" : this.#momentType;
  }

  /** Makes what is kept of these parameters, where it is not there yet, and lets masters follow theirs. */
  keep(slots: readonly Slot[]): void {
    this.follow();
    const made: Slot[] = [];
    try {
      for (const slot of slots) {
        if (slot.kept.length > 0 || this.names.length === 0) continue;
        // Together: where the second does not fit, the first must not stay behind.
        const kept = this.names.map((name, i) =>
          name === "master" ? masterOf(slot) : zeros(this.#device, slot.shape, this.typeOf(i)),
        );
        for (const tensor of kept) tensor.keep();
        slot.kept = kept;
        made.push(slot);
      }
    } finally {
      if (this.hasMasters && made.length > 0) {
        this.#mastered = [...this.#mastered.filter((slot) => !isDisposed(slot)), ...made];
        this.#agreed.set(this.#mastered.map(({ parameter }) => (parameter as Tensor).handle));
      }
    }
  }

  /** Begins anew, as before the first gradient; what was made stays where it is, for captured work. */
  reset(slot: Slot): void {
    for (const [i, tensor] of slot.kept.entries()) {
      if (this.hasMasters && i === 0) renewMaster(slot);
      else fill(tensor, 0);
    }
  }

  /** Whether every master has its parameter's values. */
  get agrees(): boolean {
    return this.#agreed.changed() === null;
  }

  /** Lets masters follow parameters that were written by somebody else, by a loaded checkpoint perhaps. */
  follow(): void {
    const changed = this.#agreed.changed();
    if (changed === null) return;
    for (const place of changed) renewMaster(this.#mastered[place] as Slot);
    this.settle();
  }

  /** Notes that masters and parameters agree. */
  settle(): void {
    this.#agreed.note();
  }

  /** Gives back what is kept; captured work that goes on has no masters to follow any more. */
  dispose(slots: readonly Slot[]): void {
    for (const slot of slots) {
      for (const tensor of slot.kept) tensor.dispose();
      slot.kept = [];
    }
    this.#mastered = [];
    this.#agreed.set([]);
  }
}

function isDisposed({ parameter }: Slot): boolean {
  return parameter instanceof Tensor && parameter.disposed;
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
