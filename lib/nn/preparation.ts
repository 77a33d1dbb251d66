import { asType, type Tensor, tidy } from "../tensor/index.js";
import type { Module } from "./module.js";
import { Preprocessing, type PreprocessingOptions } from "./preprocessing.js";

/** From raw inputs to what a model takes: preprocessed where it asks for that, floats in the model's precision. */
export class Preparation {
  readonly #isLow: boolean;
  readonly #preprocessing: Preprocessing | undefined;

  /** @param options what is done to raw inputs first; default: nothing */
  constructor(model: Module, options?: PreprocessingOptions) {
    this.#isLow = model.precision === "bf16";
    this.#preprocessing = options && new Preprocessing(options);
  }

  /** The inputs themselves where nothing is to be done to them. */
  apply(raw: Tensor): Tensor {
    return tidy(() => {
      const inputs = this.#preprocessing?.apply(raw) ?? raw;
      return this.#isLow && inputs.dtype === "float32" ? asType(inputs, "bfloat16") : inputs;
    });
  }

  /** Gives back the memory of what is kept on the device. */
  dispose(): void {
    this.#preprocessing?.dispose();
  }
}
