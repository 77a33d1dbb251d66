import { differentiable } from "../autograd.js";
import { execute, type Tensor } from "../tensor.js";
import { reshape } from "./elementwise.js";

function product(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  return execute("matmul", [a, b], { transposeA, transposeB })[0] as Tensor;
}

/** Which operands of {@link matmul} are stored transposed. */
export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

/**
 * The matrix product of `a` [m, k] and `b` [k, n], either of them transposed on request.
 * @throws StepsizeError `invalid-argument` where the inner sizes differ.
 */
export function matmul(a: Tensor, b: Tensor, { transposeA = false, transposeB = false }: MatmulOptions = {}): Tensor {
  return differentiable("matmul", [a, b], { transposeA, transposeB }, () => ({
    saves: [a, b],
    gradient: (g, needed) => [
      needed[0] ? (transposeA ? product(b, g, transposeB, true) : product(g, b, false, !transposeB)) : undefined,
      needed[1] ? (transposeB ? product(g, a, true, transposeA) : product(a, g, !transposeA, false)) : undefined,
    ],
  }));
}

/**
 * x·Wᵀ over the last axis: from [..., inputs] to [..., outputs], with `weight` [outputs, inputs].
 * @throws StepsizeError `invalid-argument` where the last axis is not the inputs.
 */
export function linear(x: Tensor, weight: Tensor): Tensor {
  const leading = x.shape.slice(0, -1);
  if (leading.length === 1) return matmul(x, weight, { transposeB: true });
  const rows = reshape(x, [leading.reduce((product, size) => product * size, 1), x.shape.at(-1) ?? 1]);
  return reshape(matmul(rows, weight, { transposeB: true }), [...leading, weight.shape[0] as number]);
}

/** Options of {@link conv2d}. */
export interface ConvolutionOptions {
  /** Default 1, the same in both directions. */
  readonly stride?: number;
  /** Zeros around the image; default 0. */
  readonly padding?: number;
}

/**
 * Convolution of images [N, height, width, channels] with weights [outputs, kernelHeight, kernelWidth, channels].
 * Returns [N, height', width', outputs].
 */
export function conv2d(images: Tensor, weights: Tensor, { stride = 1, padding = 0 }: ConvolutionOptions = {}): Tensor {
  return differentiable("conv2d", [images, weights], { stride, padding }, () => ({
    saves: [images, weights],
    gradient: (g, needed) => {
      const [, height, width] = images.shape;
      const [, kernelHeight, kernelWidth] = weights.shape;
      const window = { stride, padding };
      return [
        needed[0] ? execute("conv2dInputGradient", [g, weights], { ...window, height, width })[0] : undefined,
        needed[1]
          ? execute("conv2dWeightGradient", [images, g], { ...window, height: kernelHeight, width: kernelWidth })[0]
          : undefined,
      ];
    },
  }));
}
