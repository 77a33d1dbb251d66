import type { BatchSource } from "../data/index.js";
import * as models from "../models/index.js";
import type { Device } from "../native/index.js";
import type { Module, Precision } from "../nn/index.js";
import type { Schedule } from "../schedule/index.js";
import { type ModelCard, Trainer } from "../train/index.js";
import { makeOptimizer, type OptimizerSettings } from "./optimizer.js";
import type { Task } from "./task.js";

/** What determines a training run, its data, device and schedule apart. */
export interface RunSettings extends OptimizerSettings {
  readonly model: string;
  /** Items per batch. */
  readonly batch: number;
  /** Batches averaged into one step. */
  readonly accumulate: number;
  readonly augment: boolean;
  /** What weights and activations are stored in; default float32. */
  readonly precision?: Precision | undefined;
  /** Of the initial weights and of the order of the data. */
  readonly seed: number;
}

/** Everything a training run works with. */
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

/** Builds the model, the optimizer and the trainer of a run. */
export function assembleRun(
  settings: RunSettings,
  { task, device, schedule }: { readonly task: Task; readonly device: Device; readonly schedule: Schedule },
): RunParts {
  const { seed, batch: size, accumulate, augment, precision = "float32" } = settings;
  const config = task.modelConfig(settings.model);
  const model = models.create(config, { device, seed }).setPrecision(precision);
  const card = task.card(config);
  // A GPU has nothing better to do with bytes that it reads anyway; a CPU has another thread to do it.
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
