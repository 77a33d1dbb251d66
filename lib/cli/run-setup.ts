import { type Device, openDevice } from "../native/index.js";
import { assembleRun, openTask, type RunParts, type Task } from "../tasks/index.js";
import type { TrainConfig } from "./config/train-config.js";
import { UsageError } from "./failure.js";

/** The parts of a run and their device, which `close` closes too. */
export interface OpenRun extends RunParts {
  readonly device: Device;
}

/** The settings that select and divide the data of a run. */
export interface DataSettings {
  readonly data: string;
  readonly classes?: number | undefined;
  readonly context?: number | undefined;
  readonly validation?: number | undefined;
  readonly batch: number;
  readonly seed: number;
}

/**
 * Reads the data of a run.
 * @throws UsageError if the batch is larger than the training split, and any error of {@link openTask}
 */
export async function readData({
  data,
  classes,
  context,
  validation: share,
  batch,
  seed,
}: DataSettings): Promise<Task> {
  const task = await openTask(data, {
    classes,
    context,
    validation: share === undefined ? undefined : { share, seed },
  });
  if (batch > task.lengths.train)
    throw new UsageError(`--batch: expected at most ${task.lengths.train}, the number of training items, got ${batch}`);
  return task;
}

/** Opens the device and creates the model, the optimizer and the trainer of a run. */
export async function setUp({ settings, schedule }: TrainConfig, task: Task): Promise<OpenRun> {
  const { device: name, threads } = settings;
  const device = await openDevice(name, { threads });
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
