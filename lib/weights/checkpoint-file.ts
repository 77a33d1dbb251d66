import { StepsizeError } from "../errors.js";
import { type HostTensor, readTensors } from "../files/safetensors.js";
import { type StoredTensor, withStored } from "../files/safetensors-file.js";
import { type CheckpointInfo, readCheckpointInfo } from "./checkpoint-info.js";
import { verifyAll } from "./stored-tensors.js";

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
const maxCounterBytes = 2 ** 20;

/** Returns the optimizer's counters. The first one is the number of steps so far. */
async function countersOf(path: string, info: CheckpointInfo, state: StoredTensor | undefined): Promise<Float64Array> {
  if (state === undefined) return new Float64Array(0);
  if (state.code !== "F64" || state.shape.length !== 1 || state.bytes > maxCounterBytes)
    throw new StepsizeError(
      "invalid-file",
      `${path}: ${state.name} is ${state.code}[${state.shape}], expected a few numbers of type F64`,
    );
  const counters = new Float64Array((await state.read()).buffer);
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

/** @internal Returns all tensors of a checkpoint by their names in the file. */
export function checkpointNames<T>(parts: Readonly<Record<CheckpointPart, ReadonlyMap<string, T>>>) {
  const named = (prefix: string, tensors: ReadonlyMap<string, T>) =>
    [...tensors].map(([name, tensor]) => [prefix + name, tensor] as const);
  const { model, optimizer, rates } = parts;
  return new Map([...named(modelPrefix, model), ...named(optimizerPrefix, optimizer), ...named(ratesPrefix, rates)]);
}
