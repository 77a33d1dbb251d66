import { expectModule } from "../arguments.js";
import type { Capture, Device } from "../native/index.js";
import { checkedOptions, optionNames } from "../options.js";
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

/** Where a layer lives and what its initial weights are drawn from. */
export interface LayerOptions {
  readonly device: Device;
  /** Shared by the layers of a model, or a number for one of its own; default 0. */
  readonly seeds?: Seeds | number;
  /** Whether outputs get a learned offset. */
  readonly bias?: boolean;
}

/** Options of {@link Linear}. */
export interface LinearLayerOptions extends LayerOptions {
  /** Standard deviation of normally distributed initial weights; default: weights are drawn evenly. */
  readonly deviation?: number;
  /** What follows, in the same pass; default: nothing. */
  readonly activation?: LinearOptions["activation"];
}

/** Options of {@link Conv2d}. */
export interface Conv2dLayerOptions extends LayerOptions {
  /** Height and width of the window; default 3. */
  readonly kernel?: number;
  /** Default 1. */
  readonly stride?: number;
  /** Zeros around the image; default 0. */
  readonly padding?: number;
}

/** Options of {@link BatchNorm}. */
export interface BatchNormLayerOptions extends Pick<LayerOptions, "device"> {
  /** How far the running statistics go towards each batch's; default 0.1. */
  readonly momentum?: number;
  /** Added to the variance; default 1e-5. */
  readonly epsilon?: number;
  /** Has no effect, since nothing is drawn: all layers of a model can be given the same options. */
  readonly seeds?: LayerOptions["seeds"];
}

/** Options of {@link Dropout}. */
export interface DropoutLayerOptions extends Pick<LayerOptions, "seeds"> {
  /** Has no effect, since nothing is kept: all layers of a model can be given the same options. */
  readonly device?: Device;
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
 * activation(x·Wᵀ + b): from [..., inputs] to [..., outputs]; the weight is [outputs, inputs], the bias is on by default,
 * the activation off. Weights are drawn by {@link fanInUniform}, or with `deviation` from a normal distribution.
 */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
  readonly activation: LinearOptions["activation"];

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

  /** @param residual [..., outputs], added to the result in the same pass */
  forward(x: Tensor, residual?: Tensor): Tensor {
    return linear(x, this.weight, { bias: this.bias, activation: this.activation, residual });
  }
}

/**
 * Convolution of [N, height, width, inputs] to [N, height', width', outputs]; the weight is [outputs, kernel, kernel,
 * inputs], drawn by {@link kaimingNormal}; no bias by default, since a normalisation usually follows.
 */
export class Conv2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
  readonly stride: number;
  readonly padding: number;

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

  forward(x: Tensor): Tensor {
    const product = conv2d(x, this.weight, { stride: this.stride, padding: this.padding });
    return this.bias ? add(product, this.bias) : product;
  }
}

/** @internal What PyTorch calls the tensors of normalisation layers. */
export const torchNamesOfNorms: Readonly<Record<string, string>> = {
  gamma: "weight",
  beta: "bias",
  runningMean: "running_mean",
  runningVariance: "running_var",
};

/** Batch normalisation of the last axis; see {@link batchNorm}. In evaluation it uses the running statistics. */
export class BatchNorm extends Module {
  readonly gamma: Parameter;
  readonly beta: Parameter;
  readonly runningMean: Buffer;
  readonly runningVariance: Buffer;
  readonly momentum: number;
  readonly epsilon: number;

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

  override torchNames(): TorchNames {
    // PyTorch counts batches for norms without momentum. These have one.
    return { ...super.torchNames(), unused: ["num_batches_tracked"] };
  }

  protected override torchName(member: string): string {
    return torchNamesOfNorms[member] ?? member;
  }

  /** @param activation what follows, in the same pass; default: nothing */
  forward(x: Tensor, activation?: "relu"): Tensor {
    const { momentum, epsilon } = this;
    return this.training
      ? batchNorm(x, this, { momentum, epsilon, activation })
      : batchNormInference(x, this, { epsilon, activation });
  }
}

/** Drops elements in training, with this probability, and scales the others up; in evaluation it does nothing. */
export class Dropout extends Module {
  readonly probability: number;
  readonly seed: number;
  readonly #stream: number;
  readonly #captured = new WeakMap<Capture, CapturedCalls>();
  /** Advances with every training call, so that every step drops other elements. */
  counter = 0;

  constructor(probability: number, options: DropoutLayerOptions = {}) {
    super();
    const { seeds } = checkedOptions("Dropout", dropoutNames, options);
    const { seed, stream } = seedsOf(seeds).next();
    this.probability = probability;
    this.seed = seed;
    this.#stream = stream;
  }

  forward(x: Tensor): Tensor {
    expectTensor("x", x);
    if (!this.training || this.probability === 0) return x;
    const { probability, seed } = this;
    // Room for 2^32 calls of each of 2^20 layers under one seed, apart from the streams that weights are drawn from.
    const stream = (this.#stream + 1) * 2 ** 32;
    const { capturing } = x.device;
    if (!capturing) return dropout(x, { probability, seed, stream: stream + this.counter++ });
    const calls = this.#captured.get(capturing) ?? new CapturedCalls(capturing, x.device, this);
    this.#captured.set(capturing, calls);
    return dropout(x, { probability, seed, stream, calls: calls.next() });
  }
}

/** max(x, 0) */
export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return relu(x);
  }
}

/** x·Φ(x); see {@link gelu}. */
export class GELU extends Module {
  forward(x: Tensor): Tensor {
    return gelu(x);
  }
}

/** x/(1 + e⁻ˣ); see {@link silu}. */
export class SiLU extends Module {
  forward(x: Tensor): Tensor {
    return silu(x);
  }
}

/**
 * From [N, …] to [N, product of the rest]. Images keep the order [height, width, channels]; a linear layer after it that
 * takes weights from PyTorch, where the channels come first, has the layout `flattened`.
 */
export class Flatten extends Module {
  forward(x: Tensor): Tensor {
    expectTensor("x", x);
    return reshape(x, [x.shape[0] ?? 1, x.shape.slice(1).reduce((product, size) => product * size, 1)]);
  }
}

/** The largest value of each window; see {@link maxPool2d}. */
export class MaxPool2d extends Module {
  readonly options: PoolingOptions;

  constructor(options: PoolingOptions) {
    super();
    this.options = checkedOptions("MaxPool2d", poolingNames, options);
  }

  forward(x: Tensor): Tensor {
    return maxPool2d(x, this.options);
  }
}

/** The mean of each window; see {@link averagePool2d}. */
export class AveragePool2d extends Module {
  readonly options: PoolingOptions;

  constructor(options: PoolingOptions) {
    super();
    this.options = checkedOptions("AveragePool2d", poolingNames, options);
  }

  forward(x: Tensor): Tensor {
    return averagePool2d(x, this.options);
  }
}

/** The mean over height and width: from [N, height, width, channels] to [N, channels]. */
export class GlobalAveragePool extends Module {
  forward(x: Tensor): Tensor {
    return mean(x, [1, 2]);
  }
}

/** Modules one after another. */
export class Sequential extends Module {
  readonly layers: readonly Module[];

  constructor(...layers: Module[]) {
    super();
    for (const [i, layer] of layers.entries()) expectModule(`layers[${i}]`, layer);
    this.layers = layers;
  }

  protected override torchName(member: string): string {
    return member.replace(/^layers\./, "");
  }

  forward(x: Tensor): Tensor {
    return this.layers.reduce((value, layer) => layer.forward(value), x);
  }
}
