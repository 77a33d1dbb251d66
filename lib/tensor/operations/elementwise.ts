import { isListOf, isSafeInteger } from "../../arguments.js";
import type { DataType } from "../../data-type.js";
import { invalidArgument } from "../../errors.js";
import { checkedOptions, optionNames } from "../../options.js";
import { differentiable, withGradient } from "../autograd.js";
import { execute, expectTensor, run, type Tensor, viewOf } from "../tensor.js";

/** Operand of an elementwise operation: a tensor, or a number that applies to all elements. */
export type Operand = Tensor | number;

/** Sums a gradient over the axes along which an operand was repeated. */
function reduceTo(gradient: Tensor, like: Tensor): Tensor {
  const extra = gradient.shape.length - like.shape.length;
  const isRepeated = (axis: number) => axis < extra || (like.shape[axis - extra] === 1 && gradient.shape[axis] !== 1);
  let sum = gradient;
  // From the last axis to the first one, so that the sums leave the positions of the other axes unchanged.
  for (let end = gradient.shape.length; end > 0; end--) {
    if (!isRepeated(end - 1)) continue;
    const last = end;
    while (end > 1 && isRepeated(end - 2)) end--;
    sum = run("sum", [sum], { axis: end - 1, count: last - end + 1 });
  }
  return sum.shape.length === like.shape.length ? sum : viewOf(sum, like.shape);
}

/**
 * Returns x·scale + shift, elementwise, for numbers `scale` and `shift`.
 *
 * @throws StepsizeError `invalid-argument` if an argument has the wrong type
 */
export function affine<D extends DataType>(x: Tensor<D>, scale: number, shift = 0): Tensor<D> {
  return differentiable("affine", [x], { scale, shift }, () => ({
    gradient: (g) => [run("affine", [g], { scale })],
  }));
}

/**
 * Returns a + b, elementwise.
 *
 * The shapes broadcast by NumPy's rule. They are aligned at their last axes, a missing axis counts as one of size 1, and
 * an axis of size 1 repeats along the other operand's axis: `[128, 10] + [10]` adds a row to every row, `[128, 10] +
 * [128, 1]` a column to every column, and `[128, 1] + [10]` has the shape `[128, 10]`.
 *
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit
 */
export function add<D extends DataType>(a: Tensor<D>, b: Operand): Tensor<D> {
  if (typeof b === "number") return affine(a, 1, b);
  return differentiable("add", [a, b], undefined, () => ({
    gradient: (g, needed) => [needed[0] ? reduceTo(g, a) : undefined, needed[1] ? reduceTo(g, b) : undefined],
  }));
}

/**
 * Returns max(a + b, 0), elementwise, in one pass. Shapes are those of {@link add}.
 *
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit
 */
export function addRelu<D extends DataType>(a: Tensor<D>, b: Tensor): Tensor<D> {
  return differentiable("addRelu", [a, b], undefined, (output) => ({
    saves: [output],
    gradient: (given, needed) => {
      const g = run("reluGradient", [output, given]);
      return [needed[0] ? reduceTo(g, a) : undefined, needed[1] ? reduceTo(g, b) : undefined];
    },
  }));
}

/**
 * Returns a − b, elementwise. Shapes are those of {@link add}.
 *
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit
 */
export function subtract<D extends DataType>(a: Tensor<D>, b: Operand): Tensor<D> {
  if (typeof b === "number") return affine(a, 1, -b);
  return differentiable("subtract", [a, b], undefined, () => ({
    gradient: (g, needed) => [
      needed[0] ? reduceTo(g, a) : undefined,
      needed[1] ? reduceTo(run("affine", [g], { scale: -1 }), b) : undefined,
    ],
  }));
}

/**
 * Returns a·b, elementwise. Shapes are those of {@link add}.
 *
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit
 */
