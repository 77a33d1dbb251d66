import type { DataType } from "../../data-type.js";
import { checkedOptions, optionNames } from "../../options.js";
import { differentiable } from "../autograd.js";
import { execute, expectTensor, type Tensor } from "../tensor.js";

/** Options of {@link maxPool2d} and {@link averagePool2d}. */
export interface PoolingOptions {
  /** Height and width of the window. */
  readonly size: number;
  /** Stride in both directions. Default: the size, so that windows do not overlap. */
  readonly stride?: number | undefined;
  /** Padding on each side of the image, at most half of the window. Default 0. */
  readonly padding?: number | undefined;
}

/** @internal The names of the pooling options. The layers use them too. */
export const poolingNames = optionNames<PoolingOptions>({ size: true, stride: true, padding: true });

/**
 * Returns the largest value of each window.
 *
 * @param images [N, height, width, channels]
 * @throws StepsizeError `invalid-argument` if `images` has another shape, or if an option is unknown or out of range
 */
export function maxPool2d<D extends DataType>(images: Tensor<D>, options: PoolingOptions): Tensor<D> {
  expectTensor("images", images);
  const { size, stride = size, padding = 0 } = checkedOptions("maxPool2d", poolingNames, options);
  const [, height, width] = images.shape;
  return differentiable("maxPool2d", [images], { size, stride, padding }, (_, extras) => ({
    gradient: (g) => execute("maxPool2dGradient", [g, ...extras], { size, stride, padding, height, width }),
  }));
}

/**
 * Returns the mean of each window. Padding counts as zeros.
 *
 * @param images [N, height, width, channels]
 * @throws StepsizeError `invalid-argument` if `images` has another shape, or if an option is unknown or out of range
 */
export function averagePool2d<D extends DataType>(images: Tensor<D>, options: PoolingOptions): Tensor<D> {
  expectTensor("images", images);
  const { size, stride = size, padding = 0 } = checkedOptions("averagePool2d", poolingNames, options);
  const [, height, width] = images.shape;
  return differentiable("averagePool2d", [images], { size, stride, padding }, () => ({
    gradient: (g) => execute("averagePool2dGradient", [g], { size, stride, padding, height, width }),
  }));
}
