import { allocate } from "../allocate.js";
import { expectFunction, expectShape, expectSignal } from "../arguments.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import type { Device } from "../native/index.js";
import { nestedShape } from "../nested.js";
import { checkedOptions, optionNames } from "../options.js";
import { isFloat32Array, isInt32Array, isUint8Array } from "../realms.js";
import { elementCount, sameShape } from "../shapes.js";
import { asType, type NestedNumbers, noGrad, type Tensor, tensor, tidy } from "../tensor/index.js";
import type { Module } from "./module.js";

/** Inputs of {@link Module.predict}, item after item. Nested arrays become float32. Ids of tokens are an Int32Array. */
export type PredictionInputs = Float32Array | Int32Array | Uint8Array | readonly NestedNumbers[];

/** Options of {@link Module.predict}. */
export interface PredictOptions {
  /** Shape of one item. Required for a typed array; default for nested arrays: their shape. */
  readonly shape?: readonly number[] | undefined;
  /** Converts raw inputs to what the model takes, such as the `prepare` of {@link loadModel}. Default: none. */
  readonly prepare?: ((raw: Tensor) => Tensor) | undefined;
  /** Items per forward pass. Default 64. */
  readonly size?: number | undefined;
  /** Ends the work before the next batch if it is aborted. The promise then rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** The outputs of a model for all items. */
export interface Predictions {
  /** The outputs in row-major order, item after item. */
  readonly data: Float32Array;
  /** Shape of the outputs, with the items along the first axis: [N, classes] for a classifier. */
  readonly shape: readonly number[];
}

const names = optionNames<PredictOptions>({ shape: true, prepare: true, size: true, signal: true });

const unchanged = (raw: Tensor) => raw;

/**
 * @internal Computes the outputs of a model for raw inputs, as float32, in evaluation mode and without gradients. The
 * modules are in the mode of before when it returns.
 */
export function infer(model: Module, raw: Tensor, prepare: (raw: Tensor) => Tensor = unchanged): Tensor<"float32"> {
  const training = model.modules().filter((module) => module.training);
  for (const module of training) module.training = false;
  try {
    return noGrad(() => tidy(() => asType(model.forward(prepare(raw)), "float32")));
  } finally {
    for (const module of training) module.training = true;
  }
}

/** @internal See {@link Module.predict}. */
export async function predict(model: Module, inputs: PredictionInputs, options: PredictOptions): Promise<Predictions> {
  const { shape, prepare, size = 64, signal } = checkedOptions("predict", names, options);
  if (shape !== undefined) expectShape("predict.shape", shape);
  if (prepare !== undefined) expectFunction("predict.prepare", prepare, "a function of a tensor");
  if (!Number.isSafeInteger(size) || size < 1) invalidArgument("predict.size", "a whole number of at least 1", size);
  expectSignal("predict.signal", signal);
  const { items, itemShape, part } = itemsOf(inputs, shape);
  const device = deviceOf(model);
  const start = (first: number): Batch => {
    const count = Math.min(size, items - first);
    const raw = () => tensor(device, part(first, first + count), [count, ...itemShape]);
    const outputs = tidy(() => infer(model, raw(), prepare));
    const values = outputs.read();
    // If the batch before fails, these values are never awaited.
    values.catch(() => {});
    outputs.dispose();
    return { first, count, shape: outputs.shape, values };
  };
  let data = new Float32Array(0);
  let outputShape: readonly number[] | undefined;
  let next: Batch | undefined = start(0);
  while (next) {
    const { first, count, shape, values }: Batch = next;
    const rest: readonly number[] = shape.slice(1);
    if (shape[0] !== count || (outputShape && !sameShape(rest, outputShape)))
      invalidArgument("predict", `outputs [${[count, ...(outputShape ?? ["…"])].join(", ")}] of the model`, shape);
    const perItem = elementCount(rest);
    if (!outputShape) data = allocate("predict", () => new Float32Array(items * perItem));
    outputShape = rest;
    // The next batch is enqueued before these values are awaited, so that the device does not wait.
    signal?.throwIfAborted();
    next = first + count < items ? start(first + count) : undefined;
    data.set(await values, first * perItem);
  }
  return { data, shape: [items, ...(outputShape ?? [])] };
}

/** The outputs of a batch that were enqueued. */
interface Batch {
  /** Index of its first item. */
  readonly first: number;
  /** Number of items. */
  readonly count: number;
  readonly shape: readonly number[];
  readonly values: Promise<Float32Array>;
}

/** The items of the inputs: their number, the shape of one, and a function that returns those of a batch. */
interface Items {
  readonly items: number;
  readonly itemShape: readonly number[];
  readonly part: (first: number, end: number) => Float32Array | Int32Array | Uint8Array | readonly NestedNumbers[];
}

function itemsOf(inputs: PredictionInputs, shape: readonly number[] | undefined): Items {
  const found = isNested(inputs) ? nestedItems(inputs, shape) : arrayItems(inputs, shape);
  if (found.items === 0) invalidArgument("inputs", "at least one item", inputs);
  return found;
}

function isNested(inputs: PredictionInputs): inputs is readonly NestedNumbers[] {
  return Array.isArray(inputs);
}

function nestedItems(inputs: readonly NestedNumbers[], shape: readonly number[] | undefined): Items {
  const [items = 0, ...itemShape] = nestedShape("inputs", inputs);
  if (shape && !sameShape(shape, itemShape))
    invalidArgument("predict.shape", `[${itemShape.join(", ")}], the shape of the nested arrays`, shape);
  return { items, itemShape, part: (first, end) => inputs.slice(first, end) };
}

function arrayItems(inputs: Float32Array | Int32Array | Uint8Array, shape: readonly number[] | undefined): Items {
  if (!isFloat32Array(inputs) && !isInt32Array(inputs) && !isUint8Array(inputs))
    invalidArgument("inputs", "a Float32Array, Int32Array, Uint8Array or nested arrays of numbers", inputs);
  if (!shape) invalidArgument("predict.shape", "the shape of one item, as the inputs are one array", shape);
  const perItem = elementCount(shape);
  if (perItem === 0 || inputs.length % perItem !== 0)
    invalidArgument("inputs", `a multiple of ${perItem} values, for items of [${shape.join(", ")}]`, inputs.length);
  const part = (first: number, end: number) => inputs.subarray(first * perItem, end * perItem);
  return { items: inputs.length / perItem, itemShape: shape, part };
}

function deviceOf(model: Module): Device {
  const [first] = model.stateDict().values();
  if (first) return first.device;
  throw new StepsizeError(
    "invalid-state",
    "predict: expected a model with parameters, whose device it uses, found none",
  );
}
