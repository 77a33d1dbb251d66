import "./methods.js";

export { backward, type Differentiation, noGrad, withGradient } from "./autograd.js";
export * from "./operations/index.js";
export { execute, type NestedNumbers, Tensor, type TensorOptions, type Totals, tensor } from "./tensor.js";
export { tidy } from "./tidy.js";
export type { HasTorchNames, TorchLayout, TorchNames } from "./torch-layout.js";
