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

/** What a model needs to be used on raw data. It is saved with the weights. */
export interface ModelCard {
  /**
   * Configuration from which `models.create` builds the model. Absent for a custom module, which only its own code can
   * build.
   */
  readonly config?: ModelConfig | undefined;
  /** Preprocessing of raw inputs. Default: none. */
  readonly preprocessing?: PreprocessingOptions | undefined;
  /** Names of the classes, in the order of the outputs. Default: none. */
  readonly classes?: readonly string[] | undefined;
  /** For a model of text: the tokenizer, and the number of tokens per window in training. */
  readonly text?: { readonly tokenizer: TokenizerSpec; readonly context: number } | undefined;
}

/** The JSON object in the metadata of a checkpoint. */
export interface CheckpointInfo extends ModelCard {
  /** Name and version of the format. */
  readonly format: "stepsize-checkpoint-1";
  /** Number of steps so far, which is the index of the next step. */
  readonly step: number;
  /** Number of steps that the optimizer has counted. Default: `step`. */
  readonly iteration?: number;
  /** Counters of the modules that use random numbers, by path; see `Module.counters`. */
  readonly counters: Readonly<Record<string, number>>;
  /** Storage precision of the model. Default `"float32"`. */
  readonly precision?: Precision;
  /** The best evaluation so far. Absent if there is none. */
  readonly best?: BestEvaluation;
  /** What determines the rest of the run, such as the schedule and the data. A resumed run must agree with it. */
  readonly run: Readonly<Record<string, unknown>>;
}

/** A checkpoint in memory. */
export interface Checkpoint {
  /** The JSON object in its metadata. */
  readonly info: CheckpointInfo;
  /** Parameters and buffers of the model, by path. */
  readonly model: ReadonlyMap<string, HostTensor>;
  /** Optimizer state, by name; see `Optimizer.stateDict`. */
  readonly optimizer: ReadonlyMap<string, HostTensor>;
  /**
   * Values of learning rates that are custom functions, by the index of their parameter group. The shape is [steps, 1],
   * or [steps, 2] with momentum.
   */
  readonly rates: ReadonlyMap<string, HostTensor>;
}

const modelPrefix = "model.";
const optimizerPrefix = "optimizer.";
const ratesPrefix = "learningRate.";

/** The parts of a checkpoint that have tensors. */
export type CheckpointPart = "model" | "optimizer" | "rates";

/** A checkpoint whose file is open. Values are read from the file when they are needed. */
export interface OpenCheckpoint {
  /** Path of the file. */
  readonly path: string;
  /** The JSON object in its metadata. */
  readonly info: CheckpointInfo;
  /** Parameters and buffers of the model, by path. */
  readonly model: ReadonlyMap<string, StoredTensor>;
  /** Optimizer state, by name. */
  readonly optimizer: ReadonlyMap<string, StoredTensor>;
  /** Values of custom learning rates, by the index of their parameter group. */
  readonly rates: ReadonlyMap<string, StoredTensor>;
  /** Counters of the optimizer, the content of its `state`. */
  readonly counters: Float64Array;
}

/**
 * Opens a checkpoint, reads its header and counters, and closes it when `use` is done.
 *
 * @throws StepsizeError `invalid-argument` if `path` is not a text; `not-found` if there is no file; `invalid-file` if
 * the file is cut short, is not a checkpoint, or has another number of steps in its header than in its optimizer state
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

/** Limit in bytes for the optimizer's counters, far above their real size. */
const mostCounters = 2 ** 20;

/** Returns the optimizer's counters. The first one is the number of steps so far. */
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
 * Reads a whole checkpoint into memory.
 *
 * @throws StepsizeError `invalid-argument` if `path` is not a text; `not-found` if there is no file; `invalid-file` if
 * the file is cut short, is not a checkpoint, or does not match its checksums; `out-of-memory`
 *
 * @example
 * ```ts
 * import { data, models, nn, openDevice, readCheckpoint, SGD, Trainer } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const set = data.fromArrays({ inputs: [[0, 0], [0, 1], [1, 0], [1, 1]], labels: [0, 1, 1, 0] });
 * const model = models.mlp({ inputs: 2, hidden: [8], classes: 2, device, seed: 0 });
 * const optimizer = new SGD(model.parameters(), { lr: 0.1 });
 * const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: set.batches({ size: 4 }), budget: 10 });
 * await trainer.save("run/checkpoint.safetensors");
 *
 * const checkpoint = await readCheckpoint("run/checkpoint.safetensors");
 * console.log(checkpoint.info.step, [...checkpoint.model.keys()]); // 0, the paths of weights and biases
 * ```
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  return await withCheckpoint(path, async ({ info, model, optimizer, rates }) => ({
    info,
    model: await readTensors(model),
    optimizer: await readTensors(optimizer),
    rates: await readTensors(rates),
  }));
}

/** Reads the optimizer state of a checkpoint. The weights are not read. */
export async function readOptimizerState({ info, optimizer }: OpenCheckpoint): Promise<Checkpoint> {
  const none = new Map<string, HostTensor>();
  return { info, model: none, optimizer: await readTensors(optimizer), rates: none };
}

/**
 * Reads a whole checkpoint to verify its checksums, and keeps nothing in memory.
 *
 * @throws StepsizeError as {@link readCheckpoint}
 */
