// Small runs that learn within a second, and helpers to compare them.
import { afterAll } from "vitest";
import { type BatchOptions, fromArrays } from "#lib/data/index.js";
import * as models from "#lib/models/index.js";
import { type Device, openDevice } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { AdamW, SGD } from "#lib/optim/index.js";
import { PhiloxStream } from "#lib/random.js";
import * as schedule from "#lib/schedule/index.js";
import type { Tensor } from "#lib/tensor/index.js";
import { type StepRecord, Trainer, type TrainerOptions } from "#lib/train/index.js";
import type { ModelCard } from "#lib/weights/index.js";
import { bits } from "../../support/compare.js";

export const classes = ["top", "upper middle", "lower middle", "bottom"];
const side = 12;

/** Noise of 12 × 12 pixels with one bright band, whose position is the class. Mirroring keeps the class. */
function imageBytes(items: number): Uint8Array {
  const noise = new PhiloxStream(11, 0);
  return Uint8Array.from({ length: items * side * side }, (_, i) => {
    const [item, row] = [Math.floor(i / side ** 2), Math.floor(i / side) % side];
    return (noise.uint32() % 128) + (Math.floor((4 * row) / side) === item % 4 ? 96 : 0);
  });
}

/** 80 images of four classes: five batches of 16 make an epoch. */
export const images = fromArrays({
  inputs: imageBytes(80),
  labels: Int32Array.from({ length: 80 }, (_, i) => i % 4),
  shape: [side, side, 1],
  classes,
  name: "bands",
});

const { mean, std } = images.statistics();

export const card: ModelCard = {
  config: { kind: "resnet", depth: 8, width: 4, channels: 1, classes: 4 },
  preprocessing: { shape: [side, side, 1], dtype: "uint8", scale: 1 / 255, mean, std },
  classes,
};

const opened: Device[] = [];

/** Opens a device that is closed after the test file. */
export async function device(options: Parameters<typeof openDevice>[1] = {}): Promise<Device> {
  const made = await openDevice("cpu", options);
  opened.push(made);
  return made;
}

afterAll(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()));
});

/** A residual network with batch norm, small enough for steps of a millisecond. */
export function smallResNet(on: Device, seed = 0): nn.Module {
  return models.resnet({ depth: 8, width: 4, channels: 1, classes: 4, device: on, seed });
}

/** A perceptron whose dropout drops other elements at every step. */
export function dropoutMLP(on: Device, seed = 0): nn.Module {
  const place = { device: on, seeds: new nn.Seeds(seed) };
  return new nn.Sequential(
    new nn.Flatten(),
    new nn.Linear(side * side, 24, place),
    new nn.ReLU(),
    // Dropout has a separate seed, which is part of the model and not of its initial weights.
    new nn.Dropout(0.3, { seeds: 5 }),
    new nn.Linear(24, 4, place),
  );
}

/** A perceptron without randomness and batch statistics. */
export function plainMLP(on: Device, seed = 0): nn.Module {
  return models.mlp({ inputs: side * side, hidden: [16], classes: 4, device: on, seed });
}

export type Change = Partial<TrainerOptions> & { readonly batches?: Partial<BatchOptions> };

/** A kind of run: everything that a new process would create again. */
export interface Recipe {
  readonly title: string;
  readonly make: (on: Device, options?: { seed?: number } & Change) => Run;
}

/** A trainer with its parts. */
export interface Run extends Pick<TrainerOptions, "model" | "optimizer" | "data"> {
  readonly trainer: Trainer;
}

/** Creates a trainer from these parts, and returns it with them. */
export function runOf(options: TrainerOptions): Run {
  const { model, optimizer, data } = options;
  return { trainer: new Trainer(options), model, optimizer, data };
}

export const budget = 13;

/** Includes batch norm with running statistics, momentum, augmentation and prefetching. */
export const residual: Recipe = {
  title: "resnet8 with SGD, momentum and augmentation",
  make: (on, { seed = 0, batches, ...change } = {}) => {
    const model = smallResNet(on, seed);
    const lr = schedule.uba({ budget, maxLr: 0.2, warmup: 2 });
    return runOf({
      model,
      optimizer: new SGD(model.parameters(), { lr, momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
      loss: nn.crossEntropy,
      data: images.batches({ size: 16, seed: 3, augment: { pad: 1, flip: true }, ...batches }),
      card,
      ...change,
    });
  },
};

/** Includes dropout, AMSGrad, groups, clipping, and three accumulated batches. */
export const dropping: Recipe = {
  title: "a perceptron with dropout, AdamW with AMSGrad, clipping, 3 batches a step",
  make: (on, { seed = 0, batches, ...change } = {}) => {
    const model = dropoutMLP(on, seed);
    const lr = schedule.cosine({ budget, maxLr: 0.01 });
    const groups = [{ where: (name: string) => name.endsWith("bias"), weightDecay: 0 }];
    return runOf({
      model,
      optimizer: new AdamW(model.parameters(), { lr, amsgrad: true, clipNorm: 0.5, groups }),
      loss: nn.crossEntropy,
      data: images.batches({ size: 8, seed: 1, ...batches }),
      accumulate: 3,
      card: { preprocessing: card.preprocessing },
      ...change,
    });
  },
};

/** Uses bf16 with float32 master weights, and norms with float32 statistics. */
export const lowPrecision: Recipe = {
  title: "resnet8 in bf16 with AdamW",
  make: (on, { seed = 0, batches, ...change } = {}) => {
    const model = smallResNet(on, seed).setPrecision("bf16");
    return runOf({
      model,
      optimizer: new AdamW(model.parameters(), { lr: schedule.uba({ budget, maxLr: 0.02, warmup: 2 }) }),
      loss: nn.crossEntropy,
      data: images.batches({ size: 16, seed: 3, ...batches }),
      card,
      ...change,
    });
  },
};

/** All records of a run. */
export async function recordsOf(trainer: Trainer): Promise<StepRecord[]> {
  const records: StepRecord[] = [];
  for await (const record of trainer.run()) records.push(record);
  return records;
}

export const lossesOf = (records: readonly StepRecord[]): number[] => records.map(({ loss }) => loss);

/** The bits of named tensors, for comparison with `toEqual`. */
export async function bitsOf(tensors: ReadonlyMap<string, Tensor>): Promise<Record<string, string>> {
  const entries = [...tensors].map(async ([name, one]) => [name, bits(await one.read()).toString("base64")] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** The final state of a run: weights, running statistics and optimizer state. */
export async function endOf({ model, optimizer }: Pick<Run, "model" | "optimizer">) {
  return { model: await bitsOf(model.stateDict()), optimizer: await bitsOf(optimizer.stateDict()) };
}
