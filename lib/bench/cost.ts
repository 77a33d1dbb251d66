// What an operation must move and compute. Reads that a cache serves are not counted.
import { itemAt } from "../lookup.js";
import { type Attributes, arrayOf } from "../native/addon.js";
import type { DataType, Float32Products } from "../native/index.js";
import { elementCount } from "../shapes.js";

/** Kinds of kernels whose efficiency is predicted together. */
export type Family =
  | "copy"
  | "update"
  | "gradient norm"
  | "product"
  | "float32 product"
  | "TF32 product"
  | "convolution"
  | "convolution, gradient of the images"
  | "convolution, gradient of the weights"
  | "TF32 convolution"
  | "TF32 convolution, gradient of the weights"
  | "attention"
  | "attention, gradient"
  | "elements"
  | "rows"
  | "row statistics"
  | "rows, with sums of columns"
  | "sums of columns"
  | "batch norm"
  | "windows"
  | "embedding, gradient";

/** The work of an operation. */
export interface Cost {
  readonly family: Family;
  /** Bytes that memory must move. */
  readonly bytes: number;
  /** Floating-point operations of matrix products; 0 for other operations. */
  readonly flops: number;
}

/** A tensor of a record. */
export interface Sized {
  readonly shape: readonly number[];
  readonly dtype: DataType;
}

/** An operation that a device was given. */
export interface EnqueuedRecord {
  readonly operation: string;
  readonly inputs: readonly Sized[];
  readonly outputs: readonly Sized[];
  readonly attributes: Attributes;
  /** How the device multiplies float32. Default `"float32"`. */
  readonly float32Products?: Float32Products;
  /** Bytes that its lists of tensors move, if they are known. The record does not have their shapes. */
  readonly listBytes?: number;
}

/** Returns the bytes of a tensor. */
export function bytesOf({ shape, dtype }: Sized): number {
  return elementCount(shape) * arrayOf[dtype].BYTES_PER_ELEMENT;
}

/** Families of operations, except those of element-wise operations and of products of float32 numbers. */
const families: Readonly<Record<string, Family>> = {
  copy: "copy",
  sum: "sums of columns",
  matmul: "product",
  conv2d: "convolution",
  conv2dInputGradient: "convolution, gradient of the images",
  conv2dWeightGradient: "convolution, gradient of the weights",
  batchNorm: "batch norm",
  batchNormGradient: "batch norm",
  maxPool2d: "windows",
  maxPool2dGradient: "windows",
  averagePool2d: "windows",
  averagePool2dGradient: "windows",
  logSoftmax: "rows",
  logSoftmaxGradient: "rows",
  crossEntropy: "row statistics",
  crossEntropyGradient: "rows",
  embeddingGradient: "embedding, gradient",
  layerNorm: "rows",
  layerNormGradient: "rows, with sums of columns",
  rmsNorm: "rows",
  rmsNormGradient: "rows, with sums of columns",
  attention: "attention",
  attentionGradient: "attention, gradient",
  gradientNorm: "gradient norm",
  update: "update",
};

/** Families of products of float32 numbers that the device rounds to TF32. */
const inTf32: Partial<Record<Family, Family>> = {
  product: "TF32 product",
  convolution: "TF32 convolution",
  "convolution, gradient of the images": "TF32 convolution",
  "convolution, gradient of the weights": "TF32 convolution, gradient of the weights",
};

const sumOf = (tensors: readonly Sized[]) => tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);

/** Computes the work of a record from its tensors. */
export function costOf(record: EnqueuedRecord): Cost {
  const bytes = movedBy(record) + (record.listBytes ?? 0);
  return { family: familyOf(record), bytes, flops: flopsOf(record) };
}

function familyOf({ operation, inputs, float32Products }: EnqueuedRecord): Family {
  const family = families[operation] ?? "elements";
  if (inputs[0]?.dtype !== "float32") return family;
  if (float32Products === "tf32") return inTf32[family] ?? family;
  return family === "product" ? "float32 product" : family;
}

function movedBy({ operation, inputs, outputs }: EnqueuedRecord): number {
  const each = sumOf(inputs) + sumOf(outputs);
  switch (operation) {
    // They only write the first tensor.
    case "fill":
    case "uniform":
    case "normal":
      return bytesOf(itemAt(inputs, 0));
    // They use a few numbers of their tensors.
    case "writeRow":
    case "prepareStep":
      return 0;
    // Of the table only the selected rows are read.
    case "embedding":
      return bytesOf(itemAt(inputs, 0)) + 2 * sumOf(outputs);
    // x is read once for the statistics and once for the normalization. The running statistics are also written.
    case "batchNorm":
      return each + bytesOf(itemAt(inputs, 0)) + sumOf(inputs.slice(3));
    // x and the gradient are read once for the sums and once for the result.
    case "batchNormGradient":
      return each + sumOf(inputs.slice(0, 2));
    default:
      return each;
  }
}

function flopsOf({ operation, inputs, outputs, attributes }: EnqueuedRecord): number {
  const shapeOf = (list: readonly Sized[], index: number) => itemAt(list, index).shape;
  switch (operation) {
    case "matmul": {
      const k = itemAt(shapeOf(inputs, 0), attributes["transposeA"] === true ? 0 : 1);
      return 2 * k * elementCount(shapeOf(outputs, 0));
    }
    // Every number of the smaller images is a product with all weights of its channel. Weights: [outputs, h, w, channels].
    case "conv2d":
      return 2 * elementCount(shapeOf(outputs, 0)) * elementCount(shapeOf(inputs, 1).slice(1));
    case "conv2dInputGradient":
      return 2 * elementCount(shapeOf(inputs, 0)) * elementCount(shapeOf(inputs, 1).slice(1));
    case "conv2dWeightGradient":
      return 2 * elementCount(shapeOf(inputs, 1)) * elementCount(shapeOf(outputs, 0).slice(1));
    // Two products forward and five backward, each over the pairs that are not masked.
    case "attention":
      return 4 * pairsOf(shapeOf(inputs, 0));
    case "attentionGradient":
      return 10 * pairsOf(shapeOf(inputs, 0));
    default:
      return 0;
  }
}

/** Returns the number of products of one number for all pairs of positions, of queries [batch, length, heads, size]. */
function pairsOf(shape: readonly number[]): number {
  return (elementCount(shape) * (itemAt(shape, 1) + 1)) / 2;
}
