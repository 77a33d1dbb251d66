/** The operations as methods, so that `x.matmul(w).add(b).relu()` reads in the order it is computed. */
import type { DataType } from "../native/addon.js";
import { backward } from "./autograd.js";
import * as elementwise from "./operations/elementwise.js";
import * as linear from "./operations/linear.js";
import * as loss from "./operations/loss.js";
import * as reduce from "./operations/reduce.js";
import { Tensor } from "./tensor.js";

declare module "./tensor.js" {
  interface Tensor {
    /** See {@link elementwise.add}. */
    add(other: elementwise.Operand): Tensor;
    /** See {@link elementwise.subtract}. */
    subtract(other: elementwise.Operand): Tensor;
    /** See {@link elementwise.multiply}. */
    multiply(other: elementwise.Operand): Tensor;
    /** See {@link elementwise.divide}. */
    divide(other: elementwise.Operand): Tensor;
    /** −x */
    negate(): Tensor;
    /** eˣ */
    exp(): Tensor;
    /** The natural logarithm. */
    log(): Tensor;
    /** √x */
    sqrt(): Tensor;
    /** x² */
    square(): Tensor;
    /** The hyperbolic tangent. */
    tanh(): Tensor;
    /** 1/(1 + e⁻ˣ) */
    sigmoid(): Tensor;
    /** max(x, 0) */
    relu(): Tensor;
    /** See {@link elementwise.gelu}. */
    gelu(): Tensor;
    /** See {@link elementwise.silu}. */
    silu(): Tensor;
    /** See {@link elementwise.cast}. */
    cast(dtype: DataType): Tensor;
    /** See {@link elementwise.reshape}. */
    reshape(shape: readonly number[]): Tensor;
    /** See {@link reduce.sum}. */
    sum(axes?: reduce.Axes): Tensor;
    /** See {@link reduce.mean}. */
    mean(axes?: reduce.Axes): Tensor;
    /** See {@link reduce.argmax}. */
    argmax(): Tensor;
    /** See {@link linear.matmul}. */
    matmul(other: Tensor, options?: linear.MatmulOptions): Tensor;
    /** See {@link loss.logSoftmax}. */
    logSoftmax(): Tensor;
    /** See {@link backward}. */
    backward(gradient?: Tensor): void;
  }
}

const methods = {
  add: elementwise.add,
  subtract: elementwise.subtract,
  multiply: elementwise.multiply,
  divide: elementwise.divide,
  negate: elementwise.negate,
  exp: elementwise.exp,
  log: elementwise.log,
  sqrt: elementwise.sqrt,
  square: elementwise.square,
  tanh: elementwise.tanh,
  sigmoid: elementwise.sigmoid,
  relu: elementwise.relu,
  gelu: elementwise.gelu,
  silu: elementwise.silu,
  cast: elementwise.cast,
  reshape: elementwise.reshape,
  sum: reduce.sum,
  mean: reduce.mean,
  argmax: reduce.argmax,
  matmul: linear.matmul,
  logSoftmax: loss.logSoftmax,
  backward,
};

for (const [name, operation] of Object.entries(methods)) {
  Object.defineProperty(Tensor.prototype, name, {
    configurable: true,
    writable: true,
    value(this: Tensor, ...rest: unknown[]) {
      return (operation as (x: Tensor, ...rest: unknown[]) => unknown)(this, ...rest);
    },
  });
}
