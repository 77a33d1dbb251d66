import { expectFunction } from "../arguments.js";
import { StepsizeError } from "../errors.js";
import { create, type ModelConfig } from "../models/index.js";
import { type Device, expectDevice } from "../native/index.js";
import { type Module, type Precision, Preparation } from "../nn/index.js";
import { checkedOptions, optionNames } from "../options.js";
import type { Tensor } from "../tensor/index.js";
import { type OpenCheckpoint, withCheckpoint } from "./checkpoint-file.js";
import type { CheckpointInfo, ModelCard } from "./checkpoint-info.js";
import { describeAll, fillWeights, inFile, verifyAll } from "./stored-tensors.js";

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
  readonly precision?: Precision | undefined;
}

const loadNames = optionNames<LoadModelOptions>({ device: true, build: true, precision: true });

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
  const model = build ? build() : await inFile(path, () => create(configOf(path, info), { device }));
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

function configOf(path: string, { config }: CheckpointInfo): ModelConfig {
  if (config) return config;
  throw new StepsizeError(
    "invalid-argument",
    `${path}: holds a model of your own code; pass build: () => the model without its weights`,
  );
}

function loadedModel(model: Module, info: CheckpointInfo): LoadedModel {
  const { config, preprocessing, classes, fit, text, table, step } = info;
  const preparation = new Preparation(model, preprocessing);
  return {
    model,
    card: { config, preprocessing, classes, fit, text, table },
    step,
    prepare: (raw) => preparation.apply(raw),
  };
}
