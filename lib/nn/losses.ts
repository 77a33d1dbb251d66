import { expectOptions, optionNames } from "../options.js";
import {
  asType,
  mean,
  multiply,
  type Reduction,
  square,
  subtract,
  sum,
  type Tensor,
  weightedMean,
} from "../tensor/index.js";
import { checkReduction } from "../tensor/operations/loss.js";
import { weightsLike } from "../tensor/operations/weighted-mean.js";

export {
  type BinaryCrossEntropyOptions,
  binaryCrossEntropy,
  type CrossEntropyOptions,
  crossEntropy,
  type Reduction,
  weightedMean,
  weightOf,
  withWeight,
} from "../tensor/index.js";

/**
 * From a model's outputs and the targets to a scalar. Write your own as a function of tensors.
 *
 * Where several losses are taken together, in a step of several batches or in an evaluation, each counts what it is a
 * mean over: a loss of this library knows it ({@link weightOf}), a sum over {@link weightedMean} too, and what you compute
 * from them says it by {@link withWeight}. Any other loss counts as many items as there are labels in its batch.
 */
export type Loss = (outputs: Tensor, targets: Tensor) => Tensor;

/** Options of {@link meanSquaredError}. */
export interface MeanSquaredErrorOptions {
  /**
   * Float32 weights ≥ 0, of the outputs' shape or of its first axes ([batch] for a weight per item): the mean is Σ
   * weight·error² / Σ weight. Default: all 1.
   */
  readonly weights?: Tensor | undefined;
  /** Default `"mean"`. */
  readonly reduction?: Reduction;
}

const meanSquaredErrorNames = optionNames<MeanSquaredErrorOptions>({ weights: true, reduction: true });

/** The mean of (outputs − targets)² over all elements, in float32. */
export function meanSquaredError(outputs: Tensor, targets: Tensor, options: MeanSquaredErrorOptions = {}): Tensor {
  expectOptions("meanSquaredError", meanSquaredErrorNames, options);
  const { weights, reduction = "mean" } = options;
  checkReduction(reduction);
  const errors = square(subtract(asType(outputs, "float32"), asType(targets, "float32")));
  if (reduction === "mean") return weights ? weightedMean(errors, weights) : mean(errors);
  const weighted = weights ? multiply(errors, weightsLike(weights, errors)) : errors;
  return reduction === "sum" ? sum(weighted) : weighted;
}
