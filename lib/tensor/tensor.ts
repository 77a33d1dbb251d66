import { inspect } from "node:util";
import { describe, invalidArgument, StepsizeError } from "../errors.js";
import {
  type Attributes,
  arrayOf,
  type DataType,
  dataTypes,
  type NativeTensor,
  type TypedArray,
} from "../native/addon.js";
import { type Device, expectDevice } from "../native/index.js";
import { nestedShape } from "../nested.js";
import { checkedOptions, optionNames } from "../options.js";
import { arrayName, markCopy } from "../realms.js";
import { bfloat16Bits, bfloat16Value } from "./bfloat16.js";
import { rememberValues } from "./host-values.js";
import { track, untrack } from "./scope.js";

/** @internal How a result came about, for the backward pass. */
export interface GraphNode {
  readonly operation: string;
  readonly inputs: readonly Tensor[];
  readonly output: Tensor;
  /** Tensors the gradient reads, with the version they had. */
  readonly saved: readonly { readonly tensor: Tensor; readonly version: number }[];
  /** Results of the operation that only the gradient uses. */
  readonly extras: readonly Tensor[];
  readonly gradient: (gradient: Tensor, needed: readonly boolean[]) => readonly (Tensor | undefined)[];
  released: boolean;
}

/** @internal What a weighted mean is the mean of: scalars on the device, which are disposed with it. */
export interface Totals {
  /** Σ weight·value */
  readonly sum: Tensor;
  /** Σ weight */
  readonly weight: Tensor;
  /** The label that does not count, of a loss over classes. */
  readonly ignoreIndex?: number;
}

/** Nested arrays of numbers, all rows equally long. */
export type NestedNumbers = number | readonly NestedNumbers[];

/**
 * An array of numbers on a device: contiguous, row-major, images as NHWC.
 *
 * Operations enqueue work and return at once; `await tensor.read()` waits for the values. Memory is freed by
 * `dispose()`, by `tidy(…)`, by `backward()` for the intermediate results of the graph it walked, and at last by the
 * garbage collector: when the event loop turns, or when an allocation on the device would fail otherwise.
 */
export class Tensor {
  readonly device: Device;
  readonly shape: readonly number[];
  readonly dtype: DataType;
  /** Whether operations on this tensor are recorded for `backward()`. */
  requiresGrad = false;
  /** The gradient that `backward()` left here; `undefined` before, and after `zeroGrad()`. */
  grad: Tensor | undefined;
  /** @internal */
  readonly handle: NativeTensor;
  /** @internal */
  node: GraphNode | undefined;
  /** @internal Set by {@link keep}. */
  kept = false;
  /** @internal Of a weighted mean. */
  totals: Totals | undefined;

  /** @internal Use {@link tensor}, `zeros` and the operations. */
  constructor(device: Device, handle: NativeTensor) {
    this.device = device;
    this.handle = handle;
    this.shape = Object.freeze(handle.shape);
    this.dtype = handle.dtype;
    track(this);
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((product, size) => product * size, 1);
  }

  /** Whether the memory has been given back. */
  get disposed(): boolean {
    return this.handle.disposed;
  }

  /**
   * The values, in row-major order, when all work enqueued before is done; of bfloat16 their bits, as a `Uint16Array`
   * (`ops.cast(x, "float32")` gives numbers).
   * @throws StepsizeError with the error of the operation that failed, if the values were computed from the result of
   * one: `device-failed` with its name and shapes, or `out-of-memory`; `out-of-memory` also if there is no memory for the
   * array; `invalid-argument` for more than 2³² − 1 elements, which an array cannot hold.
   */
  read(): Promise<TypedArray> {
    return this.device.promised(() => this.device.native.read(this.handle));
  }

  /**
   * The value of a tensor with one element.
   * @throws StepsizeError `invalid-argument` where it has more or none; what {@link read} throws.
   */
  async item(): Promise<number> {
    if (this.size !== 1)
      throw new StepsizeError("invalid-argument", `item: expected a tensor with one element, got ${this}`);
    const value = (await this.read())[0] as number;
    return this.dtype === "bfloat16" ? bfloat16Value(value) : value;
  }

  /** Address of the first element in the device's memory, for other programs on the same device. */
  get devicePointer(): bigint {
    return this.handle.devicePointer;
  }

  /** Replaces the values in stream order; the array is copied at the call. Its type must be the tensor's. */
  write(data: TypedArray): void {
    this.device.native.write(this.handle, data);
  }

  /** The same values on another device, through host memory. Without a gradient. */
  async to(device: Device): Promise<Tensor> {
    expectDevice("device", device);
    return fromValues(device, this.dtype, this.shape, await this.read());
  }

  /** Forgets the gradient, and gives back its memory. */
  zeroGrad(): void {
    this.grad?.dispose();
    this.grad = undefined;
  }

