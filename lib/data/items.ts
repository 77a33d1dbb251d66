import { allocate } from "../allocate.js";
import { isListOf, isSafeInteger } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { ignoredLabel } from "../ignored-label.js";
import { isFloat32Array, isInt32Array, isShared, isUint8Array } from "../realms.js";

/** Element types of inputs. */
export type InputType = "uint8" | "float32" | "int32";

/** Arrays that inputs can be stored in. */
export type InputArray = Uint8Array | Float32Array | Int32Array;

/** Inputs of a dataset or a batch. In a dataset, `shape` is that of one item; in a batch, that of the whole batch. */
export interface Inputs {
  /** The values, item after item, in row-major order. */
  readonly data: InputArray;
  /** Row-major; images are `[height, width, channels]`. */
  readonly shape: readonly number[];
  /** Element type of the values. */
  readonly dtype: InputType;
}

/** Labels that are not class indices, such as regression targets or soft labels. */
export interface FloatLabels {
  /** The targets, item after item, in row-major order. */
  readonly data: Float32Array;
  /** In a dataset, the shape of one target, `[]` for a single number; in a batch, the shape of the whole batch. */
  readonly shape: readonly number[];
}

/** Several class indices per item, such as the next token at every position of a text. Only batches have them. */
export interface ClassLabels {
  /** The class indices, item after item, in row-major order. */
  readonly data: Int32Array;
  /** Shape of the whole batch, items first. */
  readonly shape: readonly number[];
}

/** Labels of a dataset in memory: a class index per item, or float targets. */
export type ItemLabels = Int32Array | FloatLabels;

/** Labels of a batch: a class index per item, several of them, or float targets. */
export type Labels = ItemLabels | ClassLabels;

/** A dataset in memory. Items are in the order of their file or array. */
export interface Dataset {
  /** Number of items. */
  readonly length: number;
  /** All inputs, item after item, with the shape of one item. */
  readonly inputs: Inputs;
  /** All labels, item after item. */
  readonly labels: ItemLabels;
  /** Names of the classes, by index. */
  readonly classes?: readonly string[] | undefined;
  /** Name of the dataset in messages and results. */
  readonly name: string;
}

/** Returns the element type of an array; `undefined` if inputs cannot be stored in such an array. */
export function typeOf(data: InputArray): InputType;
export function typeOf(data: unknown): InputType | undefined;
export function typeOf(data: unknown): InputType | undefined {
  if (isUint8Array(data)) return "uint8";
  if (isFloat32Array(data)) return "float32";
  return isInt32Array(data) ? "int32" : undefined;
}

/** Returns whether inputs can be stored in such an array. */
export function isInputArray(data: unknown): data is InputArray {
  return typeOf(data) !== undefined;
}

/**
 * Allocates an array of zeros in memory that is shared with worker threads.
 *
 * @throws StepsizeError `out-of-memory`
 */
export function sharedArray<T extends InputType>(dtype: T, length: number): ArrayFor<T> {
  return arrayOver(
    dtype,
    allocate("data", () => new SharedArrayBuffer(length * width[dtype])),
    0,
    length,
  );
}

/**
 * Allocates an array of zeros in ordinary memory.
 *
 * @throws StepsizeError `out-of-memory`
 */
export function unsharedArray<T extends InputType>(dtype: T, length: number): ArrayFor<T> {
  return arrayOver(
    dtype,
    allocate("data", () => new ArrayBuffer(length * width[dtype])),
    0,
    length,
  );
}

const width: Readonly<Record<InputType, number>> = { uint8: 1, float32: 4, int32: 4 };

function arrayOver<T extends InputType>(dtype: T, buffer: ArrayBufferLike, at: number, length: number): ArrayFor<T>;
function arrayOver(dtype: InputType, buffer: ArrayBufferLike, at: number, length: number): InputArray {
  if (dtype === "uint8") return new Uint8Array(buffer, at, length);
  return dtype === "float32" ? new Float32Array(buffer, at, length) : new Int32Array(buffer, at, length);
}

type ArrayFor<T extends InputType> = { uint8: Uint8Array; float32: Float32Array; int32: Int32Array }[T];

/**
 * Returns the numbers of an array in shared memory: the array itself if it is already there, otherwise a copy.
 *
 * @throws StepsizeError `out-of-memory`
 */
export function toShared(data: Int32Array): Int32Array;
export function toShared(data: Float32Array): Float32Array;
export function toShared(data: InputArray): InputArray;
export function toShared(data: InputArray): InputArray {
  const { buffer, byteOffset, length } = data;
  if (isShared(buffer)) {
    // A view replaces a Node `Buffer`, which slices unlike other arrays, and an array of another realm.
    const view = arrayOver(typeOf(data), buffer, byteOffset, length);
    return Object.getPrototypeOf(data) === Object.getPrototypeOf(view) ? data : view;
  }
  const copy = sharedArray(typeOf(data), length);
  copy.set(data);
  return copy;
}

/** Returns whether a shape has three axes. */
export function hasThreeAxes(shape: readonly number[]): shape is readonly [number, number, number] {
  return shape.length === 3;
}

/**
 * Checks a shape and returns a frozen copy.
 *
 * @throws StepsizeError `invalid-argument` if it is not an array of integers of at least 1
 */
export function checkShape(name: string, shape: unknown): readonly number[] {
  if (isListOf(shape, (extent): extent is number => isSafeInteger(extent) && extent >= 1)) {
    return Object.freeze([...shape]);
  }
  invalidArgument(name, "an array of integers of at least 1", shape);
}

/**
 * Checks that all numbers are finite. A single NaN in the inputs would make all weights NaN.
 *
 * @throws StepsizeError `invalid-argument` naming the first number that is NaN or infinite
 */
export function checkFinite(name: string, data: Float32Array): void {
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i])) invalidArgument(`${name}[${i}]`, "a finite number", data[i]);
  }
}

/**
 * Checks that all labels are class indices or mark an item that does not count.
 *
 * @param classes number of classes; `undefined` if it is unknown
 * @throws StepsizeError `invalid-argument` naming the first wrong label
 */
export function checkClasses(name: string, labels: Int32Array, classes: number | undefined): void {
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i]!;
    if ((label >= 0 && label < (classes ?? Infinity)) || label === ignoredLabel) continue;
    const expected = classes === undefined ? "a class index of at least 0" : `a class index from 0 to ${classes - 1}`;
    invalidArgument(`${name}[${i}]`, `${expected}, or ${ignoredLabel} for an item that does not count`, label);
  }
}
