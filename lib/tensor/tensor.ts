import { elementCount } from "../shapes.js";
// Programs with an older "lib" can read the declarations too.
/// <reference lib="esnext.disposable" preserve="true" />

import { inspect } from "node:util";
import type { ArrayOf, DataType, DataTypeOf } from "../data-type.js";
import { describe, invalidArgument, StepsizeError } from "../errors.js";
import { type Attributes, arrayOf, dataTypes, type NativeTensor, type TypedArray } from "../native/addon.js";
import { type Device, expectDevice } from "../native/index.js";
import { nestedShape } from "../nested.js";
import { checkedOptions, optionNames } from "../options.js";
import { arrayName, markCopy } from "../realms.js";
import { bfloat16Bits, bfloat16Value } from "./bfloat16.js";
import { rememberValues } from "./host-values.js";
import type { Inputs, ResultOf, ResultsOf } from "./results.js";
import { track, untrack } from "./scope.js";

/** @internal The operation that made a tensor, for the backward pass. */
export interface GraphNode {
  readonly operation: string;
  readonly inputs: readonly Tensor[];
  readonly output: Tensor;
  /** Tensors that the gradient reads, with their versions at the time of the operation. */
  readonly saved: readonly { readonly tensor: Tensor; readonly version: number }[];
  /** Results of the operation that only the gradient uses. */
  readonly extras: readonly Tensor[];
  readonly gradient: (gradient: Tensor, needed: readonly boolean[]) => readonly (Tensor | undefined)[];
  released: boolean;
}

/** @internal The sums behind a weighted mean: scalars on the device, which are disposed together with the mean. */
export interface Totals {
  /** Σ weight·value */
  readonly sum: Tensor<"float32">;
  /** Σ weight */
  readonly weight: Tensor<"float32">;
  /** The ignored label, for a loss over classes. */
  readonly ignoreIndex?: number;
}

/** A number, or nested arrays of numbers whose rows have equal lengths. */
export type NestedNumbers = number | readonly NestedNumbers[];

/**
 * A multi-dimensional array of numbers on a device. It is contiguous and in row-major order; images are NHWC.
 *
 * `D` is the type of the elements, which determines the array that `read()` gives; `Tensor` alone stands for any type.
 *
 * Operations enqueue work and return at once. `await tensor.read()` waits for the values. An operation throws
 * `invalid-argument` if shapes or types do not fit, `invalid-state` if a tensor was disposed, and `out-of-memory`.
 *
 * Memory is freed by `dispose()`, by `tidy(…)`, by `backward()` for the intermediate results of its graph, and by the
 * garbage collector: when the event loop turns, or before an allocation on the device would fail.
 *
 * @example
 * ```ts
 * import { openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const w = tensor(device, [[1, 2], [3, 4]], undefined, { requiresGrad: true });
 * const loss = w.square().sum();
 * loss.backward();
 * console.log(await loss.item(), await w.grad!.read()); // 30, and 2, 4, 6, 8
 * ```
 */
export class Tensor<D extends DataType = DataType> {
  /** @internal The name in messages. Bundlers rename the class. */
  static readonly name: string = "Tensor";
  /** Device of the tensor's memory. */
  readonly device: Device;
  /** Sizes of the axes; empty for a scalar. */
  readonly shape: readonly number[];
  /** Type of the elements. */
  readonly dtype: D;
  /** Whether operations on this tensor are added to the graph of `backward()`. Default false. */
  requiresGrad = false;
  /** Gradient that `backward()` computed. `undefined` before that and after `zeroGrad()`. */
  grad: Tensor<D> | undefined;
  /** @internal The native handle. */
  readonly handle: NativeTensor<D>;
  /** @internal The operation that made the tensor; `undefined` for leaves. */
  node: GraphNode | undefined;
  /** @internal Set by {@link keep}. */
  kept = false;
  /** @internal The sums behind a weighted mean. */
  totals: Totals | undefined;

  /** @internal Use {@link tensor}, `zeros` and the operations. */
  constructor(device: Device, handle: NativeTensor<D>) {
    this.device = device;
    this.handle = handle;
    this.shape = Object.freeze(handle.shape);
    this.dtype = handle.dtype;
    track(this);
  }

  /**
   * Returns whether the elements have a type. For TypeScript the tensor then has this type.
   *
   * @param dtype a type of elements, such as `"float32"`
   */
  hasType<T extends DataType>(dtype: T): this is Tensor<T> {
    const type: DataType = this.dtype;
    return type === dtype;
  }

  /** Number of elements. */
  get size(): number {
    return elementCount(this.shape);
  }

  /** Whether the tensor was disposed. */
  get disposed(): boolean {
    return this.handle.disposed;
  }

