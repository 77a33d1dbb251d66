import { adamPreconditioner, type Preconditioner } from "../../curvature/index.js";
import type { Batch } from "../../data/index.js";
import { StepsizeError } from "../../errors.js";
import * as models from "../../models/index.js";
import { type Device, openDevice } from "../../native/index.js";
import { type Module, Preparation } from "../../nn/index.js";
import { type OptimizerName, optimizerNames, optimizersByName } from "../../optim/by-name.js";
import {
  formOfCard,
  type GivenReadOptions,
  readOptionsOf,
  sourcesInWords,
  type Task,
  takesOption,
} from "../../tasks/index.js";
import type { Tensor } from "../../tensor/index.js";
import { type OpenCheckpoint, readOptimizerState } from "../../weights/checkpoint-file.js";
import type { ModelCard } from "../../weights/index.js";
import type { TrainValues } from "../config/train-config.js";
import { UsageError } from "../failure.js";
import { runSettingsOf } from "../run-folder.js";
import { type DataSettings, expectBatch, readData } from "../run-setup.js";
import { openSaved } from "../saved.js";

/** The options of `curvature` that select a model and its data. */
export interface SubjectOptions {
  readonly checkpoint?: string | undefined;
  readonly model?: string | undefined;
  readonly data?: string | undefined;
  readonly classes?: number | undefined;
  readonly batch?: number | undefined;
  readonly seed: number;
  readonly adam: boolean;
  readonly device?: string | undefined;
  readonly threads?: number | undefined;
}

/** A model on a device, and the batch whose loss is examined. */
export interface Subject {
  /** Describes the model: its checkpoint, or its name and seed. */
  readonly title: string;
  readonly model: Module;
  readonly prepare: (raw: Tensor) => Tensor;
  readonly task: Task;
  readonly batch: Batch;
  readonly preconditioner: Preconditioner | undefined;
  /** Steps that the model was trained for; 0 for fresh weights. */
  readonly step: number;
  /** The known settings of the run that the checkpoint belongs to; empty if there are none. */
  readonly run: RunSettings;
  close(): Promise<void>;
}

/** The settings of a run, including those of its schedule. */
type RunSettings = Readonly<TrainValues>;

/** Returns the optimizers whose steps the curvature describes: with Adam's preconditioner, or without one. */
export function optimizersFor(adam: boolean): readonly OptimizerName[] {
  const rule = adam ? "adam" : "sgd";
  return optimizerNames.filter((name) => optimizersByName[name].rule === rule);
}

/** Default number of items of the batch. An item of text is a window. */
const defaultBatch = { images: 512, tokens: 32, rows: 512 };

/**
 * Loads the model of a checkpoint or creates one with fresh weights, and draws the batch.
 *
 * @throws UsageError for options that contradict each other or do not fit the checkpoint
 * @throws StepsizeError any error of opening the device, loading the model and reading the data
 */
export async function openSubject(options: SubjectOptions): Promise<Subject> {
  const { checkpoint, model, adam } = options;
  if (checkpoint !== undefined && model !== undefined)
    throw new UsageError("--model: expected none with --checkpoint, which has its own model; leave out one of the two");
  if (checkpoint !== undefined) return openTrained(checkpoint, options);
  if (model === undefined)
    throw new UsageError(
      "--checkpoint: expected a checkpoint or a run's folder, or --model for fresh weights; got none",
    );
  if (adam)
    throw new UsageError(
      `--adam: expected a --checkpoint of a run with ${optimizersFor(adam).join(" or ")}, got fresh weights`,
    );
  return openFresh(model, options);
}

async function openTrained(checkpoint: string, options: SubjectOptions): Promise<Subject> {
  const { data: given, batch, seed, adam, device: deviceName, threads } = options;
  // Gradients are subtracted from each other, for which bf16 is not precise enough.
  const saved = await openSaved<Preconditioner>(
    { checkpoint, device: deviceName, threads },
    {
      precision: "float32",
      inCode: "curvature(model, batch)",
      readOptimizer: adam ? preconditionerOf : undefined,
    },
  );
  try {
    const { path, device, model, prepare, card, step, optimizer: preconditioner } = saved;
    const run: RunSettings = (await runSettingsOf(path)) ?? {};
    const source = given ?? run.data;
    if (source === undefined)
      throw new UsageError(`--data: expected ${sourcesInWords}, got none; the checkpoint is not in a run's folder`);
    // The settings of the run, such as its validation share, do not apply to other data. Those have as many classes as
    // the model.
    const settings: RunSettings = given === undefined ? run : settingsFor(source, card);
    const classes = options.classes ?? settings.classes;
    const task = await readTask({ seed: 0, ...settings, data: source, classes, batch });
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
  const device: Device = await openDevice(deviceName, { threads });
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

/** The settings with which other data than those of the run have the form that a model takes. */
function settingsFor(source: string, card: ModelCard): GivenReadOptions {
  if (takesOption(source, "classes")) return readOptionsOf({ classes: card.classes?.length });
  return takesOption(source, "size") ? readOptionsOf(formOfCard(card)) : {};
}

/** Reads the data as `train` with these settings does. */
async function readTask(settings: DataSettings & { readonly batch?: number | undefined }): Promise<Task> {
  const task = await readData(settings);
  expectBatch(settings.batch ?? 1, task);
  return task;
}

/** Draws a batch of training items. The same seed gives the same batch. */
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
  const expected = words(preprocessing.shape, preprocessing.dtype);
  const given = words(inputs.shape.slice(1), inputs.dtype);
  if (expected !== given)
    throw new UsageError(`--data: expected the input of ${path}, ${expected}, got ${given} in ${name}`);
}

async function preconditionerOf(checkpoint: OpenCheckpoint): Promise<Preconditioner> {
  try {
    return await adamPreconditioner(await readOptimizerState(checkpoint));
  } catch (error) {
    if (!(error instanceof StepsizeError) || error.code !== "invalid-argument") throw error;
    throw new UsageError(`--adam: ${checkpoint.path}: ${error.message}`, { cause: error });
  }
}
