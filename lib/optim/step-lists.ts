import { invalidArgument, StepsizeError } from "../errors.js";
import type { NativeList, NativeTensor } from "../native/addon.js";
import type { Device } from "../native/index.js";
import { Tensor } from "../tensor/index.js";
import { elementOf, type Foreign, factsOf, isForeign } from "./parameters.js";
import type { Keeper, Slot } from "./slots.js";

/**
 * The lists of tensors of a step. A device keeps a table of each list, so a list is set again only when it changes. The
 * parameters that take part rarely change; the gradients may be new tensors at every step.
 */
export class StepLists {
  /** The gradients of the slots, in their order. */
  readonly gradients: NativeList;
  /** The other lists in the order of the update: the updated tensors, the moments, the rounded copies. */
  #updated: readonly NativeList[] = [];
  readonly #device: Device;
  readonly #keeper: Keeper;
  #slots: readonly Slot[] = [];
  #lastGradients: readonly unknown[] = [];

  constructor(device: Device, keeper: Keeper) {
    this.#device = device;
    this.#keeper = keeper;
    this.gradients = device.native.list();
  }

  /** All lists in the order in which the update takes them. */
  get all(): readonly NativeList[] {
    const [parameters, ...rest] = this.#updated as [NativeList, ...NativeList[]];
    return [parameters, this.gradients, ...rest];
  }

  /**
   * Sets the parameters that take part in a step and their gradients.
   *
   * @throws StepsizeError `invalid-argument` if a gradient does not fit its parameter or memory overlaps;
   * `invalid-state` if an array was detached or resized
   */
  set(slots: readonly Slot[], gradients: readonly (Tensor | Foreign)[]): void {
    const foreign = isForeign((slots[0] as Slot).parameter);
    if (foreign) expectUnresized(slots);
    this.#setUpdated(slots, foreign);
    this.#setGradients(slots, gradients);
    if (foreign) this.#expectDistinct();
  }

  #setUpdated(slots: readonly Slot[], foreign: boolean): void {
    const same = this.#slots.length === slots.length && slots.every((slot, i) => slot === this.#slots[i]);
    if (same && !foreign) return;
    const places = Int32Array.from(slots, ({ place }) => place);
    const parameters = slots.map(({ parameter }) => elementOf(parameter));
    const kept = this.#keeper.names.map((_, i) => slots.map((slot) => (slot.kept[i] as Tensor).handle));
    // With master weights, the masters are updated and the parameters are their rounded copies.
    const contents = this.#keeper.hasMasters ? [...kept, parameters] : [parameters, ...kept];
    const lists = contents.map((_, i) => this.#updated[i] ?? this.#device.native.list());
    this.#slots = [];
    for (const [i, content] of contents.entries())
      if (!same || content === parameters) (lists[i] as NativeList).set(content, places);
    this.#updated = lists;
    this.#slots = slots;
  }

  #setGradients(slots: readonly Slot[], gradients: readonly (Tensor | Foreign)[]): void {
    const elements = gradients.map((gradient) => (gradient instanceof Tensor ? gradient.handle : gradient));
    const unchanged =
      elements.length === this.#lastGradients.length && elements.every((one, i) => one === this.#lastGradients[i]);
    // An array may have been detached since. Only setting the list again finds that before the step begins.
    if (unchanged && gradients[0] instanceof Tensor) return;
    const { dtype } = factsOf((slots[0] as Slot).parameter);
    gradients.forEach((gradient, i) => {
      const slot = slots[i] as Slot;
      const own = slot.parameter instanceof Tensor;
      const what = own ? `step: the gradient of ${slot.key}` : `gradients[${i}]`;
      if (own !== gradient instanceof Tensor || (!own && !isForeign(gradient)))
        invalidArgument(what, "an array like its parameter", gradient);
      const facts = factsOf(gradient);
      if (facts.dtype !== dtype || String(facts.shape) !== String(slot.shape))
        throw new StepsizeError(
          "invalid-argument",
          `${what} is ${facts.dtype}[${facts.shape}], the parameter ${dtype}[${slot.shape}]`,
        );
    });
    this.#lastGradients = [];
    this.gradients.set(elements as readonly (NativeTensor | Foreign)[]);
    this.#lastGradients = elements;
  }

  /** Throws if caller-owned memory overlaps: an update may not write memory that it also reads as something else. */
  #expectDistinct(): void {
    const found = this.#device.native.overlap([...this.#updated, this.gradients], this.#updated.length);
    if (!found) return;
    const names = [...(this.#keeper.hasMasters ? [] : ["parameters"]), ...this.#keeper.names, "gradients"];
    const place = (list: number, index: number) => `${names[list]}[${index}]`;
    const [list, index, otherList, otherIndex] = found;
    throw new StepsizeError(
      "invalid-argument",
      `${place(list, index)} overlaps ${place(otherList, otherIndex)}: each needs memory of its own`,
    );
  }
}

function expectUnresized(slots: readonly Slot[]): void {
  for (const [i, { parameter, shape }] of slots.entries()) {
    const { length } = parameter as Foreign;
    if (length !== shape[0])
      throw new StepsizeError(
        "invalid-state",
        `parameters[${i}]: the array was detached or resized: it had ${shape[0]} elements, now ${length}`,
      );
  }
}
