import { invalidArgument } from "../../errors.js";
import { checkedOptions, optionNames } from "../../options.js";
import { differentiable, isRecorded } from "../autograd.js";
import { execute, expectTensor, expectTensors, type Tensor } from "../tensor.js";
import { add, gelu, relu, reshape, silu } from "./elementwise.js";

function product(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  return execute("matmul", [a, b], { transposeA, transposeB })[0] as Tensor;
}

/** Which operands of {@link matmul} are stored transposed. */
export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

const matmulNames = optionNames<MatmulOptions>({ transposeA: true, transposeB: true });

/**
 * The matrix product of `a` [m, k] and `b` [k, n], either of them transposed on request.
 * @throws StepsizeError `invalid-argument` where the inner sizes differ.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false } = checkedOptions("matmul", matmulNames, options);
  return differentiable("matmul", [a, b], { transposeA, transposeB }, () => ({
    saves: [a, b],
    gradient: (g, needed) => [
      needed[0] ? (transposeA ? product(b, g, transposeB, true) : product(g, b, false, !transposeB)) : undefined,
      needed[1] ? (transposeB ? product(g, a, true, transposeA) : product(a, g, !transposeA, false)) : undefined,
    ],
  }));
}

/** What {@link linear} does to the product before it is stored. */
export interface LinearOptions {
  /** Added to every row, [outputs]. */
  readonly bias?: Tensor | undefined;
  /** Then applied to every element. */
  readonly activation?: "relu" | "gelu" | "silu" | undefined;
  /** Added at last, [..., outputs]. */
  readonly residual?: Tensor | undefined;
}

const linearNames = optionNames<LinearOptions>({ bias: true, activation: true, residual: true });

const activations = { relu, gelu, silu } as const;

/**
 * activation(x·Wᵀ + bias) + residual over the last axis: from [..., inputs] to [..., outputs], with `weight` [outputs,
 * inputs]. One pass over the result; where a gradient needs what a second pass would see, two.
 *
 * @throws StepsizeError `invalid-argument` where the last axis is not the inputs, or another shape does not fit
 */
export function linear(x: Tensor, weight: Tensor, options: LinearOptions = {}): Tensor {
  expectTensors({ x, weight });
  const { bias, activation, residual } = checkedOptions("linear", linearNames, options);
  for (const [name, one] of Object.entries({ bias, residual })) if (one !== undefined) expectTensor(name, one);
  const leading = x.shape.slice(0, -1);
  const shape = [...leading, weight.shape[0] as number];
  if (activation !== undefined && !Object.hasOwn(activations, activation))
    invalidArgument("activation", Object.keys(activations).join(", "), activation);
  if (residual && String(residual.shape) !== String(shape))
    invalidArgument("residual", `shape [${shape.join(", ")}]`, residual.shape);
  const all = [x, weight, bias, residual].filter((one) => one !== undefined);
  // ReLU's gradient is read off its result, but not off a sum with it; the others' need what they were applied to.
  const isSeparate = activation !== undefined && (activation !== "relu" || residual !== undefined) && isRecorded(all);
  if (isSeparate) {
    const activated = activations[activation](linear(x, weight, { bias }));
    return residual ? add(activated, residual) : activated;
  }
  if (leading.length === 1) return product2d(x, weight, options);
  const count = leading.reduce((product, size) => product * size, 1);
  const flat = (one: Tensor) => reshape(one, [count, one.shape.at(-1) ?? 1]);
  const rows = product2d(flat(x), weight, { ...options, residual: residual && flat(residual) });
  return reshape(rows, shape);
}

function product2d(x: Tensor, weight: Tensor, { bias, activation, residual }: LinearOptions): Tensor {
  const more = [bias, residual].filter((one) => one !== undefined);
  const attributes = { transposeB: true, bias: bias !== undefined, activation: activation ?? "none" };
  return differentiable("matmul", [x, weight, ...more], attributes, (output) => ({
    saves: activation === "relu" ? [x, weight, output] : [x, weight],
    gradient: (given, needed) => {
      const g = activation === "relu" ? (execute("reluGradient", [output, given])[0] as Tensor) : given;
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
  /** Default 1, the same in both directions. */
  readonly stride?: number;
  /** Zeros around the image; default 0. */
  readonly padding?: number;
}

const convolutionNames = optionNames<ConvolutionOptions>({ stride: true, padding: true });

/**
 * Convolution of images [N, height, width, channels] with weights [outputs, kernelHeight, kernelWidth, channels].
 * Returns [N, height', width', outputs].
 */
export function conv2d(images: Tensor, weights: Tensor, options: ConvolutionOptions = {}): Tensor {
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
