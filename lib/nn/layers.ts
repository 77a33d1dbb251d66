import { expectModule } from "../arguments.js";
import type { Capture, Device } from "../native/index.js";
import { checkedOptions, optionNames } from "../options.js";
import { elementCount } from "../shapes.js";
import {
  add,
  averagePool2d,
  batchNorm,
  batchNormInference,
  conv2d,
  dropout,
  gelu,
  type LinearOptions,
  linear,
  maxPool2d,
  mean,
  normal,
  ones,
  type PoolingOptions,
  relu,
  reshape,
  silu,
  type Tensor,
  type TorchNames,
  zeros,
} from "../tensor/index.js";
import { poolingNames } from "../tensor/operations/pooling.js";
import { expectTensor } from "../tensor/tensor.js";
import { CapturedCalls } from "./captured-calls.js";
import { fanInUniform, kaimingNormal, type Seeds, seedsOf } from "./initialize.js";
import { Module } from "./module.js";
import { Buffer, Parameter } from "./parameter.js";

/** Options of layers with weights. */
export interface LayerOptions {
  /** Device of the weights. */
  readonly device: Device;
  /** Source of the initial weights: one that the layers of a model share, or a seed for this layer alone. Default 0. */
  readonly seeds?: Seeds | number | undefined;
  /** Whether the layer has a learned bias. Default true for {@link Linear}, false for {@link Conv2d}. */
  readonly bias?: boolean | undefined;
}

/** Options of {@link Linear}. */
export interface LinearLayerOptions extends LayerOptions {
  /** Standard deviation of normally distributed initial weights. Default: {@link fanInUniform}. */
  readonly deviation?: number | undefined;
  /** Function that is applied to the result in the same pass. Default: none. */
  readonly activation?: LinearOptions["activation"] | undefined;
}

/** Options of {@link Conv2d}. */
export interface Conv2dLayerOptions extends LayerOptions {
  /** Height and width of the window. Default 3. */
  readonly kernel?: number | undefined;
  /** Stride in both directions. Default 1. */
  readonly stride?: number | undefined;
  /** Number of zeros on each side of the image. Default 0. */
  readonly padding?: number | undefined;
}

/** Options of {@link BatchNorm}. */
export interface BatchNormLayerOptions extends Pick<LayerOptions, "device"> {
  /** Step of the running statistics towards those of each batch, from 0 to 1. Default 0.1. */
  readonly momentum?: number | undefined;
  /** Number that is added to the variance. Default 1e-5. */
  readonly epsilon?: number | undefined;
  /** Has no effect. It is accepted so that all layers of a model can have the same options. */
  readonly seeds?: LayerOptions["seeds"] | undefined;
}

/** Options of {@link Dropout}. */
export interface DropoutLayerOptions extends Pick<LayerOptions, "seeds"> {
  /** Has no effect. It is accepted so that all layers of a model can have the same options. */
  readonly device?: Device | undefined;
}

const layerNames = optionNames<LayerOptions>({ device: true, seeds: true, bias: true });
const linearNames = optionNames<LinearLayerOptions>({ ...layerNames, deviation: true, activation: true });
const convolutionNames = optionNames<Conv2dLayerOptions>({ ...layerNames, kernel: true, stride: true, padding: true });
const batchNormNames = optionNames<BatchNormLayerOptions>({
  device: true,
  momentum: true,
  epsilon: true,
  seeds: true,
});
const dropoutNames = optionNames<DropoutLayerOptions>({ seeds: true, device: true });

/**
 * A linear layer: activation(x·Wᵀ + b), from [..., inputs] to [..., outputs].
 *
 * It has a bias and no activation by default. Weights and bias are drawn by {@link fanInUniform}, or the weights with
 * `deviation` from a normal distribution.
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const layer = new nn.Linear(4, 2, { device, activation: "relu" });
 * const y = layer.forward(ops.ones(device, [3, 4]));
 * console.log(y.shape); // 3, 2
 * ```
 */
export class Linear extends Module {
  /** Weight W, [outputs, inputs]. */
  readonly weight: Parameter;
  /** Bias b, [outputs]; `undefined` without one. */
  readonly bias: Parameter | undefined;
  /** Function that is applied to the result; `undefined` if there is none. */
  readonly activation: LinearOptions["activation"];

