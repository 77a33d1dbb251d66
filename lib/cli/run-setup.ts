import { type Device, openDevice } from "../native/index.js";
import { assembleRun, openTask, type RunParts, type Task } from "../tasks/index.js";
import type { TrainConfig, TrainSettings } from "./config.js";
import { UsageError } from "./failure.js";

/** A run's parts on the device that was opened for them. */
export interface OpenRun extends RunParts {
  readonly device: Device;
  /** Frees all of it. */
  close(): Promise<void>;
}

/** Reads the data of a run. */
export async function readData({ data, classes, validation: share, batch, seed }: TrainSettings): Promise<Task> {
  const task = await openTask(data, { classes, validation: share === undefined ? undefined : { share, seed } });
  if (batch > task.lengths.train)
    throw new UsageError(`--batch: expected at most the ${task.lengths.train} items to train on, got ${batch}`);
  return task;
}

/** Builds the model, the optimizer and the trainer of a run. */
export async function setUp({ settings, schedule }: TrainConfig, task: Task): Promise<OpenRun> {
  const { device: name, threads } = settings;
  const device = await openDevice(name, threads === undefined ? {} : { threads });
  const parts = assembleRun(settings, { task, device, schedule });
  return {
    ...parts,
    device,
    async close() {
      await parts.batches.close();
      await device.close();
    },
  };
}
