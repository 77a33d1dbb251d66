import { invalidArgument } from "../../errors.js";
import { checkedOptions, optionNames } from "../../options.js";
import { execute, expectTensor, type Tensor } from "../tensor.js";

/** What {@link normalizeImages} does besides. */
export interface NormalizeOptions {
  /** Per channel, [channels]: what raw values are multiplied by. */
  readonly factor: Tensor;
  /** Per channel, [channels]: what is added then. */
  readonly offset: Tensor;
  /**
   * int32 [N, 3], for images [N, height, width, channels]: pixel (y, x) becomes the raw pixel (y + move[0], x + move[1]),
   * with move[2] ≠ 0 (y + move[0], width − 1 − x + move[1]); outside the image raw values are 0. Default: as they are.
   */
  readonly moves?: Tensor | undefined;
  /** Default float32. */
  readonly dtype?: "float32" | "bfloat16" | undefined;
}

const normalizeNames = optionNames<NormalizeOptions>({ factor: true, offset: true, moves: true, dtype: true });

/**
 * raw·factor + offset per channel (the last axis) for uint8 or float32 values, with images shifted and mirrored on the
 * way: one pass.
 *
 * @throws StepsizeError `invalid-argument` for raw values that require a gradient: none flows to them
 */
export function normalizeImages(raw: Tensor, options: NormalizeOptions): Tensor {
  expectTensor("raw", raw);
  const { factor, offset, moves, dtype = "float32" } = checkedOptions("normalizeImages", normalizeNames, options);
  if (raw.requiresGrad) invalidArgument("normalizeImages", "raw values that require no gradient", raw);
  return execute("normalizeImages", [raw, factor, offset, ...(moves ? [moves] : [])], { dtype })[0] as Tensor;
}
