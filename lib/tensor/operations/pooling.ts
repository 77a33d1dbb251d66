import { checkedOptions, optionNames } from "../../options.js";
import { differentiable } from "../autograd.js";
import { execute, expectTensor, type Tensor } from "../tensor.js";

/** Options of the pooling operations. */
export interface PoolingOptions {
  /** Height and width of the window. */
  readonly size: number;
  /** Default: the size, so that windows do not overlap. */
  readonly stride?: number;
  /** Around the image, at most half the window; default 0. */
  readonly padding?: number;
}

/** @internal The names of these options, which the layers take as well. */
export const poolingNames = optionNames<PoolingOptions>({ size: true, stride: true, padding: true });

/** The largest value of each window of images [N, height, width, channels]. */
export function maxPool2d(images: Tensor, options: PoolingOptions): Tensor {
  expectTensor("images", images);
  const { size, stride = size, padding = 0 } = checkedOptions("maxPool2d", poolingNames, options);
  const [, height, width] = images.shape;
  return differentiable("maxPool2d", [images], { size, stride, padding }, (_, extras) => ({
    gradient: (g) => execute("maxPool2dGradient", [g, ...extras], { size, stride, padding, height, width }),
  }));
}

/** The mean of each window of images [N, height, width, channels]; padding counts as zeros. */
export function averagePool2d(images: Tensor, options: PoolingOptions): Tensor {
  expectTensor("images", images);
  const { size, stride = size, padding = 0 } = checkedOptions("averagePool2d", poolingNames, options);
  const [, height, width] = images.shape;
  return differentiable("averagePool2d", [images], { size, stride, padding }, () => ({
    gradient: (g) => execute("averagePool2dGradient", [g], { size, stride, padding, height, width }),
  }));
}
