import type { DataType } from "../../native/addon.js";
import { type Device, expectDevice } from "../../native/index.js";
import { checkedOptions, optionNames } from "../../options.js";
import { execute, Tensor } from "../tensor.js";

/** A tensor of this shape with every element `value`; float32 unless another type is given. */
export function full(device: Device, shape: readonly number[], value: number, dtype: DataType = "float32"): Tensor {
  expectDevice("device", device);
  const result = new Tensor(device, device.native.create(dtype, shape));
  fill(result, value);
  return result;
}

/** A tensor of zeros. */
export function zeros(device: Device, shape: readonly number[], dtype: DataType = "float32"): Tensor {
  return full(device, shape, 0, dtype);
}

/** A tensor of ones. */
export function ones(device: Device, shape: readonly number[], dtype: DataType = "float32"): Tensor {
  return full(device, shape, 1, dtype);
}

/** Sets every element, in place. */
export function fill(destination: Tensor, value: number): void {
  execute("fill", [destination], { value });
}

/** Copies the elements of `source`, in place; both tensors have the same type and number of elements. */
export function copy(destination: Tensor, source: Tensor): void {
  execute("copy", [destination, source]);
}

/** Where random numbers come from: a pure function of both numbers and the position, so nothing is drawn twice. */
export interface RandomOptions {
  /** Safe integer ≥ 0. */
  readonly seed: number;
  /** Tells apart uses of one seed; safe integer ≥ 0, default 0. */
  readonly stream?: number;
}

/** Options of {@link uniform}. */
export interface UniformOptions extends RandomOptions {
  /** Default 0. */
  readonly low?: number;
  /** Default 1. */
  readonly high?: number;
}

/** Options of {@link normal}. */
export interface NormalOptions extends RandomOptions {
  /** Default 0. */
  readonly mean?: number;
  /** The standard deviation; default 1. */
  readonly deviation?: number;
}

const randomNames = optionNames<RandomOptions>({ seed: true, stream: true });
const uniformNames = optionNames<UniformOptions>({ ...randomNames, low: true, high: true });
const normalNames = optionNames<NormalOptions>({ ...randomNames, mean: true, deviation: true });

/** Float32 numbers evenly distributed in [low, high). */
export function uniform(device: Device, shape: readonly number[], options: UniformOptions): Tensor {
  expectDevice("device", device);
  const { low = 0, high = 1, seed, stream = 0 } = checkedOptions("uniform", uniformNames, options);
  const result = new Tensor(device, device.native.create("float32", shape));
  execute("uniform", [result], { low, high, seed, stream });
  return result;
}

/** Float32 numbers from a normal distribution. */
export function normal(device: Device, shape: readonly number[], options: NormalOptions): Tensor {
  expectDevice("device", device);
  const { mean = 0, deviation = 1, seed, stream = 0 } = checkedOptions("normal", normalNames, options);
  const result = new Tensor(device, device.native.create("float32", shape));
  execute("normal", [result], { mean, deviation, seed, stream });
  return result;
}
