import type { BatchSource } from "../data/index.js";
import { invalidArgument } from "../errors.js";
import * as models from "../models/index.js";
import type { Device, Float32Products } from "../native/index.js";
import type { Module, Precision } from "../nn/index.js";
import type { Schedule } from "../schedule/index.js";
import { Trainer } from "../train/index.js";
import type { ModelCard } from "../weights/index.js";
import { makeOptimizer, type OptimizerSettings } from "./optimizer.js";
import type { Pretrained, Task } from "./task.js";

/**
 * Precision of a run: the storage precision of the model, or `"tf32"` for a model in float32 on a device with
 * `float32Products: "tf32"`.
 */
export type RunPrecision = Precision | "tf32";

/** Returns how the device of a run must multiply float32. */
export function productsOf(precision: RunPrecision): Float32Products {
  return precision === "tf32" ? "tf32" : "float32";
}

/** The settings of a training run, except its data, device and schedule. */
export interface RunSettings extends OptimizerSettings {
  readonly model: string;
  /** Items per batch. */
  readonly batch: number;
  /** Number of batches whose gradients are averaged into one step. */
  readonly accumulate: number;
  readonly augment: boolean;
  /** Type of weights and activations, or how they are multiplied; default `float32`. */
  readonly precision?: RunPrecision | undefined;
  /** Seed of the initial weights and of the order of the data. */
  readonly seed: number;
}

/** The assembled parts of a training run. */
export interface RunParts {
  readonly task: Task;
  readonly model: Module;
  readonly card: ModelCard;
  readonly trainer: Trainer;
  /** Batches for training. */
  readonly batches: BatchSource;
  /** Frees the model, the optimizer's state and the batches. */
  close(): Promise<void>;
}

/**
 * Creates the model, the optimizer, the batches and the trainer of a run.
 * @throws StepsizeError `invalid-argument` for settings that do not fit the data or the device, and any error of the
 * device
 */
export function assembleRun(
  settings: RunSettings,
  {
    task,
    device,
    schedule,
    pretrained,
  }: {
    readonly task: Task;
    readonly device: Device;
    readonly schedule: Schedule;
    readonly pretrained?: Pretrained | undefined;
  },
): RunParts {
  const { seed, batch: size, accumulate, augment, precision = "float32" } = settings;
  const config = task.modelConfig(settings.model, pretrained);
  if (device.float32Products !== productsOf(precision))
    invalidArgument("precision", `"tf32" on a device with float32Products: "tf32", and only there`, precision);
  const model = models.create(config, { device, seed }).setPrecision(precision === "tf32" ? "float32" : precision);
  const card = task.card(config);
  // On a GPU, augmentation costs nothing extra, because normalization reads the bytes anyway. For the CPU, another thread
  // augments.
  const augmentOn = device.name.startsWith("cuda") ? "device" : "host";
  const batches = task.trainingBatches({ size, seed, augment, augmentOn });
  const optimizer = makeOptimizer(model, settings, schedule);
  const trainer = new Trainer({ model, optimizer, loss: task.loss, data: batches, accumulate, card });
  return {
    task,
    model,
    card,
    trainer,
    batches,
    async close() {
      await batches.close();
      trainer.dispose();
      optimizer.dispose();
      model.dispose();
    },
  };
}
