import { expectFinite, expectShape } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import type { DataType } from "../native/index.js";
import { expectOptions, optionNames } from "../options.js";
import { asType, type NormalizeOptions, normalizeImages, type Tensor, tensor, tidy } from "../tensor/index.js";
import { expectTensor } from "../tensor/tensor.js";

/** What is done to raw inputs before a model sees them; plain JSON, saved with the model. */
export interface PreprocessingOptions {
  /** Shape of one raw item, such as [28, 28, 1]. */
  readonly shape: readonly number[];
  /** Type of the raw values. */
  readonly dtype: DataType;
  /** Raw values are multiplied by this first: 1/255 for bytes. */
  readonly scale: number;
  /** Mean per channel (the last axis) of the scaled values. */
  readonly mean: readonly number[];
  /** Standard std per channel of the scaled values. */
  readonly std: readonly number[];
}

const preprocessingNames = optionNames<PreprocessingOptions>({
  shape: true,
  dtype: true,
  scale: true,
  mean: true,
  std: true,
});
const applyNames = optionNames<Pick<NormalizeOptions, "moves" | "dtype">>({ moves: true, dtype: true });

/** (x·scale − mean)/std per channel, on the device: raw bytes travel there, a quarter of the floats' size. */
export class Preprocessing {
  readonly options: PreprocessingOptions;
  #factors: { factor: Tensor; offset: Tensor } | undefined;

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
   * From [N, …shape] raw to the same shape, normalised.
   * @param options as of {@link normalizeImages}
   */
  apply(raw: Tensor, options: Pick<NormalizeOptions, "moves" | "dtype"> = {}): Tensor {
    expectTensor("raw", raw);
    expectOptions("apply", applyNames, options);
    const factors = this.#onDevice(raw);
    return tidy(() =>
      normalizeImages(raw.dtype === "uint8" ? raw : asType(raw, "float32"), { ...factors, ...options }),
    );
  }

  /** Gives back the memory of what is kept on the device; another use makes it again. */
  dispose(): void {
    this.#factors?.factor.dispose();
    this.#factors?.offset.dispose();
    this.#factors = undefined;
  }

  #onDevice(like: Tensor): { factor: Tensor; offset: Tensor } {
    if (this.#factors?.factor.device !== like.device) {
      const { scale, mean, std } = this.options;
      const row = (values: readonly number[]) => tensor(like.device, Float32Array.from(values)).keep();
      this.#factors = {
        factor: row(std.map((value) => scale / (value > 0 ? value : 1))),
        offset: row(mean.map((value, i) => -value / ((std[i] as number) > 0 ? (std[i] as number) : 1))),
      };
    }
    return this.#factors as { factor: Tensor; offset: Tensor };
  }

  toJSON(): PreprocessingOptions {
    return this.options;
  }
}
