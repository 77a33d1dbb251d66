// All kinds of models that can be exported, with inputs.
import { create, type ModelConfig } from "#lib/models/index.js";
import type { Device } from "#lib/native/index.js";
import type { Module } from "#lib/nn/index.js";
import { noGrad, tensor, tidy } from "#lib/tensor/index.js";
import { labelsOf, numbers } from "../../support/numbers.js";

/** Inputs or outputs of a model. */
export type Data = Float32Array | Int32Array | Uint8Array;

export const typeOf = (data: Data) =>
  data instanceof Float32Array ? "float32" : data instanceof Int32Array ? "int32" : "uint8";
export const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

const olmo = { vocabulary: 11, context: 6, width: 16, layers: 2, heads: 4, hidden: 12 } as const;
const olmo2 = { keyValueHeads: 2, norm: "rmsnorm", normalize: "outputs", tied: false, clip: 0.5 } as const;

/** A small model of each kind, with the shape of an item. */
export const configs: readonly (readonly [name: string, config: ModelConfig, shape: readonly number[]])[] = [
  ["resnet8", { kind: "resnet", depth: 8, classes: 3, channels: 1, width: 4 }, [8, 8, 1]],
  ["resnet18", { kind: "resnet18", classes: 3, width: 4, stem: "imagenet" }, [32, 32, 3]],
  ["resnet34", { kind: "resnet34", classes: 3, width: 2, stem: "cifar" }, [12, 16, 3]],
  ["resnet50", { kind: "resnet50", classes: 3, width: 2, stem: "cifar" }, [16, 16, 3]],
  ["mlp", { kind: "mlp", inputs: 48, hidden: [5], classes: 3 }, [4, 4, 3]],
  ["olmo", { kind: "olmo", ...olmo }, [6]],
  ["olmo 2", { kind: "olmo", ...olmo, ...olmo2 }, [6]],
];

/** Returns five inputs for a model. */
export function inputsFor({ kind }: ModelConfig, shape: readonly number[]): Float32Array | Int32Array {
  const count = 5 * sizeOf(shape);
  return kind === "olmo" ? labelsOf(count, 1, olmo.vocabulary) : numbers(count, 1);
}

/** Makes a model with running statistics other than those of the start. */
export function makeModel(device: Device, config: ModelConfig, shape: readonly number[]): Module {
  const model = create(config, { device, seed: 3 });
  const data = inputsFor(config, shape);
  if (config.kind !== "olmo")
    for (let i = 0; i < 20; i++) noGrad(() => tidy(() => void model.forward(tensor(device, data, [5, ...shape]))));
  return model;
}
