import { expectModule } from "../arguments.js";
import { asType, type Tensor, tidy } from "../tensor/index.js";
import { expectTensor } from "../tensor/tensor.js";
import type { Module } from "./module.js";
import { Preprocessing, type PreprocessingOptions } from "./preprocessing.js";

/** From raw inputs to what a model takes: moved, preprocessed where it asks for that, floats in its precision. */
export class Preparation {
  readonly #dtype: "float32" | "bfloat16";
  #preprocessing: Preprocessing | undefined;

  /** @param options what is done to raw inputs first; default: nothing */
  constructor(model: Module, options?: PreprocessingOptions) {
    expectModule("model", model);
    this.#dtype = model.precision === "bf16" ? "bfloat16" : "float32";
    this.#preprocessing = options && new Preprocessing(options);
  }

  /**
   * The inputs themselves where nothing is to be done to them.
   * @param moves of images; see `normalizeImages`
   */
  apply(raw: Tensor, moves?: Tensor): Tensor {
    expectTensor("raw", raw);
    const dtype = this.#dtype;
    // Moving is a part of the same pass, which then changes no value.
    if (moves) this.#preprocessing ??= unchanged(raw);
    if (this.#preprocessing) return this.#preprocessing.apply(raw, { moves, dtype });
    return tidy(() => (raw.dtype === "float32" ? asType(raw, dtype) : raw));
  }

  /** Gives back the memory of what is kept on the device. */
  dispose(): void {
    this.#preprocessing?.dispose();
  }
}

function unchanged({ shape, dtype }: Tensor): Preprocessing {
  const channels = shape.at(-1) ?? 1;
  const all = (value: number) => new Array<number>(channels).fill(value);
  return new Preprocessing({ shape: shape.slice(1), dtype, scale: 1, mean: all(0), std: all(1) });
}
