import { stat } from "node:fs/promises";
import { z } from "zod";
import type { TableEncoding, TokenizerSpec } from "../data/index.js";
import { StepsizeError } from "../errors.js";
import { type Device, openDevice } from "../native/index.js";
import type { Precision, PreprocessingOptions } from "../nn/index.js";
import { infer } from "../nn/predict.js";
import type { Given } from "../study/index.js";
import type { Tensor } from "../tensor/index.js";
import { type OpenCheckpoint, withCheckpoint } from "../weights/checkpoint-file.js";
import { type LoadedModel, loadHuggingFace } from "../weights/index.js";
import { loadOpenModel } from "../weights/load-model.js";
import { check, type Fields, help } from "./config/fields.js";
import { deviceField, huggingFaceFolder, threadsField } from "./config/shared-fields.js";
import { UsageError } from "./failure.js";
import { tell } from "./output/terminal.js";
import { flagOf } from "./output/text.js";
import { RunFolder } from "./run-folder.js";

/** Fields of all commands that use a trained model. */
export const savedFields = {
  checkpoint: z.string().min(1).register(help, {
    kind: "text",
    placeholder: "<path>",
    expected: "the path of a checkpoint or of a run's folder",
    description: "a checkpoint, or a run's folder for its newest checkpoint",
  }),
  device: deviceField,
  threads: threadsField,
} satisfies Fields;

/** The field of a model that is used in place of a checkpoint. */
export const pretrainedField: z.ZodType<string> = z
  .string()
  .refine((name) => huggingFaceFolder(name) !== undefined)
  .register(help, {
    kind: "text",
    placeholder: "<hf:dir>",
    expected: "hf:<dir>, a folder in Hugging Face's layout",
    description: "an OLMo in Hugging Face's layout, in place of a checkpoint",
  });

/** The checkpoint to load, and the device to load it to. */
export interface SavedValues {
  /** Path of a checkpoint or of a run's folder, or `hf:<dir>`. */
  readonly checkpoint: string;
  readonly device?: string | undefined;
  readonly threads?: number | undefined;
}

/** A trained model on a device that was opened for it. */
export interface SavedModel extends LoadedModel {
  readonly path: string;
  readonly device: Device;
}

/** A trained image classifier with its preprocessing and class names. */
export interface SavedClassifier extends SavedModel {
  readonly preprocessing: PreprocessingOptions;
  readonly classes: readonly string[];
}

/** A trained model of a table, with the encoding of its rows. */
export interface SavedTableModel extends SavedModel {
  readonly table: TableEncoding;
}

/** A trained text model with its tokenizer and context length. */
export interface SavedTextModel extends SavedModel {
  readonly tokenizer: TokenizerSpec;
  /** Context length that it was trained with, in tokens. */
  readonly context: number;
}

/**
 * Checks values of {@link savedFields} and other fields.
 * @throws UsageError for a wrong value, or if `checkpoint` is missing
 */
export function checkSaved<T extends typeof savedFields>(
  fields: T,
  values: Readonly<Record<string, unknown>>,
): Given<T> & SavedValues {
  const checked = check(fields, values, flagOf);
  const { checkpoint: given, model }: Given<typeof savedFields> & { readonly model?: string } = checked;
  if (given !== undefined && model !== undefined)
    throw new UsageError("--model: expected either hf:<dir> or a checkpoint, got both");
  const checkpoint = given ?? model;
  if (checkpoint !== undefined) return { ...checked, checkpoint };
  throw new UsageError("--checkpoint: expected the path of a checkpoint or of a run's folder, got none");
}

/**
 * Adds the path that was given as an argument to the flags of a command, as its checkpoint.
 * @throws UsageError if `--checkpoint` was given too
 */
export function withRun<T extends Readonly<Record<string, unknown>>>(run: string | undefined, flags: T): T {
  if (run === undefined) return flags;
  if (flags["checkpoint"] !== undefined)
    throw new UsageError("run: expected either the path of a run or --checkpoint, got both");
  return { ...flags, checkpoint: run };
}

/** Options of {@link openSaved}. */
export interface OpenSavedOptions<T> {
  /** Default: the precision that the model was trained in. */
  readonly precision?: Precision | undefined;
  /** Reads the optimizer state of the same checkpoint too. */
  readonly readOptimizer?: ((checkpoint: OpenCheckpoint) => Promise<T>) | undefined;
  /** How to do the same in code, for a model that is not one of the library's. Default: load it with `loadModel`. */
  readonly inCode?: string | undefined;
}

/**
 * Loads the model of a checkpoint, of the newest checkpoint in a run's folder, or of `hf:<dir>`. The run may still be
 * training and prune its checkpoints.
 *
 * @returns the model; `optimizer` is the result of `readOptimizer`
 * @throws UsageError if the path does not exist, is a folder without checkpoints, or holds a model of the caller's own
 * code, which the command line cannot build
 * @throws StepsizeError any error of opening the device and loading the checkpoint
 */
