// Losses in float64 with gradients and Hessians, written according to their definitions, and the same losses as models.
import type { Batch } from "#lib/data/index.js";
import type { Device } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import type { Tensor } from "#lib/tensor/index.js";
import { labelsOf, numbers } from "../../support/numbers.js";

type Matrix = readonly Float64Array[];

/** A loss as a function of weights in the order of the model's parameters. */
export interface Reference {
  gradient(weights: Float64Array): Float64Array;
  hessian(weights: Float64Array): Matrix;
}

/** A model with its batch and its loss, and the same loss in float64. */
export interface Case {
  readonly title: string;
  readonly loss: nn.Loss;
  readonly batch: Batch;
  readonly reference: Reference;
  model(device: Device): nn.Module;
}

/** Items as a batch. */
export function batchOf(data: Float32Array, perItem: number, labels: Int32Array | Float32Array): Batch {
  const size = data.length / perItem;
  const inputs = { data, shape: [size, perItem], dtype: "float32" } as const;
  const targets = labels instanceof Int32Array ? labels : { data: labels, shape: [size, labels.length / size] };
  return { inputs, labels: targets, size, epoch: 0, index: 0 };
}

/** A matrix times a vector. */
export function multiply(matrix: Matrix, vector: ArrayLike<number>): Float64Array {
  return Float64Array.from(matrix, (row) => row.reduce((sum, value, j) => sum + value * vector[j]!, 0));
}

/** All weights of a model as one vector. */
export async function weightsOf(model: nn.Module): Promise<Float64Array> {
  const parts = await Promise.all(model.parameters().map((parameter) => parameter.read()));
  return Float64Array.from(parts.flatMap((part) => Array.from(part)));
}

/** Rows of items, each followed by a 1 for the bias. */
function rowsOf(data: Float32Array, perItem: number): Float64Array[] {
  const rows = Array.from({ length: data.length / perItem }, (_, n) => data.subarray(n * perItem, (n + 1) * perItem));
  return rows.map((row) => Float64Array.of(...row, 1));
}

/** W·x + b for weights [outputs, inputs] followed by the biases. */
function affine(weights: Float64Array, row: Float64Array, outputs: number): number[] {
  const inputs = row.length - 1;
  return Array.from({ length: outputs }, (_, o) => {
    let sum = weights[outputs * inputs + o]!;
    for (let i = 0; i < inputs; i++) sum += weights[o * inputs + i]! * row[i]!;
    return sum;
  });
}

/** The index of the derivative by weight (o, i) of such a layer. i = inputs is the bias. */
const placeIn = (inputs: number, outputs: number) => (o: number, i: number) =>
  i < inputs ? o * inputs + i : outputs * inputs + o;

function softmax(logits: readonly number[]): number[] {
  const exponentials = logits.map((value) => Math.exp(value - Math.max(...logits)));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value) => value / sum);
}

/** A linear layer under a loss with known derivatives by the outputs: Σ over items of A ⊗ xxᵀ. */
function linearReference(
  rows: readonly Float64Array[],
  outputs: number,
  slope: (outputs: readonly number[], n: number) => number[],
  bend: (outputs: readonly number[]) => number[][],
): Reference {
  const inputs = rows[0]!.length - 1;
  const place = placeIn(inputs, outputs);
  const size = outputs * (inputs + 1);
  return {
    gradient(weights) {
      const gradient = new Float64Array(size);
      rows.forEach((row, n) => {
        for (const [o, s] of slope(affine(weights, row, outputs), n).entries())
          for (const [i, value] of row.entries()) gradient[place(o, i)]! += s * value;
      });
      return gradient;
    },
    hessian(weights) {
      const hessian = Array.from({ length: size }, () => new Float64Array(size));
      for (const row of rows)
        for (const [o, line] of bend(affine(weights, row, outputs)).entries())
          for (const [p, a] of line.entries())
            for (const [i, x] of row.entries())
              for (const [j, y] of row.entries()) hessian[place(o, i)]![place(p, j)]! += a * x * y;
      return hessian;
    },
  };
}

