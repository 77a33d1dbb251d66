import type { DataType } from "../native/index.js";
import { awaitClaim } from "../tensor/claims.js";
import { cast, type HasTorchNames, noGrad, Tensor } from "../tensor/index.js";
import { expectTensor } from "../tensor/tensor.js";

function shareMemory(values: Tensor) {
  expectTensor("values", values);
  return values.device.native.reshape(values.handle, values.shape);
}

/** A tensor that is learned. Created by layers; its name is its path in the model, such as `blocks.0.conv1.weight`. */
export class Parameter extends Tensor {
  /** The path inside the model it was last listed from; empty before. */
  name = "";
  /** @internal The module it was last listed from, which knows what PyTorch calls it; `undefined` before. */
  listedBy: HasTorchNames | undefined;

  /** Takes over the memory of `values`, which is not to be used any more. */
  constructor(values: Tensor) {
    const handle = shareMemory(values);
    super(values.device, handle);
    values.dispose();
    this.requiresGrad = true;
    this.keep();
    awaitClaim(this);
  }

  /** @internal Changes the type of the values, and forgets the gradient, which had the old one. */
  retype(dtype: DataType): void {
    if (dtype === this.dtype) return;
    this.zeroGrad();
    const values = noGrad(() => cast(this, dtype));
    this.handle.dispose();
    Object.assign(this, { handle: shareMemory(values), dtype });
    values.dispose();
  }
}

/** A tensor that belongs to a module and is saved with it, but is not learned: a running mean. */
export class Buffer extends Tensor {
  /** Takes over the memory of `values`, which is not to be used any more. */
  constructor(values: Tensor) {
    const handle = shareMemory(values);
    super(values.device, handle);
    values.dispose();
    this.keep();
  }
}
