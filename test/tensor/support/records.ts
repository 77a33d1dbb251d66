// One call of every operation of the table, large enough for several chunks and tiles.
import { Tensor, tensor } from "#lib/tensor/index.js";
import { labelsOf, numbers } from "../../support/numbers.js";
import { elements } from "../../support/reference.js";

type Device = Tensor["device"];
type Attributes = Record<string, number | boolean | string>;

/**
 * What to enqueue. Inputs are given by shape or made by a function. Results are the outputs and the inputs that are
 * written in place.
 */
interface Recipe {
  readonly inputs: readonly (readonly number[] | ((device: Device) => Tensor))[];
  readonly attributes?: Attributes;
  readonly written?: readonly number[];
  /** Lists of tensors, and the indices of those that are written in place. */
  readonly lists?: (device: Device) => Tensor[][];
  readonly writtenLists?: readonly number[];
}

// Four chunks of 16,384 and a partial one.
const many = [70_001];
const images = [3, 33, 35, 17];
const pooled = [3, 17, 18, 17];
const channels = [17];
const rows = [3000, 33];
const labels = (device: Device) => tensor(device, labelsOf(3000, 9, 33));
const positive = (shape: readonly number[]) => (device: Device) =>
  tensor(device, numbers(elements(shape), 5, 2), shape);
const window = { size: 3, stride: 2, padding: 1 };

/** Indices valid in any window of the image. Pooling's gradient adds several values into one place. */
const indices = (device: Device) => tensor(device, labelsOf(elements(pooled), 6, 33 * 35), pooled);

const hyper = (device: Device) =>
  // learning rate, weight decay, decoupled, maximize, β1, β2, ε, momentum, dampening, Nesterov, bias corrected; twice
  tensor(
    device,
    Float64Array.from([1e-2, 1e-2, 1, 0, 0.9, 0.999, 1e-8, 0.9, 0, 0, 1, 1e-1, 0, 0, 1, 0, 0, 0, 0.5, 0, 1, 0]),
    [2, 11],
  );
const state = (device: Device) => tensor(device, Float64Array.from([4, 4, 0, 0, 0, 1, 0.6, 0.9, 0, 0, 0, 0]));
const schedule = (device: Device) => tensor(device, Float64Array.from([0.1, 0.9, 0, 0.2, 0.8, 0]), [1, 2, 3]);
const norm = (device: Device) => tensor(device, Float64Array.of(2), []);
const updates = (device: Device) => tensor(device, Int32Array.of(4, 0, 7));
const groupsOf = (device: Device) => tensor(device, Int32Array.of(0, 1, 1));
const scalars = (device: Device) => tensor(device, numbers(5 * 17, 8, 1), [5, 17]);
const sizes = [70_001, 40_000, 3];

const heads = [2, 290, 3, 34];
const ids = (device: Device) => tensor(device, labelsOf(3000, 11, 50), [30, 100]);

const unary = { inputs: [many] };
const binary = { inputs: [many, many] };
const positives = (device: Device) => sizes.map((size) => positive([size])(device));

