import type { DataType } from "../native/index.js";
import { awaitClaim } from "../tensor/claims.js";
import { cast, type HasTorchNames, noGrad, Tensor } from "../tensor/index.js";
import { expectTensor } from "../tensor/tensor.js";

function shareMemory(values: Tensor) {
  expectTensor("values", values);
  return values.device.native.reshape(values.handle, values.shape);
}

/**
 * A tensor that is trained. Its name is its path in the model, such as `blocks.0.conv1.weight`.
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops, type Tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 *
 * class Scale extends nn.Module {
 *   readonly factor = new nn.Parameter(ops.ones(device, [8]));
 *   forward(x: Tensor): Tensor {
 *     return x.multiply(this.factor);
 *   }
 * }
 * ```
 */
export class Parameter extends Tensor {
  /** Path in the model whose `namedParameters()` was called last; empty before. */
  name = "";
  /** @internal The module whose `namedParameters()` was called last; `undefined` before. */
  listedBy: HasTorchNames | undefined;

  /**
   * Creates a parameter from the memory of a tensor, which is disposed.
   *
   * @throws StepsizeError `invalid-argument` if `values` is not a tensor; `invalid-state` if it was disposed
   */
  constructor(values: Tensor) {
    const handle = shareMemory(values);
    super(values.device, handle);
    values.dispose();
    this.requiresGrad = true;
    this.keep();
    awaitClaim(this);
  }

  /** @internal Changes the type of the values and removes the gradient, which has the old type. */
  retype(dtype: DataType): void {
    if (dtype === this.dtype) return;
    this.zeroGrad();
    const values = noGrad(() => cast(this, dtype));
    this.handle.dispose();
    Object.assign(this, { handle: shareMemory(values), dtype });
    values.dispose();
  }
}

/**
 * A tensor that is saved with its module but not trained, such as a running mean.
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops, type Tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 *
 * class Counter extends nn.Module {
 *   readonly calls = new nn.Buffer(ops.zeros(device, []));
 *   forward(x: Tensor): Tensor {
 *     ops.copy(this.calls, ops.affine(this.calls, 1, 1));
 *     return x;
 *   }
 * }
 * ```
 */
export class Buffer extends Tensor {
  /** @internal The name in messages. Bundlers rename the class. */
  static override readonly name: string = "Buffer";

  /**
   * Creates a buffer from the memory of a tensor, which is disposed.
   *
   * @throws StepsizeError `invalid-argument` if `values` is not a tensor; `invalid-state` if it was disposed
   */
  constructor(values: Tensor) {
    const handle = shareMemory(values);
    super(values.device, handle);
    values.dispose();
    this.keep();
  }
}
