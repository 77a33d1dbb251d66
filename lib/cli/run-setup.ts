import type { ArrayDataset, BatchSource } from "../data/index.js";
import * as models from "../models/index.js";
import { type Device, openDevice } from "../native/index.js";
import { crossEntropy, type Module } from "../nn/index.js";
import { Adam, type AdamOptions, AdamW, Lion, type Optimizer, type ParameterGroup, SGD } from "../optim/index.js";
import type { Schedule } from "../schedule/index.js";
import { type ModelCard, Trainer } from "../train/index.js";
import type { TrainConfig, TrainSettings } from "./config.js";
import { loadData, mayFlip } from "./data-source.js";
import { UsageError } from "./failure.js";

/** The data of a run. */
export interface RunData {
  readonly train: ArrayDataset;
  readonly test: ArrayDataset;
  readonly validation: ArrayDataset | undefined;
}

/** Everything a run works with. */
export interface RunParts {
  readonly data: RunData;
  readonly device: Device;
  readonly model: Module;
  readonly card: ModelCard;
  readonly trainer: Trainer;
  /** Batches for training. */
  readonly batches: BatchSource;
  /** Frees all of it. */
  close(): Promise<void>;
}

/** Reads the data of a run. */
export async function readData(settings: TrainSettings): Promise<RunData> {
  const { data, classes, validation: share, batch, seed } = settings;
  const whole = await loadData(data, "train", classes);
  // The test split now, not after the training: a missing file should not cost a whole run.
  const test = await loadData(data, "test", classes);
  const { train, validation } =
    share === undefined ? { train: whole, validation: undefined } : whole.split({ validation: share, seed });
  if (batch > train.length)
    throw new UsageError(`--batch: expected at most the ${train.length} items to train on, got ${batch}`);
  return { train, test, validation };
}

/** Builds the model, the optimizer and the trainer of a run. */
export async function setUp({ settings, schedule }: TrainConfig, data: RunData): Promise<RunParts> {
  const { model: name, seed, batch, accumulate, augment, device: deviceName, threads } = settings;
  const { train } = data;
  const shape = train.inputs.shape;
  const device = await openDevice(deviceName, threads === undefined ? {} : { threads });
  const classes = train.classes ?? [];
  const config = models.configOf(name, shape, classes.length);
  const model = models.create(config, { device, seed });
  const card: ModelCard = { config, classes, preprocessing: train.preprocessing() };
  const batches = train.batches({
    size: batch,
    seed,
    ...(augment && { augment: { pad: 4, crop: true, flip: mayFlip(settings.data) } }),
  });
  const optimizer = makeOptimizer(model, settings, schedule);
  const trainer = new Trainer({ model, optimizer, loss: crossEntropy, data: batches, accumulate, card });
  return {
    data,
    device,
    model,
    card,
    trainer,
    batches,
    async close() {
      await batches.close();
      await device.close();
    },
  };
}

function makeOptimizer(model: Module, settings: TrainSettings, lr: Schedule): Optimizer<{ lr: number | Schedule }> {
  const { optimizer, weightDecay, momentum = 0, clipNorm, nonFinite } = settings;
  const parameters = model.parameters();
  // Norms and biases have one axis; shrinking them only takes away what they are for.
  const noDecay: ParameterGroup<{ lr: number | Schedule; weightDecay?: number }> = {
    where: (_, parameter) => parameter.shape.length < 2,
    weightDecay: 0,
  };
  const options: AdamOptions = { lr, weightDecay, nonFinite, groups: [noDecay], ...(clipNorm && { clipNorm }) };
  if (optimizer === "sgd") return new SGD(parameters, { ...options, momentum, groups: [noDecay] });
  return new { adam: Adam, adamw: AdamW, lion: Lion }[optimizer](parameters, options);
}
