import { invalidArgument } from "../../errors.js";
import { ignoredLabel } from "../../ignored-label.js";
import { expectOptions, optionNames } from "../../options.js";
import { attachGradient, differentiable } from "../autograd.js";
import { execute, expectTensors, invalidTensor, type Tensor } from "../tensor.js";
import { asType, reshape } from "./elementwise.js";
import { mean, sum } from "./reduce.js";
import { expectWeights, weightsLike } from "./weighted-mean.js";

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
    invalidTensor("labels", `shape [${leading}], one label per row of the logits [${logits.shape}]`, labels);
  const rows = leading.reduce((product, size) => product * size, 1);
  return [reshape(logits, [rows, logits.shape.at(-1) as number]), reshape(labels, [rows])];
}

/** What becomes of the losses of the items: their mean, their sum, or all of them as they are. */
export type Reduction = "mean" | "sum" | "none";

/** @internal */
export function checkReduction(reduction: unknown): void {
  if (reduction !== "mean" && reduction !== "sum" && reduction !== "none")
    invalidArgument("reduction", '"mean", "sum" or "none"', reduction);
}

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions {
  /** The share of the target that is spread evenly over all classes, 0 to 1; default 0 (Szegedy et al. 2016). */
  readonly smoothing?: number;
  /** The label of rows that do not count: they add nothing to the loss and get no gradient. Default −100. */
  readonly ignoreIndex?: number;
  /** The weight of each class: a float32 tensor [classes]. Default: all 1. */
  readonly classWeights?: Tensor | undefined;
  /** The weight of each row, 0 for one that does not count: a float32 tensor of the labels' shape. Default: all 1. */
  readonly itemWeights?: Tensor | undefined;
  /** Default `"mean"`. */
  readonly reduction?: Reduction;
}

const crossEntropyNames = optionNames<CrossEntropyOptions>({
  smoothing: true,
  ignoreIndex: true,
  classWeights: true,
  itemWeights: true,
  reduction: true,
});

/**
 * The cross-entropy of logits [rows, classes] with int32 labels [rows], as a scalar. The rows may have several axes:
 * [batch, length, classes] with [batch, length].
 *
 * The values are PyTorch's. A row of label y and item weight v has the loss −v·((1 − s)·w_y·log p_y + s/classes·Σ_j
 * w_j·log p_j), with the class weights w and the smoothing s, and counts v·w_y. The mean is over what counts: the sum of
 * the losses divided by the sum of these weights. If nothing counts it is NaN, and its gradient is zero for ignored rows.
 * No gradient flows to the weights.
 *
 * ```ts
 * const loss: nn.Loss = (logits, labels) => nn.crossEntropy(logits, labels, { smoothing: 0.1, ignoreIndex: 0 });
 * ```
 *
 * @throws StepsizeError `invalid-argument` for shapes that do not fit, and options out of range; `device-failed` when
 * the result is read, if a label that counts is not a class.
 */
export function crossEntropy(logits: Tensor, labels: Tensor, options: CrossEntropyOptions = {}): Tensor {
  expectOptions("crossEntropy", crossEntropyNames, options);
  const { smoothing = 0, ignoreIndex = ignoredLabel, classWeights, itemWeights, reduction = "mean" } = options;
  checkReduction(reduction);
  const rows = asRows(logits, labels);
  const weights: Tensor[] = [];
  if (classWeights) weights.push(expectWeights("classWeights", classWeights, logits.shape.slice(-1)));
  if (itemWeights) {
    expectWeights("itemWeights", itemWeights, labels.shape);
    weights.push(labels === rows[1] ? itemWeights : reshape(itemWeights, rows[1].shape));
  }
  const inputs = [...rows, ...weights];
  const attributes = { smoothing, ignoreIndex, classWeights: !!classWeights, itemWeights: !!itemWeights };
  const results = execute("crossEntropy", inputs, attributes) as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
  const [losses, total, weight, average, ...statistics] = results;
  const output = { mean: average, sum: total, none: losses }[reduction];
  for (const other of [losses, average]) if (other !== output) other.dispose();
  if (reduction === "none") total.dispose();
  // The gradient may outlive the mean, and so has a handle of its own.
  const extras = [reduction === "mean" ? weight.detach() : weight, ...statistics];
  if (reduction === "mean") average.totals = { sum: total, weight, ignoreIndex };
  attachGradient("crossEntropy", inputs, output, extras, () => ({
    saves: inputs,
    gradient: (g) =>
      execute("crossEntropyGradient", [...inputs, ...extras, g], { ...attributes, mean: reduction === "mean" }),
  }));
  return reduction === "none" && labels !== rows[1] ? reshape(output, labels.shape) : output;
}

