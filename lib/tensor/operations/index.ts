export * from "./create.js";
export * from "./elementwise.js";
export * from "./images.js";
export * from "./linear.js";
export {
  type BinaryCrossEntropyOptions,
  binaryCrossEntropy,
  type CorrectCountOptions,
  type CrossEntropyOptions,
  correctCount,
  crossEntropy,
  logSoftmax,
  type Reduction,
} from "./loss.js";
export * from "./normalization.js";
export { averagePool2d, maxPool2d, type PoolingOptions } from "./pooling.js";
export * from "./reduce.js";
export * from "./sequence.js";
export { weightedMean, weightOf, withWeight } from "./weighted-mean.js";
