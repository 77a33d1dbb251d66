import { StepsizeError } from "../errors.js";
import type { NativeList } from "../native/addon.js";
import type { Device } from "../native/index.js";
import { cast, copy, fill, type HasTorchNames, noGrad, Tensor, tidy, zeros } from "../tensor/index.js";
import type { ResolvedGroup } from "./groups.js";
import { factsOf, listedBy, type ParameterLike } from "./parameters.js";
import type { StepOptions } from "./step-options.js";

/** A parameter of an optimizer with its group, its place and its optimizer state. */
export interface Slot {
  readonly parameter: ParameterLike;
  /** The parameter's name in the state. The name of the tensor itself changes if a part of its model is listed. */
  readonly key: string;
  /** The parameter's name when the optimizer was made. It is a path in the model `listedBy`. */
  readonly path: string;
  readonly listedBy: HasTorchNames | undefined;
  /** Index of the parameter's group. */
  readonly group: number;
  /** Index of the parameter among all parameters of the optimizer, in the order in which they were given. */
  readonly place: number;
  readonly shape: readonly number[];
  /** The optimizer state of the parameter, in the order of {@link Keeper.names}; empty before the first gradient. */
  kept: readonly Tensor[];
}

/**
 * Makes the slots of an optimizer's parameters. A slot's key is the parameter's name, or its index if it has no name or
 * shares the name with another parameter.
 */
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

/** Makes and names the optimizer state: float32 master weights of bfloat16 parameters, and the rule's moments. */
export class Keeper {
  readonly #device: Device;
  readonly #momentType: "float32" | "bfloat16";
  readonly #momentNames: () => readonly string[];
  /** Type of the parameters when the optimizer was made. */
  readonly dtype: string;
  /** Whether the parameters are rounded copies of float32 master weights. */
  readonly hasMasters: boolean;
  /** The slots that have a master. */
  #mastered: readonly Slot[] = [];
  /**
   * The parameters of `#mastered`. The list notes which of them were written since they last agreed with their master.
   */
  readonly #agreed: NativeList;

  constructor(device: Device, dtype: string, options: StepOptions, momentNames: () => readonly string[]) {
    this.#device = device;
    this.#momentType = options.momentType ?? "float32";
    this.#momentNames = momentNames;
    this.dtype = dtype;
    this.hasMasters = dtype === "bfloat16" && options.masterWeights !== false;
    this.#agreed = device.native.list();
  }

  /** Names of the tensors that are kept per parameter: `master` first if there are master weights, then the moments. */
  get names(): readonly string[] {
    return this.hasMasters ? ["master", ...this.#momentNames()] : this.#momentNames();
  }

  /** Returns the type of the tensors with a name, given by its index in {@link names}. */
  typeOf(index: number): "float32" | "bfloat16" {
    return this.hasMasters && index === 0 ? "float32" : this.#momentType;
  }

  /**
   * Makes the optimizer state of these parameters if it does not exist yet, and updates masters whose parameter was
   * written.
   *
   * @throws StepsizeError `unsupported` for caller-owned bfloat16 memory with master weights; `out-of-memory`
   */
  keep(slots: readonly Slot[]): void {
    this.follow();
    const made: Slot[] = [];
    try {
      for (const slot of slots) {
        if (slot.kept.length > 0 || this.names.length === 0) continue;
        // All tensors of a slot are made before any is stored: if one allocation fails, none is kept.
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

  /**
   * Resets the state of a parameter to its initial values. The tensors stay the same because captured work uses them.
   */
  reset(slot: Slot): void {
    for (const [i, tensor] of slot.kept.entries()) {
      if (this.hasMasters && i === 0) renewMaster(slot);
      else fill(tensor, 0);
    }
  }

  /** Whether no parameter was written since it last agreed with its master. */
  get agrees(): boolean {
    return this.#agreed.changed() === null;
  }

  /** Copies parameters that other code wrote, for example by loading a checkpoint, into their masters. */
  follow(): void {
    const changed = this.#agreed.changed();
    if (changed === null) return;
    for (const place of changed) renewMaster(this.#mastered[place] as Slot);
    this.settle();
  }

  /** Notes that all masters and parameters agree now. */
  settle(): void {
    this.#agreed.note();
  }

  /** Disposes of the state of these parameters. Captured work that is replayed later no longer updates masters. */
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

/** Copies a parameter into its master. */
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
