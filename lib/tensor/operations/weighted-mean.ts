import { attachGradient } from "../autograd.js";
import { execute, expectTensor, invalidTensor, Tensor } from "../tensor.js";
import { full } from "./create.js";
import { asType, multiply } from "./elementwise.js";

/** The smallest normal number: added to a weight of 0 it makes the quotient finite, to any other it changes nothing. */
const tiny = 2 ** -126;

function run(operation: string, inputs: readonly Tensor[], attributes?: Record<string, number>): Tensor {
  return execute(operation, inputs, attributes)[0] as Tensor;
}

/** @internal Throws unless it is a float32 tensor, of this shape if one is given. */
export function expectWeights(name: string, weights: Tensor, shape?: readonly number[]): Tensor {
  const isTensor = weights instanceof Tensor && weights.dtype === "float32";
  if (!isTensor || (shape && String(weights.shape) !== String(shape)))
    invalidTensor(name, `a float32 tensor${shape ? ` of shape [${shape}]` : ""}`, weights);
  return weights;
}

/** @internal Weights of the first axes of `like` repeated along the others: a tensor of the shape of `like`. */
export function weightsLike(weights: Tensor, like: Tensor): Tensor {
  const { shape } = expectWeights("weights", weights);
  if (String(shape) === String(like.shape)) return weights;
  if (String(shape) !== String(like.shape.slice(0, shape.length)))
    invalidTensor("weights", `the shape [${like.shape}], or its first axes`, weights);
  const size = like.shape.slice(shape.length).reduce((product, length) => product * length, 1);
  if (size === 0) return full(like.device, like.shape, 0);
  const repeated = run("expand", [weights], { axis: shape.length, size });
  const result = new Tensor(like.device, like.device.native.reshape(repeated.handle, like.shape));
  repeated.dispose();
  return result;
}

/**
 * Σ weight·value / Σ weight, as a float32 scalar: for losses of your own. The trainer and `evaluate` take several of them
 * together as the mean over all their values. NaN if the weights are all 0, with a gradient of zero. No gradient flows to
 * the weights.
 *
 * @param weights float32 ≥ 0, of the values' shape or of its first axes ([batch] for a weight per item)
 */
export function weightedMean(values: Tensor, weights: Tensor): Tensor {
  const x = asType(values, "float32");
  const spread = weightsLike(weights, x);
  const all = { axis: 0, count: x.shape.length };
  const weighted = run("multiply", [x, spread]);
  const [sum, weight] = [run("sum", [weighted], all), run("sum", [spread], all)];
  weighted.dispose();
  const mean = run("divide", [sum, weight]);
  mean.totals = { sum, weight };
  const extras = [weight.detach(), ...(spread === weights ? [] : [spread])];
  return attachGradient("weightedMean", [x], mean, extras, () => ({
    saves: [spread],
    gradient: (g) => {
      const divisor = run("affine", [extras[0] as Tensor], { scale: 1, shift: tiny });
      return [run("multiply", [spread, run("divide", [g, divisor])])];
    },
  }));
}

/**
 * The total weight that a loss is a mean over, a float32 scalar on the device that is disposed with the loss: the labels
 * that count in {@link crossEntropy}, with their weights, or the sum of the weights of a {@link weightedMean}.
 * `undefined` for other tensors: means over equal elements, and what was computed from a loss.
 *
 * `loss.backward(weightOf(loss))` gives the gradient of the sum; see {@link Optimizer.step}'s `totalWeight`.
 */
export function weightOf(loss: Tensor): Tensor | undefined {
  expectTensor("loss", loss);
  return loss.totals?.weight;
}

/**
 * Says how much a loss of your own counts beside others: the total weight that it is a mean over. Returns the loss.
 *
 * ```ts
 * const loss: nn.Loss = (logits, labels) => {
 *   const entropy = nn.crossEntropy(logits, labels);
 *   return nn.withWeight(entropy.add(penalty()), nn.weightOf(entropy)!);
 * };
 * ```
 *
 * @param weight a float32 scalar on the device, which stays yours, or a number
 */
export function withWeight(loss: Tensor, weight: Tensor | number): Tensor {
  expectTensor("loss", loss);
  if (loss.size !== 1) invalidTensor("loss", "a tensor with one element", loss);
  const own = typeof weight === "number" ? full(loss.device, [], weight) : expectWeights("weight", weight, []).detach();
  const value = loss.detach();
  const scalar = new Tensor(loss.device, loss.device.native.reshape(value.handle, []));
  const float = asType(scalar, "float32");
  const sum = multiply(float, own);
  for (const one of new Set([value, scalar, float])) one.dispose();
  loss.totals?.sum.dispose();
  loss.totals?.weight.dispose();
  loss.totals = { sum, weight: own };
  return loss;
}