export function multiply<D extends DataType>(a: Tensor<D>, b: Operand): Tensor<D> {
  if (typeof b === "number") return affine(a, b);
  return differentiable("multiply", [a, b], undefined, () => ({
    saves: [a, b],
    gradient: (g, needed) => [
      needed[0] ? reduceTo(run("multiply", [g, b]), a) : undefined,
      needed[1] ? reduceTo(run("multiply", [g, a]), b) : undefined,
    ],
  }));
}

/**
 * Returns a/b, elementwise. Shapes are those of {@link add}.
 *
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit
 */
export function divide<D extends DataType>(a: Tensor<D>, b: Operand): Tensor<D> {
  if (typeof b === "number") return affine(a, 1 / b);
  return differentiable("divide", [a, b], undefined, (output) => ({
    saves: [b, output],
    gradient: (g, needed) => [
      needed[0] ? reduceTo(run("divide", [g, b]), a) : undefined,
      needed[1]
        ? reduceTo(run("affine", [run("divide", [run("multiply", [g, output]), b])], { scale: -1 }), b)
        : undefined,
    ],
  }));
}

/** Returns −x, elementwise. */
export function negate<D extends DataType>(x: Tensor<D>): Tensor<D> {
  return affine(x, -1);
}

/** Returns eˣ, elementwise. */
export function exp<D extends DataType>(x: Tensor<D>): Tensor<D> {
  return differentiable("exp", [x], undefined, (output) => ({
    saves: [output],
    gradient: (g) => [run("multiply", [g, output])],
  }));
}

/** Returns the natural logarithm, elementwise. */
export function log<D extends DataType>(x: Tensor<D>): Tensor<D> {
  return differentiable("log", [x], undefined, () => ({ saves: [x], gradient: (g) => [run("divide", [g, x])] }));
}

/** Returns √x, elementwise. */
export function sqrt<D extends DataType>(x: Tensor<D>): Tensor<D> {
  return differentiable("sqrt", [x], undefined, (output) => ({
    saves: [output],
    gradient: (g) => [run("affine", [run("divide", [g, output])], { scale: 0.5 })],
  }));
}

/** Returns x², elementwise. */
export function square<D extends DataType>(x: Tensor<D>): Tensor<D> {
  return differentiable("square", [x], undefined, () => ({
    saves: [x],
    gradient: (g) => [run("affine", [run("multiply", [g, x])], { scale: 2 })],
  }));
}

/** Returns the hyperbolic tangent, elementwise. */
export function tanh<D extends DataType>(x: Tensor<D>): Tensor<D> {
  return differentiable("tanh", [x], undefined, (output) => ({
    saves: [output],
    // g·(1 − y²)
    gradient: (g) => [run("multiply", [g, run("affine", [run("square", [output])], { scale: -1, shift: 1 })])],
  }));
}

/** Returns the logistic function 1/(1 + e⁻ˣ), elementwise. */
export function sigmoid<D extends DataType>(x: Tensor<D>): Tensor<D> {
  return differentiable("sigmoid", [x], undefined, (output) => ({
    saves: [output],
    // g·y·(1 − y)
    gradient: (g) => [
      run("multiply", [g, run("multiply", [output, run("affine", [output], { scale: -1, shift: 1 })])]),
    ],
  }));
}

/** Returns max(x, 0), elementwise. The gradient at 0 is 0. */
export function relu<D extends DataType>(x: Tensor<D>): Tensor<D> {
  return differentiable("relu", [x], undefined, (output) => ({
    saves: [output],
    gradient: (g) => [run("reluGradient", [output, g])],
  }));
}

/**
 * Returns x·Φ(x), elementwise, with the exact distribution function Φ of the standard normal distribution.
 *
 * Source: Hendrycks & Gimpel, "Gaussian error linear units (GELUs)", arXiv:1606.08415.
 */
export function gelu<D extends DataType>(x: Tensor<D>): Tensor<D> {
  return differentiable("gelu", [x], undefined, () => ({ saves: [x], gradient: (g) => [run("geluGradient", [x, g])] }));
}

/**
 * Returns x/(1 + e⁻ˣ), elementwise. The function is also called swish.
 *
 * Source: Hendrycks & Gimpel, "Gaussian error linear units (GELUs)", arXiv:1606.08415.
 */
