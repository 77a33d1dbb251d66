import { type Device, openDevice } from "../native/index.js";
import { assembleRun, openTask, type RunParts, type Task } from "../tasks/index.js";
import type { TrainConfig, TrainSettings } from "./config.js";
import { UsageError } from "./failure.js";

/** A run's parts on a device that was opened for them, and is closed with them. */
export interface OpenRun extends RunParts {
  readonly device: Device;
}

/** Reads the data of a run. */
export async function readData({
  data,
  classes,
  context,
  validation: share,
  batch,
  seed,
}: TrainSettings): Promise<Task> {
  const task = await openTask(data, {
    classes,
    context,
    validation: share === undefined ? undefined : { share, seed },
  });
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
      await parts.close();
      await device.close();
    },
  };
}