function regression(): Case {
  const [items, inputs, outputs] = [24, 8, 2];
  const [data, targets] = [numbers(items * inputs, 1), numbers(items * outputs, 2)];
  const share = 2 / (items * outputs);
  return {
    title: "linear regression",
    loss: nn.meanSquaredError,
    batch: batchOf(data, inputs, targets),
    reference: linearReference(
      rowsOf(data, inputs),
      outputs,
      (y, n) => y.map((value, o) => share * (value - targets[n * outputs + o]!)),
      (y) => y.map((_, o) => y.map((__, p) => (o === p ? share : 0))),
    ),
    model: (device) => new nn.Linear(inputs, outputs, { device, seeds: 3 }),
  };
}

function logistic(): Case {
  const [items, inputs, classes] = [40, 6, 4];
  const [data, labels] = [numbers(items * inputs, 3), labelsOf(items, 4, classes)];
  return {
    title: "logistic regression",
    loss: nn.crossEntropy,
    batch: batchOf(data, inputs, labels),
    reference: linearReference(
      rowsOf(data, inputs),
      classes,
      (z, n) => softmax(z).map((p, o) => (p - (labels[n] === o ? 1 : 0)) / items),
      (z) => softmax(z).map((p, o) => softmax(z).map((q, r) => ((o === r ? p : 0) - p * q) / items)),
    ),
    model: (device) => new nn.Linear(inputs, classes, { device, seeds: 5 }),
  };
}

/** x → W₂·tanh(W₁·x + b₁) + b₂ */
class Tanh extends nn.Module {
  readonly hidden: nn.Linear;
  readonly output: nn.Linear;

  constructor(inputs: number, hidden: number, outputs: number, device: Device) {
    super();
    const place = { device, seeds: new nn.Seeds(7) };
    this.hidden = new nn.Linear(inputs, hidden, place);
    this.output = new nn.Linear(hidden, outputs, place);
  }

  forward(x: Tensor): Tensor {
    return this.output.forward(this.hidden.forward(x).tanh());
  }
}

function perceptron(): Case {
  const [items, inputs, hidden, classes] = [30, 5, 9, 3];
  const [data, labels] = [numbers(items * inputs, 5), labelsOf(items, 6, classes)];
  const rows = rowsOf(data, inputs);
  const first = hidden * (inputs + 1);
  const gradient = (weights: Float64Array) => {
    const result = new Float64Array(weights.length);
    rows.forEach((row, n) => {
      const h = Float64Array.of(...affine(weights, row, hidden).map(Math.tanh), 1);
      const slopes = softmax(affine(weights.subarray(first), h, classes)).map(
        (p, o) => (p - (labels[n] === o ? 1 : 0)) / items,
      );
      for (const [o, s] of slopes.entries())
        for (const [i, value] of h.entries()) result[first + placeIn(hidden, classes)(o, i)]! += s * value;
      for (let k = 0; k < hidden; k++) {
        const back = slopes.reduce((sum, s, o) => sum + s * weights[first + o * hidden + k]!, 0) * (1 - h[k]! ** 2);
        for (const [i, value] of row.entries()) result[placeIn(inputs, hidden)(k, i)]! += back * value;
      }
    });
    return result;
  };
  return {
    title: "a perceptron with tanh",
    loss: nn.crossEntropy,
    batch: batchOf(data, inputs, labels),
    reference: { gradient, hessian: (weights) => differences(gradient, weights) },
    model: (device) => new Tanh(inputs, hidden, classes, device),
  };
}

/** A Hessian by fourth-order central differences of a float64 gradient, accurate to about 1e-10. */
function differences(gradient: (weights: Float64Array) => Float64Array, weights: Float64Array): Matrix {
  const step = 1e-3;
  const columns = Array.from(weights, (_, j) => {
    const at = (steps: number) => gradient(weights.map((w, i) => (i === j ? w + steps * step : w)));
    const [a, b, c, d] = [at(-2), at(-1), at(1), at(2)];
    return a.map((value, i) => (value - 8 * b[i]! + 8 * c[i]! - d[i]!) / (12 * step));
  });
  return columns.map((_, i) => Float64Array.from(columns, (column, j) => (column[i]! + columns[i]![j]!) / 2));
}

/** Linear and logistic regression, which have Hessians in closed form, and a small network. */
export const cases: readonly Case[] = [regression(), logistic(), perceptron()];
