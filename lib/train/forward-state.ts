import { type Module, Parameter } from "../nn/index.js";
import type { Tensor } from "../tensor/index.js";

/** The state of a model that a forward pass in training changes, besides gradients: counters and buffers. */
export class ForwardState {
  readonly #counting: readonly { counter: number }[];
  readonly #buffers: readonly Tensor[];
  /** The counters at the beginning of the step. */
  #counters: readonly { readonly module: { counter: number }; readonly counter: number }[] = [];
  #versions: readonly number[] = [];

  constructor(model: Module) {
    this.#counting = model.modules().filter(isCounting);
    this.#buffers = [...model.stateDict().values()].filter((tensor) => !(tensor instanceof Parameter));
  }

  /** Remembers the state at the beginning of a step. */
  mark(): void {
    this.#counters = this.#counting.map((module) => ({ module, counter: module.counter }));
    this.#versions = this.#buffers.map(({ handle }) => handle.version);
  }

  /**
   * Restores the state at the beginning of the step, as far as that is possible.
   *
   * @returns whether the model is in that state. Buffers that were written to cannot be restored, because their values
   * are not kept.
   */
  restore(): boolean {
    for (const { module, counter } of this.#counters) module.counter = counter;
    return this.#buffers.every(({ handle }, i) => handle.version === this.#versions[i]);
  }
}

function isCounting(module: Module): module is Module & { counter: number } {
  return "counter" in module && typeof module.counter === "number";
}
