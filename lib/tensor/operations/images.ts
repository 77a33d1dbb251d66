import { invalidArgument } from "../../errors.js";
import { checkedOptions, optionNames } from "../../options.js";
import { expectTensor, run, type Tensor } from "../tensor.js";

/** Options of {@link normalizeImages}. */
export interface NormalizeOptions {
  /** Factor of the raw values per channel, [channels]. */
  readonly factor: Tensor;
  /** Offset that is then added, per channel, [channels]. */
  readonly offset: Tensor;
  /**
   * Shift and mirroring of each image, int32 [N, 3], for images [N, height, width, channels]. With `move` a row of it,
   * the pixel at (y, x) is the raw pixel at (y + move[0], x + move[1]). If move[2] is not 0, it is the raw pixel at
   * (y + move[0], width − 1 − x + move[1]). Raw values outside of the image are 0. Default: images are not moved.
   */
  readonly moves?: Tensor | undefined;
  /** Type of the result. Default `"float32"`. */
  readonly dtype?: "float32" | "bfloat16" | undefined;
}

const normalizeNames = optionNames<NormalizeOptions>({ factor: true, offset: true, moves: true, dtype: true });

/**
 * Returns raw·factor + offset per channel (the last axis), and shifts and mirrors images in the same pass.
 *
 * @param raw uint8 or float32 values
 * @throws StepsizeError `invalid-argument` if `raw` requires a gradient, which this operation does not compute, if an
 * option is unknown, or if the shapes or types do not fit
 */
export function normalizeImages(raw: Tensor, options: NormalizeOptions): Tensor<"float32" | "bfloat16"> {
  expectTensor("raw", raw);
  const { factor, offset, moves, dtype = "float32" } = checkedOptions("normalizeImages", normalizeNames, options);
  if (raw.requiresGrad) invalidArgument("normalizeImages", "raw values that require no gradient", raw);
  return run("normalizeImages", [raw, factor, offset, ...(moves ? [moves] : [])], { dtype });
}
