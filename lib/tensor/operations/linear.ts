import type { DataType } from "../../data-type.js";
import { invalidArgument } from "../../errors.js";
import { checkedOptions, optionNames } from "../../options.js";
import { elementCount, sameShape } from "../../shapes.js";
import { differentiable, needsGraph } from "../autograd.js";
import { execute, expectTensor, expectTensors, run, type Tensor } from "../tensor.js";
import { add, gelu, relu, reshape, silu } from "./elementwise.js";

function product(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  return run("matmul", [a, b], { transposeA, transposeB });
}

/** Options of {@link matmul}. */
export interface MatmulOptions {
  /** Whether `a` is stored transposed, as [k, m]. Default false. */
  readonly transposeA?: boolean | undefined;
  /** Whether `b` is stored transposed, as [n, k]. Default false. */
  readonly transposeB?: boolean | undefined;
}

const matmulNames = optionNames<MatmulOptions>({ transposeA: true, transposeB: true });

/**
 * Returns the matrix product [m, n] of `a` [m, k] and `b` [k, n].
 *
 * @throws StepsizeError `invalid-argument` if the inner sizes differ, if the types do not fit, or for an unknown option
 *
 * @example
 * ```ts
 * import { openDevice, ops, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const a = tensor(device, [[1, 2], [3, 4]]);
 * const b = tensor(device, [[1, 0], [0, 2]]);
 * console.log(await ops.matmul(a, b, { transposeB: true }).read()); // 1, 4, 3, 8
 * ```
 */
export function matmul<D extends DataType>(a: Tensor<D>, b: Tensor, options: MatmulOptions = {}): Tensor<D> {
  const { transposeA = false, transposeB = false } = checkedOptions("matmul", matmulNames, options);
  return differentiable("matmul", [a, b], { transposeA, transposeB }, () => ({
    saves: [a, b],
    gradient: (g, needed) => [
      needed[0] ? (transposeA ? product(b, g, transposeB, true) : product(g, b, false, !transposeB)) : undefined,
      needed[1] ? (transposeB ? product(g, a, true, transposeA) : product(a, g, !transposeA, false)) : undefined,
    ],
  }));
}

/** Options of {@link linear}: the epilogue of the product. */
export interface LinearOptions {
  /** Bias that is added to every row, [outputs]. Default: none. */
  readonly bias?: Tensor | undefined;
  /** Function that is then applied to every element. Default: none. */
  readonly activation?: "relu" | "gelu" | "silu" | undefined;
  /** Tensor that is added last, [..., outputs]. Default: none. */
  readonly residual?: Tensor | undefined;
}

const linearNames = optionNames<LinearOptions>({ bias: true, activation: true, residual: true });

const activations = { relu, gelu, silu } as const;

/**
 * Returns activation(x·Wᵀ + bias) + residual over the last axis.
 *
 * The result is written in one pass. If the gradient needs the values before the activation or before the residual is
 * added, there are further passes.
 *
 * @param x [..., inputs]
 * @param weight W, [outputs, inputs]
 * @returns [..., outputs]
 * @throws StepsizeError `invalid-argument` if a shape or type does not fit, or for an unknown option or activation
 */
export function linear<D extends DataType>(x: Tensor<D>, weight: Tensor, options: LinearOptions = {}): Tensor<D> {
  expectTensors({ x, weight });
  const { bias, activation, residual } = checkedOptions("linear", linearNames, options);
  for (const [name, given] of Object.entries({ bias, residual })) if (given !== undefined) expectTensor(name, given);
  const leading = x.shape.slice(0, -1);
  const shape = [...leading, ...weight.shape.slice(0, 1)];
  if (activation !== undefined && !Object.hasOwn(activations, activation))
    invalidArgument("activation", Object.keys(activations).join(", "), activation);
  if (residual && !sameShape(residual.shape, shape))
    invalidArgument("residual", `shape [${shape.join(", ")}]`, residual.shape);
  const inputs = [x, weight, bias, residual].filter((input) => input !== undefined);
  // The gradient of ReLU needs only its result, without a residual. Those of the others need the input of the
  // activation.
  const isSeparate =
    activation !== undefined && (activation !== "relu" || residual !== undefined) && needsGraph(inputs);
  if (isSeparate) {
    const activated = activations[activation](linear(x, weight, { bias }));
    return residual ? add(activated, residual) : activated;
  }
  if (leading.length === 1) return product2d(x, weight, options);
  const count = elementCount(leading);
  const flat = <T extends DataType>(rows: Tensor<T>) => reshape(rows, [count, rows.shape.at(-1) ?? 1]);
  const rows = product2d(flat(x), weight, { ...options, residual: residual && flat(residual) });
  return reshape(rows, shape);
}

function product2d<D extends DataType>(
  x: Tensor<D>,
  weight: Tensor,
  { bias, activation, residual }: LinearOptions,
): Tensor<D> {
  const epilogue = [bias, residual].filter((input) => input !== undefined);
  const attributes = { transposeB: true, bias: bias !== undefined, activation: activation ?? "none" };
  return differentiable("matmul", [x, weight, ...epilogue], attributes, (output) => ({
    saves: activation === "relu" ? [x, weight, output] : [x, weight],
    gradient: (given, needed) => {
      const g = activation === "relu" ? run("reluGradient", [output, given]) : given;
      const ofBias = () => execute("sum", [g], { axis: 0, count: 1 })[0];
      return [
        needed[0] ? product(g, weight, false, false) : undefined,
        needed[1] ? product(g, x, true, false) : undefined,
        ...(bias ? [needed[2] ? ofBias() : undefined] : []),
        ...(residual ? [given] : []),
      ];
    },
  }));
}

/** Options of {@link conv2d}. */
export interface ConvolutionOptions {
  /** Stride in both directions. Default 1. */
  readonly stride?: number | undefined;
  /** Number of zeros on each side of the image. Default 0. */
  readonly padding?: number | undefined;
}

const convolutionNames = optionNames<ConvolutionOptions>({ stride: true, padding: true });

/**
 * Returns the convolution of images with a window of weights.
 *
 * @param images [N, height, width, channels]
 * @param weights [outputs, kernelHeight, kernelWidth, channels]
 * @returns [N, height', width', outputs], with height' = ⌊(height + 2·padding − kernelHeight)/stride⌋ + 1 and width' in
 * the same way
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit, or if an option is unknown or out of
 * range
 */
export function conv2d<D extends DataType>(
  images: Tensor<D>,
  weights: Tensor,
  options: ConvolutionOptions = {},
): Tensor<D> {
  const { stride = 1, padding = 0 } = checkedOptions("conv2d", convolutionNames, options);
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
