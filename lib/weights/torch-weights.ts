import { expectModule, expectText } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { deviceSource } from "../files/device-parts.js";
import { writeSources } from "../files/safetensors.js";
import { type StoredTensor, withStored } from "../files/safetensors-file.js";
import { valueAt } from "../lookup.js";
import type { Module } from "../nn/index.js";
import { expectOptions, optionNames } from "../options.js";
import { type Tensor, type TorchNames, tensor } from "../tensor/index.js";
import { type TorchLayout, torchLayoutOf, torchShape, toTorchOrder } from "../tensor/torch-layout.js";
import { fillModel } from "./fill-model.js";

/** Metadata of files for PyTorch. Hugging Face's libraries read the framework of the tensors from it. */
export const torchMetadata = { format: "pt" } as const;

/** Options of {@link loadTorchWeights} and {@link loadWeights}. */
export interface WeightsOptions {
  /**
   * What to do with the last layer: `"load"` loads it, and `"skip"` keeps the model's, whatever the file contains. Use
   * `"skip"` to continue from weights that were trained for other classes. Default `"load"`.
   */
  readonly classifier?: "load" | "skip" | undefined;
}

const weightsNames = optionNames<WeightsOptions>({ classifier: true });

/**
 * Loads weights that PyTorch saved with `safetensors.torch.save_file(model.state_dict(), path)`.
 *
 * Names and layouts are translated according to the model's `torchNames()`. Values of float16, bfloat16 and float64 are
 * converted.
 *
 * @param path path of the file
 * @throws StepsizeError `invalid-argument` if the model, the path or an option is invalid, or if `torchNames()` does
 * not fit the model; `not-found` if there is no file; `invalid-file` if the file is damaged, or listing tensors that
 * are missing, left over, or of another shape or type. The model has not changed then, unless the file can no longer be
 * read after its checksums were verified.
 *
 * @example
 * ```ts
 * import { loadTorchWeights, models, openDevice, saveTorchWeights } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * await saveTorchWeights(models.resnet18({ classes: 10, device, seed: 0 }), "resnet18.safetensors");
 *
 * const model = models.resnet18({ classes: 100, device, seed: 1 });
 * await loadTorchWeights(model, "resnet18.safetensors", { classifier: "skip" });
 * ```
 */
export async function loadTorchWeights(model: Module, path: string, options: WeightsOptions = {}): Promise<void> {
  expectModule("model", model);
  expectOptions("loadTorchWeights", weightsNames, options);
  const naming = torchNaming(model);
  await withStored(path, ({ tensors }) => load(model, path, tensors, naming, options));
}

/**
 * Loads weights from a checkpoint of the same architecture, or from a file of PyTorch's weights. The names in the file
 * determine which of the two it is.
 *
 * @param path path of the file
 * @throws StepsizeError as {@link loadTorchWeights}
 *
 * @example
 * ```ts
 * import { loadWeights, models, openDevice, saveTorchWeights } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.mlp({ inputs: 2, hidden: [8], classes: 2, device, seed: 0 });
 * await saveTorchWeights(model, "mlp.safetensors");
 * await loadWeights(model, "mlp.safetensors");
 * ```
 */
export async function loadWeights(model: Module, path: string, options: WeightsOptions = {}): Promise<void> {
  expectModule("model", model);
  expectOptions("loadWeights", weightsNames, options);
  const [checkpoint, torch] = [checkpointNaming(model), torchNaming(model)];
  await withStored(path, ({ tensors }) => {
    const found = ({ names }: Naming) => [...names.values()].filter((name) => tensors.has(name)).length;
    return load(model, path, tensors, found(torch) > found(checkpoint) ? torch : checkpoint, options);
  });
}

/**
 * Returns copies of a model's parameters and buffers with PyTorch's names, shapes and order of axes.
 *
 * The types are those of the model. `model.load_state_dict` accepts the tensors. The caller disposes of them.
 *
 * @throws StepsizeError `invalid-argument` if `model` is not a module, or if its `torchNames()` has no name for a
 * tensor, one name for two tensors, or a layout that does not fit; `device-failed` or `out-of-memory` if a tensor
 * cannot be read
 *
 * @example
 * ```ts
 * import { models, openDevice, toTorchWeights } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.resnet18({ classes: 10, device, seed: 0 });
 * const weights = await toTorchWeights(model);
 * console.log(weights.get("conv1.weight")?.shape); // [64, 3, 7, 7]
 * for (const one of weights.values()) one.dispose();
 * ```
 */
