// Trainings with hashed weights and data, whose losses PyTorch computed in float64 (test/golden/).
import { type MLP, mlp, type Olmo, type OlmoOptions, olmo, type ResNet, resnet } from "../models/index.js";
import type { Device } from "../native/index.js";
import { crossEntropy, type Module } from "../nn/index.js";
import { AdamW, SGD } from "../optim/index.js";
import { elementCount } from "../shapes.js";
import { backward, type Tensor, tensor, tidy } from "../tensor/index.js";
import { goldenLosses } from "./golden-losses.js";
import { labelsOf, numbers } from "./hashed.js";

/** A model in training. */
export interface Trained {
  readonly model: Module;
  /** Computes the loss of the next batch of a step. */
  lossOf(step: number): Tensor;
  readonly optimizer: { step(): void; zeroGrad(): void; dispose(): void };
}

/** A training with its golden losses. */
export interface Training {
  readonly name: string;
  readonly losses: readonly number[];
  /** Largest |loss/golden − 1|. */
  readonly tolerance: number;
  readonly reason: string;
  start(device: Device): Trained;
}

/** Number of different batches. */
export const batches = 4;

/** Returns a learning rate from a list with a rate for every step. */
function ratesOf(rates: readonly number[]): (step: number) => number {
  return (step) => rates[step] ?? 0;
}

const mlpSizes = { inputs: 784, hidden: [64, 32], classes: 10, batch: 16 };

function hashedMlp(device: Device): MLP {
  const { inputs, hidden, classes } = mlpSizes;
  const model = mlp({ inputs, hidden, classes, device });
  const scales = [2 ** -4, 2 ** -2, 2 ** -2];
  let k = 0;
  for (const [name, parameter] of model.namedParameters()) {
    const scale = name.endsWith("bias") ? 2 ** -4 : (scales[k / 2] ?? 1);
    parameter.write(numbers(parameter.size, 10 + k++).map((value) => value * scale));
  }
  return model;
}

function mlpLoss(model: MLP, device: Device, step: number): Tensor {
  const { inputs, classes, batch } = mlpSizes;
  const images = numbers(batch * inputs, 1000 + (step % batches)).map((value) => Math.max(0, value));
  const labels = labelsOf(batch, 2000 + (step % batches), classes);
  return crossEntropy(model.forward(tensor(device, images, [batch, 28, 28, 1])), tensor(device, labels));
}

/** Returns a residual network of depth 8 with the initial weights of the golden runs. */
export function hashedResNet(device: Device, channels: number, width: number): ResNet {
  const model = resnet({ depth: 8, classes: 10, channels, width, device });
  let k = 0;
  for (const [name, parameter] of model.namedParameters()) {
    const [outputs = 1, ...rest] = parameter.shape;
    const window = elementCount(rest.slice(0, -1));
    const scale = 2 ** Math.round(Math.log2(Math.sqrt(6 / (outputs * window))));
    const hashed = numbers(parameter.size, 10 + k++);
    if (name.endsWith("gamma")) parameter.write(hashed.map((value) => 1 + value / 4));
    else if (name.endsWith("weight")) parameter.write(hashed.map((value) => value * scale));
    else parameter.write(hashed.map((value) => value / 8));
  }
  return model;
}

/** Returns images of the golden runs. */
export function resNetImages(device: Device, shape: readonly number[], index: number): Tensor {
  return tensor(device, numbers(elementCount(shape), 1000 + index), shape);
}

/** Returns the loss of a residual network for a batch of the golden runs. */
export function resNetLoss(model: ResNet, shape: readonly number[], index: number): Tensor {
  const { device } = model.classifier.weight;
  const labels = labelsOf(shape[0] ?? 0, 2000 + index, 10);
  return crossEntropy(model.forward(resNetImages(device, shape, index)), tensor(device, labels));
}

/** The sizes of a decoder, with all options that the golden runs state. */
export type DecoderShape = Required<Pick<OlmoOptions, "norm" | "tied">> & OlmoOptions;

/** Returns a decoder with the initial weights of the golden runs. */
export function hashedDecoder(device: Device, shape: DecoderShape): Olmo {
  const model = olmo({ ...shape, device });
  let k = 0;
  for (const [name, parameter] of model.namedParameters()) {
    const hashed = numbers(parameter.size, 10 + k++);
    const scale = 2 ** Math.round(Math.log2(Math.sqrt(2 / (parameter.shape[1] ?? 2))));
    parameter.write(hashed.map((value) => (name.endsWith("gamma") ? 1 + value / 4 : value * scale)));
  }
  return model;
}

