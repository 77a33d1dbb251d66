import { expectFunction } from "../arguments.js";
import type { TokenizerSpec } from "../data/index.js";
import { StepsizeError } from "../errors.js";
import { Uploads } from "../files/device-parts.js";
import { describeStored, type HostTensor, readTensors } from "../files/safetensors.js";
import { type StoredTensor, withStored } from "../files/safetensors-file.js";
import { fillSame } from "../files/stored-floats.js";
import { create, type ModelConfig } from "../models/index.js";
import { type Device, expectDevice } from "../native/index.js";
import { type Module, type Precision, Preparation, type PreprocessingOptions } from "../nn/index.js";
import { checkedOptions, expectOptions, optionNames } from "../options.js";
import type { Tensor } from "../tensor/index.js";
import type { BestEvaluation } from "./best-evaluation.js";
import { readCheckpointInfo } from "./checkpoint-info.js";

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
  /** Steps that the optimizer's own counter says; default: as many. */
  readonly iteration?: number;
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

/** What tensors a checkpoint has. */
export type CheckpointPart = "model" | "optimizer" | "rates";

/** A checkpoint whose file is open. Its values stay in the file until they are asked for. */
export interface OpenCheckpoint {
  readonly path: string;
  readonly info: CheckpointInfo;
  /** By their names in the model, and so on. */
  readonly model: ReadonlyMap<string, StoredTensor>;
  readonly optimizer: ReadonlyMap<string, StoredTensor>;
  readonly rates: ReadonlyMap<string, StoredTensor>;
  /** What the optimizer's `state` holds. */
  readonly counters: Float64Array;
}

/**
 * Opens a checkpoint for as long as `use` takes, and reads its header and counters.
 *
 * @throws StepsizeError `not-found`, or `invalid-file` for a file that is cut short, is not a checkpoint, or says another
 * number of steps than the state in it
 */
export async function withCheckpoint<T>(path: string, use: (checkpoint: OpenCheckpoint) => Promise<T>): Promise<T> {
  return await withStored(path, async ({ tensors, metadata }) => {
    const info = readCheckpointInfo(path, metadata["stepsize"]);
    const under = (prefix: string) =>
      new Map(
        [...tensors].filter(([name]) => name.startsWith(prefix)).map(([name, t]) => [name.slice(prefix.length), t]),
      );
    const optimizer = under(optimizerPrefix);
    const counters = await countersOf(path, info, optimizer.get("state"));
    return await use({ path, info, counters, model: under(modelPrefix), optimizer, rates: under(ratesPrefix) });
  });
}

/** Bytes of an optimizer's counters: far more than any has. */
const mostCounters = 2 ** 20;

/** The optimizer's counters, of which the first are the steps made. */
async function countersOf(path: string, info: CheckpointInfo, state: StoredTensor | undefined): Promise<Float64Array> {
  if (state === undefined) return new Float64Array(0);
  if (state.code !== "F64" || state.shape.length !== 1 || state.bytes > mostCounters)
    throw new StepsizeError(
      "invalid-file",
      `${path}: ${state.name} is ${state.code}[${state.shape}], expected a few numbers of type F64`,
    );
  const counters = new Float64Array((await state.read()).buffer as ArrayBuffer);
  const { step, iteration = step } = info;
  if (counters[0] !== iteration)
    throw new StepsizeError(
      "invalid-file",
      `${path}: is damaged: its header says ${iteration} steps, the optimizer's state in it ${counters[0]}; load another`,
    );
  return counters;
}

/**
 * Reads all of a checkpoint into memory.
 * @throws StepsizeError `not-found`, or `invalid-file` for a file that is cut short, is not a checkpoint or does not have
 * the checksums that it says.
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  return await withCheckpoint(path, async ({ info, model, optimizer, rates }) => ({
    info,
    model: await readTensors(model),
    optimizer: await readTensors(optimizer),
    rates: await readTensors(rates),
  }));
}

/** Reads what is needed of a checkpoint to look at its optimizer: the weights stay in the file. */
export async function readOptimizerState({ info, optimizer }: OpenCheckpoint): Promise<Checkpoint> {
  const none = new Map<string, HostTensor>();
  return { info, model: none, optimizer: await readTensors(optimizer), rates: none };
}

