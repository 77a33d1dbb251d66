import { hostValues } from "../tensor/host-values.js";
import type { Tensor } from "../tensor/index.js";

/** The counts of optimizers by the tensor of their state, where the device counts as well. */
const live = new WeakMap<Tensor, StepCount>();

/** The steps that an optimizer has made, as the host knows them. */
export class StepCount {
  readonly #state: Tensor;
  #made: number | undefined = 0;
  /** Steps since a state was loaded whose own number is not known yet. */
  #since = 0;
  #reading: Promise<void> | undefined;

  /** @param state of the optimizer, whose first value is the device's count */
  constructor(state: Tensor) {
    this.#state = state;
    live.set(state, this);
  }

  /** `undefined` while only the device knows it. */
  get made(): number | undefined {
    return this.#made;
  }

  set made(steps: number) {
    this.#made = steps;
    this.#reading = undefined;
  }

  advance(times: number): void {
    if (this.#made === undefined) this.#since += times;
    else this.#made += times;
  }

  /** Takes the count of a state that the host knows. */
  take(known: number | undefined): void {
    this.made = countOf(known);
  }

  /**
   * Takes the count of a state whose values the device copies into the optimizer's. It is known at once if the host gave
   * them or it is the state of an optimizer; otherwise when it was read, and steps made until then are added to it.
   */
  async load(given: Tensor): Promise<void> {
    const known = live.get(given)?.made ?? hostValues(given)?.[0];
    if (known !== undefined) return this.take(known);
    this.#made = undefined;
    this.#since = 0;
    const reading = this.#state.read().then(([made]) => {
      // Another state, or another count, may have come in between.
      if (this.#reading === reading) this.made = countOf(made) + this.#since;
    });
    this.#reading = reading;
    await reading;
  }
}

/** As the device reads it: what is no count is 0. */
function countOf(value: number | undefined): number {
  return value !== undefined && value > 0 ? Math.trunc(value) : 0;
}
