import { hasAxes } from "../arguments.js";
import { StepsizeError } from "../errors.js";
import type { TypedArray } from "../native/index.js";

/**
 * The order of a tensor's values in PyTorch.
 *
 * - `same`: the same order as here.
 * - `convolution`: the weight of a convolution. It is [outputs, height, width, inputs] here and
 *   [outputs, inputs, height, width] in PyTorch.
 * - `{ flattened: [height, width, channels] }`: the weight of a linear layer on flattened images. Its inputs are in the
 *   order [height, width, channels] here and [channels, height, width] in PyTorch. The shape is the same.
 */
export type TorchLayout =
  | "same"
  | "convolution"
  | { readonly flattened: readonly [height: number, width: number, channels: number] };

/** Names and layouts of a model's tensors in PyTorch. */
export interface TorchNames {
  /** Name in PyTorch of every parameter and buffer, by its path here. */
  readonly names: ReadonlyMap<string, string>;
  /** Names of tensors that PyTorch saves and this model does not have. */
  readonly unused: readonly string[];
  /** Layouts by path. Default: `convolution` for tensors with four axes, otherwise `same`. */
  readonly layouts?: ReadonlyMap<string, TorchLayout>;
  /** Path of the layer whose number of outputs is the number of classes; absent if there is none. */
  readonly classifier?: string;
}

/** An object that knows the names of its tensors in PyTorch. Every module is one. */
export interface HasTorchNames {
  /** Returns the names and layouts in PyTorch. */
  torchNames(): TorchNames;
}

/** @internal Returns the layout in PyTorch of the tensor at a path. */
export function torchLayoutOf(table: TorchNames | undefined, path: string, shape: readonly number[]): TorchLayout {
  return table?.layouts?.get(path) ?? (hasAxes(shape, 4) ? "convolution" : "same");
}

/** @internal Returns the shape in PyTorch of a tensor that has a shape here. */
export function torchShape(shape: readonly number[], layout: TorchLayout): readonly number[] {
  transpositionOf(shape, layout);
  if (layout !== "convolution" || !hasAxes(shape, 4)) return shape;
  const [outputs, height, width, inputs] = shape;
  return [outputs, inputs, height, width];
}

/**
 * @internal Converts values to PyTorch's order. `shape` is the shape here. Returns the array itself if the orders
 * agree.
 */
export function toTorchOrder(values: TypedArray, shape: readonly number[], layout: TorchLayout): TypedArray {
  const { rows, columns } = transpositionOf(shape, layout);
  return transposed(values, rows, columns);
}

/**
 * @internal Converts values from PyTorch's order. `shape` is the shape here. Returns the array itself if the orders
 * agree.
 */
export function fromTorchOrder(values: TypedArray, shape: readonly number[], layout: TorchLayout): TypedArray {
  const { rows, columns } = transpositionOf(shape, layout);
  return transposed(values, columns, rows);
}

/** The difference between both orders: each block of values is [rows, columns] here and [columns, rows] in PyTorch. */
interface Transposition {
  readonly rows: number;
  readonly columns: number;
}

function transpositionOf(shape: readonly number[], layout: TorchLayout): Transposition {
  const fail = (expected: string): never => {
    throw new StepsizeError("invalid-argument", `torchNames: layouts: expected ${expected}, got one of [${shape}]`);
  };
  if (layout === "same") return { rows: 1, columns: 1 };
  if (layout === "convolution") {
    if (!hasAxes(shape, 4)) return fail("a tensor of four axes for the layout convolution");
    const [, height, width, inputs] = shape;
    return { rows: height * width, columns: inputs };
  }
  const [height, width, channels] = layout.flattened;
  if (shape.length !== 2 || shape[1] !== height * width * channels)
    return fail(
      `a tensor of [outputs, ${height}·${width}·${channels}] for the layout flattened: [${layout.flattened}]`,
    );
  return { rows: height * width, columns: channels };
}

function transposed(values: TypedArray, rows: number, columns: number): TypedArray {
  if (rows === 1 || columns === 1) return values;
  const result = values.slice();
  for (let block = 0; block < values.length; block += rows * columns)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        result[block + column * rows + row] = values[block + row * columns + column] ?? 0;
  return result;
}