  /**
   * Creates the layer.
   *
   * @param inputs size of the last axis of the inputs
   * @param outputs size of the last axis of the outputs
   * @throws StepsizeError `invalid-argument` if a size or an option is invalid; `out-of-memory`
   */
  constructor(inputs: number, outputs: number, options: LinearLayerOptions) {
    super();
    const { device, seeds, bias = true, deviation, activation } = checkedOptions("Linear", linearNames, options);
    const streams = seedsOf(seeds);
    const shape = [outputs, inputs];
    const values =
      deviation === undefined
        ? fanInUniform(device, shape, streams)
        : normal(device, shape, { deviation, ...streams.next() });
    this.weight = new Parameter(values);
    this.bias = bias ? new Parameter(fanInUniform(device, [outputs], streams, inputs)) : undefined;
    this.activation = activation;
  }

  /**
   * Returns activation(x·Wᵀ + b), plus a residual.
   *
   * @param x [..., inputs]
   * @param residual [..., outputs], added to the result in the same pass. Default: none.
   * @throws StepsizeError `invalid-argument` if a shape or type does not fit
   */
  forward(x: Tensor, residual?: Tensor): Tensor {
    return linear(x, this.weight, { bias: this.bias, activation: this.activation, residual });
  }
}

/**
 * A convolution layer, from [N, height, width, inputs] to [N, height', width', outputs].
 *
 * It has no bias by default, because a normalization usually follows. Weights are drawn by {@link kaimingNormal}; the
 * bias starts at 0.
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const layer = new nn.Conv2d(3, 16, { device, padding: 1 });
 * console.log(layer.forward(ops.zeros(device, [1, 8, 8, 3])).shape); // 1, 8, 8, 16
 * ```
 */
export class Conv2d extends Module {
  /** Weight, [outputs, kernel, kernel, inputs]. */
  readonly weight: Parameter;
  /** Bias, [outputs]; `undefined` without one. */
  readonly bias: Parameter | undefined;
  /** Stride in both directions. */
  readonly stride: number;
  /** Number of zeros on each side of the image. */
  readonly padding: number;

  /**
   * Creates the layer.
   *
   * @param inputs number of channels of the inputs
   * @param outputs number of channels of the outputs
   * @throws StepsizeError `invalid-argument` if a size or an option is invalid; `out-of-memory`
   */
  constructor(inputs: number, outputs: number, options: Conv2dLayerOptions) {
    super();
    const {
      device,
      seeds,
      bias = false,
      kernel = 3,
      stride = 1,
      padding = 0,
    } = checkedOptions("Conv2d", convolutionNames, options);
    const streams = seedsOf(seeds);
    this.weight = new Parameter(kaimingNormal(device, [outputs, kernel, kernel, inputs], streams));
    this.bias = bias ? new Parameter(zeros(device, [outputs])) : undefined;
    this.stride = stride;
    this.padding = padding;
  }

  /**
   * Returns the convolution of images.
   *
   * @param x [N, height, width, inputs]
   * @returns [N, height', width', outputs]; see {@link conv2d}
   * @throws StepsizeError `invalid-argument` if the shape or type does not fit
   */
  forward(x: Tensor): Tensor {
    const product = conv2d(x, this.weight, { stride: this.stride, padding: this.padding });
    return this.bias ? add(product, this.bias) : product;
  }
}

/** @internal Names in PyTorch of the tensors of normalization layers. */
export const torchNamesOfNorms: Readonly<Record<string, string>> = {
  gamma: "weight",
  beta: "bias",
  runningMean: "running_mean",
  runningVariance: "running_var",
};

/**
 * A batch normalization layer over the last axis.
 *
 * In training it uses the statistics of the batch and updates the running statistics; see {@link batchNorm}. In
 * evaluation it uses the running statistics.
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const norm = new nn.BatchNorm(3, { device });
 * const y = norm.forward(ops.normal(device, [16, 8, 8, 3], { seed: 0 }), "relu");
 * norm.eval(); // from now on with the running statistics
 * ```
 */
export class BatchNorm extends Module {
  /** Learned factor, [channels]. It starts at 1. */
  readonly gamma: Parameter;
  /** Learned offset, [channels]. It starts at 0. */
  readonly beta: Parameter;
  /** Running mean, [channels]. It starts at 0. */
  readonly runningMean: Buffer;
  /** Running variance, [channels]. It starts at 1. */
  readonly runningVariance: Buffer;
  /** Step of the running statistics towards those of each batch. */
  readonly momentum: number;
  /** Number that is added to the variance. */
  readonly epsilon: number;

