import { isListOf } from "../../arguments.js";
import { invalidArgument } from "../../errors.js";
import type { DataType } from "../../native/addon.js";
import { checkedOptions, optionNames } from "../../options.js";
import { differentiable, withGradient } from "../autograd.js";
import { execute, expectTensor, Tensor } from "../tensor.js";

/** One side of an arithmetic operation: a tensor, or a number for all its elements. */
export type Operand = Tensor | number;

function run(operation: string, inputs: readonly Tensor[], attributes?: Record<string, number>): Tensor {
  return execute(operation, inputs, attributes)[0] as Tensor;
}

/** Sums a gradient over the leading axes that broadcasting added. */
function reduceTo(gradient: Tensor, like: Tensor): Tensor {
  const extra = gradient.shape.length - like.shape.length;
  return extra === 0 ? gradient : run("sum", [gradient], { axis: 0, count: extra });
}

/** a·scale + shift, for numbers. */
export function affine(x: Tensor, scale: number, shift = 0): Tensor {
  return differentiable("affine", [x], { scale, shift }, () => ({
    gradient: (g) => [run("affine", [g], { scale })],
  }));
}

/**
 * a + b. The shape of one tensor must be the last axes of the other's: `[128, 10] + [10]` adds a row to every row.
 * @throws StepsizeError `invalid-argument` where the shapes do not fit.
 */
export function add(a: Tensor, b: Operand): Tensor {
  if (typeof b === "number") return affine(a, 1, b);
  return differentiable("add", [a, b], undefined, () => ({
    gradient: (g, needed) => [needed[0] ? reduceTo(g, a) : undefined, needed[1] ? reduceTo(g, b) : undefined],
  }));
}

/** ReLU of a + b, in one pass; shapes as in {@link add}. */
export function addRelu(a: Tensor, b: Tensor): Tensor {
  return differentiable("addRelu", [a, b], undefined, (output) => ({
    saves: [output],
    gradient: (given, needed) => {
      const g = run("reluGradient", [output, given]);
      return [needed[0] ? reduceTo(g, a) : undefined, needed[1] ? reduceTo(g, b) : undefined];
    },
  }));
}

/** a − b; shapes as in {@link add}. */
export function subtract(a: Tensor, b: Operand): Tensor {
  if (typeof b === "number") return affine(a, 1, -b);
  return differentiable("subtract", [a, b], undefined, () => ({
    gradient: (g, needed) => [
      needed[0] ? reduceTo(g, a) : undefined,
      needed[1] ? reduceTo(run("affine", [g], { scale: -1 }), b) : undefined,
    ],
  }));
}

/** a · b, element by element; shapes as in {@link add}. */
export function multiply(a: Tensor, b: Operand): Tensor {
  if (typeof b === "number") return affine(a, b);
  return differentiable("multiply", [a, b], undefined, () => ({
    saves: [a, b],
    gradient: (g, needed) => [
      needed[0] ? reduceTo(run("multiply", [g, b]), a) : undefined,
      needed[1] ? reduceTo(run("multiply", [g, a]), b) : undefined,
    ],
  }));
}

