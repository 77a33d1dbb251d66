import { adamPreconditioner, type Preconditioner } from "../curvature/index.js";
import type { Batch } from "../data/index.js";
import { StepsizeError } from "../errors.js";
import * as models from "../models/index.js";
import { type Device, openDevice } from "../native/index.js";
import { type Module, Preparation } from "../nn/index.js";
import { sourcesInWords, type Task } from "../tasks/index.js";
import type { Tensor } from "../tensor/index.js";
import type { ModelCard } from "../train/index.js";
import { type OpenCheckpoint, readOptimizerState } from "../train/saved-model.js";
import type { TrainSettings } from "./config.js";
import { UsageError } from "./failure.js";
import { settingsBeside } from "./run-folder.js";
import { readData } from "./run-setup.js";
import { openSaved } from "./saved.js";

/** What the command was asked to look at. */
export interface SubjectOptions {
  readonly checkpoint?: string;
  readonly model?: string;
  readonly data?: string;
  readonly classes?: number;
  readonly batch?: number;
  readonly seed: number;
  readonly adam: boolean;
  readonly device?: string;
  readonly threads?: number;
}

/** A model on a device with a batch of its data. */
export interface Subject {
  /** What it is, in words. */
  readonly title: string;
  readonly model: Module;
  readonly prepare: (raw: Tensor) => Tensor;
  readonly task: Task;
  readonly batch: Batch;
  readonly preconditioner: Preconditioner | undefined;
  /** Steps that the model was trained for; 0 for fresh weights. */
  readonly step: number;
  /** Settings of the run that it is from, as far as they are known. */
  readonly run: RunSettings;
  close(): Promise<void>;
}

/** A run's settings; those of its schedule stand beside the others. */
type RunSettings = Partial<TrainSettings> & { readonly maxLr?: number };

/** Items of the batch, if nothing else is said: an item of text is a whole window. */
const defaultBatch = { images: 512, tokens: 32 };

/** Loads or makes the model, and draws the batch. */
export async function openSubject(options: SubjectOptions): Promise<Subject> {
  const { checkpoint, model, adam } = options;
  if (checkpoint !== undefined && model !== undefined)
    throw new UsageError("--model: the checkpoint says which model it holds; leave one of the two out");
  if (checkpoint !== undefined) return openTrained(options);
  if (model === undefined)
    throw new UsageError(
      "--checkpoint: expected a checkpoint or a run's folder, or --model for fresh weights; got none",
    );
  if (adam)
    throw new UsageError("--adam: fresh weights have no moments of Adam's; give the --checkpoint of such a run");
  return openFresh(model, options);
}

async function openTrained(options: SubjectOptions): Promise<Subject> {
  const { data: given, batch, seed, adam } = options;
  // A difference of two gradients needs the digits that bf16 has not.
  const more = adam ? { readOptimizer: preconditionerOf } : {};
  const saved = await openSaved<Preconditioner>({ ...options }, { precision: "float32", ...more }).catch(
    (error: unknown) => {
      if (!(error instanceof StepsizeError) || !error.message.includes("model of your own code")) throw error;
      throw new UsageError(
        `--checkpoint: ${options.checkpoint} holds a model that only your own code can build; call curvature(model, batch) there`,
        { cause: error },
      );
    },
  );
  try {
    const { path, device, model, prepare, card, step, optimizer: preconditioner } = saved;
    const run = ((await settingsBeside(path)) ?? {}) as RunSettings;
    const source = given ?? run.data;
    if (typeof source !== "string")
      throw new UsageError(`--data: expected ${sourcesInWords}; the checkpoint is in no run's folder to say`);
    // Of other data than the run's own nothing was held back; their classes are as many as the model has.
    const own = given === undefined ? run : {};
    const classes = options.classes ?? own.classes ?? card.classes?.length;
    const task = await readTask({ seed: 0, ...own, data: source, classes, batch });
    const drawn = await drawBatch(task, batch, seed);
    expectFitting(card, path, drawn, task);
    const close = () => device.close();
    return { title: path, model, prepare, task, batch: drawn, preconditioner, step, run, close };
  } catch (error) {
    await saved.device.close();
    throw error;
  }
}

async function openFresh(name: string, options: SubjectOptions): Promise<Subject> {
  const { data = "mnist", batch, seed, device: deviceName, threads } = options;
  const task = await readTask({ ...options, data });
  const device: Device = await openDevice(deviceName, threads === undefined ? {} : { threads });
  try {
    const config = task.modelConfig(name);
    const model = models.create(config, { device, seed });
    const preparation = new Preparation(model, task.card(config).preprocessing);
    return {
      title: `${name} with fresh weights of seed ${seed}`,
      model,
      prepare: (raw) => preparation.apply(raw),
      task,
      batch: await drawBatch(task, batch, seed),
      preconditioner: undefined,
      step: 0,
      run: {},
      close: () => device.close(),
    };
  } catch (error) {
    await device.close();
    throw error;
  }
}

/** Reads the data as a run with these settings would. */
function readTask(settings: Record<string, unknown>): Promise<Task> {
  return readData({ ...settings, batch: settings["batch"] ?? 1 } as unknown as TrainSettings);
}

/** A batch of the training items, the same for the same seed. */
async function drawBatch(task: Task, size: number | undefined, seed: number): Promise<Batch> {
  const batches = task.trainingBatches({ size: size ?? Math.min(defaultBatch[task.unit], task.lengths.train), seed });
  try {
    return await batches.at(0);
  } finally {
    await batches.close();
  }
}

function expectFitting({ preprocessing }: ModelCard, path: string, { inputs }: Batch, { name }: Task): void {
  if (!preprocessing) return;
  const words = (shape: readonly number[], dtype: string) => `${dtype} of ${shape.join(" × ")}`;
  const [own, given] = [words(preprocessing.shape, preprocessing.dtype), words(inputs.shape.slice(1), inputs.dtype)];
  if (own !== given) throw new UsageError(`--data: expected items that ${path} takes, ${own}, got ${given} in ${name}`);
}

async function preconditionerOf(checkpoint: OpenCheckpoint): Promise<Preconditioner> {
  try {
    return await adamPreconditioner(await readOptimizerState(checkpoint));
  } catch (error) {
    if (!(error instanceof StepsizeError) || error.code !== "invalid-argument") throw error;
    throw new UsageError(`--adam: ${checkpoint.path}: ${error.message}`, { cause: error });
  }
}
