import { isNotFound, StepsizeError } from "../errors.js";
import { type Device, openDevice } from "../native/index.js";
import {
  assembleRun,
  openTask,
  type Pretrained,
  productsOf,
  type ReadOptions,
  type RunParts,
  readOptionsOf,
  type Task,
  type TaskOptions,
} from "../tasks/index.js";
import { fillFromHuggingFace, readHuggingFace } from "../weights/hugging-face.js";
import { loadWeights } from "../weights/index.js";
import { huggingFaceFolder } from "./config/shared-fields.js";
import type { TrainConfig, TrainSettings } from "./config/train-config.js";
import { UsageError } from "./failure.js";
import { CountProgress } from "./output/count-progress.js";
import { tell } from "./output/terminal.js";
import type { RunFolder } from "./run-folder.js";

/** The parts of a run and their device, which `close` closes too. */
export interface OpenRun extends RunParts {
  readonly device: Device;
}

/** The settings that select and divide the data of a run. */
export interface DataSettings extends ReadOptions {
  readonly data: string;
  readonly validation?: number | undefined;
  readonly seed: number;
}

/**
 * Reads the data of a run, and shows the progress if that takes a while.
 *
 * @param signal aborts the reading
 * @throws StepsizeError any error of {@link openTask}
 */
export async function readData(settings: DataSettings, signal?: AbortSignal): Promise<Task> {
  const { data, validation: share, seed } = settings;
  return withReadingProgress((progress) =>
    openTask(data, {
      ...readOptionsOf(settings),
      validation: share === undefined ? undefined : { share, seed },
      signal,
      ...progress,
    }),
  );
}

/** @throws UsageError if a batch is larger than the training split */
export function expectBatch(batch: number, { lengths }: Task): void {
  if (batch > lengths.train)
    throw new UsageError(`--batch: expected at most ${lengths.train}, the number of training items, got ${batch}`);
}

/** Runs a function that reads data, and shows how many items it has converted. */
export async function withReadingProgress<T>(
  read: (options: Pick<TaskOptions, "onProgress" | "note">) => Promise<T>,
): Promise<T> {
  // Most data are read as they are, at once, and need no progress.
  let progress: Promise<CountProgress> | undefined;
  const onProgress = (done: number, total: number) => {
    progress ??= CountProgress.start("decoded image");
    void progress.then((shown) => shown.at(done, total, done / total));
  };
  try {
    return await read({ onProgress, note: tell });
  } finally {
    (await progress)?.close();
  }
}

/**
 * Opens the device and creates the model, the optimizer and the trainer of a run.
 *
 * @param run the folder of a run that is resumed
 */
export async function setUp({ settings, schedule }: TrainConfig, task: Task, run?: RunFolder): Promise<OpenRun> {
  const { device: name, threads, precision } = settings;
  const pretrained = await readPretrained(settings.model, run);
  const device = await openDevice(name, { threads, float32Products: productsOf(precision) }).catch((error: unknown) => {
    if (precision !== "tf32" || !isNotFound(error)) throw error;
    throw new StepsizeError(error.code, `--precision tf32 needs a GPU: ${error.message}`, { cause: error });
  });
  const parts = assembleRun(settings, { task, device, schedule, pretrained });
  return {
    ...parts,
    device,
    async close() {
      await parts.close();
      await device.close();
    },
  };
}

/**
 * Reads the model that `hf:<dir>` names, without its weights. The checkpoint of a resumed run has everything, so the
 * folder is needed only at the start.
 */
async function readPretrained(model: string, run: RunFolder | undefined): Promise<Pretrained | undefined> {
  const folder = huggingFaceFolder(model);
  if (folder === undefined) return undefined;
  const saved = await run?.withNewest(async ({ info }) => info, { parts: [], damaged: () => {} });
  const config = saved?.config;
  return config?.kind === "olmo" ? { config, tokenizer: saved?.text?.tokenizer } : await readHuggingFace(folder);
}

/** Replaces the weights that were drawn by those that the settings name, if any. Returns a line of text about it. */
export async function startFromWeights(
  { model: name, weights, classifier }: Pick<TrainSettings, "model" | "weights" | "classifier">,
  { model }: OpenRun,
): Promise<string | undefined> {
  const folder = huggingFaceFolder(name);
  if (folder !== undefined) {
    await fillFromHuggingFace(model, folder);
    return `starting from the weights in ${folder}`;
  }
  if (weights === undefined) return undefined;
  await loadWeights(model, weights, { classifier }).catch((error: unknown) => {
    if (!(error instanceof StepsizeError)) throw error;
    throw new StepsizeError(error.code, `--weights: ${error.message}`, { cause: error });
  });
  return `starting from ${weights}${classifier === "skip" ? ", with a new classifier" : ""}`;
}