export async function toTorchWeights(model: Module): Promise<Map<string, Tensor>> {
  expectModule("model", model);
  const { names, layoutOf } = torchNaming(model);
  // All reads are enqueued before the first is awaited, so that the values are of one moment of a run.
  const all = [...model.stateDict()].map(async ([path, source]): Promise<[string, Tensor]> => {
    const { shape, dtype, device } = source;
    const layout = layoutOf(path, shape);
    const values = toTorchOrder(await source.read(), shape, layout);
    return [valueAt(names, path), tensor(device, values, torchShape(shape, layout), { dtype })];
  });
  return new Map(await Promise.all(all));
}

/**
 * Writes a model's weights as a safetensors file for PyTorch.
 *
 * In Python, `model.load_state_dict(safetensors.torch.load_file(path))` loads it.
 *
 * @param path path of the file. Missing folders are created.
 * @throws StepsizeError `invalid-argument` if the model or the path is invalid, or if the model's `torchNames()` does
 * not fit; `invalid-state` if the weights change during the write; `invalid-file` if the file cannot be written;
 * `device-failed` or `out-of-memory` if a tensor cannot be read. A previous file is kept then.
 *
 * @example
 * ```ts
 * import { models, openDevice, saveTorchWeights } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.resnet18({ classes: 10, device, seed: 0 });
 * await saveTorchWeights(model, "resnet18.safetensors");
 * ```
 */
export async function saveTorchWeights(model: Module, path: string): Promise<void> {
  await writeTorchWeights(model, path, {});
}

/** @internal {@link saveTorchWeights} with more metadata. */
export async function writeTorchWeights(
  model: Module,
  path: string,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  expectModule("model", model);
  expectText("path", path, "the path of a file");
  const { names, layoutOf } = torchNaming(model);
  const sources = [...model.stateDict()].map(([path, tensor]) => {
    const [name, layout] = [valueAt(names, path), layoutOf(path, tensor.shape)];
    return [name, deviceSource(name, tensor, torchShape(tensor.shape, layout), layout)] as const;
  });
  await writeSources(path, new Map(sources), { ...metadata, ...torchMetadata });
}

/** @internal Copies tensors with PyTorch's names into a model. `path` is for errors. */
export function fillFromTorch(model: Module, path: string, stored: ReadonlyMap<string, StoredTensor>): Promise<void> {
  return load(model, path, stored, torchNaming(model), {});
}

/** The names and layouts of a model's tensors in a file. */
interface Naming {
  /** Names in the file, by path in the model. */
  readonly names: ReadonlyMap<string, string>;
  readonly isUnused: (name: string) => boolean;
  readonly layoutOf: (path: string, shape: readonly number[]) => TorchLayout;
  readonly classifier: string | undefined;
}

function checkpointNaming(model: Module): Naming {
  const names = new Map([...model.stateDict().keys()].map((path) => [path, `model.${path}`]));
  const { classifier } = model.torchNames();
  return { names, isUnused: (name) => name.startsWith("optimizer."), layoutOf: () => "same", classifier };
}

function torchNaming(model: Module): Naming {
  const table: TorchNames = model.torchNames();
  const owners = new Map<string, string>();
  for (const [path, { shape }] of model.stateDict()) {
    const name = table.names.get(path) ?? invalidArgument("torchNames", `a name for ${path}`, undefined);
    const other = owners.get(name);
    if (other !== undefined) invalidArgument("torchNames", `different names for ${other} and ${path}`, name);
    owners.set(name, path);
    // Throws if the layout does not fit.
    torchShape(shape, torchLayoutOf(table, path, shape));
  }
  const unused = new Set(table.unused);
  return {
    names: table.names,
    isUnused: (name) => unused.has(name),
    layoutOf: (path, shape) => torchLayoutOf(table, path, shape),
    classifier: table.classifier,
  };
}

async function load(
  model: Module,
  path: string,
  stored: ReadonlyMap<string, StoredTensor>,
  { names, isUnused, layoutOf, classifier: layer }: Naming,
  { classifier = "load" }: WeightsOptions,
): Promise<void> {
  if (classifier !== "load" && classifier !== "skip") invalidArgument("classifier", '"load" or "skip"', classifier);
  if (classifier === "skip" && layer === undefined)
    invalidArgument("classifier", '"load" for a model that does not say which layer its classifier is', classifier);
  const all = [...model.stateDict()].map(([place, tensor]) => ({
    tensor,
    name: valueAt(names, place),
    layout: layoutOf(place, tensor.shape),
    isOfClassifier: layer !== undefined && place.startsWith(`${layer}.`),
  }));
  const skipped = new Set(
    classifier === "skip" ? all.filter(({ isOfClassifier }) => isOfClassifier).map(({ name }) => name) : [],
  );
  const wanted = all.filter(({ name }) => !skipped.has(name));
  await fillModel(wanted, path, stored, (name) => skipped.has(name) || isUnused(name));
}