export function silu<D extends DataType>(x: Tensor<D>): Tensor<D> {
  return differentiable("silu", [x], undefined, () => ({ saves: [x], gradient: (g) => [run("siluGradient", [x, g])] }));
}

/** Options of {@link dropout}. */
export interface DropoutOptions {
  /** Probability that an element is set to zero, from 0 to 1. */
  readonly probability: number;
  /** Seed: a safe integer ≥ 0. */
  readonly seed: number;
  /** Index of a stream of the seed: a safe integer ≥ 0. Default 0. */
  readonly stream?: number | undefined;
  /**
   * Number on the device that is added to the stream: a whole number, as a float32 tensor of shape []. A capture uses
   * it to count its calls. A negative number, NaN, and a number of 2^63 or more add 0. Default: nothing is added.
   */
  readonly calls?: Tensor | undefined;
}

const dropoutNames = optionNames<DropoutOptions>({ probability: true, seed: true, stream: true, calls: true });

/**
 * Sets random elements to zero and multiplies the others by 1/(1 − probability).
 *
 * The same seed and stream drop the same elements.
 *
 * Source: Srivastava et al., "Dropout: A simple way to prevent neural networks from overfitting", JMLR 2014.
 *
 * @throws StepsizeError `invalid-argument` if an option is unknown or out of range
 */
export function dropout<D extends DataType>(x: Tensor<D>, options: DropoutOptions): Tensor<D> {
  const { probability, seed, stream = 0, calls } = checkedOptions("dropout", dropoutNames, options);
  const attributes = { probability, seed, stream };
  const counted = calls ? [calls] : [];
  return differentiable("dropout", [x, ...counted], attributes, () => ({
    saves: counted,
    gradient: (g) => [run("dropout", [g, ...counted], attributes), ...counted.map(() => undefined)],
  }));
}

/**
 * Converts the values to another type.
 *
 * A conversion to an integer type truncates and clamps to the type's range; NaN becomes 0. Gradients flow between
 * float32 and bfloat16, and are rounded to the type of `x`.
 *
 * @throws StepsizeError `invalid-argument` for an unknown type, or if `x` requires a gradient and the type is neither
 * float32 nor bfloat16
 */
export function cast<D extends DataType>(x: Tensor, dtype: D): Tensor<D> {
  expectTensor("x", x);
  if (x.requiresGrad && dtype !== "float32" && dtype !== "bfloat16")
    invalidArgument("cast", "float32 or bfloat16 for a tensor that requires a gradient", dtype);
  return differentiable("cast", [x], { dtype }, () => ({
    gradient: (g) => execute("cast", [g], { dtype: x.dtype }),
  }));
}

/**
 * Returns the tensor itself if it has the type, otherwise its {@link cast}.
 *
 * @throws StepsizeError `invalid-argument` as {@link cast}
 */
export function asType<D extends DataType>(x: Tensor, dtype: D): Tensor<D> {
  expectTensor("x", x);
  return x.hasType(dtype) ? x : cast(x, dtype);
}

/**
 * Returns the same elements with another shape. The result shares the memory of `x`.
 *
 * @param shape sizes of the axes. One size may be −1; it is computed from the others.
 * @throws StepsizeError `invalid-argument` if the shape has another number of elements
 */
export function reshape<D extends DataType>(x: Tensor<D>, shape: readonly number[]): Tensor<D> {
  expectTensor("x", x);
  const isSize = (size: unknown) => isSafeInteger(size) && size >= -1;
  if (!isListOf(shape, isSize))
    invalidArgument("shape", "an array of whole numbers ≥ 0, one of them perhaps −1", shape);
  const known = shape.reduce((product, size) => (size === -1 ? product : product * size), 1);
  const sizes = shape.map((size) => (size === -1 ? x.size / known : size));
  return withGradient(viewOf(x, sizes), [x], { gradient: (g) => [viewOf(g, x.shape)] });
}
