import type { DataType, Device } from "#lib/native/index.js";
import { Parameter } from "#lib/nn/index.js";
import { Adam, AdamW, Lion, type Optimizer, SGD, type Trainable } from "#lib/optim/index.js";
import type { Schedule } from "#lib/schedule/index.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import { bits } from "../../support/compare.js";
import { numbers } from "../../support/numbers.js";
import type { Kind, RuleOptions } from "./reference.js";

/** Hashed numbers in [0.5, 2.5), where an error of the update is not lost beside the parameter. */
export function initialValues(count: number, salt = 1): Float32Array {
  return numbers(count, salt, 1.5);
}

const cache = new Map<string, Float32Array>();

/** The gradient of a step, as test/golden/optimizers.py makes it: magnitudes over seven powers of two. */
export function gradientValues(count: number, step: number, salt = 100): Float32Array {
  const key = `${count} ${step} ${salt}`;
  const known = cache.get(key);
  if (known) return known;
  const values = numbers(count, salt + step).map((value, i) => value * 2 ** ((i % 7) - 4));
  cache.set(key, values);
  return values;
}

/** A parameter that no model owns, with hashed numbers or those given (of bfloat16: those nearest). */
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

/** Gives the parameter this gradient, in place of the one it has; to a bfloat16 parameter the nearest numbers. */
export function setGradient(parameter: Trainable, values: Float32Array): void {
  parameter.grad?.dispose();
  parameter.grad = tensor(parameter.device, values, parameter.shape, { dtype: parameter.dtype });
}

/** The library's optimizer of this kind, with the rule's options and any others. */
export function make(kind: Kind, parameters: readonly Trainable[], options: RuleOptions & object): Optimizer<never> {
  const Rule = { SGD, Adam, AdamW, Lion }[kind];
  return new Rule(parameters, options) as unknown as Optimizer<never>;
}

/** A schedule that gives these learning rates one after another, and these momenta where there are some. */
export function scheduleOf(rates: readonly number[], momenta?: readonly number[]): Schedule {
  const options = { budget: rates.length };
  // Past the budget a schedule has the last step's rate.
  const at = (values: readonly number[]) => (step: number) => values[Math.min(step, values.length - 1)]!;
  const rule = at(rates);
  return Object.assign(Object.defineProperty(rule, "name", { value: "explicit" }), {
    budget: rates.length,
    options,
    toJSON: () => ({ name: "explicit", ...options }),
    ...(momenta && { momentum: at(momenta) }),
  });
}

/** ‖got − expected‖ / ‖expected‖; not a number where either holds one. */
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

/** All values of several tensors. */
export function readAll(tensors: readonly Trainable[]): Promise<Float32Array[]> {
  return Promise.all(tensors.map(async (one) => (await one.read()) as Float32Array));
}

/** The bits of several tensors by name, for "the same bits" with a name where they are not. */
export async function bitsByName(tensors: Iterable<readonly [string, Tensor]>): Promise<Map<string, string>> {
  const entries = [...tensors].map(async ([name, one]) => [name, bits(await one.read()).toString("base64")] as const);
  return new Map(await Promise.all(entries));
}
