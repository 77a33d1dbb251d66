import type { DataType } from "../../data-type.js";
import { elementCount, sameShape } from "../../shapes.js";
import { attachGradient } from "../autograd.js";
import { expectTensor, invalidTensor, run, Tensor, viewOf } from "../tensor.js";
import { full } from "./create.js";
import { asType, multiply } from "./elementwise.js";

/**
 * The smallest normal float32. Added to a weight of 0 it makes the quotient finite; it does not change larger weights.
 */
const tiny = 2 ** -126;

/** @internal Throws `invalid-argument` unless `weights` is a float32 tensor, with `shape` if one is given. */
export function expectWeights(name: string, weights: Tensor, shape?: readonly number[]): Tensor<"float32"> {
  const isFloat = weights instanceof Tensor && weights.hasType("float32");
  if (!isFloat || (shape && !sameShape(weights.shape, shape)))
    invalidTensor(name, `a float32 tensor${shape ? ` of shape [${shape}]` : ""}`, weights);
  return weights;
}

/** @internal Returns weights of the first axes of `like`, repeated along its other axes. */
export function weightsLike(weights: Tensor, like: Tensor): Tensor<"float32"> {
  const given = expectWeights("weights", weights);
  const { shape } = given;
  if (sameShape(shape, like.shape)) return given;
  if (!sameShape(shape, like.shape.slice(0, shape.length)))
    invalidTensor("weights", `the shape [${like.shape}], or its first axes`, given);
  const size = elementCount(like.shape.slice(shape.length));
  if (size === 0) return full(like.device, like.shape, 0);
  const repeated = run("expand", [given], { axis: shape.length, size });
  const result = viewOf(repeated, like.shape);
  repeated.dispose();
  return result;
}

/**
 * Returns the weighted mean Σ weight·value / Σ weight as a float32 scalar, for custom losses.
 *
 * The trainer and `evaluate` combine several of these means to the mean over all values. If all weights are 0, the mean
 * is NaN and its gradient is zero. No gradient flows to the weights.
 *
 * @param weights float32 numbers ≥ 0, with the shape of the values or of their first axes, such as [batch]
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit
 */
export function weightedMean(values: Tensor, weights: Tensor): Tensor<"float32"> {
  const x = asType(values, "float32");
  const spread = weightsLike(weights, x);
  const all = { axis: 0, count: x.shape.length };
  const weighted = run("multiply", [x, spread]);
  const [sum, weight] = [run("sum", [weighted], all), run("sum", [spread], all)];
  weighted.dispose();
  const mean = run("divide", [sum, weight]);
  mean.totals = { sum, weight };
  const total = weight.detach();
  const extras = [total, ...(spread === weights ? [] : [spread])];
  return attachGradient("weightedMean", [x], mean, extras, () => ({
    saves: [spread],
    gradient: (g) => {
      const divisor = run("affine", [total], { scale: 1, shift: tiny });
      return [run("multiply", [spread, run("divide", [g, divisor])])];
    },
  }));
}

/**
 * Returns the total weight over which a loss is a mean, as a float32 scalar on the device.
 *
 * For {@link crossEntropy} it is the sum of the weights of the labels that count, for {@link weightedMean} the sum of
 * the weights. For other tensors it is `undefined`: for means over equal elements, and for tensors computed from a
 * loss. The scalar is disposed together with the loss.
 *
 * `loss.backward(weightOf(loss))` computes the gradient of the sum; see the option `totalWeight` of an optimizer's
 * step.
 *
 * @throws StepsizeError `invalid-argument` if `loss` is not a tensor
 */
export function weightOf(loss: Tensor): Tensor<"float32"> | undefined {
  expectTensor("loss", loss);
  return loss.totals?.weight;
}

/**
 * Sets the total weight over which a custom loss is a mean, for steps and evaluations that combine several losses.
 *
 * ```ts
 * const loss: nn.Loss = (logits, labels) => {
 *   const entropy = nn.crossEntropy(logits, labels);
 *   return nn.withWeight(entropy.add(penalty()), nn.weightOf(entropy)!);
 * };
 * ```
 *
 * @param loss a tensor with one element
 * @param weight a number, or a float32 scalar on the device, which the caller continues to own
 * @returns `loss`
 * @throws StepsizeError `invalid-argument` if `loss` does not have one element or `weight` is not a float32 scalar
 */
export function withWeight<D extends DataType>(loss: Tensor<D>, weight: Tensor | number): Tensor<D> {
  expectTensor("loss", loss);
  if (loss.size !== 1) invalidTensor("loss", "a tensor with one element", loss);
  const total =
    typeof weight === "number" ? full(loss.device, [], weight) : expectWeights("weight", weight, []).detach();
  const value = loss.detach();
  const scalar = viewOf(value, []);
  const float = asType(scalar, "float32");
  const sum = multiply(float, total);
  for (const temporary of new Set([value, scalar, float])) temporary.dispose();
  loss.totals?.sum.dispose();
  loss.totals?.weight.dispose();
  loss.totals = { sum, weight: total };
  return loss;
}
