import { expectModule, expectText } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { deviceSource } from "../files/device-parts.js";
import { writeSources } from "../files/safetensors.js";
import { type StoredTensor, withStored } from "../files/safetensors-file.js";
import type { Module } from "../nn/index.js";
import { expectOptions, optionNames } from "../options.js";
import { type Tensor, type TorchNames, tensor } from "../tensor/index.js";
import { type TorchLayout, torchLayoutOf, torchShape, toTorchOrder } from "../tensor/torch-layout.js";
import { fillModel } from "./fill-model.js";

/** The metadata of files for PyTorch: the format's own libraries read there which framework the tensors are for. */
export const torchMetadata = { format: "pt" } as const;

/** Options of {@link loadTorchWeights} and {@link loadWeights}. */
export interface WeightsOptions {
  /**
   * `skip` leaves the last layer as it is, whatever the file has of it: to go on from weights that were trained for
   * other classes. Default `load`.
   */
  readonly classifier?: "load" | "skip";
}

const weightsNames = optionNames<WeightsOptions>({ classifier: true });

/**
 * Loads weights that were saved in Python with `safetensors.torch.save_file(model.state_dict(), path)`. Names and
 * layouts are translated as the model's `torchNames()` says; float16, bfloat16 and float64 are converted.
 *
 * @throws StepsizeError `not-found`; `invalid-file` if the file is damaged, or lists what is missing, left over, and of
 * another shape or type. The model has not changed then.
 */
export async function loadTorchWeights(model: Module, path: string, options: WeightsOptions = {}): Promise<void> {
  expectModule("model", model);
  expectOptions("loadTorchWeights", weightsNames, options);
  const naming = torchNaming(model);
  await withStored(path, ({ tensors }) => load(model, path, tensors, naming, options));
}

/**
 * Loads weights from a file of either kind, recognised by its names: PyTorch's, as in {@link loadTorchWeights}, or a
 * checkpoint of the same architecture.
 *
 * @throws StepsizeError as {@link loadTorchWeights}
 */
export async function loadWeights(model: Module, path: string, options: WeightsOptions = {}): Promise<void> {
  expectModule("model", model);
  expectOptions("loadWeights", weightsNames, options);
  const [own, torch] = [checkpointNaming(model), torchNaming(model)];
  await withStored(path, ({ tensors }) => {
    const found = ({ names }: Naming) => [...names.values()].filter((name) => tensors.has(name)).length;
    return load(model, path, tensors, found(torch) > found(own) ? torch : own, options);
  });
}

/**
 * Copies of a model's parameters and buffers with PyTorch's names, shapes and order of axes, in the types they have
 * here. `model.load_state_dict` takes them. The caller disposes of them.
 *
 * @throws StepsizeError `invalid-argument` if the model's `torchNames()` leaves a tensor without a name, gives one name
 * to two of them, or gives a layout that does not fit
 */
export async function toTorchWeights(model: Module): Promise<Map<string, Tensor>> {
  expectModule("model", model);
  const { names, layoutOf } = torchNaming(model);
  // All reads are enqueued before the first is awaited, so that they see one moment of a run.
  const all = [...model.stateDict()].map(async ([path, own]): Promise<[string, Tensor]> => {
    const [layout, { shape, dtype }] = [layoutOf(path, own.shape), own];
    const values = toTorchOrder(await own.read(), shape, layout);
    return [names.get(path) as string, tensor(own.device, values, torchShape(shape, layout), { dtype })];
  });
  return new Map(await Promise.all(all));
}

/**
 * Writes a model's weights as a safetensors file for PyTorch:
 * `model.load_state_dict(safetensors.torch.load_file(path))`.
 *
 * @example
 * await saveTorchWeights(model, "resnet18.safetensors");
 *
 * @throws StepsizeError as {@link toTorchWeights}; `invalid-file` if the file cannot be written
 */
export async function saveTorchWeights(model: Module, path: string): Promise<void> {
  expectModule("model", model);
  expectText("path", path, "the path of a file");
  const { names, layoutOf } = torchNaming(model);
  const sources = [...model.stateDict()].map(([own, one]) => {
    const [name, layout] = [names.get(own) as string, layoutOf(own, one.shape)];
    return [name, deviceSource(name, one, torchShape(one.shape, layout), layout)] as const;
  });
  await writeSources(path, new Map(sources), torchMetadata);
}

/** @internal Copies tensors with PyTorch's names into a model; `path` is for errors. */
export function fillFromTorch(model: Module, path: string, stored: ReadonlyMap<string, StoredTensor>): Promise<void> {
  return load(model, path, stored, torchNaming(model), {});
}

/** What a file calls the tensors of a model, and how it lays them out. */
interface Naming {
  /** By path in the model. */
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
    // Throws for a layout that does not fit.
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
  const all = [...model.stateDict()].map(([own, tensor]) => ({
    tensor,
    name: names.get(own) as string,
    layout: layoutOf(own, tensor.shape),
    ofClassifier: layer !== undefined && own.startsWith(`${layer}.`),
  }));
  const skipped = new Set(classifier === "skip" ? all.filter((one) => one.ofClassifier).map(({ name }) => name) : []);
  const wanted = all.filter(({ name }) => !skipped.has(name));
  await fillModel(wanted, path, stored, (name) => skipped.has(name) || isUnused(name));
}
