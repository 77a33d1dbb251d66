// The cases of stage 2: every operation of the table, with inputs in three shapes, and how exact its results must be.
//
// `aligned` shapes are multiples of every vector and tile, `ragged` ones of none, and `large` ones take several tiles,
// chunks and blocks of threads.
import type { DataType } from "../native/index.js";
import { isInt32Array } from "../realms.js";
import { elementCount } from "../shapes.js";
import { labelsOf, numbers } from "./hashed.js";

type Shape = readonly number[];

/** An input of an operation. */
export interface CaseInput {
  readonly shape: Shape;
  /** The type of the elements. `stored` is float32 or bfloat16, according to the storage of the case. */
  readonly dtype: Exclude<DataType, "bfloat16" | "uint8"> | "stored";
  /** Returns the values. The salt differs from input to input. */
  readonly values: (salt: number) => Float32Array | Float64Array | Int32Array;
}

/** A call of an operation. Its results are its outputs and the inputs that it changes in place. */
export interface OperationCase {
  readonly inputs: readonly CaseInput[];
  readonly attributes?: Readonly<Record<string, number | boolean | string>>;
  /** Lists of tensors. */
  readonly lists?: readonly (readonly CaseInput[])[];
  /** What an error relative to a value is at least relative to: one number per result, default 1. */
  readonly scales?: readonly number[];
}

/**
 * How far a float32 result may be from the CPU's, in units of 2⁻²⁴, half the distance from 1 to the next float32.
 *
 * - `value`: relative to the larger of the expected value and the scale of the case
 * - `magnitudes`: relative to the result for the absolute values of the inputs. This is for sums of products, whose
 *   rounding errors are relative to the sum of the magnitudes of their terms.
 * - `largest`: relative to the largest element of the result. This is for sums over terms of mixed sizes.
 *
 * A bfloat16 result may also be one rounding step away, because the float32 values before the rounding may lie on both
 * sides of the middle between two bfloat16 numbers.
 */
export interface Tolerance {
  readonly relativeTo: "value" | "magnitudes" | "largest";
  readonly units: number;
  /** Why these are enough and not more than needed. */
  readonly reason: string;
  /** Attributes that the call on absolute values has instead. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** Units of 2⁻⁸ that a bfloat16 result may have in addition, because intermediate values are rounded to bfloat16. */
  readonly bfloat16Units?: number;
}

/** An operation and its cases. */
export interface OperationChecks {
  /** The tolerance; `exact` if the results must have the same bits. */
  readonly tolerance: Tolerance | "exact";
  /** The tolerance of products in TF32 of factors that are rounded to it, the first two inputs; if there are any. */
  readonly tf32?: Tolerance;
  /** The types that `stored` inputs may have. */
  readonly storages: readonly ("float32" | "bfloat16")[];
  /** Indices of inputs that are changed in place. */
  readonly written?: readonly number[];
  /** Indices of lists whose tensors are changed in place. */
  readonly writtenLists?: readonly number[];
  readonly cases: { readonly aligned: OperationCase; readonly ragged: OperationCase; readonly large: OperationCase } & {
    readonly [more: string]: OperationCase;
  };
}