export const recipes: Readonly<Record<string, Recipe>> = {
  fill: { inputs: [many], attributes: { value: 1.5 }, written: [0] },
  copy: { inputs: [many, many], written: [0] },
  cast: { inputs: [many], attributes: { dtype: "float64" } },
  writeRow: {
    inputs: [
      (device) => tensor(device, new Float64Array(3 * 101).fill(0.5), [3, 101]),
      (device) => tensor(device, Int32Array.of(7), []),
      [99],
    ],
    attributes: { column: 1, last: true },
    written: [0, 1],
  },
  uniform: { inputs: [many], attributes: { low: -1, high: 2, seed: 3 }, written: [0] },
  normal: { inputs: [many], attributes: { mean: 1, deviation: 2, seed: 3 }, written: [0] },
  dropout: { inputs: [many], attributes: { probability: 0.3, seed: 3 } },
  add: { inputs: [[700, 101], [101]] },
  subtract: binary,
  multiply: { inputs: [many, []] },
  divide: { inputs: [many, positive(many)] },
  addRelu: binary,
  affine: { inputs: [many], attributes: { scale: 3, shift: 0.1 } },
  exp: unary,
  log: { inputs: [positive(many)] },
  sqrt: { inputs: [positive(many)] },
  square: unary,
  tanh: unary,
  sigmoid: unary,
  relu: unary,
  reluGradient: binary,
  gelu: unary,
  normalizeImages: {
    inputs: [images, channels, channels, (device) => tensor(device, labelsOf(9, 12, 5), [3, 3])],
    attributes: { dtype: "float32" },
  },
  geluGradient: binary,
  silu: unary,
  siluGradient: binary,
  sum: { inputs: [many], attributes: { axis: 0, count: 1 } },
  expand: { inputs: [[300, 7]], attributes: { axis: 1, size: 41 } },
  argmax: { inputs: [rows] },
  matmul: {
    inputs: [[301, 515], [515, 601], [601], [301, 601]],
    attributes: { bias: true, activation: "gelu" },
  },
  conv2d: { inputs: [images, [20, 3, 3, 17]], attributes: { stride: 2, padding: 1 } },
  conv2dInputGradient: {
    inputs: [
      [3, 17, 18, 20],
      [20, 3, 3, 17],
    ],
    attributes: { stride: 2, padding: 1, height: 33, width: 35 },
  },
  conv2dWeightGradient: {
    inputs: [images, [3, 33, 35, 20]],
    attributes: { stride: 1, padding: 1, height: 3, width: 3 },
  },
  batchNorm: { inputs: [images, channels, channels, channels, channels], written: [3, 4] },
  batchNormInference: { inputs: [images, channels, channels, channels, positive(channels)] },
  batchNormGradient: { inputs: [images, images, channels, channels, positive(channels)] },
  maxPool2d: { inputs: [images], attributes: window },
  maxPool2dGradient: { inputs: [pooled, indices], attributes: { ...window, height: 33, width: 35 } },
  averagePool2d: { inputs: [images], attributes: window },
  averagePool2dGradient: { inputs: [pooled], attributes: { ...window, height: 33, width: 35 } },
  logSoftmax: { inputs: [rows] },
  logSoftmaxGradient: { inputs: [rows, rows] },
  crossEntropy: {
    inputs: [rows, labels, positive([33]), positive([3000])],
    attributes: { smoothing: 0.1, ignoreIndex: 3, classWeights: true, itemWeights: true },
  },
  crossEntropyGradient: {
    inputs: [rows, labels, positive([33]), positive([3000]), positive([]), [3000], positive([3000]), []],
    attributes: { smoothing: 0.1, ignoreIndex: 3, classWeights: true, itemWeights: true, mean: true },
  },
  binaryCrossEntropy: {
    inputs: [rows, rows, positive([33]), rows],
    attributes: { positiveWeights: true, weights: true },
  },
  binaryCrossEntropyGradient: {
    inputs: [rows, rows, positive([33]), rows, rows],
    attributes: { positiveWeights: true, weights: true },
  },
  correctCount: { inputs: [rows, labels] },
  embedding: { inputs: [ids, [50, 33]] },
  embeddingGradient: { inputs: [ids, [30, 100, 33]], attributes: { rows: 50 } },
  layerNorm: { inputs: [rows, [33], [33]] },
  layerNormGradient: { inputs: [rows, rows, [3000], positive([3000]), [33]] },
  rmsNorm: { inputs: [rows, [33]] },
  rmsNormGradient: { inputs: [rows, rows, positive([3000]), [33]] },
  rotary: { inputs: [heads] },
  swiglu: binary,
  swigluGradient: { inputs: [many, many, many] },
  attention: { inputs: [heads, heads, heads], attributes: { scale: 0.3 } },
  attentionGradient: {
    inputs: [heads, heads, heads, heads, heads, [2, 3, 290], positive([2, 3, 290])],
    attributes: { scale: 0.3 },
  },
  gradientNorm: { inputs: [], lists: (device) => [positives(device)] },
  prepareStep: {
    inputs: [hyper, state, updates, groupsOf, norm, schedule],
    attributes: { maxNorm: 0.5, checkFinite: true, scheduled: true },
    written: [1, 2],
  },
  update: {
    inputs: [scalars, updates],
    written: [1],
    attributes: { rule: "adamAmsgrad", zeroGradients: true },
    lists: (device) => Array.from({ length: 5 }, () => positives(device)),
    writtenLists: [0, 1, 2, 3, 4],
  },
  traffic: {
    inputs: [],
    attributes: { rule: "adam" },
    // The values differ, because equal ones would cancel.
    lists: (device) => [0, 1, 2, 3].map((salt) => sizes.map((size) => tensor(device, numbers(size, salt)))),
    writtenLists: [0, 2, 3],
  },
};

/** Creates a recipe's inputs on a device. */
export function inputsOf(device: Device, { inputs }: Recipe): Tensor[] {
  return inputs.map((input, salt) =>
    typeof input === "function" ? input(device) : tensor(device, numbers(elements(input), salt), input),
  );
}

/** A list of tensors in the form that the native interface takes. */
export function listOf(device: Device, tensors: readonly Tensor[], places?: Int32Array) {
  const list = device.native.list();
  list.set(
    tensors.map(({ handle }) => handle),
    places,
  );
  return list;
}

/** Runs a recipe and returns the bytes of everything that it wrote. */
export async function run(device: Device, operation: string): Promise<Buffer> {
  const recipe = recipes[operation]!;
  const inputs = inputsOf(device, recipe);
  const lists = recipe.lists?.(device) ?? [];
  const handles = inputs.map(({ handle }) => handle);
  // The indices of the tensors among an optimizer's parameters differ from their indices in the list.
  const nativeLists = lists.map((tensors) =>
    listOf(
      device,
      tensors,
      Int32Array.from(tensors, (_, i) => (2 * i) % 3),
    ),
  );
  const outputs = device
    .enqueue(operation, handles, recipe.attributes, nativeLists)
    .map((handle) => new Tensor(device, handle));
  const written = [
    ...(recipe.written ?? []).map((i) => inputs[i]!),
    ...(recipe.writtenLists ?? []).flatMap((i) => lists[i]!),
  ];
  const read = await Promise.all([...outputs, ...written].map((result) => result.read()));
  for (const one of [...inputs, ...lists.flat(), ...outputs]) one.dispose();
  return Buffer.concat(read.map((data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)));
}
