import { expectObject } from "../../arguments.js";
import type { DataType } from "../../data-type.js";
import { checkedOptions, optionNames } from "../../options.js";
import { differentiable } from "../autograd.js";
import type { Inputs } from "../results.js";
import { execute, run, type Tensor } from "../tensor.js";
import { asType } from "./elementwise.js";

/** Parameters and running statistics of batch normalization, each with one number per channel, [channels]. */
export interface BatchNormState {
  /** Learned factor of the normalized values. */
  readonly gamma: Tensor;
  /** Learned offset of the normalized values. */
  readonly beta: Tensor;
  /** Running mean, float32. {@link batchNorm} changes it in place. */
  readonly runningMean: Tensor;
  /** Running variance, float32. {@link batchNorm} changes it in place. */
  readonly runningVariance: Tensor;
}

/** Options of {@link batchNormInference}. */
export interface BatchNormOptions {
  /** Number that is added to the variance. Default 1e-5. */
  readonly epsilon?: number | undefined;
  /** Function that is applied to the result in the same pass. Default: none. */
  readonly activation?: "relu" | undefined;
}

/** Options of {@link batchNorm}. */
export interface BatchNormTrainingOptions extends BatchNormOptions {
  /** Step of the running statistics towards those of the batch, from 0 to 1. Default 0.1. */
  readonly momentum?: number | undefined;
}

const batchNormNames = optionNames<BatchNormOptions>({ epsilon: true, activation: true });
const batchNormTrainingNames = optionNames<BatchNormTrainingOptions>({ ...batchNormNames, momentum: true });

/**
 * Normalizes every channel (the last axis) with the statistics of the batch over all other axes, and updates the
 * running statistics.
 *
 * The update is running += momentum·(batch − running), with the unbiased variance, as in PyTorch.
 *
 * Source: Ioffe & Szegedy, "Batch normalization", ICML 2015.
 *
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit, or if an option is unknown or out of
 * range
 */
export function batchNorm<D extends DataType>(
  x: Tensor<D>,
  state: BatchNormState,
  options: BatchNormTrainingOptions = {},
): Tensor<D> {
  const { momentum = 0.1, epsilon = 1e-5, activation } = checkedOptions("batchNorm", batchNormTrainingNames, options);
  expectObject("state", state, "an object with gamma, beta, runningMean and runningVariance");
  const { gamma, beta, runningMean, runningVariance } = state;
  const inputs: Inputs<D> = [x, gamma, beta, runningMean, runningVariance];
  const relu = activation === "relu";
  return differentiable("batchNorm", inputs, { momentum, epsilon, relu }, (output, statistics) => ({
    saves: relu ? [x, gamma, output] : [x, gamma],
    gradient: (given) => {
      const g = relu ? run("reluGradient", [output, given]) : given;
      return execute("batchNormGradient", [x, g, gamma, ...statistics]);
    },
  }));
}

/**
 * Normalizes every channel (the last axis) with the running statistics, for evaluation.
 *
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit, or if an option is unknown or out of
 * range
 */
export function batchNormInference<D extends DataType>(
  x: Tensor<D>,
  state: BatchNormState,
  options: BatchNormOptions = {},
): Tensor<D> {
  const { epsilon = 1e-5, activation } = checkedOptions("batchNormInference", batchNormNames, options);
  expectObject("state", state, "an object with gamma, beta, runningMean and runningVariance");
  const { gamma, beta, runningMean, runningVariance } = state;
  const inputs: Inputs<D> = [x, gamma, beta, runningMean, runningVariance];
  const relu = activation === "relu";
  return differentiable("batchNormInference", inputs, { epsilon, relu }, (output) => ({
    saves: [x, gamma, runningMean, runningVariance, ...(relu ? [output] : [])],
    gradient: (arrived, needed) => {
      const given = relu ? run("reluGradient", [output, arrived]) : arrived;
      // Computed in float32, the type of the statistics. The gradients are rounded to the types of their inputs.
      const float = (tensor: Tensor) => asType(tensor, "float32");
      const [g, values, factor] = [float(given), float(x), float(gamma)];
      const deviation = run("sqrt", [run("affine", [runningVariance], { shift: epsilon })]);
      const leading = { axis: 0, count: x.shape.length - 1 };
      const normalized = needed[1] ? run("divide", [run("subtract", [values, runningMean]), deviation]) : undefined;
      const gradients = [
        needed[0] ? run("multiply", [g, run("divide", [factor, deviation])]) : undefined,
        normalized ? run("sum", [run("multiply", [g, normalized])], leading) : undefined,
        needed[2] ? run("sum", [g], leading) : undefined,
      ];
      return gradients.map((gradient) => gradient && asType(gradient, x.dtype));
    },
  }));
}

/** Options of {@link layerNorm} and {@link rmsNorm}. */
export interface RowNormOptions {
  /** Number that is added to the variance, or to the mean square. Default 1e-5. */
  readonly epsilon?: number | undefined;
}

const rowNormNames = optionNames<RowNormOptions>({ epsilon: true });

/**
 * Normalizes every row (the last axis) to mean 0 and variance 1: (x − mean)/√(variance + ε)·gamma + beta.
 *
 * The variance is the biased one.
 *
 * Source: Ba, Kiros & Hinton, "Layer normalization", arXiv:1607.06450.
 *
 * @param learned gamma and beta, [columns] each. Default: gamma is 1 and beta is 0.
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit, or if an option is unknown or out of
 * range
 */
export function layerNorm<D extends DataType>(
  x: Tensor<D>,
  learned?: { readonly gamma: Tensor; readonly beta: Tensor },
  options: RowNormOptions = {},
): Tensor<D> {
  const { epsilon = 1e-5 } = checkedOptions("layerNorm", rowNormNames, options);
  return rowNorm("layerNorm", x, learned ? [learned.gamma, learned.beta] : [], epsilon);
}

/**
 * Divides every row (the last axis) by its root mean square: x/√(mean(x²) + ε)·gamma.
 *
 * Source: Zhang & Sennrich, "Root mean square layer normalization", NeurIPS 2019.
 *
 * @param gamma learned factor, [columns]. Default 1.
 * @throws StepsizeError `invalid-argument` if the shapes or types do not fit, or if an option is unknown or out of
 * range
 */
export function rmsNorm<D extends DataType>(x: Tensor<D>, gamma?: Tensor, options: RowNormOptions = {}): Tensor<D> {
  const { epsilon = 1e-5 } = checkedOptions("rmsNorm", rowNormNames, options);
  return rowNorm("rmsNorm", x, gamma ? [gamma] : [], epsilon);
}

function rowNorm<D extends DataType>(
  name: "layerNorm" | "rmsNorm",
  x: Tensor<D>,
  learned: readonly Tensor[],
  epsilon: number,
): Tensor<D> {
  const [gamma] = learned;
  return differentiable(name, [x, ...learned], { epsilon }, (_, statistics) => ({
    saves: gamma ? [x, gamma] : [x],
    gradient: (g) => execute(`${name}Gradient`, [x, g, ...statistics, ...(gamma ? [gamma] : [])]),
  }));
}
