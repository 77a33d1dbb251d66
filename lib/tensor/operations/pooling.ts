import { differentiable } from "../autograd.js";
import { execute, type Tensor } from "../tensor.js";

/** Options of the pooling operations. */
export interface PoolingOptions {
  /** Height and width of the window. */
  readonly size: number;
  /** Default: the size, so that windows do not overlap. */
  readonly stride?: number;
  /** Around the image, at most half the window; default 0. */
  readonly padding?: number;
}

/** The largest value of each window of images [N, height, width, channels]. */
export function maxPool2d(images: Tensor, { size, stride = size, padding = 0 }: PoolingOptions): Tensor {
  const [, height, width] = images.shape;
  return differentiable("maxPool2d", [images], { size, stride, padding }, (_, extras) => ({
    gradient: (g) => execute("maxPool2dGradient", [g, ...extras], { size, stride, padding, height, width }),
  }));
}

/** The mean of each window of images [N, height, width, channels]; padding counts as zeros. */
export function averagePool2d(images: Tensor, { size, stride = size, padding = 0 }: PoolingOptions): Tensor {
  const [, height, width] = images.shape;
  return differentiable("averagePool2d", [images], { size, stride, padding }, () => ({
    gradient: (g) => execute("averagePool2dGradient", [g], { size, stride, padding, height, width }),
  }));
}
