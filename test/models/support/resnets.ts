// Residual networks with the weights of test/golden/resnets.py.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create, type ModelConfig, type ResNet } from "#lib/models/index.js";
import type { Device } from "#lib/native/index.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import { numbers } from "../../support/numbers.js";
import { float32, type Stored, writeStored } from "../../weights/support/stored.js";

/** A network in PyTorch, and its outputs for images in evaluation. */
export interface GoldenNetwork {
  readonly name: string;
  readonly classes: number;
  readonly stem: "imagenet" | "cifar";
  readonly parameters: number;
  /** Names and shapes in PyTorch. */
  readonly tensors: readonly (readonly [string, readonly number[]])[];
  readonly results: readonly {
    readonly shape: readonly number[];
    /** Mean square after the stem and after each stage. */
    readonly squares: readonly number[];
    /** The distance between the logits that are stored. */
    readonly every: number;
    readonly logits: readonly number[];
  }[];
}

/** From PyTorch 1.13 in float64: see test/golden/resnets.py. */
export const golden = JSON.parse(readFileSync(new URL("../../golden/resnets.json", import.meta.url), "utf8")) as {
  readonly networks: readonly GoldenNetwork[];
  readonly training: {
    readonly shape: readonly number[];
    readonly loss: number;
    /** Name, norm, and scalar product with hashed numbers, in PyTorch's names and layout. */
    readonly gradients: readonly (readonly [string, number, number])[];
  };
};

const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** The tensors of a network in PyTorch, including the counters that it saves. */
export function torchTensors({ tensors }: GoldenNetwork): Map<string, Stored> {
  const stored = new Map<string, Stored>();
  for (const [k, [name, shape]] of tensors.entries()) {
    const values = numbers(sizeOf(shape), 10 + k);
    const [layer, kind] = [name.slice(0, name.lastIndexOf(".")), name.slice(name.lastIndexOf(".") + 1)];
    const isNorm = /bn\d$|downsample\.1$/.test(layer);
    if (shape.length > 1) scale(values, 2 ** Math.round(Math.log2(Math.sqrt((3 * shape[0]!) / sizeOf(shape)))));
    else if (kind === "running_var" || (kind === "weight" && isNorm)) scale(values, 1 / 2, 1);
    else scale(values, 1 / 4);
    stored.set(name, float32(shape, values));
    if (kind === "running_var")
      stored.set(`${layer}.num_batches_tracked`, { code: "I64", shape: [], data: BigInt64Array.of(7n) });
  }
  return stored;
}

function scale(values: Float32Array, factor: number, offset = 0): void {
  for (let i = 0; i < values.length; i++) values[i] = values[i]! * factor + offset;
}

/** Writes the weights of a network as Python would. */
export function writeTorchWeights(folder: string, network: GoldenNetwork): string {
  return writeStored(join(folder, `${network.name}-${network.stem}.safetensors`), torchTensors(network));
}

/** The library's model of the same name, with initial weights. */
export function ours({ name, classes, stem }: GoldenNetwork, device: Device): ResNet {
  const config = name === "resnet20" ? { kind: "resnet", depth: 20, classes } : { kind: name, classes, stem };
  return create(config as ModelConfig, { device }) as ResNet;
}

/** The images of the golden results. */
export function images(device: Device, shape: readonly number[]): Tensor {
  return tensor(device, numbers(sizeOf(shape), 1000), shape);
}
