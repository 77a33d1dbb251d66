import { expectObject } from "../../arguments.js";
import { checkedOptions, optionNames } from "../../options.js";
import { differentiable } from "../autograd.js";
import { execute, type Tensor } from "../tensor.js";
import { asType } from "./elementwise.js";

/** What batch normalisation learns and remembers: one number per channel each. */
export interface BatchNormState {
  readonly gamma: Tensor;
  readonly beta: Tensor;
  readonly runningMean: Tensor;
  readonly runningVariance: Tensor;
}

/** Options of {@link batchNormInference}, and of {@link batchNorm} as well. */
export interface BatchNormOptions {
  /** Added to the variance; default 1e-5. */
  readonly epsilon?: number;
  /** What follows, in the same pass; default: nothing. */
  readonly activation?: "relu" | undefined;
}

/** Options of {@link batchNorm}. */
export interface BatchNormTrainingOptions extends BatchNormOptions {
  /** How far the running statistics go towards the batch's: default 0.1. */
  readonly momentum?: number;
}

const batchNormNames = optionNames<BatchNormOptions>({ epsilon: true, activation: true });
const batchNormTrainingNames = optionNames<BatchNormTrainingOptions>({ ...batchNormNames, momentum: true });

/**
 * Normalises every channel (the last axis) over all other axes with the statistics of this batch, and moves the
 * running statistics towards them: running += momentum·(batch − running), with the unbiased variance, as PyTorch does.
 */
export function batchNorm(x: Tensor, state: BatchNormState, options: BatchNormTrainingOptions = {}): Tensor {
  const { momentum = 0.1, epsilon = 1e-5, activation } = checkedOptions("batchNorm", batchNormTrainingNames, options);
  expectObject("state", state, "an object with gamma, beta, runningMean and runningVariance");
  const { gamma, beta, runningMean, runningVariance } = state;
  const inputs = [x, gamma, beta, runningMean, runningVariance];
  const relu = activation === "relu";
  return differentiable("batchNorm", inputs, { momentum, epsilon, relu }, (output, [mean, inverseDeviation]) => ({
    saves: relu ? [x, gamma, output] : [x, gamma],
    gradient: (given) => {
      const g = relu ? (execute("reluGradient", [output, given])[0] as Tensor) : given;
      return execute("batchNormGradient", [x, g, gamma, mean as Tensor, inverseDeviation as Tensor]);
    },
  }));
}

/** Normalises every channel with the running statistics. */
export function batchNormInference(x: Tensor, state: BatchNormState, options: BatchNormOptions = {}): Tensor {
  const { epsilon = 1e-5, activation } = checkedOptions("batchNormInference", batchNormNames, options);
  expectObject("state", state, "an object with gamma, beta, runningMean and runningVariance");
  const { gamma, beta, runningMean, runningVariance } = state;
  const inputs = [x, gamma, beta, runningMean, runningVariance];
  const relu = activation === "relu";
  return differentiable("batchNormInference", inputs, { epsilon, relu }, (output) => ({
    saves: [x, gamma, runningMean, runningVariance, ...(relu ? [output] : [])],
    gradient: (arrived, needed) => {
      const run = (name: string, ...tensors: Tensor[]) => execute(name, tensors)[0] as Tensor;
      const given = relu ? run("reluGradient", output, arrived) : arrived;
      // With the statistics, in float32; the gradients are rounded to the type of what they belong to.
      const [g, values, factor] = [given, x, gamma].map((one) => asType(one, "float32")) as [Tensor, Tensor, Tensor];
      const [variance] = execute("affine", [runningVariance], { shift: epsilon }) as [Tensor];
      const deviation = run("sqrt", variance);
      const leading = { axis: 0, count: x.shape.length - 1 };
      const normalised = needed[1] ? run("divide", run("subtract", values, runningMean), deviation) : undefined;
      const gradients = [
        needed[0] ? run("multiply", g, run("divide", factor, deviation)) : undefined,
        normalised ? (execute("sum", [run("multiply", g, normalised)], leading)[0] as Tensor) : undefined,
        needed[2] ? (execute("sum", [g], leading)[0] as Tensor) : undefined,
      ];
      return gradients.map((gradient) => gradient && asType(gradient, x.dtype));
    },
  }));
}

/** Options of {@link layerNorm} and {@link rmsNorm}. */
export interface RowNormOptions {
  /** Added to the variance; default 1e-5. */
  readonly epsilon?: number;
}

const rowNormNames = optionNames<RowNormOptions>({ epsilon: true });

/**
 * Layer normalisation of every row (the last axis): (x − mean)/√(variance + ε), with the biased variance, times `gamma`
 * plus `beta` where they are given, [columns] each. Source: Ba, Kiros, Hinton, arXiv:1607.06450.
 */
export function layerNorm(
  x: Tensor,
  learned?: { readonly gamma: Tensor; readonly beta: Tensor },
  options: RowNormOptions = {},
): Tensor {
  const { epsilon = 1e-5 } = checkedOptions("layerNorm", rowNormNames, options);
  return rowNorm("layerNorm", x, learned ? [learned.gamma, learned.beta] : [], epsilon);
}

/**
 * Division of every row (the last axis) by its root mean square, √(mean of x² + ε), times `gamma` [columns] where it is
 * given. Source: Zhang, Sennrich, "Root mean square layer normalization", NeurIPS 2019.
 */
export function rmsNorm(x: Tensor, gamma?: Tensor, options: RowNormOptions = {}): Tensor {
  const { epsilon = 1e-5 } = checkedOptions("rmsNorm", rowNormNames, options);
  return rowNorm("rmsNorm", x, gamma ? [gamma] : [], epsilon);
}

function rowNorm(name: "layerNorm" | "rmsNorm", x: Tensor, learned: readonly Tensor[], epsilon: number): Tensor {
  const [gamma] = learned;
  return differentiable(name, [x, ...learned], { epsilon }, (_, statistics) => ({
    saves: gamma ? [x, gamma] : [x],
    gradient: (g) => execute(`${name}Gradient`, [x, g, ...statistics, ...(gamma ? [gamma] : [])]),
  }));
}
