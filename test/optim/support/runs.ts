import type { DataType, Device } from "#lib/native/index.js";
import { Parameter } from "#lib/nn/index.js";
import { Adam, AdamW, Lion, type Optimizer, SGD, type Trainable } from "#lib/optim/index.js";
import type { Schedule } from "#lib/schedule/index.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import { bits } from "../../support/compare.js";
import { numbers } from "../../support/numbers.js";
import type { Kind, RuleOptions } from "./reference.js";

/** Hashed numbers in [0.5, 2.5). They are small enough for an error of the update to be visible in the parameter. */
export function initialValues(count: number, salt = 1): Float32Array {
  return numbers(count, salt, 1.5);
}

const cache = new Map<string, Float32Array>();

/** The gradient of a step, as test/golden/optimizers.py generates it. The magnitudes span seven powers of two. */
export function gradientValues(count: number, step: number, salt = 100): Float32Array {
  const key = `${count} ${step} ${salt}`;
  const known = cache.get(key);
  if (known) return known;
  const values = numbers(count, salt + step).map((value, i) => value * 2 ** ((i % 7) - 4));
  cache.set(key, values);
  return values;
}

/** Creates a parameter outside any model, with hashed or given numbers, rounded to nearest for bfloat16. */
export function parameterOf(
  device: Device,
  values: number | Float32Array,
  name = "",
  salt = 1,
  dtype: DataType = "float32",
): Parameter {
  const data = typeof values === "number" ? initialValues(values, salt) : values;
  const parameter = new Parameter(tensor(device, data, [data.length], { dtype }));
  parameter.name = name;
  return parameter;
}

/** Replaces the parameter's gradient. The numbers are rounded to nearest for a bfloat16 parameter. */
export function setGradient(parameter: Trainable, values: Float32Array): void {
  parameter.grad?.dispose();
  parameter.grad = tensor(parameter.device, values, parameter.shape, { dtype: parameter.dtype });
}

/** Creates the library's optimizer of this kind, with the rule's options and any others. */
export function make(kind: Kind, parameters: readonly Trainable[], options: RuleOptions & object): Optimizer<never> {
  const Rule = { SGD, Adam, AdamW, Lion }[kind];
  return new Rule(parameters, options) as unknown as Optimizer<never>;
}

/** Creates a schedule that returns these learning rates in order, and these momenta if given. */
export function scheduleOf(rates: readonly number[], momenta?: readonly number[]): Schedule {
  const options = { budget: rates.length };
  // Beyond its budget a schedule returns the rate of the last step.
  const at = (values: readonly number[]) => (step: number) => values[Math.min(step, values.length - 1)]!;
  const rule = at(rates);
  return Object.assign(Object.defineProperty(rule, "name", { value: "explicit" }), {
    budget: rates.length,
    options,
    toJSON: () => ({ name: "explicit", ...options }),
    ...(momenta && { momentum: at(momenta) }),
  });
}

/** ‖got − expected‖ / ‖expected‖, or NaN if either contains NaN. */
export function relativeError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (got.length !== expected.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (got[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / norm);
}

/** Reads several tensors. */
export function readAll(tensors: readonly Trainable[]): Promise<Float32Array[]> {
  return Promise.all(tensors.map(async (one) => (await one.read()) as Float32Array));
}

/** The bits of several tensors by name, so that a failed comparison names the tensor. */
export async function bitsByName(tensors: Iterable<readonly [string, Tensor]>): Promise<Map<string, string>> {
  const entries = [...tensors].map(async ([name, one]) => [name, bits(await one.read()).toString("base64")] as const);
  return new Map(await Promise.all(entries));
}