/** Numbers in [−1, 1) of the storage of the case. */
const stored = (...shape: number[]): CaseInput => ({
  shape,
  dtype: "stored",
  values: (salt) => numbers(elementCount(shape), salt),
});
/** Numbers in [1, 3) of the storage of the case. */
const positive = (...shape: number[]): CaseInput => ({
  shape,
  dtype: "stored",
  values: (salt) => numbers(elementCount(shape), salt, 2),
});
/** Float32 numbers in [−1, 1), such as statistics. */
const floats = (...shape: number[]): CaseInput => ({ ...stored(...shape), dtype: "float32" });
/** Float32 numbers in [1, 3), such as variances and weights. */
const positiveFloats = (...shape: number[]): CaseInput => ({ ...positive(...shape), dtype: "float32" });
/** Integers in [0, below). */
const integers = (below: number, ...shape: number[]): CaseInput => ({
  shape,
  dtype: "int32",
  values: (salt) => labelsOf(elementCount(shape), salt, below),
});
/** Indices of the largest elements of pooling windows: anywhere in the window and the image. */
const inWindows = (
  [n, height, width, channels]: readonly [number, number, number, number],
  window: { readonly size: number; readonly stride: number; readonly padding?: number },
  image: { readonly height: number; readonly width: number },
): CaseInput => ({
  shape: [n, height, width, channels],
  dtype: "int32",
  values: (salt) => {
    const { size, stride, padding = 0 } = window;
    const place = (position: number, offset: number, end: number) =>
      Math.min(Math.max(position * stride - padding + offset, 0), end - 1);
    return labelsOf(n * height * width * channels, salt, size * size).map((chosen, i) => {
      const column = Math.floor(i / channels);
      const y = place(Math.floor(column / width) % height, Math.floor(chosen / size), image.height);
      return y * image.width + place(column % width, chosen % size, image.width);
    });
  },
});
const given = (array: Int32Array | Float64Array, ...shape: number[]): CaseInput => ({
  shape,
  dtype: isInt32Array(array) ? "int32" : "float64",
  values: () => array,
});

const both = ["float32", "bfloat16"] as const;
const onlyFloat32 = ["float32"] as const;

/** Sizes of vectors: one vector width and more; none; four chunks of 16,384 and a partial one. */
const counts = { aligned: 4096, ragged: 1003, large: 70_001 };

/** The three cases of an operation on vectors of the three sizes. */
function onVectors(of: (count: number) => OperationCase): OperationChecks["cases"] {
  return { aligned: of(counts.aligned), ragged: of(counts.ragged), large: of(counts.large) };
}

/** Rows of a loss, norm or softmax: one warp a row and less; several warps; many rows. */
const rows = { aligned: [64, 128], ragged: [37, 701], large: [3000, 33] } as const;

function onRows(of: (rows: number, width: number) => OperationCase): OperationChecks["cases"] {
  return { aligned: of(...rows.aligned), ragged: of(...rows.ragged), large: of(...rows.large) };
}

/** Images, with their channels last. */
const images = { aligned: [2, 16, 16, 32], ragged: [1, 9, 7, 5], large: [3, 33, 35, 17] } as const;

function onImages(of: (n: number, h: number, w: number, c: number) => OperationCase): OperationChecks["cases"] {
  return { aligned: of(...images.aligned), ragged: of(...images.ragged), large: of(...images.large) };
}

const unary = onVectors((n) => ({ inputs: [stored(n)] }));
const ofPositive = onVectors((n) => ({ inputs: [positive(n)] }));
const binary = onVectors((n) => ({ inputs: [stored(n), stored(n)] }));

/** Sizes of the tensors of an optimizer step. */
const sizes = { aligned: [4096, 1024], ragged: [1003, 1, 5], large: [70_001, 40_000, 3] } as const;

function onLists(of: (list: CaseInput[]) => OperationCase): OperationChecks["cases"] {
  const list = (all: readonly number[]) => all.map((count) => positiveFloats(count));
  return { aligned: of(list(sizes.aligned)), ragged: of(list(sizes.ragged)), large: of(list(sizes.large)) };
}

// Learning rate, weight decay, decoupled, maximize, β1, β2, ε, momentum, dampening, Nesterov, bias corrected; twice.
const hyper = given(
  Float64Array.of(1e-2, 1e-2, 1, 0, 0.9, 0.999, 1e-8, 0.9, 0, 0, 1, 1e-1, 0, 0, 1, 0, 0, 0, 0.5, 0, 1, 0),
  2,
  11,
);
const prepareInputs = (...updates: number[]) => [
  hyper,
  given(Float64Array.of(4, 4, 0, 0, 0, 1, 0.6, 0.9, 0, 0, 0, 0), 12),
  given(Int32Array.from(updates), updates.length),
  given(
    Int32Array.from(updates, (_, i) => (i === 0 ? 0 : 1)),
    updates.length,
  ),
];

