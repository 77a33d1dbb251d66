import type { DataType } from "../../data-type.js";
import { invalidArgument } from "../../errors.js";
import { ignoredLabel } from "../../ignored-label.js";
import { expectOptions, optionNames } from "../../options.js";
import { elementCount, sameShape } from "../../shapes.js";
import { attachGradient, differentiable } from "../autograd.js";
import type { Inputs } from "../results.js";
import { execute, expectTensors, invalidTensor, run, type Tensor } from "../tensor.js";
import { asType, reshape } from "./elementwise.js";
import { mean, sum } from "./reduce.js";
import { expectWeights, weightsLike } from "./weighted-mean.js";

/** Returns the logarithm of softmax over the last axis: x − log Σ eˣ. */
export function logSoftmax<D extends DataType>(x: Tensor<D>): Tensor<D> {
  return differentiable("logSoftmax", [x], undefined, (output) => ({
    saves: [output],
    gradient: (g) => execute("logSoftmaxGradient", [output, g]),
  }));
}

/** Returns logits as [rows, classes] and labels as [rows]. */
function asRows(logits: Tensor, labels: Tensor): [Tensor, Tensor] {
  expectTensors({ logits, labels });
  if (logits.shape.length <= 2) return [logits, labels];
  const leading = logits.shape.slice(0, -1);
  if (labels.shape.join() !== leading.join())
    invalidTensor("labels", `shape [${leading}], one label per row of the logits [${logits.shape}]`, labels);
  const rows = elementCount(leading);
  return [reshape(logits, [rows, ...logits.shape.slice(-1)]), reshape(labels, [rows])];
}

/** Reduction of the losses of the items: their mean, their sum, or none, which returns one loss per item. */
export type Reduction = "mean" | "sum" | "none";

/** @internal Throws `invalid-argument` unless `reduction` is one. */
export function checkReduction(reduction: unknown): void {
  if (reduction !== "mean" && reduction !== "sum" && reduction !== "none")
    invalidArgument("reduction", '"mean", "sum" or "none"', reduction);
}

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions {
  /** Label smoothing s: the share of the target that is spread evenly over all classes, from 0 to 1. Default 0. */
  readonly smoothing?: number | undefined;
  /** Label of rows that are ignored: they do not count in the loss and get no gradient. Default −100. */
  readonly ignoreIndex?: number | undefined;
  /** Weights of the classes, float32 [classes]. Default: all 1. */
  readonly classWeights?: Tensor | undefined;
  /** Weights of the rows, float32, with the shape of the labels. A row with weight 0 does not count. Default: all 1. */
  readonly itemWeights?: Tensor | undefined;
  /** Reduction of the rows' losses. Default `"mean"`. */
  readonly reduction?: Reduction | undefined;
}

const crossEntropyNames = optionNames<CrossEntropyOptions>({
  smoothing: true,
  ignoreIndex: true,
  classWeights: true,
  itemWeights: true,
  reduction: true,
});

/**
 * Returns the cross-entropy of logits with labels.
 *
 * A row with label y and item weight v has the loss −v·((1 − s)·w_y·log p_y + s/classes·Σ_j w_j·log p_j), with the
 * class weights w and the smoothing s, and the weight v·w_y. The mean is the sum of the losses divided by the sum of
 * these weights. If no row counts, the mean is NaN, and the gradient of ignored rows is zero. No gradient flows to the
 * weights. The values are those of PyTorch's `cross_entropy`.
 *
 * Source of label smoothing: Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016.
 *
 * @param logits [rows, classes]. The rows may have several axes, such as [batch, length, classes].
 * @param labels int32 [rows], or [batch, length]
 * @returns a float32 scalar; with the reduction `"none"`, a tensor with the shape of the labels
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit, or if an option is unknown or out of
 * range; `device-failed` when the result is read, if a label that counts is not a class
 *
 * @example
 * ```ts
 * import { nn, openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const logits = tensor(device, [[2, 0, 0], [0, 2, 0]], undefined, { requiresGrad: true });
 * const labels = tensor(device, new Int32Array([0, 1]));
 * const loss = nn.crossEntropy(logits, labels, { smoothing: 0.1 });
 * loss.backward();
 * console.log(await loss.item());
 * ```
 */
export function crossEntropy(logits: Tensor, labels: Tensor, options: CrossEntropyOptions = {}): Tensor<"float32"> {
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
  const inputs: Inputs = [...rows, ...weights];
  const attributes = { smoothing, ignoreIndex, classWeights: !!classWeights, itemWeights: !!itemWeights };
  const [losses, total, weight, average, ...statistics] = execute("crossEntropy", inputs, attributes);
  const output = { mean: average, sum: total, none: losses }[reduction];
  for (const result of [losses, average]) if (result !== output) result.dispose();
  if (reduction === "none") total.dispose();
  // The gradient may live longer than the mean, so it has its own handle of the weight.
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
  /** Factor of the loss of positive targets: float32, with the shape of the last axes of the logits. Default: 1. */
  readonly posWeight?: Tensor | undefined;
  /**
   * Factor of the losses: float32, with the shape of the logits or of their first axes, such as [batch] for a weight
   * per item. As in PyTorch, the mean still divides by the number of elements. Default: 1.
   */
  readonly weights?: Tensor | undefined;
  /** Reduction of the elements' losses. Default `"mean"`. */
  readonly reduction?: Reduction | undefined;
}

const binaryCrossEntropyNames = optionNames<BinaryCrossEntropyOptions>({
  posWeight: true,
  weights: true,
  reduction: true,
});

/**
 * Returns the binary cross-entropy of logits with targets, for independent binary decisions.
 *
 * An element with logit x and target y has the loss weight·(posWeight·y·log(1 + e⁻ˣ) + (1 − y)·log(1 + eˣ)). It does
 * not overflow for large logits. The mean is over all elements. The loss is computed and returned in float32. The
 * values are those of PyTorch's `binary_cross_entropy_with_logits`. No gradient flows to targets and weights.
 *
 * @param logits logits of any shape
 * @param targets float32 or int32 numbers from 0 to 1, with the shape of the logits
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit, or if an option is unknown or invalid
 */
export function binaryCrossEntropy(
  logits: Tensor,
  targets: Tensor,
  options: BinaryCrossEntropyOptions = {},
): Tensor<"float32"> {
  expectOptions("binaryCrossEntropy", binaryCrossEntropyNames, options);
  const { posWeight, weights, reduction = "mean" } = options;
  checkReduction(reduction);
  expectTensors({ logits, targets });
  if (!sameShape(targets.shape, logits.shape))
    invalidTensor("targets", `the logits' shape [${logits.shape}] (reshape one of them)`, targets);
  const inputs: Inputs = [
    logits,
    asType(targets, "float32"),
    ...(posWeight ? [expectWeights("posWeight", posWeight)] : []),
    ...(weights ? [weightsLike(weights, logits)] : []),
  ];
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
  /** Label of rows that are not counted. Default −100. */
  readonly ignoreIndex?: number | undefined;
}

const correctCountNames = optionNames<CorrectCountOptions>({ ignoreIndex: true });

/**
 * Returns the number of rows whose largest logit is at the label, as a scalar. Shapes are those of {@link
 * crossEntropy}.
 *
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit, or if an option is unknown or invalid
 */
export function correctCount(logits: Tensor, labels: Tensor, options: CorrectCountOptions = {}): Tensor<"float32"> {
  expectOptions("correctCount", correctCountNames, options);
  const { ignoreIndex = ignoredLabel } = options;
  return run("correctCount", asRows(logits, labels), { ignoreIndex });
}