/** a / b, element by element; shapes as in {@link add}. */
export function divide(a: Tensor, b: Operand): Tensor {
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

/** −x */
export function negate(x: Tensor): Tensor {
  return affine(x, -1);
}

/** eˣ */
export function exp(x: Tensor): Tensor {
  return differentiable("exp", [x], undefined, (output) => ({
    saves: [output],
    gradient: (g) => [run("multiply", [g, output])],
  }));
}

/** The natural logarithm. */
export function log(x: Tensor): Tensor {
  return differentiable("log", [x], undefined, () => ({ saves: [x], gradient: (g) => [run("divide", [g, x])] }));
}

/** √x */
export function sqrt(x: Tensor): Tensor {
  return differentiable("sqrt", [x], undefined, (output) => ({
    saves: [output],
    gradient: (g) => [run("affine", [run("divide", [g, output])], { scale: 0.5 })],
  }));
}

/** x² */
export function square(x: Tensor): Tensor {
  return differentiable("square", [x], undefined, () => ({
    saves: [x],
    gradient: (g) => [run("affine", [run("multiply", [g, x])], { scale: 2 })],
  }));
}

/** The hyperbolic tangent. */
export function tanh(x: Tensor): Tensor {
  return differentiable("tanh", [x], undefined, (output) => ({
    saves: [output],
    // g·(1 − y²)
    gradient: (g) => [run("multiply", [g, run("affine", [run("square", [output])], { scale: -1, shift: 1 })])],
  }));
}

/** 1/(1 + e⁻ˣ) */
export function sigmoid(x: Tensor): Tensor {
  return differentiable("sigmoid", [x], undefined, (output) => ({
    saves: [output],
    // g·y·(1 − y)
    gradient: (g) => [
      run("multiply", [g, run("multiply", [output, run("affine", [output], { scale: -1, shift: 1 })])]),
    ],
  }));
}

/** max(x, 0); the gradient at 0 is 0. */
export function relu(x: Tensor): Tensor {
  return differentiable("relu", [x], undefined, (output) => ({
    saves: [output],
    gradient: (g) => [run("reluGradient", [output, g])],
  }));
}

/** x·Φ(x) with the normal distribution's Φ, not its approximation. Source: Hendrycks, Gimpel, arXiv:1606.08415. */
export function gelu(x: Tensor): Tensor {
  return differentiable("gelu", [x], undefined, () => ({ saves: [x], gradient: (g) => [run("geluGradient", [x, g])] }));
}

/** x/(1 + e⁻ˣ), also called swish. */
export function silu(x: Tensor): Tensor {
  return differentiable("silu", [x], undefined, () => ({ saves: [x], gradient: (g) => [run("siluGradient", [x, g])] }));
}

/** Options of {@link dropout}. */
export interface DropoutOptions {
  readonly probability: number;
  readonly seed: number;
  /** Default 0. */
  readonly stream?: number;
  /**
   * A whole number on the device, float32 of shape [], that is added to the stream: captured work can count with it. A
   * negative number, NaN, and a number of 2^63 or more add 0.
   */
  readonly calls?: Tensor;
}

const dropoutNames = optionNames<DropoutOptions>({ probability: true, seed: true, stream: true, calls: true });

/**
 * Sets elements to zero with this probability and scales the others by 1/(1 − probability). The same seed and stream
 * drop the same elements.
 */
export function dropout(x: Tensor, options: DropoutOptions): Tensor {
  const { probability, seed, stream = 0, calls } = checkedOptions("dropout", dropoutNames, options);
  const attributes = { probability, seed, stream };
  const counted = calls ? [calls] : [];
  return differentiable("dropout", [x, ...counted], attributes, () => ({
    saves: counted,
    gradient: (g) => [run("dropout", [g, ...counted], attributes), ...counted.map(() => undefined)],
  }));
}

/**
 * The values as another type. Towards an integer type they are truncated and held inside its range, NaN becomes 0. A
 * gradient flows between float32 and bfloat16, rounded to the type of `x`.
 * @throws StepsizeError `invalid-argument` for a tensor that requires a gradient and another type
 */
export function cast(x: Tensor, dtype: DataType): Tensor {
  expectTensor("x", x);
  if (x.requiresGrad && dtype !== "float32" && dtype !== "bfloat16")
    invalidArgument("cast", "float32 or bfloat16 for a tensor that requires a gradient", dtype);
  return differentiable("cast", [x], { dtype }, () => ({
    gradient: (g) => execute("cast", [g], { dtype: x.dtype }),
  }));
}

/** The tensor itself where it has the type, else a {@link cast}. */
export function asType(x: Tensor, dtype: DataType): Tensor {
  expectTensor("x", x);
  return x.dtype === dtype ? x : cast(x, dtype);
}

/** The same elements with another shape; shares the memory. One size may be −1: it follows from the others. */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  expectTensor("x", x);
  const isSize = (size: unknown) => Number.isSafeInteger(size) && (size as number) >= -1;
  if (!isListOf(shape, isSize))
    invalidArgument("shape", "an array of whole numbers ≥ 0, one of them perhaps −1", shape);
  const known = shape.reduce((product, size) => (size === -1 ? product : product * size), 1);
  const sizes = shape.map((size) => (size === -1 ? x.size / known : size));
  const view = (of: Tensor, to: readonly number[]) => new Tensor(of.device, of.device.native.reshape(of.handle, to));
  return withGradient(view(x, sizes), [x], { gradient: (g) => [view(g, x.shape)] });
}
