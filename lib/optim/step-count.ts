import { hostValues } from "../tensor/host-values.js";
import type { Tensor } from "../tensor/index.js";

/** The step counts of optimizers by their `state` tensor, in which the device counts too. */
const live = new WeakMap<Tensor, StepCount>();

/** The number of steps that an optimizer has made, as far as the host knows it. */
export class StepCount {
  readonly #state: Tensor;
  #made: number | undefined = 0;
  /** Steps since a state was loaded whose count the host does not know yet. */
  #since = 0;
  #reading: Promise<void> | undefined;

  /** @param state the optimizer's `state` tensor, whose first value is the device's count */
  constructor(state: Tensor) {
    this.#state = state;
    live.set(state, this);
  }

  /** The number of steps; `undefined` while only the device knows it. */
  get made(): number | undefined {
    return this.#made;
  }

  set made(steps: number) {
    this.#made = steps;
    this.#reading = undefined;
  }

  /** Counts steps. */
  advance(times: number): void {
    if (this.#made === undefined) this.#since += times;
    else this.#made += times;
  }

  /** Sets the count to the first value of a state that the host knows. */
  take(known: number | undefined): void {
    this.made = countOf(known);
  }

  /**
   * Sets the count to that of a state which the device copies into the optimizer's. The count is known at once if the
   * tensor was made from values of the host or is the state of another optimizer. Otherwise it is read from the device,
   * and steps that are made in the meantime are added to it.
   *
   * @returns a promise that resolves when the count is known
   */
  async load(given: Tensor): Promise<void> {
    const known = live.get(given)?.made ?? hostValues(given)?.[0];
    if (known !== undefined) return this.take(known);
    this.#made = undefined;
    this.#since = 0;
    const reading = this.#state.read().then(([made]) => {
      // Another state may have been loaded, or another count set, since this read began.
      if (this.#reading === reading) this.made = countOf(made) + this.#since;
    });
    this.#reading = reading;
    await reading;
  }
}

/** Returns the count as the device interprets it: a value that is not above 0 counts as 0. */
function countOf(value: number | undefined): number {
  return value !== undefined && value > 0 ? Math.trunc(value) : 0;
}
