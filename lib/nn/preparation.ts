import { expectModule } from "../arguments.js";
import type { PreprocessingOptions } from "../preprocessing-options.js";
import { asType, type Tensor, tidy } from "../tensor/index.js";
import { expectTensor } from "../tensor/tensor.js";
import type { Module } from "./module.js";
import { Preprocessing } from "./preprocessing.js";

/**
 * The preparation of raw inputs for a model: it moves and preprocesses images, and converts floats to the model's
 * precision.
 *
 * @example
 * ```ts
 * import { models, nn, openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.mlp({ inputs: 4, hidden: [8], classes: 2, device, seed: 0 });
 * const options = { shape: [2, 2, 1], dtype: "uint8", scale: 1 / 255, mean: [0.5], std: [0.25] } as const;
 * const preparation = new nn.Preparation(model, options);
 * const raw = tensor(device, new Uint8Array([0, 255, 0, 255]), [1, 2, 2, 1]);
 * const logits = model.forward(preparation.apply(raw));
 * ```
 */
export class Preparation {
  readonly #dtype: "float32" | "bfloat16";
  #preprocessing: Preprocessing | undefined;

  /**
   * Creates the preparation for a model with its present precision.
   *
   * @param options preprocessing of the raw inputs. Default: none.
   * @throws StepsizeError `invalid-argument` if `model` is not a module, or if the options are invalid
   */
  constructor(model: Module, options?: PreprocessingOptions) {
    expectModule("model", model);
    this.#dtype = model.precision === "bf16" ? "bfloat16" : "float32";
    this.#preprocessing = options === undefined ? undefined : new Preprocessing(options);
  }

  /**
   * Prepares raw inputs. Returns the inputs themselves if nothing has to be done.
   *
   * @param moves shift and mirroring of each image, int32 [N, 3]; see `ops.normalizeImages`. Default: none.
   * @throws StepsizeError `invalid-argument` if `raw` is not a tensor, or if the shapes do not fit
   */
  apply(raw: Tensor, moves?: Tensor): Tensor {
    expectTensor("raw", raw);
    const dtype = this.#dtype;
    // Images are moved by the same operation, here with a factor of 1 and an offset of 0.
    if (moves) this.#preprocessing ??= unchanged(raw);
    if (this.#preprocessing) return this.#preprocessing.apply(raw, { moves, dtype });
    return tidy(() => (raw.dtype === "float32" ? asType(raw, dtype) : raw));
  }

  /** Frees the memory of the factors on the device. */
  dispose(): void {
    this.#preprocessing?.dispose();
  }
}

function unchanged({ shape, dtype }: Tensor): Preprocessing {
  const channels = shape.at(-1) ?? 1;
  const all = (value: number) => new Array<number>(channels).fill(value);
  return new Preprocessing({ shape: shape.slice(1), dtype, scale: 1, mean: all(0), std: all(1) });
}