  /**
   * Reads the values in row-major order, after all work that was enqueued before.
   *
   * For bfloat16 the result is a `Uint16Array` with the bits of the values; `ops.cast(x, "float32")` converts them to
   * numbers.
   *
   * @throws StepsizeError `device-failed` or `out-of-memory` with the operation that failed, if the tensor is spoiled;
   * `out-of-memory` if there is no memory for the array; `invalid-argument` for more than 2³² − 1 elements, the limit
   * of an array; `invalid-state` for a disposed tensor, or inside `device.capture`. The promise rejects then.
   */
  read(): Promise<ArrayOf<D>> {
    return this.device.promised(() => this.device.native.read(this.handle));
  }

  /**
   * Reads the value of a tensor with one element.
   *
   * @throws StepsizeError `invalid-argument` if the tensor has not exactly one element; otherwise as {@link read}
   */
  async item(): Promise<number> {
    const [value] = this.size === 1 ? await this.read() : [];
    if (value === undefined)
      throw new StepsizeError("invalid-argument", `item: expected a tensor with one element, got ${this}`);
    return this.dtype === "bfloat16" ? bfloat16Value(value) : value;
  }

  /** Address of the first element in the device's memory, for other code on the same device; 0 after `dispose()`. */
  get devicePointer(): bigint {
    return this.handle.devicePointer;
  }

  /**
   * Replaces the values, in the order of the enqueued work. The array is copied during the call.
   *
   * @param data all values in row-major order, in an array of the tensor's type
   * @throws StepsizeError `invalid-argument` if type or length differ; `invalid-state` for a disposed tensor, or inside
   * `device.capture`; `out-of-memory`
   */
  write(data: ArrayOf<D>): void {
    this.device.native.write(this.handle, data);
  }

  /**
   * Copies the values to another device, through memory of the host. No gradient flows through the copy.
   *
   * @throws StepsizeError `invalid-argument` if `device` is not a device; otherwise as {@link read}
   */
  async to(device: Device): Promise<Tensor<D>> {
    expectDevice("device", device);
    return fromValues(device, this.dtype, this.shape, await this.read());
  }

  /** Removes the gradient and frees its memory. */
  zeroGrad(): void {
    this.grad?.dispose();
    this.grad = undefined;
  }

  /** Frees the memory. The tensor cannot be used afterwards. A second call has no effect. */
  dispose(): void {
    this.handle.dispose();
    this.totals?.sum.dispose();
    this.totals?.weight.dispose();
    untrack(this);
  }

  /** Calls {@link dispose} at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Keeps the tensor alive after the `tidy` block in which it was made and after `backward()`. Returns the tensor. */
  keep(): this {
    this.kept = true;
    this.totals?.sum.keep();
    this.totals?.weight.keep();
    untrack(this);
    return this;
  }

  /** Returns a tensor with the same values that is not connected to the graph. It shares the memory. */
  detach(): Tensor<D> {
    return viewOf(this, this.shape);
  }

  /** Returns the type, shape and device as text, such as `Tensor(float32[2,3], cpu)`. */
  toString(): string {
    return `Tensor(${this.dtype}[${this.shape.join(",")}], ${this.disposed ? "disposed" : this.device.name})`;
  }

  /** @internal Returns {@link toString} for `console.log`. */
  [inspect.custom](): string {
    return this.toString();
  }
}

markCopy(Tensor);

/** @internal Throws `invalid-argument` unless `value` is a tensor. */
export function expectTensor(name: string, value: unknown): void {
  if (!(value instanceof Tensor)) invalidArgument(name, "a tensor", value);
}

/** @internal Throws `invalid-argument` unless all of these arguments are tensors. */
export function expectTensors(values: Readonly<Record<string, unknown>>): void {
  for (const name in values) expectTensor(name, values[name]);
}

/** @internal Throws an `invalid-argument` error that shows a tensor by its type and shape. */
export function invalidTensor(name: string, expected: string, got: unknown): never {
  if (!(got instanceof Tensor)) invalidArgument(name, expected, got);
  throw new StepsizeError("invalid-argument", `${name}: expected ${expected}, got ${got}`);
}

function expectInputs(operation: string, inputs: readonly Tensor[]): asserts inputs is Inputs {
  if (!Array.isArray(inputs) || inputs.length === 0)
    invalidArgument(`${operation}: inputs`, "an array of tensors", inputs);
  for (let i = 0; i < inputs.length; i++)
    if (!(inputs[i] instanceof Tensor)) invalidArgument(`${operation}: tensor ${i}`, "a tensor", inputs[i]);
}

/** @internal A function that is called after each operation on tensors. A view is the operation `reshape`. */
export type Observer = (
  operation: string,
  inputs: readonly Tensor[],
  attributes: Attributes,
  results: readonly Tensor[],
) => void;

