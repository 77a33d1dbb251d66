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
 * A loss function, from a model's outputs and the targets to a scalar. A custom loss is a function of tensors.
 *
 * A step of several batches, or an evaluation, averages several losses. Each loss is weighted by the total weight over
 * which it is a mean. The losses of this library and {@link weightedMean} store it; see {@link weightOf}. For a tensor
 * that is computed from them, set it with {@link withWeight}. Any other loss has the number of labels in its batch as
 * its weight.
 */
export type Loss = (outputs: Tensor, targets: Tensor) => Tensor;

/** Options of {@link meanSquaredError}. */
export interface MeanSquaredErrorOptions {
  /**
   * Weights of the squared errors: float32 numbers ≥ 0, with the shape of the outputs or of their first axes, such as
   * [batch]. The mean is Σ weight·error² / Σ weight. Default: all 1.
   */
  readonly weights?: Tensor | undefined;
  /** Reduction of the squared errors. Default `"mean"`. */
  readonly reduction?: Reduction | undefined;
}

const meanSquaredErrorNames = optionNames<MeanSquaredErrorOptions>({ weights: true, reduction: true });

/**
 * Returns the mean squared error: the mean of (outputs − targets)² over all elements, in float32.
 *
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit, or if an option is unknown or invalid
 *
 * @example
 * ```ts
 * import { nn, openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const loss = nn.meanSquaredError(tensor(device, [1, 2]), tensor(device, [1, 4]));
 * console.log(await loss.item()); // 2
 * ```
 */
export function meanSquaredError(
  outputs: Tensor,
  targets: Tensor,
  options: MeanSquaredErrorOptions = {},
): Tensor<"float32"> {
  expectOptions("meanSquaredError", meanSquaredErrorNames, options);
  const { weights, reduction = "mean" } = options;
  checkReduction(reduction);
  const errors = square(subtract(asType(outputs, "float32"), asType(targets, "float32")));
  if (reduction === "mean") return weights ? weightedMean(errors, weights) : mean(errors);
  const weighted = weights ? multiply(errors, weightsLike(weights, errors)) : errors;
  return reduction === "sum" ? sum(weighted) : weighted;
}
