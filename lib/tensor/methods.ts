// The operations as methods of tensors, so that `x.matmul(w).add(b).relu()` is written in the order of computation.
import type { DataType } from "../data-type.js";
import { backward } from "./autograd.js";
import * as elementwise from "./operations/elementwise.js";
import * as linear from "./operations/linear.js";
import * as loss from "./operations/loss.js";
import * as reduce from "./operations/reduce.js";
import { Tensor } from "./tensor.js";

declare module "./tensor.js" {
  interface Tensor<D extends DataType = DataType> {
    /** Adds a tensor or a number elementwise; see {@link elementwise.add}. */
    add(other: elementwise.Operand): Tensor<D>;
    /** Subtracts a tensor or a number elementwise; see {@link elementwise.subtract}. */
    subtract(other: elementwise.Operand): Tensor<D>;
    /** Multiplies by a tensor or a number elementwise; see {@link elementwise.multiply}. */
    multiply(other: elementwise.Operand): Tensor<D>;
    /** Divides by a tensor or a number elementwise; see {@link elementwise.divide}. */
    divide(other: elementwise.Operand): Tensor<D>;
    /** Returns −x, elementwise. */
    negate(): Tensor<D>;
    /** Returns eˣ, elementwise. */
    exp(): Tensor<D>;
    /** Returns the natural logarithm, elementwise. */
    log(): Tensor<D>;
    /** Returns √x, elementwise. */
    sqrt(): Tensor<D>;
    /** Returns x², elementwise. */
    square(): Tensor<D>;
    /** Returns the hyperbolic tangent, elementwise. */
    tanh(): Tensor<D>;
    /** Returns the logistic function 1/(1 + e⁻ˣ), elementwise. */
    sigmoid(): Tensor<D>;
    /** Returns max(x, 0), elementwise. */
    relu(): Tensor<D>;
    /** Returns x·Φ(x), elementwise; see {@link elementwise.gelu}. */
    gelu(): Tensor<D>;
    /** Returns x/(1 + e⁻ˣ), elementwise; see {@link elementwise.silu}. */
    silu(): Tensor<D>;
    /** Converts the values to another type; see {@link elementwise.cast}. */
    cast<T extends DataType>(dtype: T): Tensor<T>;
    /** Returns the same elements with another shape; see {@link elementwise.reshape}. */
    reshape(shape: readonly number[]): Tensor<D>;
    /** Sums over axes; see {@link reduce.sum}. */
    sum(axes?: reduce.Axes): Tensor<D>;
    /** Averages over axes; see {@link reduce.mean}. */
    mean(axes?: reduce.Axes): Tensor<D>;
    /** Returns the index of the largest value along the last axis; see {@link reduce.argmax}. */
    argmax(): Tensor<"int32">;
    /** Multiplies by a matrix; see {@link linear.matmul}. */
    matmul(other: Tensor, options?: linear.MatmulOptions): Tensor<D>;
    /** Returns the logarithm of softmax over the last axis; see {@link loss.logSoftmax}. */
    logSoftmax(): Tensor<D>;
    /** Computes the gradients of this scalar; see {@link backward}. */
    backward(gradient?: Tensor): void;
  }
}

const methods = {
  add(other) {
    return elementwise.add(this, other);
  },
  subtract(other) {
    return elementwise.subtract(this, other);
  },
  multiply(other) {
    return elementwise.multiply(this, other);
  },
  divide(other) {
    return elementwise.divide(this, other);
  },
  negate() {
    return elementwise.negate(this);
  },
  exp() {
    return elementwise.exp(this);
  },
  log() {
    return elementwise.log(this);
  },
  sqrt() {
    return elementwise.sqrt(this);
  },
  square() {
    return elementwise.square(this);
  },
  tanh() {
    return elementwise.tanh(this);
  },
  sigmoid() {
    return elementwise.sigmoid(this);
  },
  relu() {
    return elementwise.relu(this);
  },
  gelu() {
    return elementwise.gelu(this);
  },
  silu() {
    return elementwise.silu(this);
  },
  cast(dtype) {
    return elementwise.cast(this, dtype);
  },
  reshape(shape) {
    return elementwise.reshape(this, shape);
  },
  sum(axes) {
    return reduce.sum(this, axes);
  },
  mean(axes) {
    return reduce.mean(this, axes);
  },
  argmax() {
    return reduce.argmax(this);
  },
  matmul(other, options) {
    return linear.matmul(this, other, options);
  },
  logSoftmax() {
    return loss.logSoftmax(this);
  },
  backward(gradient) {
    backward(this, gradient);
  },
} satisfies Partial<Tensor> & ThisType<Tensor>;

for (const [name, value] of Object.entries(methods))
  Object.defineProperty(Tensor.prototype, name, { configurable: true, writable: true, value });