/** Reads all of a checkpoint and keeps none of it. @throws StepsizeError as {@link readCheckpoint} */
export async function verifyCheckpoint(path: string): Promise<void> {
  await withCheckpoint(path, ({ model, optimizer, rates }) => verifyAll([model, optimizer, rates]));
}

/** Compares tensors with their checksums, before anything is changed. @throws StepsizeError `invalid-file` */
export async function verifyAll(parts: Iterable<ReadonlyMap<string, StoredTensor>>): Promise<void> {
  for (const part of parts) for (const stored of part.values()) await stored.verify();
}

/** The types and shapes of tensors in a file, by the same names. */
export function describeAll(
  stored: ReadonlyMap<string, StoredTensor>,
): Map<string, Pick<HostTensor, "dtype" | "shape">> {
  return new Map([...stored].map(([name, one]) => [name, describeStored(one)]));
}

/** @internal Names as they stand in a checkpoint. */
export function checkpointNames<T>(parts: Readonly<Record<CheckpointPart, ReadonlyMap<string, T>>>) {
  const named = (prefix: string, tensors: ReadonlyMap<string, T>) =>
    [...tensors].map(([name, one]) => [prefix + name, one] as const);
  const { model, optimizer, rates } = parts;
  return new Map([...named(modelPrefix, model), ...named(optimizerPrefix, optimizer), ...named(ratesPrefix, rates)]);
}

/** @internal Fills a model with the weights of a checkpoint, block by block. All of them fit. */
export async function fillWeights(model: Module, weights: ReadonlyMap<string, StoredTensor>): Promise<void> {
  const own = model.stateDict();
  const [first] = own.values();
  if (first === undefined) return;
  const uploads = new Uploads(first.device);
  for (const [name, to] of own) await fillSame(uploads, to, weights.get(name) as StoredTensor);
}

/** @internal Names the file in errors about its content, once; what would be wrong in an argument is wrong in the file. */
export async function inFile<T>(path: string, read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof StepsizeError) || error.message.startsWith(path)) throw error;
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
  const checked = checkedOptions("loadModel", loadNames, options);
  const { device, build } = checked;
  expectDevice("device", device);
  if (build !== undefined) expectFunction("build", build);
  return await withCheckpoint(path, (checkpoint) => loadOpenModel(checkpoint, checked));
}

/** @internal {@link loadModel} from a checkpoint that is open. Of the optimizer nothing but the counters is read. */
export async function loadOpenModel(
  { path, info, model: weights }: OpenCheckpoint,
  { device, build, precision }: LoadModelOptions,
): Promise<LoadedModel> {
  const { config } = info;
  if (!config && !build)
    throw new StepsizeError(
      "invalid-argument",
      `${path}: holds a model of your own code; pass build: () => the model without its weights`,
    );
  const model = build ? build() : await inFile(path, () => create(config as ModelConfig, { device }));
  try {
    await inFile(path, () => model.setPrecision(info.precision ?? "float32").checkStateDict(describeAll(weights)));
    // A model that somebody else holds is changed only if all of it is good.
    if (build) await verifyAll([weights]);
    await fillWeights(model, weights);
  } catch (error) {
    if (!build) model.dispose();
    throw error;
  }
  if (precision !== undefined) model.setPrecision(precision);
  model.eval();
  return await inFile(path, () => loadedModel(model, info));
}

function loadedModel(model: Module, info: CheckpointInfo): LoadedModel {
  const { config, preprocessing, classes, text, step } = info;
  const preparation = new Preparation(model, preprocessing);
  return {
    model,
    card: { config, preprocessing, classes, text },
    step,
    prepare: (raw) => preparation.apply(raw),
  };
}