const exact = "exact";
const value = (units: number, reason: string, more: Partial<Tolerance> = {}): Tolerance => ({
  relativeTo: "value",
  units,
  reason,
  ...more,
});
const magnitudes = (units: number, reason: string, more: Partial<Tolerance> = {}): Tolerance => ({
  relativeTo: "magnitudes",
  units,
  reason,
  ...more,
});
const largest = (units: number, reason: string, more: Partial<Tolerance> = {}): Tolerance => ({
  relativeTo: "largest",
  units,
  reason,
  ...more,
});

const ofFunction = "two functions that are each exact to 2 units in the last place, and a few operations around them";
const ofSum =
  "terms are added in another order: the roundings of partial sums, which grow as √k, add up like a random walk of k steps";
const ofTf32 =
  "as a sum in float32; tensor cores round partial sums towards zero, which is 0.22·√k units for random terms, 13 for the longest sum";
const ofNorm = "a mean, a variance and its inverse root, each a few roundings, and sums in another order";
const ofSoftmax = "an exponential of a difference, and a sum of them in another order";

/** Every operation of the table (native/operations.def) by its name. */
export const operationChecks: Readonly<Record<string, OperationChecks>> = {
  fill: {
    tolerance: exact,
    storages: both,
    written: [0],
    cases: onVectors((n) => ({ inputs: [stored(n)], attributes: { value: 1.5 } })),
  },
  copy: { tolerance: exact, storages: both, written: [0], cases: binary },
  cast: {
    tolerance: exact,
    storages: both,
    cases: {
      ...onVectors((n) => ({ inputs: [stored(n)], attributes: { dtype: "float64" } })),
      "to bfloat16": { inputs: [stored(1003)], attributes: { dtype: "bfloat16" } },
      "to float32": { inputs: [stored(1003)], attributes: { dtype: "float32" } },
      "to int32": { inputs: [stored(1003)], attributes: { dtype: "int32" } },
      "from int32": { inputs: [integers(1000, 1003)], attributes: { dtype: "float32" } },
    },
  },
  writeRow: {
    tolerance: exact,
    storages: both,
    written: [0, 1],
    cases: {
      aligned: {
        inputs: [given(new Float64Array(4 * 64).fill(0.5), 4, 64), given(Int32Array.of(2)), stored(64)],
      },
      ragged: {
        inputs: [given(new Float64Array(3 * 5).fill(0.5), 3, 5), given(Int32Array.of(5)), stored(3)],
        attributes: { column: 1, last: true },
      },
      large: {
        inputs: [given(new Float64Array(3 * 101).fill(0.5), 3, 101), given(Int32Array.of(7)), stored(99)],
        attributes: { column: 1, last: true },
      },
    },
  },
  uniform: {
    tolerance: exact,
    storages: onlyFloat32,
    written: [0],
    cases: onVectors((n) => ({ inputs: [floats(n)], attributes: { low: -1, high: 2, seed: 3 } })),
  },
  normal: {
    tolerance: value(16, "a logarithm, a root and a cosine; the largest numbers are about 8 deviations"),
    storages: onlyFloat32,
    written: [0],
    cases: onVectors((n) => ({ inputs: [floats(n)], attributes: { mean: 1, deviation: 2, seed: 3 } })),
  },
  dropout: {
    tolerance: exact,
    storages: both,
    cases: {
      ...onVectors((n) => ({ inputs: [stored(n)], attributes: { probability: 0.3, seed: 3 } })),
      counted: {
        inputs: [stored(1003), { shape: [], dtype: "float32", values: () => Float32Array.of(7) }],
        attributes: { probability: 0.5, seed: 3, stream: 2 },
      },
    },
  },
  add: {
    tolerance: exact,
    storages: both,
    cases: {
      aligned: { inputs: [stored(4096), stored(4096)] },
      ragged: { inputs: [stored(17, 59), stored(59)] },
      large: { inputs: [stored(700, 101), stored(101)] },
    },
  },
  subtract: { tolerance: exact, storages: both, cases: binary },
  multiply: {
    tolerance: exact,
    storages: both,
    cases: {
      aligned: { inputs: [stored(4096), stored(4096)] },
      ragged: { inputs: [stored(59), stored(17, 59)] },
      large: { inputs: [stored(counts.large), stored()] },
    },
  },
  divide: {
    tolerance: exact,
    storages: both,
    cases: onVectors((n) => ({ inputs: [stored(n), positive(n)] })),
  },
  addRelu: { tolerance: exact, storages: both, cases: binary },
  affine: {
    tolerance: exact,
    storages: both,
    cases: onVectors((n) => ({ inputs: [stored(n)], attributes: { scale: 3, shift: 0.1 } })),
  },
  exp: { tolerance: value(8, ofFunction), storages: both, cases: unary },
  log: { tolerance: value(8, ofFunction), storages: both, cases: ofPositive },
  sqrt: { tolerance: exact, storages: both, cases: ofPositive },
  square: { tolerance: exact, storages: both, cases: unary },
  tanh: { tolerance: value(8, ofFunction), storages: both, cases: unary },
  sigmoid: { tolerance: value(8, ofFunction), storages: both, cases: unary },
  relu: { tolerance: exact, storages: both, cases: unary },
  reluGradient: { tolerance: exact, storages: both, cases: binary },
  gelu: { tolerance: value(8, ofFunction), storages: both, cases: unary },
  geluGradient: { tolerance: value(8, ofFunction), storages: both, cases: binary },
  silu: { tolerance: value(8, ofFunction), storages: both, cases: unary },
  siluGradient: { tolerance: value(8, ofFunction), storages: both, cases: binary },
  sum: {
    tolerance: magnitudes(16, ofSum),
    storages: both,
    cases: {
      aligned: { inputs: [stored(64, 64)], attributes: { axis: 0, count: 1 } },
      ragged: { inputs: [stored(5, 37, 19)], attributes: { axis: 1, count: 1, scale: 0.25 } },
      large: { inputs: [stored(counts.large)], attributes: { axis: 0, count: 1 } },
      "last axis": { inputs: [stored(33, 2051)], attributes: { axis: 1, count: 1 } },
    },
  },
  expand: {
    tolerance: exact,
    storages: both,
    cases: {
      aligned: { inputs: [stored(64, 64)], attributes: { axis: 0, size: 8 } },
      ragged: { inputs: [stored(7, 11)], attributes: { axis: 2, size: 5, scale: 0.25 } },
      large: { inputs: [stored(300, 7)], attributes: { axis: 1, size: 41 } },
    },
  },
  argmax: { tolerance: exact, storages: both, cases: onRows((n, width) => ({ inputs: [stored(n, width)] })) },
  matmul: {
    tolerance: magnitudes(16, `${ofSum}; an activation adds two roundings`, { attributes: { activation: "none" } }),
    tf32: magnitudes(64, ofTf32, { attributes: { activation: "none" } }),
    storages: both,
    cases: {
      aligned: { inputs: [stored(128, 64), stored(64, 128)] },
      ragged: { inputs: [stored(37, 53), stored(53, 29)] },
      large: {
        inputs: [stored(301, 515), stored(515, 601), stored(601), stored(301, 601)],
        attributes: { bias: true, activation: "gelu" },
      },
      "aligned, large": { inputs: [stored(384, 256), stored(256, 384)], attributes: { activation: "relu" } },
      "a transposed": {
        inputs: [stored(131, 141), stored(131, 67), stored(67)],
        attributes: { transposeA: true, bias: true, activation: "relu" },
      },
      "b transposed": {
        inputs: [stored(141, 136), stored(72, 136), stored(141, 72)],
        attributes: { transposeB: true, activation: "silu" },
      },
      "both transposed": {
        inputs: [stored(48, 40), stored(56, 48)],
        attributes: { transposeA: true, transposeB: true },
      },
      "long sum": { inputs: [stored(40, 4099), stored(4099, 24)] },
    },
  },
  conv2d: {
    tolerance: magnitudes(16, ofSum),
    tf32: magnitudes(64, ofTf32),
    storages: both,
    cases: {
      aligned: { inputs: [stored(2, 16, 16, 32), stored(64, 3, 3, 32)], attributes: { padding: 1 } },
      ragged: { inputs: [stored(1, 9, 7, 5), stored(3, 2, 3, 5)] },
      large: { inputs: [stored(3, 33, 35, 17), stored(20, 3, 3, 17)], attributes: { stride: 2, padding: 1 } },
      stem: { inputs: [stored(2, 32, 32, 3), stored(64, 7, 7, 3)], attributes: { stride: 2, padding: 3 } },
      "1×1, stride 2": { inputs: [stored(2, 16, 16, 64), stored(128, 1, 1, 64)], attributes: { stride: 2 } },
    },
  },
  conv2dInputGradient: {
    tolerance: magnitudes(16, ofSum),
    tf32: magnitudes(64, ofTf32),
    storages: both,
    cases: {
      aligned: {
        inputs: [stored(2, 16, 16, 64), stored(64, 3, 3, 32)],
        attributes: { padding: 1, height: 16, width: 16 },
      },
      ragged: { inputs: [stored(1, 8, 5, 3), stored(3, 2, 3, 5)], attributes: { height: 9, width: 7 } },
      large: {
        inputs: [stored(3, 17, 18, 20), stored(20, 3, 3, 17)],
        attributes: { stride: 2, padding: 1, height: 33, width: 35 },
      },
      stem: {
        inputs: [stored(2, 16, 16, 64), stored(64, 7, 7, 3)],
        attributes: { stride: 2, padding: 3, height: 32, width: 32 },
      },
      "1×1, stride 2": {
        inputs: [stored(2, 8, 8, 128), stored(128, 1, 1, 64)],
        attributes: { stride: 2, height: 16, width: 16 },
      },
    },
  },
  conv2dWeightGradient: {
    tolerance: magnitudes(16, ofSum),
    tf32: magnitudes(64, ofTf32),
    storages: both,
    cases: {
      aligned: {
        inputs: [stored(2, 16, 16, 32), stored(2, 16, 16, 64)],
        attributes: { padding: 1, height: 3, width: 3 },
      },
      ragged: { inputs: [stored(1, 9, 7, 5), stored(1, 8, 5, 3)], attributes: { height: 2, width: 3 } },
      large: {
        inputs: [stored(3, 33, 35, 17), stored(3, 33, 35, 20)],
        attributes: { stride: 1, padding: 1, height: 3, width: 3 },
      },
      stem: {
        inputs: [stored(2, 32, 32, 3), stored(2, 16, 16, 64)],
        attributes: { stride: 2, padding: 3, height: 7, width: 7 },
      },
      "1×1, stride 2": {
        inputs: [stored(2, 16, 16, 64), stored(2, 8, 8, 128)],
        attributes: { stride: 2, height: 1, width: 1 },
      },
    },
  },
  batchNorm: {
    tolerance: value(32, ofNorm),
    storages: both,
    written: [3, 4],
    cases: {
      ...onImages((n, h, w, c) => ({
        inputs: [stored(n, h, w, c), stored(c), stored(c), floats(c), positiveFloats(c)],
      })),
      relu: {
        inputs: [stored(4, 8, 8, 24), stored(24), stored(24), floats(24), positiveFloats(24)],
        attributes: { relu: true },
      },
    },
  },
  batchNormInference: {
    tolerance: value(16, "an inverse root and three operations"),
    storages: both,
    cases: onImages((n, h, w, c) => ({
      inputs: [stored(n, h, w, c), stored(c), stored(c), floats(c), positiveFloats(c)],
    })),
  },
  batchNormGradient: {
    tolerance: largest(32, "sums over the images in another order, and differences of them"),
    storages: both,
    cases: onImages((n, h, w, c) => ({
      inputs: [stored(n, h, w, c), stored(n, h, w, c), stored(c), floats(c), positiveFloats(c)],
    })),
  },
  maxPool2d: {
    tolerance: exact,
    storages: both,
    cases: {
      aligned: { inputs: [stored(2, 16, 16, 32)], attributes: { size: 2, stride: 2 } },
      ragged: { inputs: [stored(1, 9, 7, 5)], attributes: { size: 2, stride: 1 } },
      large: { inputs: [stored(3, 33, 35, 17)], attributes: { size: 3, stride: 2, padding: 1 } },
    },
  },
  maxPool2dGradient: {
    tolerance: magnitudes(16, ofSum),
    storages: both,
    cases: {
      aligned: maxGradient([2, 8, 8, 32], { size: 2, stride: 2 }, { height: 16, width: 16 }),
      ragged: maxGradient([1, 8, 6, 5], { size: 2, stride: 1 }, { height: 9, width: 7 }),
      large: maxGradient([3, 17, 18, 17], { size: 3, stride: 2, padding: 1 }, { height: 33, width: 35 }),
    },
  },
  averagePool2d: {
    tolerance: magnitudes(16, ofSum),
    storages: both,
    cases: {
      aligned: { inputs: [stored(2, 16, 16, 32)], attributes: { size: 2, stride: 2 } },
      ragged: { inputs: [stored(1, 9, 7, 5)], attributes: { size: 7, stride: 1 } },
      large: { inputs: [stored(3, 33, 35, 17)], attributes: { size: 3, stride: 2, padding: 1 } },
    },
  },
  averagePool2dGradient: {
    tolerance: magnitudes(16, ofSum),
    storages: both,
    cases: {
      aligned: { inputs: [stored(2, 8, 8, 32)], attributes: { size: 2, stride: 2, height: 16, width: 16 } },
      ragged: { inputs: [stored(1, 3, 1, 5)], attributes: { size: 7, stride: 1, height: 9, width: 7 } },
      large: {
        inputs: [stored(3, 17, 18, 17)],
        attributes: { size: 3, stride: 2, padding: 1, height: 33, width: 35 },
      },
    },
  },
  normalizeImages: {
    tolerance: exact,
    storages: onlyFloat32,
    cases: {
      aligned: { inputs: [floats(2, 16, 16, 32), floats(32), floats(32)], attributes: { dtype: "bfloat16" } },
      ragged: { inputs: [floats(1, 9, 7, 5), floats(5), floats(5)], attributes: { dtype: "float32" } },
      large: {
        inputs: [floats(3, 33, 35, 17), floats(17), floats(17), integers(5, 3, 3)],
        attributes: { dtype: "float32" },
      },
    },
  },
  logSoftmax: {
    tolerance: value(16, ofSoftmax),
    storages: both,
    cases: onRows((n, width) => ({ inputs: [stored(n, width)] })),
  },
  logSoftmaxGradient: {
    tolerance: largest(32, `${ofSoftmax}, times a sum of the gradients of the row`),
    storages: both,
    cases: onRows((n, width) => ({ inputs: [stored(n, width), stored(n, width)] })),
  },
  crossEntropy: {
    tolerance: value(32, `${ofSoftmax}, its logarithm, and sums of the losses`),
    storages: both,
    cases: {
      aligned: { inputs: [stored(64, 128), integers(128, 64)], scales: [1, 1, 1, 1, 1, 1 / 128] },
      ragged: {
        inputs: [stored(37, 701), integers(701, 37)],
        attributes: { smoothing: 0.2, ignoreIndex: 3 },
        scales: [1, 1, 1, 1, 1, 1 / 701],
      },
      large: {
        inputs: [stored(3000, 33), integers(33, 3000), positiveFloats(33), positiveFloats(3000)],
        attributes: { smoothing: 0.1, ignoreIndex: 3, classWeights: true, itemWeights: true },
        scales: [1, 1, 1, 1, 1, 1 / 33],
      },
    },
  },
  crossEntropyGradient: {
    tolerance: largest(32, ofSoftmax),
    storages: both,
    cases: {
      aligned: {
        inputs: [stored(64, 128), integers(128, 64), positiveFloats(), floats(64), positiveFloats(64), floats()],
        attributes: { mean: true },
      },
      ragged: {
        inputs: [stored(37, 701), integers(701, 37), positiveFloats(), floats(37), positiveFloats(37), floats(37)],
        attributes: { smoothing: 0.2, ignoreIndex: 3 },
      },
      large: {
        inputs: [
          stored(3000, 33),
          integers(33, 3000),
          positiveFloats(33),
          positiveFloats(3000),
          positiveFloats(),
          floats(3000),
          positiveFloats(3000),
          floats(),
        ],
        attributes: { smoothing: 0.1, ignoreIndex: 3, classWeights: true, itemWeights: true, mean: true },
      },
    },
  },
  binaryCrossEntropy: {
    tolerance: value(32, ofFunction),
    storages: both,
    cases: {
      aligned: { inputs: [stored(64, 128), floats(64, 128)] },
      ragged: { inputs: [stored(37, 701), floats(37, 701), floats(37, 701)], attributes: { weights: true } },
      large: {
        inputs: [stored(3000, 33), floats(3000, 33), positiveFloats(33), floats(3000, 33)],
        attributes: { positiveWeights: true, weights: true },
      },
    },
  },
  binaryCrossEntropyGradient: {
    tolerance: value(32, ofFunction),
    storages: both,
    cases: {
      aligned: { inputs: [stored(64, 128), floats(64, 128), floats(64, 128)] },
      ragged: {
        inputs: [stored(37, 701), floats(37, 701), floats(37, 701), floats(37, 701)],
        attributes: { weights: true },
      },
      large: {
        inputs: [stored(3000, 33), floats(3000, 33), positiveFloats(33), floats(3000, 33), floats(3000, 33)],
        attributes: { positiveWeights: true, weights: true },
      },
    },
  },
  correctCount: {
    tolerance: exact,
    storages: both,
    cases: onRows((n, width) => ({ inputs: [stored(n, width), integers(width, n)] })),
  },
  embedding: {
    tolerance: exact,
    storages: both,
    cases: {
      aligned: { inputs: [integers(64, 4, 16), stored(64, 128)] },
      ragged: { inputs: [integers(11, 7), stored(11, 5)] },
      large: { inputs: [integers(50, 30, 100), stored(50, 33)] },
    },
  },
  embeddingGradient: {
    tolerance: magnitudes(16, ofSum),
    storages: both,
    cases: {
      aligned: { inputs: [integers(64, 4, 16), stored(4, 16, 128)], attributes: { rows: 64 } },
      ragged: { inputs: [integers(11, 7), stored(7, 5)], attributes: { rows: 11 } },
      large: { inputs: [integers(50, 30, 100), stored(30, 100, 33)], attributes: { rows: 50 } },
      // As in text, where a few ids are frequent.
      "one frequent id": { inputs: [integers(2, 2000), stored(2000, 24)], attributes: { rows: 1000 } },
    },
  },
  layerNorm: {
    tolerance: value(32, ofNorm),
    storages: both,
    cases: {
      aligned: { inputs: [stored(64, 128)] },
      ragged: { inputs: [stored(37, 701), stored(701), stored(701)] },
      large: { inputs: [stored(3000, 33), stored(33), stored(33)] },
    },
  },
  layerNormGradient: {
    tolerance: largest(32, "sums over rows and columns in another order, and differences of them"),
    storages: both,
    cases: {
      aligned: { inputs: [stored(64, 128), stored(64, 128), floats(64), positiveFloats(64)] },
      ragged: { inputs: [stored(37, 701), stored(37, 701), floats(37), positiveFloats(37), stored(701)] },
      large: { inputs: [stored(3000, 33), stored(3000, 33), floats(3000), positiveFloats(3000), stored(33)] },
    },
  },
  rmsNorm: {
    tolerance: value(32, ofNorm),
    storages: both,
    cases: {
      aligned: { inputs: [stored(64, 128)] },
      ragged: { inputs: [stored(37, 701), stored(701)] },
      large: { inputs: [stored(3000, 33), stored(33)] },
    },
  },
  rmsNormGradient: {
    tolerance: largest(32, "sums over rows and columns in another order, and differences of them"),
    storages: both,
    cases: {
      aligned: { inputs: [stored(64, 128), stored(64, 128), positiveFloats(64)] },
      ragged: { inputs: [stored(37, 701), stored(37, 701), positiveFloats(37), stored(701)] },
      large: { inputs: [stored(3000, 33), stored(3000, 33), positiveFloats(3000), stored(33)] },
    },
  },
  rotary: {
    tolerance: value(8, "the angles are computed in float64, and four operations follow"),
    storages: both,
    cases: {
      aligned: { inputs: [stored(1, 128, 2, 64)], attributes: { inverse: true } },
      ragged: { inputs: [stored(2, 37, 3, 10)], attributes: { base: 500_000 } },
      large: { inputs: [stored(2, 290, 3, 34)] },
    },
  },
  swiglu: { tolerance: value(8, ofFunction), storages: both, cases: binary },
  swigluGradient: {
    tolerance: value(16, ofFunction),
    storages: both,
    cases: onVectors((n) => ({ inputs: [stored(n), stored(n), stored(n)] })),
  },
  attention: {
    tolerance: value(64, `${ofSoftmax}, of scores that are sums themselves`, { bfloat16Units: 1 }),
    storages: both,
    // The results are a mean of values, the largest score of each row, and the inverse of a sum of exponentials.
    cases: onHeads((shape) => ({
      inputs: [stored(...shape), stored(...shape), stored(...shape)],
      attributes: { scale: 0.3 },
      scales: [1, 4, 1 / (shape[1] ?? 1)],
    })),
  },
  attentionGradient: {
    tolerance: largest(64, "sums over the sequence, of products of sums", { bfloat16Units: 2 }),
    storages: both,
    cases: onHeads((shape) => {
      const [batch = 1, length = 1, heads = 1] = shape;
      return {
        inputs: [
          ...[0, 1, 2, 3, 4].map(() => stored(...shape)),
          floats(batch, heads, length),
          positiveFloats(batch, heads, length),
        ],
        attributes: { scale: 0.3 },
      };
    }),
  },
  gradientNorm: { tolerance: exact, storages: onlyFloat32, cases: onLists((list) => ({ inputs: [], lists: [list] })) },
  prepareStep: {
    tolerance: exact,
    storages: onlyFloat32,
    written: [1, 2],
    cases: {
      aligned: { inputs: prepareInputs(4, 0) },
      ragged: {
        inputs: [...prepareInputs(4, 0, 7, 2, 2), given(Float64Array.of(2))],
        attributes: { maxNorm: 0.5, skipNonFinite: true, gradientScale: 0.25 },
      },
      large: {
        inputs: [
          ...prepareInputs(4, 0, 7),
          given(Float64Array.of(2)),
          given(Float64Array.of(0.1, 0.9, 0, 0.2, 0.8, 0), 1, 2, 3),
        ],
        attributes: { maxNorm: 0.5, checkFinite: true, scheduled: true },
      },
    },
  },
  update: {
    tolerance: exact,
    storages: onlyFloat32,
    written: [1],
    writtenLists: [0, 1, 2, 3, 4],
    cases: onLists((list) => ({
      inputs: [positiveFloats(5, 17), given(Int32Array.of(4, 0, 7), 3)],
      attributes: { rule: "adamAmsgrad", zeroGradients: true },
      lists: [list, list, list, list, list],
    })),
  },
  traffic: {
    tolerance: exact,
    storages: onlyFloat32,
    writtenLists: [0, 2, 3],
    cases: onLists((list) => ({ inputs: [], attributes: { rule: "adam" }, lists: [list, list, list, list] })),
  },
};

/** The gradient of a maximum. If windows overlap, several values are added into one place. */
function maxGradient(...[shape, window, image]: Parameters<typeof inWindows>): OperationCase {
  return { inputs: [stored(...shape), inWindows(shape, window, image)], attributes: { ...window, ...image } };
}

/** Tensors of attention: heads of 64; of no multiple of 8; of 34, over several blocks of keys; of 128. */
function onHeads(of: (shape: readonly number[]) => OperationCase): OperationChecks["cases"] {
  return {
    aligned: of([1, 128, 2, 64]),
    ragged: of([2, 37, 3, 10]),
    large: of([2, 290, 3, 34]),
    "heads of 128": of([1, 200, 1, 128]),
  };
}