/** Returns the loss of token windows, with the windows shifted by one token as labels. */
export function decoderLoss(model: Olmo, shape: DecoderShape, items: number, index: number): Tensor {
  const { context, vocabulary } = shape;
  const { device } = model.embedding.weight;
  const tokens = labelsOf(items * (context + 1), 1000 + index, vocabulary);
  const windows = (from: number) => {
    const rows = Array.from({ length: items }, (_, i) => [
      ...tokens.subarray(i * (context + 1) + from, i * (context + 1) + from + context),
    ]);
    return tensor(device, Int32Array.from(rows.flat()), [items, context]);
  };
  return crossEntropy(model.forward(windows(0)), windows(1));
}

const ofMlp = {
  tolerance: 1e-5,
  reason:
    "sums of 784 products in float32, and steps that are small enough for errors not to grow; measured below 1e-6",
};

/** The trainings of stage 5. */
export const trainings: readonly Training[] = [
  {
    name: "mlp-sgd",
    losses: goldenLosses.mlp.sgd.losses,
    ...ofMlp,
    start(device) {
      const { rates, momentum } = goldenLosses.mlp.sgd;
      const model = hashedMlp(device);
      const optimizer = new SGD(model.parameters(), { lr: ratesOf(rates), momentum });
      return { model, optimizer, lossOf: (step) => mlpLoss(model, device, step) };
    },
  },
  {
    name: "mlp-adamw",
    losses: goldenLosses.mlp.adamw.losses,
    ...ofMlp,
    start(device) {
      const { rates, weightDecay } = goldenLosses.mlp.adamw;
      const model = hashedMlp(device);
      const optimizer = new AdamW(model.parameters(), { lr: ratesOf(rates), weightDecay });
      return { model, optimizer, lossOf: (step) => mlpLoss(model, device, step) };
    },
  },
  {
    name: "resnet8-sgd",
    losses: goldenLosses.resnet8.losses,
    tolerance: 1e-5,
    reason: "about twenty layers of float32, and batch norm, which subtracts nearly equal numbers; measured below 1e-6",
    start(device) {
      const { shape, width, rates, momentum } = goldenLosses.resnet8;
      const model = hashedResNet(device, shape[3], width);
      const optimizer = new SGD(model.parameters(), { lr: ratesOf(rates), momentum });
      return { model, optimizer, lossOf: (step) => resNetLoss(model, shape, step % batches) };
    },
  },
  {
    name: "olmo-adamw",
    losses: goldenLosses.olmo.losses,
    tolerance: 2e-6,
    reason: "four layers of float32 without differences of nearly equal numbers; measured 3e-7",
    start(device) {
      const { shape, items, rates } = goldenLosses.olmo;
      const model = hashedDecoder(device, shape);
      const lr = ratesOf(rates);
      const optimizer = new AdamW(model.parameters(), { lr, betas: [0.9, 0.95], epsilon: 1e-6, weightDecay: 0.1 });
      return { model, optimizer, lossOf: (step) => decoderLoss(model, shape, items, step % batches) };
    },
  },
];

/** Makes the steps of a training and returns their losses. `trained` is left with the weights after the last step. */
export async function trainedLosses({ lossOf, optimizer }: Trained, steps: number): Promise<number[]> {
  const losses: Promise<number>[] = [];
  for (let step = 0; step < steps; step++)
    tidy(() => {
      const loss = lossOf(step);
      losses.push(loss.item());
      backward(loss);
      optimizer.step();
      optimizer.zeroGrad();
    });
  return await Promise.all(losses);
}

/** Returns the largest |got/expected − 1|; infinite if a value is not a number or is missing. */
export function worstRatio(got: readonly number[], expected: readonly number[]): number {
  if (got.length !== expected.length) return Number.POSITIVE_INFINITY;
  const errors = got.map((value, i) => Math.abs(value / (expected[i] ?? Number.NaN) - 1));
  return errors.some(Number.isNaN) ? Number.POSITIVE_INFINITY : Math.max(...errors);
}