  /**
   * Creates the layer.
   *
   * @param channels size of the last axis
   * @throws StepsizeError `invalid-argument` if the size or an option is invalid; `out-of-memory`
   */
  constructor(channels: number, options: BatchNormLayerOptions) {
    super();
    const { device, momentum = 0.1, epsilon = 1e-5 } = checkedOptions("BatchNorm", batchNormNames, options);
    this.gamma = new Parameter(ones(device, [channels]));
    this.beta = new Parameter(zeros(device, [channels]));
    this.runningMean = new Buffer(zeros(device, [channels]));
    this.runningVariance = new Buffer(ones(device, [channels]));
    this.momentum = momentum;
    this.epsilon = epsilon;
  }

  /** Returns the names in PyTorch. */
  override torchNames(): TorchNames {
    // PyTorch counts batches for norms without a momentum. These norms have one and need no count.
    return { ...super.torchNames(), unused: ["num_batches_tracked"] };
  }

  protected override torchName(member: string): string {
    return torchNamesOfNorms[member] ?? member;
  }

  /**
   * Returns the normalized values.
   *
   * @param x [..., channels]
   * @param activation function that is applied to the result in the same pass. Default: none.
   * @throws StepsizeError `invalid-argument` if the shape or type does not fit
   */
  forward(x: Tensor, activation?: "relu"): Tensor {
    const { momentum, epsilon } = this;
    return this.training
      ? batchNorm(x, this, { momentum, epsilon, activation })
      : batchNormInference(x, this, { epsilon, activation });
  }
}

/**
 * A dropout layer. In training it sets random elements to zero and scales the others; in evaluation it returns its
 * input.
 *
 * See {@link dropout} for the formula.
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const layer = new nn.Dropout(0.5, { seeds: 0 });
 * console.log(await layer.forward(ops.ones(device, [8])).read()); // zeros and twos
 * ```
 */
export class Dropout extends Module {
  /** Probability that an element is set to zero, from 0 to 1. */
  readonly probability: number;
  /** Seed of the random numbers. */
  readonly seed: number;
  readonly #stream: number;
  readonly #captured = new WeakMap<Capture, CapturedCalls>();
  /** Number of calls in training. It selects the random numbers, so that every call drops other elements. */
  counter = 0;

  /**
   * Creates the layer.
   *
   * @param probability probability that an element is set to zero, from 0 to 1
   * @throws StepsizeError `invalid-argument` if an option is invalid
   */
  constructor(probability: number, options: DropoutLayerOptions = {}) {
    super();
    const { seeds } = checkedOptions("Dropout", dropoutNames, options);
    const { seed, stream } = seedsOf(seeds).next();
    this.probability = probability;
    this.seed = seed;
    this.#stream = stream;
  }

  /**
   * Returns `x` with random elements set to zero in training, and `x` itself in evaluation.
   *
   * @throws StepsizeError `invalid-argument` if `x` is not a tensor, or if the probability is out of range
   */
  forward(x: Tensor): Tensor {
    expectTensor("x", x);
    if (!this.training || this.probability === 0) return x;
    const { probability, seed } = this;
    // There is room for 2^32 calls of each of 2^20 layers per seed. Streams of initial weights are below 2^32.
    const stream = (this.#stream + 1) * 2 ** 32;
    const { capturing } = x.device;
    if (!capturing) return dropout(x, { probability, seed, stream: stream + this.counter++ });
    const calls = this.#captured.get(capturing) ?? new CapturedCalls(capturing, x.device, this);
    this.#captured.set(capturing, calls);
    return dropout(x, { probability, seed, stream, calls: calls.next() });
  }
}

/**
 * The ReLU activation max(x, 0) as a layer.
 *
 * @example
 * ```ts
 * import { nn, openDevice } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = new nn.Sequential(new nn.Linear(4, 8, { device }), new nn.ReLU(), new nn.Linear(8, 2, { device }));
 * ```
 */
export class ReLU extends Module {
  /** Returns max(x, 0), elementwise. */
  forward(x: Tensor): Tensor {
    return relu(x);
  }
}

/**
 * The GELU activation x·Φ(x) as a layer; see {@link gelu}.
 *
 * @example
 * ```ts
 * import { nn, openDevice } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = new nn.Sequential(new nn.Linear(4, 8, { device }), new nn.GELU(), new nn.Linear(8, 2, { device }));
 * ```
 */
export class GELU extends Module {
  /** Returns x·Φ(x), elementwise. */
  forward(x: Tensor): Tensor {
    return gelu(x);
  }
}

/**
 * The SiLU activation x/(1 + e⁻ˣ) as a layer; see {@link silu}.
 *
 * @example
 * ```ts
 * import { nn, openDevice } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = new nn.Sequential(new nn.Linear(4, 8, { device }), new nn.SiLU(), new nn.Linear(8, 2, { device }));
 * ```
 */
export class SiLU extends Module {
  /** Returns x/(1 + e⁻ˣ), elementwise. */
  forward(x: Tensor): Tensor {
    return silu(x);
  }
}

/**
 * A layer that flattens all axes but the first, from [N, …] to [N, product of the others].
 *
 * Images have the order [height, width, channels]. In PyTorch the channels come first, so the weights of a following
 * linear layer have the layout `flattened` there; see {@link TorchLayout}.
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * console.log(new nn.Flatten().forward(ops.zeros(device, [32, 8, 8, 3])).shape); // 32, 192
 * ```
 */
export class Flatten extends Module {
  /**
   * Returns `x` with all axes but the first flattened. The result shares the memory of `x`.
   *
   * @throws StepsizeError `invalid-argument` if `x` is not a tensor
   */
  forward(x: Tensor): Tensor {
    expectTensor("x", x);
    return reshape(x, [x.shape[0] ?? 1, elementCount(x.shape.slice(1))]);
  }
}

/**
 * A max pooling layer: the largest value of each window; see {@link maxPool2d}.
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const pool = new nn.MaxPool2d({ size: 2 });
 * console.log(pool.forward(ops.zeros(device, [1, 8, 8, 3])).shape); // 1, 4, 4, 3
 * ```
 */
export class MaxPool2d extends Module {
  /** Size, stride and padding of the windows. */
  readonly options: PoolingOptions;

