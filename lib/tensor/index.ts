import "./methods.js";

export { backward, type Differentiation, noGrad, withGradient } from "./autograd.js";
export * from "./operations/create.js";
export * from "./operations/elementwise.js";
export * from "./operations/images.js";
export * from "./operations/linear.js";
export {
  type BinaryCrossEntropyOptions,
  binaryCrossEntropy,
  type CorrectCountOptions,
  type CrossEntropyOptions,
  correctCount,
  crossEntropy,
  logSoftmax,
  type Reduction,
} from "./operations/loss.js";
export * from "./operations/normalization.js";
export { averagePool2d, maxPool2d, type PoolingOptions } from "./operations/pooling.js";
export * from "./operations/reduce.js";
export * from "./operations/sequence.js";
export { weightedMean, weightOf, withWeight } from "./operations/weighted-mean.js";
export { execute, type NestedNumbers, Tensor, type TensorOptions, type Totals, tensor } from "./tensor.js";
export { tidy } from "./tidy.js";
export type { HasTorchNames, TorchLayout, TorchNames } from "./torch-layout.js";