export async function verifyCheckpoint(path: string): Promise<void> {
  await withCheckpoint(path, ({ model, optimizer, rates }) => verifyAll([model, optimizer, rates]));
}

/**
 * Verifies the checksums of tensors.
 *
 * @throws StepsizeError `invalid-file` if one does not match
 */
export async function verifyAll(parts: Iterable<ReadonlyMap<string, StoredTensor>>): Promise<void> {
  for (const part of parts) for (const stored of part.values()) await stored.verify();
}

/**
 * Returns the types and shapes of stored tensors, by name.
 *
 * @throws StepsizeError `invalid-file` if a type is not supported
 */
export function describeAll(
  stored: ReadonlyMap<string, StoredTensor>,
): Map<string, Pick<HostTensor, "dtype" | "shape">> {
  return new Map([...stored].map(([name, one]) => [name, describeStored(one)]));
}

/** @internal Returns all tensors of a checkpoint by their names in the file. */
export function checkpointNames<T>(parts: Readonly<Record<CheckpointPart, ReadonlyMap<string, T>>>) {
  const named = (prefix: string, tensors: ReadonlyMap<string, T>) =>
    [...tensors].map(([name, one]) => [prefix + name, one] as const);
  const { model, optimizer, rates } = parts;
  return new Map([...named(modelPrefix, model), ...named(optimizerPrefix, optimizer), ...named(ratesPrefix, rates)]);
}

/** @internal Loads the weights of a checkpoint that fits into a model, block by block. */
export async function fillWeights(model: Module, weights: ReadonlyMap<string, StoredTensor>): Promise<void> {
  const own = model.stateDict();
  const [first] = own.values();
  if (first === undefined) return;
  const uploads = new Uploads(first.device);
  for (const [name, to] of own) await fillSame(uploads, to, weights.get(name) as StoredTensor);
}

/** @internal Adds the path of a file to errors about its content. `invalid-argument` becomes `invalid-file`. */
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
  /** Device for the model. */
  readonly device: Device;
  /**
   * Creates the model, whose weights are then replaced. Required for a custom module, whose checkpoint has no `config`.
   * Default: the model is created from `config`.
   */
  readonly build?: () => Module;
  /** Storage precision of the loaded model. Default: the one that it was trained in. */
  readonly precision?: Precision;
}

const loadNames = optionNames<LoadModelOptions>({ device: true, build: true, precision: true });
const cardNames = optionNames<ModelCard>({ config: true, preprocessing: true, classes: true, text: true });
const textNames = optionNames<NonNullable<ModelCard["text"]>>({ tokenizer: true, context: true });

/** @internal Throws `invalid-argument` for unknown fields of a card. */
export function expectCard(card: ModelCard): void {
  expectOptions("card", cardNames, card);
  if (card.text !== undefined) expectOptions("card.text", textNames, card.text);
}

/** A model that is ready for use on raw data. */
export interface LoadedModel {
  /** The model, in evaluation mode. */
  readonly model: Module;
  /** What was saved with the weights. */
  readonly card: ModelCard;
  /**
   * Converts raw inputs to what the model takes. Without preprocessing, it only converts floats to the model's
   * precision.
   */
  readonly prepare: (raw: Tensor) => Tensor;
  /** Number of steps for which the model was trained. */
  readonly step: number;
}

/**
 * Loads the model of a checkpoint, for evaluation.
 *
 * The optimizer state is not read.
 *
 * @param path path of a checkpoint
 * @throws StepsizeError `invalid-argument` for an invalid path or option, or if `build` is missing for a custom module;
 * `not-found` if there is no file; `invalid-file` if the file is damaged or belongs to another model (the message lists
 * the differences); `out-of-memory`. A model from `build` has not changed then, unless the file can no longer be read
 * after its checksums were verified.
 *
 * @example
 * ```ts
 * import { data, loadModel, models, nn, openDevice, SGD, tensor, Trainer } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const set = data.fromArrays({ inputs: [[0, 0], [0, 1], [1, 0], [1, 1]], labels: [0, 1, 1, 0] });
 * const config = { kind: "mlp", inputs: 2, hidden: [8], classes: 2 } as const;
 * const model = models.create(config, { device, seed: 0 });
 * const optimizer = new SGD(model.parameters(), { lr: 0.1 });
 * const card = { config, classes: ["equal", "different"] };
 * const batches = set.batches({ size: 4 });
 * const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: batches, budget: 10, card });
 * await trainer.save("run/checkpoint.safetensors");
 *
 * const loaded = await loadModel("run/checkpoint.safetensors", { device });
 * const logits = loaded.model.forward(loaded.prepare(tensor(device, [[0, 1]])));
 * ```
 */
export async function loadModel(path: string, options: LoadModelOptions): Promise<LoadedModel> {
  const checked = checkedOptions("loadModel", loadNames, options);
  const { device, build } = checked;
  expectDevice("device", device);
  if (build !== undefined) expectFunction("build", build);
  return await withCheckpoint(path, (checkpoint) => loadOpenModel(checkpoint, checked));
}

/** @internal {@link loadModel} from an open checkpoint. Of the optimizer state, only the counters are read. */
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
    // A model from `build` is changed only if the whole file is valid.
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
