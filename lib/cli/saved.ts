import { stat } from "node:fs/promises";
import { z } from "zod";
import type { TokenizerSpec } from "../data/index.js";
import { StepsizeError } from "../errors.js";
import { type Device, openDevice } from "../native/index.js";
import type { Precision, PreprocessingOptions } from "../nn/index.js";
import { asType, noGrad, type Tensor, tidy } from "../tensor/index.js";
import type { LoadedModel } from "../train/index.js";
import { loadOpenModel, type OpenCheckpoint, withCheckpoint } from "../train/saved-model.js";
import { deviceField, threadsField } from "./config.js";
import { UsageError } from "./failure.js";
import { check, type Fields, help } from "./fields.js";
import { RunFolder } from "./run-folder.js";
import { tell } from "./terminal.js";
import { flagOf } from "./text.js";

/** Fields of the commands that use a trained model. */
export const savedFields: Fields = {
  checkpoint: z.string().min(1).register(help, {
    kind: "text",
    placeholder: "<path>",
    expected: "the path of a checkpoint or of a run's folder",
    description: "a checkpoint, or a run's folder for its newest one",
  }),
  device: deviceField,
  threads: threadsField,
};

/** A trained model, on a device that was opened for it. */
export interface SavedModel extends LoadedModel {
  readonly path: string;
  readonly device: Device;
}

/** A trained classifier of images with what is needed to use it on raw ones. */
export interface SavedClassifier extends SavedModel {
  readonly preprocessing: PreprocessingOptions;
  readonly classes: readonly string[];
}

/** A trained model of text with what is needed to use it. */
export interface SavedTextModel extends SavedModel {
  readonly tokenizer: TokenizerSpec;
  /** Tokens that it was trained to see at once. */
  readonly context: number;
}

/** Values of {@link savedFields} and others, checked, with the checkpoint in place. */
export function checkSaved(fields: Fields, values: Record<string, unknown>): Record<string, unknown> {
  const checked = check(fields, values, flagOf);
  if (checked["checkpoint"] !== undefined) return checked;
  throw new UsageError("--checkpoint: expected the path of a checkpoint or of a run's folder, got none");
}

/** How {@link openSaved} loads a model. */
export interface OpenSavedOptions<T> {
  /** Default: the one it was trained in. */
  readonly precision?: Precision;
  /** Reads the optimizer's state of the same checkpoint too. */
  readonly readOptimizer?: (checkpoint: OpenCheckpoint) => Promise<T>;
}

/**
 * Loads the model of a checkpoint, or of a run's newest one. The run may go on meanwhile and prune its checkpoints.
 * @returns the model; as `optimizer` what `readOptimizer` gave
 */
export async function openSaved<T = undefined>(
  values: Readonly<Record<string, unknown>>,
  { precision, readOptimizer }: OpenSavedOptions<T> = {},
): Promise<SavedModel & { readonly optimizer: T | undefined }> {
  const {
    checkpoint,
    device: deviceName,
    threads,
  } = values as {
    checkpoint: string;
    device?: string;
    threads?: number;
  };
  const found = await stat(checkpoint).catch(() => undefined);
  if (!found) throw new UsageError(`--checkpoint: there is no file or folder ${checkpoint}`);
  const device = await openDevice(deviceName, threads === undefined ? {} : { threads });
  const open = async (from: OpenCheckpoint) => {
    const loaded = await loadOpenModel(from, { device, ...(precision && { precision }) });
    return { ...loaded, path: from.path, device, optimizer: await readOptimizer?.(from) };
  };
  const parts = readOptimizer ? (["model", "optimizer"] as const) : (["model"] as const);
  try {
    const saved = found.isDirectory()
      ? await new RunFolder(checkpoint).withNewest(open, { parts, damaged: noteDamaged })
      : await withCheckpoint(checkpoint, open);
    if (saved) return saved;
    throw new UsageError(`--checkpoint: ${checkpoint} is not the folder of a run with a checkpoint in it`);
  } catch (error) {
    await device.close();
    throw error;
  }
}

/**
 * The same as a classifier of images.
 * @throws StepsizeError `unsupported` for a model of text, `invalid-file` where the checkpoint does not say enough
 */
export function asClassifier(saved: SavedModel): SavedClassifier {
  const { path, card } = saved;
  if (card.text)
    throw new StepsizeError("unsupported", `${path}: a model of text; see what it writes with stepsize generate`);
  const { preprocessing, classes } = card;
  if (!preprocessing || !classes)
    throw new StepsizeError("invalid-file", `${path}: has no preprocessing or class names, which this command needs`);
  return { ...saved, preprocessing, classes };
}

/**
 * The same as a model of text.
 * @throws StepsizeError `unsupported` for a classifier, `invalid-file` where the checkpoint does not say enough
 */
export function asTextModel(saved: SavedModel): SavedTextModel {
  const { path, card } = saved;
  if (card.text) return { ...saved, ...card.text };
  if (card.preprocessing)
    throw new StepsizeError(
      "unsupported",
      `${path}: a classifier of images, which writes no text; try stepsize predict`,
    );
  throw new StepsizeError("invalid-file", `${path}: does not say its tokenizer, which this command needs`);
}

/**
 * The model's outputs for raw inputs, one for each class, in evaluation, as float32.
 * @throws StepsizeError `invalid-file` where the model has not as many outputs as the checkpoint names classes
 */
export function outputsOf({ model, prepare, path, classes }: SavedClassifier, raw: Tensor): Tensor {
  const outputs = noGrad(() => tidy(() => asType(model.forward(prepare(raw)), "float32")));
  if (outputs.shape.at(-1) === classes.length) return outputs;
  const found = `expected a name for each of the ${outputs.shape.at(-1)} outputs of its model, found ${classes.length}`;
  throw new StepsizeError("invalid-file", `${path}: classes: ${found}`);
}

function noteDamaged(message: string): void {
  tell(`damaged, trying the one before: ${message}`);
}
