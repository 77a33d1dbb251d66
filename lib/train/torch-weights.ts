import { invalidArgument } from "../errors.js";
import type { HasTorchNames, TorchNames } from "../models/index.js";
import type { Module } from "../nn/index.js";
import { fillModel } from "./fill-model.js";
import { readStored, type StoredTensor } from "./safetensors-file.js";

/** Options of {@link loadTorchWeights} and {@link loadWeights}. */
export interface WeightsOptions {
  /**
   * `skip` leaves the last layer as it is, whatever the file has of it: to go on from weights that were trained for
   * other classes. Default `load`.
   */
  readonly classifier?: "load" | "skip";
}

/**
 * Loads weights that were saved in Python with `safetensors.torch.save_file(model.state_dict(), path)`. Names are
 * translated as the model's `torchNames()` say; tensors of four axes are weights of convolutions and come as [outputs,
 * inputs, height, width]; float16, bfloat16 and float64 are converted.
 *
 * @throws StepsizeError `not-found`; `invalid-file` where the file is damaged, or lists what is missing, left over, and
 * of another shape or type. The model has not changed then.
 */
export async function loadTorchWeights(
  model: Module & HasTorchNames,
  path: string,
  options: WeightsOptions = {},
): Promise<void> {
  const naming = torchNaming(model);
  if (!naming) invalidArgument("model", "one that knows its names in PyTorch (torchNames), such as resnet18", model);
  const { stored } = await readStored(path);
  load(model, path, stored, naming, options);
}

/**
 * Loads weights from a file of either kind, recognised by its names: PyTorch's, as in {@link loadTorchWeights}, or a
 * checkpoint of the same architecture.
 *
 * @throws StepsizeError as {@link loadTorchWeights}
 */
export async function loadWeights(model: Module, path: string, options: WeightsOptions = {}): Promise<void> {
  const { stored } = await readStored(path);
  const [own, torch] = [checkpointNaming(model), torchNaming(model)];
  const found = ({ names }: Naming) => [...names.values()].filter((name) => stored.has(name)).length;
  load(model, path, stored, torch && found(torch) > found(own) ? torch : own, options);
}

/** How a file calls the tensors of a model, and in which order it has the axes of images' weights. */
interface Naming {
  /** By path in the model. */
  readonly names: ReadonlyMap<string, string>;
  readonly isUnused: (name: string) => boolean;
  readonly inputsSecond: boolean;
}

function checkpointNaming(model: Module): Naming {
  const names = new Map([...model.stateDict().keys()].map((path) => [path, `model.${path}`]));
  return { names, isUnused: (name) => name.startsWith("optimizer."), inputsSecond: false };
}

function torchNaming(model: Module): Naming | undefined {
  const table = torchNamesOf(model);
  if (!table) return undefined;
  const nameless = [...model.stateDict().keys()].find((path) => !table.names.has(path));
  if (nameless !== undefined) invalidArgument("torchNames", `a name for ${nameless}`, undefined);
  const unused = new Set(table.unused);
  return { names: table.names, isUnused: (name) => unused.has(name), inputsSecond: true };
}

function torchNamesOf(model: Module & Partial<HasTorchNames>): TorchNames | undefined {
  return model.torchNames?.();
}

function load(
  model: Module,
  path: string,
  stored: ReadonlyMap<string, StoredTensor>,
  { names, isUnused, inputsSecond }: Naming,
  { classifier = "load" }: WeightsOptions,
): void {
  if (classifier !== "load" && classifier !== "skip") invalidArgument("classifier", '"load" or "skip"', classifier);
  const layer = torchNamesOf(model)?.classifier;
  if (classifier === "skip" && layer === undefined)
    invalidArgument("classifier", '"load" for a model that does not say which layer its classifier is', classifier);
  const all = [...model.stateDict()].map(([own, tensor]) => ({
    tensor,
    name: names.get(own) as string,
    inputsSecond: inputsSecond && tensor.shape.length === 4,
    ofClassifier: layer !== undefined && own.startsWith(`${layer}.`),
  }));
  const skipped = new Set(classifier === "skip" ? all.filter((one) => one.ofClassifier).map(({ name }) => name) : []);
  const wanted = all.filter(({ name }) => !skipped.has(name));
  fillModel(wanted, path, stored, (name) => skipped.has(name) || isUnused(name));
}
