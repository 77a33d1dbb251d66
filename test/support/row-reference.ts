// Row-wise operations and their gradients in float64, in closed form with one or two passes over each row. They are for
// shapes that are too large for finite differences of the definitions (reference.ts, sequence-reference.ts).
import { type Read, type Values, values } from "./reference.js";

const zeros = (shape: readonly number[]): Values => values(shape, () => 0);

/** Calls f for every row of the last axis with the index of its first number. */
function forRows({ shape, data }: Read, f: (first: number, row: number) => void): void {
  const columns = shape.at(-1)!;
  for (let row = 0; row < data.length / columns; row++) f(row * columns, row);
}

/**
 * LayerNorm with gamma and beta, or RMSNorm with gamma if there is no beta. Returns the output and the gradients of Σ
 * g·output by x, gamma and beta.
 */
export function rowNorm(x: Read, gamma: Read, beta: Read | undefined, g: Read, epsilon: number) {
  const n = gamma.data.length;
  const [output, dx, dGamma, dBeta] = [zeros(x.shape), zeros(x.shape), zeros([n]), zeros([n])];
  forRows(x, (first) => {
    let [mean, squares] = [0, 0];
    for (let j = 0; j < n; j++) mean += beta ? x.data[first + j]! / n : 0;
    for (let j = 0; j < n; j++) squares += (x.data[first + j]! - mean) ** 2;
    const inverse = 1 / Math.sqrt(squares / n + epsilon);
    let [shared, along] = [0, 0];
    for (let j = 0; j < n; j++) {
      const normalized = (x.data[first + j]! - mean) * inverse;
      const incoming = g.data[first + j]!;
      output.data[first + j] = normalized * gamma.data[j]! + (beta?.data[j] ?? 0);
      dGamma.data[j]! += incoming * normalized;
      dBeta.data[j]! += incoming;
      shared += beta ? (incoming * gamma.data[j]!) / n : 0;
      along += (incoming * gamma.data[j]! * normalized) / n;
    }
    for (let j = 0; j < n; j++) {
      const normalized = (x.data[first + j]! - mean) * inverse;
      dx.data[first + j] = inverse * (g.data[first + j]! * gamma.data[j]! - shared - normalized * along);
    }
  });
  return { output, gradients: beta ? [dx, dGamma, dBeta] : [dx, dGamma] };
}

/**
 * Batch normalization in training, over all axes but the last. Returns the output, the gradients of Σ g·output by x,
 * gamma and beta, and each channel's mean and unbiased variance.
 */
export function batchNorm(x: Read, gamma: Read, beta: Read, g: Read, epsilon: number) {
  const channels = gamma.data.length;
  const rows = x.data.length / channels;
  const [mean, deviations] = [zeros([channels]), zeros([channels])];
  const [output, dx, dGamma, dBeta] = [zeros(x.shape), zeros(x.shape), zeros([channels]), zeros([channels])];
  for (let i = 0; i < x.data.length; i++) mean.data[i % channels]! += x.data[i]! / rows;
  for (let i = 0; i < x.data.length; i++)
    deviations.data[i % channels]! += (x.data[i]! - mean.data[i % channels]!) ** 2;
  const inverse = deviations.data.map((sum) => 1 / Math.sqrt(sum / rows + epsilon));
  const normalized = (i: number) => (x.data[i]! - mean.data[i % channels]!) * inverse[i % channels]!;
  for (let i = 0; i < x.data.length; i++) {
    const c = i % channels;
    output.data[i] = normalized(i) * gamma.data[c]! + beta.data[c]!;
    dBeta.data[c]! += g.data[i]!;
    dGamma.data[c]! += g.data[i]! * normalized(i);
  }
  for (let i = 0; i < x.data.length; i++) {
    const c = i % channels;
    const centered = g.data[i]! - dBeta.data[c]! / rows - (normalized(i) * dGamma.data[c]!) / rows;
    dx.data[i] = gamma.data[c]! * inverse[c]! * centered;
  }
  const variance = deviations.data.map((sum) => sum / (rows - 1));
  return { output, gradients: [dx, dGamma, dBeta], mean: mean.data, variance };
}

/** Logarithms of the probabilities of a row. */
function logProbabilities(x: Read, first: number, columns: number): Float64Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < columns; j++) largest = Math.max(largest, x.data[first + j]!);
  let sum = 0;
  for (let j = 0; j < columns; j++) sum += Math.exp(x.data[first + j]! - largest);
  return Float64Array.from({ length: columns }, (_, j) => x.data[first + j]! - largest - Math.log(sum));
}

/** Log-softmax, and the gradient of Σ g·output by x. */
export function logSoftmax(x: Read, g: Read) {
  const columns = x.shape.at(-1)!;
  const [output, gradient] = [zeros(x.shape), zeros(x.shape)];
  forRows(x, (first) => {
    const logs = logProbabilities(x, first, columns);
    const total = logs.reduce((sum, _, j) => sum + g.data[first + j]!, 0);
    for (const [j, log] of logs.entries()) {
      output.data[first + j] = log;
      gradient.data[first + j] = g.data[first + j]! - Math.exp(log) * total;
    }
  });
  return { output, gradient };
}

/** The weights of the rows of a cross-entropy. */
export interface Weights {
  readonly smoothing: number;
  readonly ignoreIndex: number;
  readonly classes: ArrayLike<number>;
  readonly items: ArrayLike<number>;
}

/** Each row's loss, the sum of the weights, and the gradient of Σ g_row·loss_row by the logits. */
export function crossEntropy(x: Read, labels: ArrayLike<number>, weights: Weights, g: ArrayLike<number>) {
  const columns = x.shape.at(-1)!;
  const { smoothing, ignoreIndex, classes, items } = weights;
  const [losses, gradient] = [zeros([x.data.length / columns]), zeros(x.shape)];
  let weight = 0;
  forRows(x, (first, row) => {
    const label = labels[row]!;
    if (label === ignoreIndex) return;
    const logs = logProbabilities(x, first, columns);
    weight += items[row]! * classes[label]!;
    let total = 0;
    const target = (j: number) => items[row]! * classes[j]! * ((j === label ? 1 - smoothing : 0) + smoothing / columns);
    for (const [j, log] of logs.entries()) {
      losses.data[row]! -= target(j) * log;
      total += target(j);
    }
    for (const [j, log] of logs.entries()) gradient.data[first + j] = g[row]! * (Math.exp(log) * total - target(j));
  });
  return { losses, weight, gradient };
}