export async function openSaved<T = undefined>(
  { checkpoint, device: deviceName, threads }: SavedValues,
  { precision, readOptimizer, inCode = "loadModel(path, { device, build })" }: OpenSavedOptions<T> = {},
): Promise<SavedModel & { readonly optimizer: T | undefined }> {
  const folder = huggingFaceFolder(checkpoint);
  if (folder !== undefined) {
    if (readOptimizer) throw new UsageError(`--checkpoint: expected a run's, ${checkpoint} has no optimizer state`);
    const device = await openDevice(deviceName, { threads });
    try {
      const loaded = await loadHuggingFace(folder, { device, precision });
      return { ...loaded, path: checkpoint, step: 0, device, optimizer: undefined };
    } catch (error) {
      await device.close();
      throw error;
    }
  }
  const found = await stat(checkpoint).catch(() => undefined);
  if (!found) throw new UsageError(`--checkpoint: expected a file or folder, ${checkpoint} does not exist`);
  const device = await openDevice(deviceName, { threads });
  const load = async (opened: OpenCheckpoint) => {
    if (!opened.info.config)
      throw new UsageError(
        `--checkpoint: expected a model of this library, got ${opened.path} of your own code; call ${inCode} in that code`,
      );
    const loaded = await loadOpenModel(opened, { device, ...(precision && { precision }) });
    return { ...loaded, path: opened.path, device, optimizer: await readOptimizer?.(opened) };
  };
  const parts = readOptimizer ? (["model", "optimizer"] as const) : (["model"] as const);
  try {
    const saved = found.isDirectory()
      ? await new RunFolder(checkpoint).withNewest(load, { parts, damaged: noteDamaged })
      : await withCheckpoint(checkpoint, load);
    if (saved) return saved;
    throw new UsageError(`--checkpoint: expected the folder of a run with a checkpoint, ${checkpoint} has none`);
  } catch (error) {
    await device.close();
    throw error;
  }
}

/**
 * Checks that a model is an image classifier.
 * @throws StepsizeError `unsupported` for a text model, `invalid-file` if preprocessing or class names are missing
 */
export function asClassifier(saved: SavedModel): SavedClassifier {
  const { path, card } = saved;
  if (card.text)
    throw new StepsizeError(
      "unsupported",
      `${path}: expected an image classifier, got a text model; use stepsize generate`,
    );
  if (card.table)
    throw new StepsizeError("unsupported", `${path}: expected an image classifier, got a model of a table`);
  const { preprocessing, classes } = card;
  if (!preprocessing || !classes)
    throw new StepsizeError("invalid-file", `${path}: expected preprocessing and class names, found none`);
  return { ...saved, preprocessing, classes };
}

/**
 * Checks that a model is one of a table.
 * @throws StepsizeError `unsupported` otherwise
 */
export function asTableModel(saved: SavedModel): SavedTableModel {
  const { path, card } = saved;
  if (card.table) return { ...saved, table: card.table };
  throw new StepsizeError("unsupported", `${path}: expected a model of a table`);
}

/**
 * Checks that a model is a text model.
 * @throws StepsizeError `unsupported` for an image classifier, `invalid-file` if the tokenizer is missing
 */
export function asTextModel(saved: SavedModel): SavedTextModel {
  const { path, card } = saved;
  if (card.text) return { ...saved, ...card.text };
  if (card.table)
    throw new StepsizeError(
      "unsupported",
      `${path}: expected a text model, got a model of a table; use stepsize predict`,
    );
  if (card.preprocessing)
    throw new StepsizeError(
      "unsupported",
      `${path}: expected a text model, got an image classifier; use stepsize predict`,
    );
  throw new StepsizeError("invalid-file", `${path}: expected the tokenizer of a text model, found none`);
}

/**
 * Computes the outputs of a classifier for raw inputs, as float32 of shape [items, classes], without gradients.
 * @throws StepsizeError `invalid-file` if the number of outputs is not the number of class names in the checkpoint
 */
export function outputsOf(saved: SavedClassifier, raw: Tensor): Tensor {
  const outputs = infer(saved.model, raw, saved.prepare);
  expectOutputs(saved, outputs.shape);
  return outputs;
}

/**
 * Checks that a classifier has one output per class.
 * @throws StepsizeError `invalid-file` otherwise
 */
export function expectOutputs({ path, classes }: SavedClassifier, shape: readonly number[]): void {
  if (shape.at(-1) === classes.length) return;
  const found = `expected ${shape.at(-1)} names, one per output of the model, found ${classes.length}`;
  throw new StepsizeError("invalid-file", `${path}: classes: ${found}`);
}

function noteDamaged(message: string): void {
  tell(`damaged checkpoint, trying the previous one: ${message}`);
}