let observer: Observer | undefined;

/** @internal Runs a function and reports its operations to an observer. */
export function observed<T>(report: Observer, block: () => T): T {
  const before = observer;
  observer = report;
  try {
    return block();
  } finally {
    observer = before;
  }
}

/** @internal Returns a tensor with another shape in the same memory. It is not connected to the graph. */
export function viewOf<D extends DataType>(tensor: Tensor<D>, shape: readonly number[]): Tensor<D> {
  const { device, handle } = tensor;
  const view = new Tensor(device, device.native.reshape(handle, shape));
  observer?.("reshape", [tensor], {}, [view]);
  return view;
}

/** @internal Enqueues an operation and wraps its results, without adding it to the graph. */
export function execute<
  const Operation extends string,
  const I extends Inputs,
  const A extends Attributes | undefined = undefined,
>(operation: Operation, inputs: I, attributes?: A): ResultsOf<Operation, I, A>;
export function execute(operation: string, inputs: readonly Tensor[], attributes?: Attributes): Tensor[];
export function execute(operation: string, inputs: readonly Tensor[], attributes?: Attributes): Tensor[] {
  expectInputs(operation, inputs);
  const { device } = inputs[0];
  const results = device
    .enqueue(
      operation,
      inputs.map((input) => input.handle),
      attributes,
    )
    .map((handle) => new Tensor(device, handle));
  observer?.(operation, inputs, attributes ?? {}, results);
  return results;
}

/** @internal Runs an operation that has a result with {@link execute}, and returns the first result. */
export function run<
  const Operation extends string,
  const I extends Inputs,
  const A extends Attributes | undefined = undefined,
>(operation: Operation, inputs: I, attributes?: A): ResultOf<Operation, I, A>;
export function run(operation: string, inputs: readonly Tensor[], attributes?: Attributes): Tensor {
  const [result] = execute(operation, inputs, attributes);
  if (result === undefined) throw new Error(`${operation} has no result`);
  return result;
}

/** Options of {@link tensor}. `D` is the type of the elements. */
export interface TensorOptions<D extends DataType = DataType> {
  /** Type of the elements. Default: the type of the typed array, else `"float32"`. */
  readonly dtype?: D | undefined;
  /** Whether `backward()` computes a gradient of the tensor. Default false. */
  readonly requiresGrad?: boolean | undefined;
}

const tensorNames = optionNames<TensorOptions>({ dtype: true, requiresGrad: true });

/**
 * Makes a tensor from a number, nested arrays or a typed array.
 *
 * `D` is the type of the elements. It follows from `A`, the type of the data, unless `options.dtype` names another.
 *
 * @param data the values. A `Uint16Array` contains the bits of bfloat16 values.
 * @param shape sizes of the axes. Default: the shape of the nested arrays, or the length of a typed array.
 * @throws StepsizeError `invalid-argument` if rows have different lengths, or if the shape or an option does not fit;
 * `out-of-memory`
 *
 * @example
 * ```ts
 * import { openDevice, tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const matrix = tensor(device, [[1, 2, 3], [4, 5, 6]]);
 * const same = tensor(device, new Float32Array([1, 2, 3, 4, 5, 6]), [2, 3]);
 * ```
 */
export function tensor<A extends NestedNumbers | TypedArray, D extends DataType = DataTypeOf<A>>(
  device: Device,
  data: A,
  shape?: readonly number[],
  options?: TensorOptions<D>,
): Tensor<D>;
export function tensor(
  device: Device,
  data: NestedNumbers | TypedArray,
  shape?: readonly number[],
  options: TensorOptions = {},
): Tensor {
  expectDevice("device", device);
  const { dtype = dataTypeOf(data), requiresGrad = false } = checkedOptions("tensor", tensorNames, options);
  if (!Object.hasOwn(arrayOf, dtype)) invalidArgument("options.dtype", dataTypes.join(", "), dtype);
  const ArrayType = arrayOf[dtype];
  const from = (values: ArrayLike<number>) =>
    dtype === "bfloat16" ? Uint16Array.from(values, bfloat16Bits) : ArrayType.from(values);
  const isTyped = ArrayBuffer.isView(data) && arrayName(data) === ArrayType.name;
  const typed = isTyped ? data : from(ArrayBuffer.isView(data) ? data : flatten(data));
  const result = fromValues(device, dtype, shape ?? shapeOf(data), typed);
  result.requiresGrad = requiresGrad;
  return result;
}

function fromValues<D extends DataType>(
  device: Device,
  dtype: D,
  shape: readonly number[],
  values: ArrayOf<D>,
): Tensor<D> {
  const result = new Tensor(device, device.native.create(dtype, shape, values));
  // Only counters are float64, and they are small. An optimizer needs those of a loaded state without a read.
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
