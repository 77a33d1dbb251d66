import { invalidArgument } from "../../errors.js";
import { checkedOptions, optionNames } from "../../options.js";
import { differentiable } from "../autograd.js";
import { execute, expectTensors, type Tensor } from "../tensor.js";
import { reshape } from "./elementwise.js";

/** log softmax over the last axis. */
export function logSoftmax(x: Tensor): Tensor {
  return differentiable("logSoftmax", [x], undefined, (output) => ({
    saves: [output],
    gradient: (g) => execute("logSoftmaxGradient", [output, g]),
  }));
}

/** Logits as [rows, classes] and labels as [rows], whatever axes the rows had. */
function asRows(logits: Tensor, labels: Tensor): [Tensor, Tensor] {
  expectTensors({ logits, labels });
  if (logits.shape.length <= 2) return [logits, labels];
  const leading = logits.shape.slice(0, -1);
  if (labels.shape.join() !== leading.join())
    invalidArgument("labels", `shape [${leading}], one label per row of the logits [${logits.shape}]`, labels);
  const rows = leading.reduce((product, size) => product * size, 1);
  return [reshape(logits, [rows, logits.shape.at(-1) as number]), reshape(labels, [rows])];
}

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions {
  /** The share of the target that is spread evenly over all classes, 0 to 1; default 0 (Szegedy et al. 2016). */
  readonly smoothing?: number;
}

const crossEntropyNames = optionNames<CrossEntropyOptions>({ smoothing: true });

/**
 * The mean cross-entropy of logits [rows, classes] with int32 labels [rows], as a scalar. The rows may have several
 * axes: [batch, length, classes] with [batch, length].
 *
 * @throws StepsizeError `device-failed` when the result is read, where a label is not a class.
 */
export function crossEntropy(logits: Tensor, labels: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { smoothing = 0 } = checkedOptions("crossEntropy", crossEntropyNames, options);
  const inputs = asRows(logits, labels);
  return differentiable("crossEntropy", inputs, { smoothing }, (_, logSums) => ({
    saves: inputs,
    gradient: (g) => execute("crossEntropyGradient", [...inputs, ...logSums, g], { smoothing }),
  }));
}

/** How many rows of logits have their largest value at the label; shapes as in {@link crossEntropy}. */
export function correctCount(logits: Tensor, labels: Tensor): Tensor {
  return execute("correctCount", asRows(logits, labels))[0] as Tensor;
}
