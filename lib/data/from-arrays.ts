import { allocate } from "../allocate.js";
import { isListOf } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { nestedShape } from "../nested.js";
import { expectOptions, optionNames } from "../options.js";
import { isFloat32Array, isInt32Array, isObject, isUint8Array } from "../realms.js";
import { elementCount } from "../shapes.js";
import { ArrayDataset } from "./dataset.js";
import {
  checkClasses,
  checkFinite,
  checkShape,
  type InputArray,
  type Inputs,
  type ItemLabels,
  isInputArray,
  toShared,
  typeOf,
} from "./items.js";

/** Nested arrays of numbers. All arrays of a level have the same length. */
export type Nested = readonly number[] | readonly Nested[];

/** Options of {@link fromArrays}. */
export interface FromArrays {
  /** The inputs, item after item. Nested arrays become float32. */
  readonly inputs: InputArray | Nested;
  /**
   * Class indices as an `Int32Array`, `Uint8Array` or array of integers; or float targets as a `Float32Array`, nested
   * arrays, or `{ data, shape }` with the shape of one target.
   */
  readonly labels: Int32Array | Uint8Array | Float32Array | Nested | { data: Float32Array; shape: readonly number[] };
  /** Shape of one item. Default: the shape of the nested arrays, or `[numbers per label]` for a flat array. */
  readonly shape?: readonly number[] | undefined;
  /** Names of the classes, by index. Labels must be below their number. Default none. */
  readonly classes?: readonly string[] | undefined;
  /** Name of the dataset in messages and results. Default `"arrays"`. */
  readonly name?: string | undefined;
}

const names = optionNames<FromArrays>({ inputs: true, labels: true, shape: true, classes: true, name: true });

interface Flat<A extends InputArray = InputArray> {
  readonly data: A;
  /** The shape of nested arrays, items first; `[length]` for a flat array. */
  readonly shape: readonly number[];
}

/**
 * Creates a dataset from arrays. Arrays are copied, unless they are in shared memory, which the dataset uses without a
 * copy.
 *
 * @throws StepsizeError `invalid-argument` for nested arrays of unequal lengths, numbers that are not finite, lengths
 * that do not match, and labels that are not a class; `out-of-memory`
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * const set = data.fromArrays({ inputs: [[0, 0], [0, 1], [1, 0], [1, 1]], labels: [0, 1, 1, 0] });
 * const { batchesPerEpoch } = set.batches({ size: 2 }); // 2
 * ```
 */
export function fromArrays(given: FromArrays): ArrayDataset {
  expectOptions("fromArrays", names, given);
  const inputs = flatten("inputs", given.inputs);
  const shape = given.shape === undefined ? undefined : checkShape("shape", given.shape);
  // Class indices determine the number of items. For other labels, the shape of the inputs does.
  const classes = classIndices(given.labels, given.classes);
  const labels = classes ?? flattenTargets(given.labels);
  const items = itemCount(inputs, shape, labels);
  const itemShape = shape ?? (inputs.shape.length > 1 ? inputs.shape.slice(1) : [inputs.data.length / items]);
  const dtype = typeOf(inputs.data);
  return new ArrayDataset({
    inputs: { data: toShared(inputs.data), shape: itemShape, dtype } satisfies Inputs,
    labels: finishLabels(labels, items),
    classes: given.classes && [...given.classes],
    name: given.name ?? "arrays",
  });
}

function itemCount(inputs: Flat, shape: readonly number[] | undefined, labels: Int32Array | Flat): number {
  const { data } = inputs;
  const nestedItems = inputs.shape.length > 1 ? inputs.shape[0] : undefined;
  const wanted = isInt32Array(labels) ? labels.length : labels.shape.length > 1 ? labels.shape[0] : undefined;
  const items =
    shape === undefined ? (nestedItems ?? wanted ?? labelData(labels).length) : data.length / elementCount(shape);
  if (items === 0 || data.length === 0) invalidArgument("inputs", "at least one item", "none");
  if (shape !== undefined && !Number.isInteger(items)) {
    invalidArgument(
      "inputs",
      `whole items of ${elementCount(shape)} numbers (shape [${shape.join(", ")}])`,
      data.length,
    );
  }
  if (nestedItems !== undefined && nestedItems !== items) {
    invalidArgument("shape", `that of one of ${nestedItems} items`, shape);
  }
  if (wanted !== undefined && wanted !== items) {
    invalidArgument("labels", `one for each of ${items} items`, `${wanted} labels`);
  }
  if (data.length % items !== 0) {
    invalidArgument("inputs", `numbers for ${items} items, as many as labels`, `${data.length} numbers`);
  }
  return items;
}

