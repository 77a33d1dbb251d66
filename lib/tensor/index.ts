import "./methods.js";

export { backward, type Differentiation, noGrad, withGradient } from "./autograd.js";
export * from "./operations/index.js";
export { type NestedNumbers, Tensor, type TensorOptions, tensor } from "./tensor.js";
export { tidy } from "./tidy.js";
export type { HasTorchNames, TorchLayout, TorchNames } from "./torch-layout.js";

// For other folders of the library. The published declarations do not contain these names.

/** @internal */
export { execute, type Totals } from "./tensor.js";