  /**
   * Creates the layer.
   *
   * @throws StepsizeError `invalid-argument` for an unknown option
   */
  constructor(options: PoolingOptions) {
    super();
    this.options = checkedOptions("MaxPool2d", poolingNames, options);
  }

  /**
   * Returns the largest value of each window.
   *
   * @param x [N, height, width, channels]
   * @throws StepsizeError `invalid-argument` if `x` has another shape, or if an option is out of range
   */

  forward(x: Tensor): Tensor {
    return maxPool2d(x, this.options);
  }
}

/**
 * An average pooling layer: the mean of each window; see {@link averagePool2d}.
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const pool = new nn.AveragePool2d({ size: 2 });
 * console.log(pool.forward(ops.zeros(device, [1, 8, 8, 3])).shape); // 1, 4, 4, 3
 * ```
 */
export class AveragePool2d extends Module {
  /** Size, stride and padding of the windows. */
  readonly options: PoolingOptions;

  /**
   * Creates the layer.
   *
   * @throws StepsizeError `invalid-argument` for an unknown option
   */
  constructor(options: PoolingOptions) {
    super();
    this.options = checkedOptions("AveragePool2d", poolingNames, options);
  }

  /**
   * Returns the mean of each window.
   *
   * @param x [N, height, width, channels]
   * @throws StepsizeError `invalid-argument` if `x` has another shape, or if an option is out of range
   */

  forward(x: Tensor): Tensor {
    return averagePool2d(x, this.options);
  }
}

/**
 * A global average pooling layer: the mean over height and width, from [N, height, width, channels] to [N, channels].
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * console.log(new nn.GlobalAveragePool().forward(ops.zeros(device, [1, 8, 8, 3])).shape); // 1, 3
 * ```
 */
export class GlobalAveragePool extends Module {
  /** Returns the mean over height and width, [N, channels]. */
  forward(x: Tensor): Tensor {
    return mean(x, [1, 2]);
  }
}

/**
 * A model that applies modules one after the other.
 *
 * @example
 * ```ts
 * import { nn, openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const seeds = new nn.Seeds(0);
 * const model = new nn.Sequential(
 *   new nn.Linear(784, 128, { device, seeds, activation: "relu" }),
 *   new nn.Linear(128, 10, { device, seeds }),
 * );
 * const logits = model.forward(ops.zeros(device, [32, 784]));
 * ```
 */
export class Sequential extends Module {
  /** The modules in the order of their application. */
  readonly layers: readonly Module[];

  /**
   * Creates the model.
   *
   * @throws StepsizeError `invalid-argument` if an argument is not a module
   */
  constructor(...layers: Module[]) {
    super();
    for (const [i, layer] of layers.entries()) expectModule(`layers[${i}]`, layer);
    this.layers = layers;
  }

  protected override torchName(member: string): string {
    return member.replace(/^layers\./, "");
  }

  /** Applies all modules to `x`, one after the other. */
  forward(x: Tensor): Tensor {
    return this.layers.reduce((value, layer) => layer.forward(value), x);
  }
}