function classIndices(labels: unknown, classes: unknown): Int32Array | undefined {
  if (classes !== undefined && !isListOf(classes, isString)) {
    invalidArgument("classes", "an array of names", classes);
  }
  let indices: Int32Array;
  if (isInt32Array(labels)) indices = labels;
  else if (isUint8Array(labels)) indices = Int32Array.from(labels);
  else if (Array.isArray(labels) && !Array.isArray(labels[0])) {
    for (const [i, label] of labels.entries()) {
      // A fraction is probably meant as a target. Rounding it would silently train on wrong labels.
      if (!isInt32(label)) invalidArgument(`labels[${i}]`, "a class index (targets go in a Float32Array)", label);
    }
    indices = Int32Array.from(labels);
  } else return undefined;
  checkClasses("labels", indices, classes?.length);
  return toShared(indices);
}

function isInt32(value: unknown): boolean {
  return typeof value === "number" && (value | 0) === value;
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}

/** Flattens float targets. `shape` has items first if the nesting or the caller defines it; otherwise it is `[length]`. */
function flattenTargets(labels: unknown): Flat<Float32Array> {
  if (isFloat32Array(labels)) return flatArray("labels", labels);
  if (Array.isArray(labels)) return flatLists("labels", labels);
  const { data, shape }: Record<string, unknown> = isObject(labels) ? labels : {};
  if (!isFloat32Array(data)) {
    invalidArgument("labels", "class indices, a Float32Array, nested arrays or { data: Float32Array, shape }", labels);
  }
  const targetShape = checkShape("labels.shape", shape);
  const items = data.length / elementCount(targetShape);
  if (!Number.isInteger(items))
    invalidArgument("labels.data", `whole targets of ${elementCount(targetShape)} numbers`, data.length);
  return { ...flatArray("labels.data", data), shape: [items, ...targetShape] };
}

function finishLabels(labels: Int32Array | Flat<Float32Array>, items: number): ItemLabels {
  if (isInt32Array(labels)) return labels;
  const data = toShared(labels.data);
  if (labels.shape.length > 1) return { data, shape: labels.shape.slice(1) };
  const perItem = data.length / items;
  if (!Number.isInteger(perItem) || perItem === 0) {
    invalidArgument("labels", `numbers for ${items} items`, `${data.length} numbers`);
  }
  return { data, shape: perItem === 1 ? [] : [perItem] };
}

function labelData(labels: Int32Array | Flat): InputArray {
  return isInt32Array(labels) ? labels : labels.data;
}

function flatten(name: string, given: unknown): Flat {
  if (isInputArray(given)) return flatArray(name, given);
  if (Array.isArray(given)) return flatLists(name, given);
  invalidArgument(name, "a Uint8Array, Float32Array, Int32Array or nested arrays of numbers", given);
}

function flatArray<A extends InputArray>(name: string, data: A): Flat<A> {
  if (isFloat32Array(data)) checkFinite(name, data);
  return { data, shape: [data.length] };
}

/** Flattens nested arrays of numbers. */
function flatLists(name: string, given: readonly unknown[]): Flat<Float32Array> {
  const shape = nestedShape(name, given);
  const data = allocate(name, () => new Float32Array(elementCount(shape)));
  let next = 0;
  walk(name, given, 0);
  return { data, shape };

  function walk(path: string, value: unknown, depth: number): void {
    if (depth === shape.length) {
      const rounded = typeof value === "number" ? Math.fround(value) : Number.NaN;
      if (!Number.isFinite(rounded)) invalidArgument(path, "a number that float32 can hold", value);
      data[next++] = rounded;
      return;
    }
    if (!Array.isArray(value) || value.length !== shape[depth]) {
      invalidArgument(path, `an array of length ${shape[depth]}, like its neighbors`, value);
    }
    for (let i = 0; i < value.length; i++) walk(`${path}[${i}]`, value[i], depth + 1);
  }
}
