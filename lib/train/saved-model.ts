import { expectFunction } from "../arguments.js";
import type { TokenizerSpec } from "../data/index.js";
import { StepsizeError } from "../errors.js";
import { create, type ModelConfig } from "../models/index.js";
import { type Device, expectDevice } from "../native/index.js";
import { type Module, type Precision, Preparation, type PreprocessingOptions } from "../nn/index.js";
import { checkedOptions, expectOptions, optionNames } from "../options.js";
import { type Tensor, tensor } from "../tensor/index.js";
import type { BestEvaluation } from "./best-evaluation.js";
import { readCheckpointInfo } from "./checkpoint-info.js";
import { type HostTensor, readSafetensors } from "./safetensors.js";

/** What a model needs around it to be used on raw data: saved with its weights. */
export interface ModelCard {
  /** How to build it; absent for a model of your own, which only its own code can build. */
  readonly config?: ModelConfig | undefined;
  readonly preprocessing?: PreprocessingOptions | undefined;
  /** Names of the classes, in the order of the outputs. */
  readonly classes?: readonly string[] | undefined;
  /** Of a model of text: what its tokens are, and how many of them it was trained to see at once. */
  readonly text?: { readonly tokenizer: TokenizerSpec; readonly context: number } | undefined;
}

/** The JSON inside a checkpoint. */
export interface CheckpointInfo extends ModelCard {
  readonly format: "stepsize-checkpoint-1";
  /** Steps done: the next one is this number. */
  readonly step: number;
  readonly counters: Readonly<Record<string, number>>;
  /** Of the model; default float32. */
  readonly precision?: Precision;
  /** The best evaluation until then, if there was one. */
  readonly best?: BestEvaluation;
  /** What determines the rest of the run; a resumed run must agree with it. */
  readonly run: Readonly<Record<string, unknown>>;
}

/** A checkpoint in memory. */
export interface Checkpoint {
  readonly info: CheckpointInfo;
  readonly model: ReadonlyMap<string, HostTensor>;
  readonly optimizer: ReadonlyMap<string, HostTensor>;
  /** Learning rates that are functions of the caller's own, by the place of their parameter group: [steps, 1 or 2]. */
  readonly rates: ReadonlyMap<string, HostTensor>;
}

const modelPrefix = "model.";
const optimizerPrefix = "optimizer.";
const ratesPrefix = "learningRate.";

/**
 * Reads a checkpoint.
 * @throws StepsizeError `not-found`, or `invalid-file` for a file that is cut short or is not a checkpoint.
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  const { tensors, metadata } = await readSafetensors(path);
  const info = readCheckpointInfo(path, metadata["stepsize"]);
  const under = (prefix: string) =>
    new Map(
      [...tensors].filter(([name]) => name.startsWith(prefix)).map(([name, t]) => [name.slice(prefix.length), t]),
    );
  return { info, model: under(modelPrefix), optimizer: under(optimizerPrefix), rates: under(ratesPrefix) };
}

/** @internal Names and tensors as they stand in a checkpoint. */
export function checkpointNames({ model, optimizer, rates }: Omit<Checkpoint, "info">): Map<string, HostTensor> {
  const named = (prefix: string, tensors: ReadonlyMap<string, HostTensor>) =>
    [...tensors].map(([name, one]) => [prefix + name, one] as const);
  return new Map([...named(modelPrefix, model), ...named(optimizerPrefix, optimizer), ...named(ratesPrefix, rates)]);
}

/** Reads tensors. All reads are enqueued before anything is awaited, so they see one moment of a run. */
export async function onHost(tensors: Iterable<readonly [string, Tensor]>): Promise<Map<string, HostTensor>> {
  const reads = [...tensors].map(
    async ([name, t]): Promise<[string, HostTensor]> => [
      name,
      { dtype: t.dtype, shape: t.shape, data: await t.read() },
    ],
  );
  return new Map(await Promise.all(reads));
}

/** @internal Runs `use` with the tensors on the device, and frees them after it. */
export function onDevice<T>(
  device: Device,
  tensors: ReadonlyMap<string, HostTensor>,
  use: (state: Map<string, Tensor>) => T,
): T {
  const state = new Map([...tensors].map(([name, { data, shape }]) => [name, tensor(device, data, shape)]));
  try {
    return use(state);
  } finally {
    for (const value of state.values()) value.dispose();
  }
}

/** @internal Names the file in errors about its content; what would be wrong in an argument is wrong in the file. */
export function inFile<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof StepsizeError)) throw error;
    const code = error.code === "invalid-argument" ? "invalid-file" : error.code;
    throw new StepsizeError(code, `${path}: ${error.message}`, { cause: error });
  }
}

/** Options of {@link loadModel}. */
export interface LoadModelOptions {
  readonly device: Device;
  /** Makes a model of your own, where the checkpoint does not say how. */
  readonly build?: () => Module;
  /** Default: the one it was trained in. */
  readonly precision?: Precision;
}

const loadNames = optionNames<LoadModelOptions>({ device: true, build: true, precision: true });
const cardNames = optionNames<ModelCard>({ config: true, preprocessing: true, classes: true, text: true });
const textNames = optionNames<NonNullable<ModelCard["text"]>>({ tokenizer: true, context: true });

/** @internal Throws for what a card does not have. */
export function expectCard(card: ModelCard): void {
  expectOptions("card", cardNames, card);
  if (card.text !== undefined) expectOptions("card.text", textNames, card.text);
}

/** A model ready for use on raw data. */
export interface LoadedModel {
  readonly model: Module;
  readonly card: ModelCard;
  /** Raw inputs to what the model takes; does nothing where it was saved without preprocessing. */
  readonly prepare: (raw: Tensor) => Tensor;
  /** Steps it was trained for. */
  readonly step: number;
}

/**
 * Builds the model of a checkpoint and loads its weights, for evaluation.
 *
 * @throws StepsizeError `not-found`, or `invalid-file` where the file is damaged or of another model (what differs)
 */
export async function loadModel(path: string, options: LoadModelOptions): Promise<LoadedModel> {
  const { device, build, precision: wanted } = checkedOptions("loadModel", loadNames, options);
  expectDevice("device", device);
  if (build !== undefined) expectFunction("build", build);
  const { info, model: weights } = await readCheckpoint(path);
  const { config, preprocessing, classes, text, step, precision = "float32" } = info;
  if (!config && !build)
    throw new StepsizeError(
      "invalid-argument",
      `${path}: holds a model of your own code; pass build: () => the model without its weights`,
    );
  const model = build ? build() : inFile(path, () => create(config as ModelConfig, { device }));
  inFile(path, () => model.setPrecision(precision));
  onDevice(device, weights, (state) => inFile(path, () => model.loadStateDict(state)));
  if (wanted !== undefined) model.setPrecision(wanted);
  model.eval();
  const preparation = inFile(path, () => new Preparation(model, preprocessing));
  return {
    model,
    card: { config, preprocessing, classes, text },
    step,
    prepare: (raw) => preparation.apply(raw),
  };
}
