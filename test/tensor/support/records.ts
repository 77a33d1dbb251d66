// One call of every operation of the table, large enough to be cut into several chunks and tiles.
import { execute, type Tensor, tensor } from "#lib/tensor/index.js";
import { labelsOf, numbers } from "../../support/numbers.js";
import { elements } from "../../support/reference.js";

type Device = Tensor["device"];
type Attributes = Record<string, number | boolean | string>;

/** What to enqueue: inputs by shape, or made by a function; results are the outputs and the inputs written in place. */
interface Recipe {
  readonly inputs: readonly (readonly number[] | ((device: Device) => Tensor))[];
  readonly attributes?: Attributes;
  readonly written?: readonly number[];
}

// Four chunks of 16,384 and a part of one.
const many = [70_001];
const images = [3, 33, 35, 17];
const pooled = [3, 17, 18, 17];
const channels = [17];
const rows = [3000, 33];
const labels = (device: Device) => tensor(device, labelsOf(3000, 9, 33));
const positive = (shape: readonly number[]) => (device: Device) =>
  tensor(device, numbers(elements(shape), 5, 2), shape);
const window = { size: 3, stride: 2, padding: 1 };

/** Within the image whichever window it belongs to: pooling's gradient adds several values into one place. */
const indices = (device: Device) => tensor(device, labelsOf(elements(pooled), 6, 33 * 35), pooled);

const hyper = (device: Device) =>
  // learning rate, weight decay, decoupled, maximise, β1, β2, ε, momentum, dampening, Nesterov; twice
  tensor(
    device,
    Float64Array.from([1e-2, 1e-2, 1, 0, 0.9, 0.999, 1e-8, 0.9, 0, 0, 1e-1, 0, 0, 1, 0, 0, 0, 0.5, 0, 1]),
    [2, 10],
  );
const state = (device: Device) => tensor(device, Float64Array.from([4, 4, 0, 0, 0, 1, 0.6, 0.9, 0, 0]));
const scalars = (device: Device) => tensor(device, numbers(30, 8, 1), [2, 15]);
const groups = (device: Device) => tensor(device, Int32Array.of(0, 1, 0));
const parameters = [many, [40_000], [3]];

const unary = { inputs: [many] };
const binary = { inputs: [many, many] };
const update = (lists: number, attributes: Attributes): Recipe => ({
  inputs: [scalars, groups, ...Array.from({ length: lists }, () => parameters.map(positive)).flat()],
  attributes: { tensors: parameters.length, ...attributes },
  written: Array.from({ length: lists * 3 }, (_, i) => i + 2).filter((i) => i < 5 || i >= 8),
});

export const recipes: Readonly<Record<string, Recipe>> = {
  fill: { inputs: [many], attributes: { value: 1.5 }, written: [0] },
  copy: { inputs: [many, many], written: [0] },
  cast: { inputs: [many], attributes: { dtype: "float64" } },
  uniform: { inputs: [many], attributes: { low: -1, high: 2, seed: 3 }, written: [0] },
  normal: { inputs: [many], attributes: { mean: 1, deviation: 2, seed: 3 }, written: [0] },
  dropout: { inputs: [many], attributes: { probability: 0.3, seed: 3 } },
  add: { inputs: [[700, 101], [101]] },
  subtract: binary,
  multiply: { inputs: [many, []] },
  divide: { inputs: [many, positive(many)] },
  affine: { inputs: [many], attributes: { scale: 3, shift: 0.1 } },
  exp: unary,
  log: { inputs: [positive(many)] },
  sqrt: { inputs: [positive(many)] },
  square: unary,
  tanh: unary,
  sigmoid: unary,
  relu: unary,
  reluGradient: binary,
  sum: { inputs: [many], attributes: { axis: 0, count: 1 } },
  expand: { inputs: [[300, 7]], attributes: { axis: 1, size: 41 } },
  argmax: { inputs: [rows] },
  matmul: {
    inputs: [
      [301, 515],
      [515, 601],
    ],
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
  crossEntropy: { inputs: [rows, labels], attributes: { smoothing: 0.1 } },
  crossEntropyGradient: { inputs: [rows, labels, []], attributes: { smoothing: 0.1 } },
  correctCount: { inputs: [rows, labels] },
  gradientNorm: { inputs: [many, [3], [40_000]] },
  prepareStep: { inputs: [hyper, state, []], attributes: { maxNorm: 0.5, checkFinite: true }, written: [1] },
  sgdUpdate: update(3, { momentum: true }),
  adamUpdate: update(5, { amsgrad: true }),
};

/** Makes a recipe's inputs on a device. */
export function inputsOf(device: Device, { inputs }: Recipe): Tensor[] {
  return inputs.map((input, salt) =>
    typeof input === "function" ? input(device) : tensor(device, numbers(elements(input), salt), input),
  );
}

/** Runs a recipe; returns the bytes of everything it wrote. */
export async function run(device: Device, operation: string): Promise<Buffer> {
  const recipe = recipes[operation]!;
  const inputs = inputsOf(device, recipe);
  const outputs = execute(operation, inputs, recipe.attributes);
  const results = [...outputs, ...(recipe.written ?? []).map((i) => inputs[i]!)];
  const read = await Promise.all(results.map((result) => result.read()));
  for (const one of [...inputs, ...outputs]) one.dispose();
  return Buffer.concat(read.map((data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)));
}
