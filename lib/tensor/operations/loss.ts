import { differentiable } from "../autograd.js";
import { execute, type Tensor } from "../tensor.js";

/** log softmax over the last axis. */
export function logSoftmax(x: Tensor): Tensor {
  return differentiable("logSoftmax", [x], undefined, (output) => ({
    saves: [output],
    gradient: (g) => execute("logSoftmaxGradient", [output, g]),
  }));
}

/**
 * The mean cross-entropy of logits [rows, classes] with int32 labels [rows], as a scalar.
 *
 * @param options smoothing: the share of the target that is spread evenly over all classes, 0 to 1, default 0 (Szegedy
 * et al. 2016)
 * @throws StepsizeError `device-failed` at the next wait, where a label is not a class.
 */
export function crossEntropy(logits: Tensor, labels: Tensor, { smoothing = 0 }: { smoothing?: number } = {}): Tensor {
  return differentiable("crossEntropy", [logits, labels], { smoothing }, (_, extras) => ({
    saves: [labels],
    gradient: (g) => execute("crossEntropyGradient", [...extras, labels, g], { smoothing }),
  }));
}
