import { asType, mean, square, subtract, type Tensor } from "../tensor/index.js";

export { crossEntropy } from "../tensor/index.js";

/** From a model's outputs and the targets to a scalar. Write your own as a function of tensors. */
export type Loss = (outputs: Tensor, targets: Tensor) => Tensor;

/** The mean of (outputs − targets)² over all elements, in float32. */
export function meanSquaredError(outputs: Tensor, targets: Tensor): Tensor {
  return mean(square(subtract(asType(outputs, "float32"), asType(targets, "float32"))));
}
