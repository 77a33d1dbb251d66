import { stat } from "node:fs/promises";
import { z } from "zod";
import { StepsizeError } from "../errors.js";
import { type Device, openDevice } from "../native/index.js";
import type { PreprocessingOptions } from "../nn/index.js";
import { noGrad, type Tensor, tidy } from "../tensor/index.js";
import { type LoadedModel, loadModel } from "../train/index.js";
import { deviceField, threadsField } from "./config.js";
import { UsageError } from "./failure.js";
import { check, type Fields, help } from "./fields.js";
import { RunFolder } from "./run-folder.js";
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

/** A trained model with what is needed to use it on raw data. */
export interface SavedModel extends LoadedModel {
  readonly path: string;
  readonly device: Device;
  readonly preprocessing: PreprocessingOptions;
  readonly classes: readonly string[];
}

/** Values of {@link savedFields} and others, checked, with the checkpoint in place. */
export function checkSaved(fields: Fields, values: Record<string, unknown>): Record<string, unknown> {
  const checked = check(fields, values, flagOf);
  if (checked["checkpoint"] !== undefined) return checked;
  throw new UsageError("--checkpoint: expected the path of a checkpoint or of a run's folder, got none");
}

/** Loads the model of a checkpoint, or of a run's newest one. */
export async function openSaved(values: Readonly<Record<string, unknown>>): Promise<SavedModel> {
  const {
    checkpoint,
    device: deviceName,
    threads,
  } = values as {
    checkpoint: string;
    device?: string;
    threads?: number;
  };
  const path = await checkpointAt(checkpoint);
  const device = await openDevice(deviceName, threads === undefined ? {} : { threads });
  try {
    const loaded = await loadModel(path, { device });
    const { preprocessing, classes } = loaded.card;
    if (!preprocessing || !classes)
      throw new StepsizeError("invalid-file", `${path}: has no preprocessing or class names, which this command needs`);
    return { ...loaded, path, device, preprocessing, classes };
  } catch (error) {
    await device.close();
    throw error;
  }
}

/** The model's outputs for raw inputs, in evaluation. */
export function outputsOf({ model, prepare }: SavedModel, raw: Tensor): Tensor {
  return noGrad(() => tidy(() => model.forward(prepare(raw))));
}

async function checkpointAt(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new UsageError(`--checkpoint: there is no file or folder ${path}`);
  if (!found.isDirectory()) return path;
  const note = (message: string) => void process.stderr.write(`damaged, trying the one before: ${message}\n`);
  const newest = await new RunFolder(path).newestCheckpoint(note);
  if (newest === undefined)
    throw new UsageError(`--checkpoint: ${path} is not the folder of a run with a checkpoint in it`);
  return newest;
}
