import { allocate } from "../allocate.js";
import { isListOf } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { ignoredLabel } from "../ignored-label.js";
import { isFloat32Array, isInt32Array, isShared, isUint8Array } from "../realms.js";

/** The element types that a dataset's inputs may have. */
export type InputType = "uint8" | "float32" | "int32";

/** The array behind a dataset's inputs, or a batch's. */
export type InputArray = Uint8Array | Float32Array | Int32Array;

/** Numbers with a shape: of one item in a dataset, of the whole batch (items first) in a batch. */
export interface Inputs {
  readonly data: InputArray;
  /** Row-major; images are `[height, width, channels]`. */
  readonly shape: readonly number[];
  readonly dtype: InputType;
}

/** Labels that are not classes: targets of a regression, soft labels. */
export interface FloatLabels {
  readonly data: Float32Array;
  /** Of one item in a dataset (`[]` for one number an item), of the whole batch in a batch. */
  readonly shape: readonly number[];
}

/** Several class indices per item: the next token at every place of a text. Only batches have them. */
export interface ClassLabels {
  readonly data: Int32Array;
  /** Of the whole batch, items first. */
  readonly shape: readonly number[];
}

/** Labels of a dataset in memory: a class index per item, or float targets. */
export type ItemLabels = Int32Array | FloatLabels;

/** Labels of a batch: a class index per item, several of them, or float targets. */
export type Labels = ItemLabels | ClassLabels;

/** The items of a dataset: at its file or its arrays, in the order they were found. */
export interface Dataset {
  /** How many items. */
  readonly length: number;
  readonly inputs: Inputs;
  readonly labels: ItemLabels;
  /** The name of each class, by index. */
  readonly classes?: readonly string[];
  /** What the dataset is called in messages and in a run's record. */
  readonly name: string;
}

/** The element type of an array; `undefined` where a dataset cannot hold such an array. */
export function typeOf(data: unknown): InputType | undefined {
  if (isUint8Array(data)) return "uint8";
  if (isFloat32Array(data)) return "float32";
  return isInt32Array(data) ? "int32" : undefined;
}

/**
 * Zeros in memory that worker threads can see too.
 * @throws `out-of-memory`
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
 * Zeros in ordinary memory.
 * @throws `out-of-memory`
 */
export function ownArray<T extends InputType>(dtype: T, length: number): ArrayFor<T> {
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

/** The same numbers in shared memory: those of the array where it is there already, else a copy. */
export function toShared(data: InputArray): InputArray {
  const { buffer, byteOffset, length } = data;
  if (isShared(buffer)) {
    // A Node Buffer would do, but prints and slices unlike other arrays; one of another realm is no instance of ours.
    const view = arrayOver(typeOf(data)!, buffer, byteOffset, length);
    return Object.getPrototypeOf(data) === Object.getPrototypeOf(view) ? data : view;
  }
  const copy = sharedArray(typeOf(data)!, length);
  copy.set(data);
  return copy;
}

/** How many numbers a shape holds; 1 for `[]`. */
export function count(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** A copy of the shape, or an error where it is not an array of integers of at least 1. */
export function checkShape(name: string, shape: unknown): readonly number[] {
  if (isListOf(shape, (extent) => Number.isSafeInteger(extent) && (extent as number) >= 1)) {
    return Object.freeze([...(shape as readonly number[])]);
  }
  invalidArgument(name, "an array of integers of at least 1", shape);
}

/** Throws at the first number that is NaN or infinite: one such input ruins every weight it meets. */
export function checkFinite(name: string, data: Float32Array): void {
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i])) invalidArgument(`${name}[${i}]`, "a finite number", data[i]);
  }
}

/**
 * Throws at the first label that is not the index of a class, nor that of an item that does not count; without a number
 * of classes, only below 0.
 */
export function checkClasses(name: string, labels: Int32Array, classes: number | undefined): void {
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i]!;
    if ((label >= 0 && label < (classes ?? Infinity)) || label === ignoredLabel) continue;
    const expected = classes === undefined ? "a class index of at least 0" : `a class index from 0 to ${classes - 1}`;
    invalidArgument(`${name}[${i}]`, `${expected}, or ${ignoredLabel} for an item that does not count`, label);
  }
}