  /** Gives the memory back. The tensor cannot be used any more; a second call does nothing. */
  dispose(): void {
    this.handle.dispose();
    this.totals?.sum.dispose();
    this.totals?.weight.dispose();
    untrack(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Holds the tensor beyond the `tidy` block it was made in and beyond `backward()`. Returns the tensor. */
  keep(): this {
    this.kept = true;
    this.totals?.sum.keep();
    this.totals?.weight.keep();
    untrack(this);
    return this;
  }

  /** The same values without the graph behind them; shares the memory. */
  detach(): Tensor {
    return new Tensor(this.device, this.device.native.reshape(this.handle, this.shape));
  }

  toString(): string {
    return `Tensor(${this.dtype}[${this.shape.join(",")}], ${this.disposed ? "disposed" : this.device.name})`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

markCopy(Tensor);

/** @internal Throws unless `value` is a tensor. */
export function expectTensor(name: string, value: unknown): void {
  if (!(value instanceof Tensor)) invalidArgument(name, "a tensor", value);
}

/** @internal Throws unless all of these arguments are tensors. */
export function expectTensors(values: Readonly<Record<string, unknown>>): void {
  for (const name in values) expectTensor(name, values[name]);
}

/** @internal Throws an `invalid-argument` error that shows a tensor by its type and shape. */
export function invalidTensor(name: string, expected: string, got: unknown): never {
  if (!(got instanceof Tensor)) invalidArgument(name, expected, got);
  throw new StepsizeError("invalid-argument", `${name}: expected ${expected}, got ${got}`);
}

/** @internal Enqueues an operation and wraps its results, without recording it for a gradient. */
export function execute(operation: string, inputs: readonly Tensor[], attributes?: Attributes): Tensor[] {
  if (!Array.isArray(inputs) || inputs.length === 0)
    invalidArgument(`${operation}: inputs`, "an array of tensors", inputs);
  for (let i = 0; i < inputs.length; i++)
    if (!(inputs[i] instanceof Tensor)) invalidArgument(`${operation}: tensor ${i}`, "a tensor", inputs[i]);
  const device = (inputs[0] as Tensor).device;
  return device
    .enqueue(
      operation,
      inputs.map((input) => input.handle),
      attributes,
    )
    .map((handle) => new Tensor(device, handle));
}

/** Options of the functions that make tensors. */
export interface TensorOptions {
  /** Default `float32`, or the type of the typed array given. */
  readonly dtype?: DataType;
  /** Whether gradients are computed for it; default false. */
  readonly requiresGrad?: boolean;
}

const tensorNames = optionNames<TensorOptions>({ dtype: true, requiresGrad: true });

/**
 * A tensor from a number, nested arrays or a typed array with its shape.
 *
 * @throws StepsizeError `invalid-argument` for rows of different length, or a shape that does not fit the data.
 */
export function tensor(
  device: Device,
  data: NestedNumbers | TypedArray,
  shape?: readonly number[],
  options: TensorOptions = {},
): Tensor {
  expectDevice("device", device);
  const { dtype = dataTypeOf(data), requiresGrad = false } = checkedOptions("tensor", tensorNames, options);
  if (!Object.hasOwn(arrayOf, dtype)) invalidArgument("options.dtype", dataTypes.join(", "), dtype);
  const flat = ArrayBuffer.isView(data) ? data : flatten(data);
  const ArrayType = arrayOf[dtype];
  const from = (values: ArrayLike<number>) =>
    dtype === "bfloat16" ? Uint16Array.from(values, bfloat16Bits) : ArrayType.from(values);
  const typed = arrayName(flat) === ArrayType.name ? (flat as TypedArray) : from(flat as ArrayLike<number>);
  const result = fromValues(device, dtype, shape ?? shapeOf(data), typed);
  result.requiresGrad = requiresGrad;
  return result;
}

function fromValues(device: Device, dtype: DataType, shape: readonly number[], values: TypedArray): Tensor {
  const result = new Tensor(device, device.native.create(dtype, shape, values));
  // Counters, which are few; an optimizer needs those of a loaded state at once.
  if (dtype === "float64") rememberValues(result, values);
  return result;
}

function dataTypeOf(data: NestedNumbers | TypedArray): DataType {
  if (!ArrayBuffer.isView(data)) return "float32";
  const name = arrayName(data);
  const dtype = dataTypes.find((type) => arrayOf[type].name === name);
  const expected = "a Float32Array, Float64Array, Int32Array, Uint8Array, Uint16Array or nested numbers";
  return dtype ?? invalidArgument("data", expected, data);
}

function shapeOf(data: NestedNumbers | TypedArray): number[] {
  if (ArrayBuffer.isView(data)) return [data.length];
  return nestedShape("data", data);
}

function flatten(data: NestedNumbers): number[] {
  const flat: number[] = [];
  const visit = (level: NestedNumbers, lengths: readonly number[]): void => {
    const [length, ...rest] = lengths;
    if (length === undefined) {
      if (typeof level !== "number") invalidArgument("data", "numbers nested equally deep", level);
      flat.push(level);
      return;
    }
    if (!Array.isArray(level) || level.length !== length)
      throw new StepsizeError("invalid-argument", `data: rows of ${length} values, got ${describe(level)} among them`);
    for (const part of level) visit(part, rest);
  };
  visit(data, shapeOf(data));
  return flat;
}
