import type { Capture, Device } from "../native/index.js";
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

/**
 * activation(x·Wᵀ + b): from [..., inputs] to [..., outputs]; the weight is [outputs, inputs], the bias is on by default,
 * the activation off. Weights are drawn by {@link fanInUniform}, or with `deviation` from a normal distribution.
 */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
  readonly activation: LinearOptions["activation"];

  constructor(
    inputs: number,
    outputs: number,
    {
      device,
      seeds,
      bias = true,
      deviation,
      activation,
    }: LayerOptions & { deviation?: number; activation?: LinearOptions["activation"] },
  ) {
    super();
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

  constructor(
    inputs: number,
    outputs: number,
    {
      device,
      seeds,
      bias = false,
      kernel = 3,
      stride = 1,
      padding = 0,
    }: LayerOptions & { kernel?: number; stride?: number; padding?: number },
  ) {
    super();
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

  constructor(
    channels: number,
    { device, momentum = 0.1, epsilon = 1e-5 }: { device: Device; momentum?: number; epsilon?: number },
  ) {
    super();
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

  constructor(probability: number, { seeds }: { seeds?: Seeds | number } = {}) {
    super();
    const { seed, stream } = seedsOf(seeds).next();
    this.probability = probability;
    this.seed = seed;
    this.#stream = stream;
  }

  forward(x: Tensor): Tensor {
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
    return reshape(x, [x.shape[0] ?? 1, x.shape.slice(1).reduce((product, size) => product * size, 1)]);
  }
}

/** The largest value of each window; see {@link maxPool2d}. */
export class MaxPool2d extends Module {
  readonly options: PoolingOptions;

  constructor(options: PoolingOptions) {
    super();
    this.options = options;
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
    this.options = options;
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
    this.layers = layers;
  }

  protected override torchName(member: string): string {
    return member.replace(/^layers\./, "");
  }

  forward(x: Tensor): Tensor {
    return this.layers.reduce((value, layer) => layer.forward(value), x);
  }
}
