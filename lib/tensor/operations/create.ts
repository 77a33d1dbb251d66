import type { DataType } from "../../data-type.js";
import { type Device, expectDevice } from "../../native/index.js";
import { checkedOptions, optionNames } from "../../options.js";
import { execute, Tensor } from "../tensor.js";

/**
 * Returns a tensor with every element set to a value.
 *
 * @param shape sizes of the axes; `[]` for a scalar
 * @param dtype the type `D` of the elements, default `"float32"`
 * @throws StepsizeError `invalid-argument` if an argument has the wrong type; `out-of-memory`
 */
export function full<D extends DataType = "float32">(
  device: Device,
  shape: readonly number[],
  value: number,
  dtype?: D,
): Tensor<D>;
export function full(device: Device, shape: readonly number[], value: number, dtype: DataType = "float32"): Tensor {
  expectDevice("device", device);
  const result = new Tensor(device, device.native.create(dtype, shape));
  fill(result, value);
  return result;
}

/**
 * Returns a tensor of zeros.
 *
 * @param shape sizes of the axes; `[]` for a scalar
 * @param dtype the type `D` of the elements, default `"float32"`
 * @throws StepsizeError `invalid-argument` if an argument has the wrong type; `out-of-memory`
 */
export function zeros<D extends DataType = "float32">(device: Device, shape: readonly number[], dtype?: D): Tensor<D>;
export function zeros(device: Device, shape: readonly number[], dtype: DataType = "float32"): Tensor {
  return full(device, shape, 0, dtype);
}

/**
 * Returns a tensor of ones.
 *
 * @param shape sizes of the axes; `[]` for a scalar
 * @param dtype the type `D` of the elements, default `"float32"`
 * @throws StepsizeError `invalid-argument` if an argument has the wrong type; `out-of-memory`
 */
export function ones<D extends DataType = "float32">(device: Device, shape: readonly number[], dtype?: D): Tensor<D>;
export function ones(device: Device, shape: readonly number[], dtype: DataType = "float32"): Tensor {
  return full(device, shape, 1, dtype);
}

/**
 * Sets every element of a tensor to a value, in place.
 *
 * @throws StepsizeError `invalid-argument` if an argument has the wrong type; `invalid-state` for a disposed tensor
 */
export function fill(destination: Tensor, value: number): void {
  execute("fill", [destination], { value });
}

/**
 * Copies the elements of `source` into `destination`, in place.
 *
 * @throws StepsizeError `invalid-argument` if the tensors differ in type or number of elements; `invalid-state` for a
 * disposed tensor
 */
export function copy(destination: Tensor, source: Tensor): void {
  execute("copy", [destination, source]);
}

/** Seed and stream of random numbers. Each number is a pure function of seed, stream and position. */
export interface RandomOptions {
  /** Seed: a safe integer ≥ 0. */
  readonly seed: number;
  /** Index of a stream of the seed: a safe integer ≥ 0. Streams are independent. Default 0. */
  readonly stream?: number | undefined;
}

/** Options of {@link uniform}. */
export interface UniformOptions extends RandomOptions {
  /** Lower end of the range, which is included. Default 0. */
  readonly low?: number | undefined;
  /** Upper end of the range, which is excluded. Default 1. */
  readonly high?: number | undefined;
}

/** Options of {@link normal}. */
export interface NormalOptions extends RandomOptions {
  /** Mean of the distribution. Default 0. */
  readonly mean?: number | undefined;
  /** Standard deviation. Default 1. */
  readonly deviation?: number | undefined;
}

const randomNames = optionNames<RandomOptions>({ seed: true, stream: true });
const uniformNames = optionNames<UniformOptions>({ ...randomNames, low: true, high: true });
const normalNames = optionNames<NormalOptions>({ ...randomNames, mean: true, deviation: true });

/**
 * Returns a float32 tensor of random numbers from the uniform distribution over [low, high).
 *
 * @throws StepsizeError `invalid-argument` if an argument or option has the wrong type or is out of range;
 * `out-of-memory`
 *
 * @example
 * ```ts
 * import { openDevice, ops } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const x = ops.uniform(device, [2, 3], { low: -1, high: 1, seed: 0 });
 * ```
 */
export function uniform(device: Device, shape: readonly number[], options: UniformOptions): Tensor<"float32"> {
  expectDevice("device", device);
  const { low = 0, high = 1, seed, stream = 0 } = checkedOptions("uniform", uniformNames, options);
  const result = new Tensor(device, device.native.create("float32", shape));
  execute("uniform", [result], { low, high, seed, stream });
  return result;
}

/**
 * Returns a float32 tensor of random numbers from a normal distribution.
 *
 * @throws StepsizeError `invalid-argument` if an argument or option has the wrong type or is out of range;
 * `out-of-memory`
 */
export function normal(device: Device, shape: readonly number[], options: NormalOptions): Tensor<"float32"> {
  expectDevice("device", device);
  const { mean = 0, deviation = 1, seed, stream = 0 } = checkedOptions("normal", normalNames, options);
  const result = new Tensor(device, device.native.create("float32", shape));
  execute("normal", [result], { mean, deviation, seed, stream });
  return result;
}