/** Options of {@link binaryCrossEntropy}. */
export interface BinaryCrossEntropyOptions {
  /** What the losses of positive targets are multiplied by: float32, of the logits' last axes. Default: 1. */
  readonly posWeight?: Tensor | undefined;
  /**
   * What the losses are multiplied by: float32, of the logits' shape, or of its first axes, such as [batch] for a weight
   * per item. As in PyTorch the mean is still over all elements. Default: 1.
   */
  readonly weights?: Tensor | undefined;
  /** Default `"mean"`. */
  readonly reduction?: Reduction;
}

const binaryCrossEntropyNames = optionNames<BinaryCrossEntropyOptions>({
  posWeight: true,
  weights: true,
  reduction: true,
});

/**
 * The cross-entropy of independent yes-or-no decisions: of logits x with targets y from 0 to 1 of the same shape, float32
 * or int32. An element's loss is weight·(posWeight·y·log(1 + e⁻ˣ) + (1 − y)·log(1 + eˣ)), exact for logits of any size;
 * the mean is over all elements. Computed and returned in float32. The values are those of PyTorch's
 * `binary_cross_entropy_with_logits`. No gradient flows to targets and weights.
 *
 * @throws StepsizeError `invalid-argument` for shapes that do not fit
 */
export function binaryCrossEntropy(logits: Tensor, targets: Tensor, options: BinaryCrossEntropyOptions = {}): Tensor {
  expectOptions("binaryCrossEntropy", binaryCrossEntropyNames, options);
  const { posWeight, weights, reduction = "mean" } = options;
  checkReduction(reduction);
  expectTensors({ logits, targets });
  if (String(targets.shape) !== String(logits.shape))
    invalidTensor("targets", `the logits' shape [${logits.shape}] (reshape one of them)`, targets);
  const inputs = [logits, asType(targets, "float32")];
  if (posWeight) inputs.push(expectWeights("posWeight", posWeight));
  if (weights) inputs.push(weightsLike(weights, logits));
  const attributes = { positiveWeights: !!posWeight, weights: !!weights };
  const losses = differentiable("binaryCrossEntropy", inputs, attributes, () => ({
    saves: inputs,
    gradient: (g) => execute("binaryCrossEntropyGradient", [...inputs, g], attributes),
  }));
  if (reduction === "none") return losses;
  return reduction === "sum" ? sum(losses) : mean(losses);
}

/** Options of {@link correctCount}. */
export interface CorrectCountOptions {
  /** The label of rows that are not counted; default −100. */
  readonly ignoreIndex?: number;
}

const correctCountNames = optionNames<CorrectCountOptions>({ ignoreIndex: true });

/** How many rows of logits have their largest value at the label; shapes as in {@link crossEntropy}. */
export function correctCount(logits: Tensor, labels: Tensor, options: CorrectCountOptions = {}): Tensor {
  expectOptions("correctCount", correctCountNames, options);
  const { ignoreIndex = ignoredLabel } = options;
  return execute("correctCount", asRows(logits, labels), { ignoreIndex })[0] as Tensor;
}
