import { expectFinite, expectShape } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { zip } from "../lookup.js";
import { expectOptions, optionNames } from "../options.js";
import type { PreprocessingOptions } from "../preprocessing-options.js";
import { asType, type NormalizeOptions, normalizeImages, type Tensor, tensor, tidy } from "../tensor/index.js";
import { expectTensor } from "../tensor/tensor.js";

const preprocessingNames = optionNames<PreprocessingOptions>({
  shape: true,
  dtype: true,
  scale: true,
  mean: true,
  std: true,
});
const applyNames = optionNames<Pick<NormalizeOptions, "moves" | "dtype">>({ moves: true, dtype: true });

/**
 * The preprocessing (x·scale − mean)/std per channel, computed on the device. A standard deviation that is not above 0
 * counts as 1.
 *
 * Raw bytes are uploaded, which takes a quarter of the size of float32 values.
 *
 * @example
 * ```ts
 * import { nn, openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const options = { shape: [2, 2, 1], dtype: "uint8", scale: 1 / 255, mean: [0.5], std: [0.25] } as const;
 * const preprocessing = new nn.Preprocessing(options);
 * const y = preprocessing.apply(tensor(device, new Uint8Array([0, 255, 0, 255]), [1, 2, 2, 1]));
 * console.log(await y.read()); // -2, 2, -2, 2
 * ```
 */
export class Preprocessing {
  /** The options that the constructor was given. */
  readonly options: PreprocessingOptions;
  #factors: { factor: Tensor; offset: Tensor } | undefined;

  /**
   * Creates the preprocessing. Memory on the device is allocated at the first use.
   *
   * @throws StepsizeError `invalid-argument` if an option is unknown, `shape` or `scale` is invalid, or `mean` or `std`
   * is not one finite number per channel
   */
  constructor(options: PreprocessingOptions) {
    expectOptions("preprocessing", preprocessingNames, options);
    expectShape("preprocessing.shape", options.shape);
    const channels = options.shape.at(-1);
    for (const name of ["mean", "std"] as const)
      if (!Array.isArray(options[name]) || options[name].length !== channels || !options[name].every(Number.isFinite))
        invalidArgument(`preprocessing.${name}`, `${channels} numbers, one per channel`, options[name]);
    expectFinite("preprocessing.scale", options.scale);
    this.options = options;
  }

  /**
   * Returns the preprocessed values of a batch.
   *
   * @param raw [N, …shape]. Values of a type other than uint8 are converted to float32.
   * @param options options of `ops.normalizeImages`: `moves` and `dtype`
   * @returns a tensor with the shape of `raw`, float32 unless `dtype` is given
   * @throws StepsizeError `invalid-argument` if `raw` is not a tensor, requires a gradient or has another number of
   * channels, or if an option is unknown
   */
  apply(raw: Tensor, options: Pick<NormalizeOptions, "moves" | "dtype"> = {}): Tensor<"float32" | "bfloat16"> {
    expectTensor("raw", raw);
    expectOptions("apply", applyNames, options);
    const factors = this.#onDevice(raw);
    return tidy(() =>
      normalizeImages(raw.dtype === "uint8" ? raw : asType(raw, "float32"), { ...factors, ...options }),
    );
  }

  /** Frees the memory of the factors on the device. The next use allocates it again. */
  dispose(): void {
    this.#factors?.factor.dispose();
    this.#factors?.offset.dispose();
    this.#factors = undefined;
  }

  #onDevice(like: Tensor): { factor: Tensor; offset: Tensor } {
    if (this.#factors?.factor.device === like.device) return this.#factors;
    const { scale, mean } = this.options;
    const std = this.options.std.map((value) => (value > 0 ? value : 1));
    const row = (values: readonly number[]) => tensor(like.device, Float32Array.from(values)).keep();
    this.#factors = {
      factor: row(std.map((value) => scale / value)),
      offset: row(Array.from(zip(mean, std), ([value, deviation]) => -value / deviation)),
    };
    return this.#factors;
  }

  /** Returns {@link options}. `JSON.stringify` calls it. */
  toJSON(): PreprocessingOptions {
    return this.options;
  }
}
