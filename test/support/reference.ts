// The operations in float64, written according to their definitions as loops over indices. Independent of the library.

/** An array of numbers in row-major order, with its shape. */
export interface Values {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** Number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Values of a shape, element by element. */
export function values(shape: readonly number[], at: (index: number) => number): Values {
  return { shape, data: Float64Array.from({ length: elements(shape) }, (_, i) => at(i)) };
}

export function map(x: Values, f: (value: number) => number): Values {
  return values(x.shape, (i) => f(x.data[i]!));
}

/**
 * Φ(x), the cumulative normal distribution: by its series for |x| ≤ 4, accurate to about 10⁻¹³, and by Laplace's
 * continued fraction beyond.
 */
export function normalShareBelow(x: number): number {
  if (x > 4) return 1 - normalShareBelow(-x);
  if (x < -4) {
    let denominator = -x;
    for (let n = 60; n > 0; n--) denominator = -x + n / denominator;
    return Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI) / denominator;
  }
  let [term, sum] = [x, x];
  for (let n = 1; n < 80; n++) {
    term *= (-x * x) / (2 * n);
    sum += term / (2 * n + 1);
  }
  return 0.5 + sum / Math.sqrt(2 * Math.PI);
}

/** f(a, b), broadcast by NumPy's rule. */
export function zip(a: Values, b: Values, f: (x: number, y: number) => number): Values {
  const rank = Math.max(a.shape.length, b.shape.length);
  const sizes = (x: Values) => [...new Array<number>(rank - x.shape.length).fill(1), ...x.shape];
  const [ofA, ofB] = [sizes(a), sizes(b)];
  const shape = ofA.map((size, axis) => (size === 1 ? ofB[axis]! : size));
  return values(shape, (i) => f(a.data[indexIn(ofA, shape, i)]!, b.data[indexIn(ofB, shape, i)]!));
}

/** The element of an operand with these sizes that broadcasting puts at element i of the result. */
function indexIn(sizes: readonly number[], shape: readonly number[], i: number): number {
  let [index, step, rest] = [0, 1, i];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const at = rest % shape[axis]!;
    rest = Math.floor(rest / shape[axis]!);
    if (sizes[axis] !== 1) index += at * step;
    step *= sizes[axis]!;
  }
  return index;
}

/** Sums over `count` axes from `axis` on. */
export function sum(x: Values, axis: number, count: number, scale = 1): Values {
  const length = elements(x.shape.slice(axis, axis + count));
  const inner = elements(x.shape.slice(axis + count));
  return values([...x.shape.slice(0, axis), ...x.shape.slice(axis + count)], (i) => {
    const outer = Math.floor(i / inner);
    let total = 0;
    for (let j = 0; j < length; j++) total += x.data[(outer * length + j) * inner + (i % inner)]!;
    return total * scale;
  });
}

export function matmul(a: Values, b: Values, transposeA: boolean, transposeB: boolean): Values {
  const [m, k] = (transposeA ? [a.shape[1], a.shape[0]] : a.shape) as [number, number];
  const n = b.shape[transposeB ? 0 : 1]!;
  return values([m, n], (at) => matmulElement(a, b, transposeA, transposeB, Math.floor(at / n), at % n, m, n, k));
}

/** One element of a product, for matrices too large to multiply naively. */
export function matmulElement(
  a: { readonly data: ArrayLike<number> },
  b: { readonly data: ArrayLike<number> },
  transposeA: boolean,
  transposeB: boolean,
  i: number,
  j: number,
  m: number,
  n: number,
  k: number,
): number {
  let total = 0;
  for (let p = 0; p < k; p++)
    total += a.data[transposeA ? p * m + i : i * k + p]! * b.data[transposeB ? j * k + p : p * n + j]!;
  return total;
}

/** The position of the windows of a convolution or pooling. */
export interface Window {
  readonly stride: number;
  readonly padding: number;
}

/** Number of windows of `size` in `length`. */
export function windows(length: number, size: number, { stride, padding }: Window): number {
  return Math.floor((length + 2 * padding - size) / stride) + 1;
}

/** Images are NHWC, weights OHWI. */
export function conv2d(x: Values, w: Values, window: Window): Values {
  const [n, height, width] = x.shape as [number, number, number, number];
  const [outputs, kernelHeight, kernelWidth] = w.shape as [number, number, number, number];
  const outHeight = windows(height, kernelHeight, window);
  const outWidth = windows(width, kernelWidth, window);
  return values([n, outHeight, outWidth, outputs], (i) => conv2dElement(x, w, window, unravel(i)));

  function unravel(i: number): [number, number, number, number] {
    const o = i % outputs;
    const column = Math.floor(i / outputs) % outWidth;
    const row = Math.floor(i / outputs / outWidth) % outHeight;
    return [Math.floor(i / outputs / outWidth / outHeight), row, column, o];
  }
}

/** One element of a convolution: image, row, column, output channel. */
export function conv2dElement(
  x: { readonly shape: readonly number[]; readonly data: ArrayLike<number> },
  w: { readonly shape: readonly number[]; readonly data: ArrayLike<number> },
  { stride, padding }: Window,
  [image, row, column, output]: readonly [number, number, number, number],
): number {
  const [, height, width, channels] = x.shape as [number, number, number, number];
  const [, kernelHeight, kernelWidth] = w.shape as [number, number, number, number];
  let total = 0;
  for (let dy = 0; dy < kernelHeight; dy++)
    for (let dx = 0; dx < kernelWidth; dx++) {
      const y = row * stride - padding + dy;
      const z = column * stride - padding + dx;
      if (y < 0 || y >= height || z < 0 || z >= width) continue;
      for (let c = 0; c < channels; c++)
        total +=
          x.data[((image * height + y) * width + z) * channels + c]! *
          w.data[((output * kernelHeight + dy) * kernelWidth + dx) * channels + c]!;
    }
  return total;
}

/** Numbers with a shape. */
export interface Read {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/**
 * Element `flat` of the gradient of a convolution's images. `g` is the output's gradient, `image` the shape of the
 * images.
 */
export function conv2dInputGradientElement(
  g: Read,
  w: Read,
  image: readonly number[],
  { stride, padding }: Window,
  flat: number,
): number {
  const [, height, width, channels] = image as [number, number, number, number];
  const [outputs, kernelHeight, kernelWidth] = w.shape as [number, number, number];
  const [, outHeight, outWidth] = g.shape as [number, number, number];
  const c = flat % channels;
  const z = Math.floor(flat / channels) % width;
  const y = Math.floor(flat / channels / width) % height;
  const i = Math.floor(flat / channels / width / height);
  let total = 0;
  for (let dy = 0; dy < kernelHeight; dy++)
    for (let dx = 0; dx < kernelWidth; dx++) {
      const row = (y + padding - dy) / stride;
      const column = (z + padding - dx) / stride;
      if (!Number.isInteger(row) || !Number.isInteger(column)) continue;
      if (row < 0 || row >= outHeight || column < 0 || column >= outWidth) continue;
      for (let o = 0; o < outputs; o++)
        total +=
          g.data[((i * outHeight + row) * outWidth + column) * outputs + o]! *
          w.data[((o * kernelHeight + dy) * kernelWidth + dx) * channels + c]!;
    }
  return total;
}

/**
 * Element `flat` of the gradient of a convolution's weights. `g` is the output's gradient, `weights` the shape of the
 * weights.
 */
export function conv2dWeightGradientElement(
  x: Read,
  g: Read,
  weights: readonly number[],
  { stride, padding }: Window,
  flat: number,
): number {
  const [n, height, width, channels] = x.shape as [number, number, number, number];
  const [, kernelHeight, kernelWidth] = weights as [number, number, number];
  const [, outHeight, outWidth, outputs] = g.shape as [number, number, number, number];
  const c = flat % channels;
  const dx = Math.floor(flat / channels) % kernelWidth;
  const dy = Math.floor(flat / channels / kernelWidth) % kernelHeight;
  const o = Math.floor(flat / channels / kernelWidth / kernelHeight);
  let total = 0;
  for (let i = 0; i < n; i++)
    for (let row = 0; row < outHeight; row++)
      for (let column = 0; column < outWidth; column++) {
        const y = row * stride - padding + dy;
        const z = column * stride - padding + dx;
        if (y < 0 || y >= height || z < 0 || z >= width) continue;
        total +=
          g.data[((i * outHeight + row) * outWidth + column) * outputs + o]! *
          x.data[((i * height + y) * width + z) * channels + c]!;
      }
  return total;
}

/** Reduces the values in every window of a pooling, without the padding. */
function pool(x: Values, size: number, window: Window, reduce: (under: readonly number[]) => number): Values {
  const [n, height, width, channels] = x.shape as [number, number, number, number];
  const outHeight = windows(height, size, window);
  const outWidth = windows(width, size, window);
  return values([n, outHeight, outWidth, channels], (i) => {
    const c = i % channels;
    const left = (Math.floor(i / channels) % outWidth) * window.stride - window.padding;
    const top = (Math.floor(i / channels / outWidth) % outHeight) * window.stride - window.padding;
    const image = Math.floor(i / channels / outWidth / outHeight);
    const under: number[] = [];
    for (let y = top; y < top + size; y++)
      for (let z = left; z < left + size; z++)
        if (y >= 0 && y < height && z >= 0 && z < width)
          under.push(x.data[((image * height + y) * width + z) * channels + c]!);
    return reduce(under);
  });
}

export function maxPool2d(x: Values, size: number, window: Window): Values {
  return pool(x, size, window, (under) => Math.max(...under));
}

/** Padding counts as zeros. */
export function averagePool2d(x: Values, size: number, window: Window): Values {
  return pool(x, size, window, (under) => under.reduce((total, value) => total + value, 0) / size ** 2);
}

/** Per channel (last axis): the mean and the biased variance over all other axes. */
export function statistics(x: Values): { mean: Float64Array; variance: Float64Array } {
  const channels = x.shape.at(-1)!;
  const rows = x.data.length / channels;
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  for (let i = 0; i < x.data.length; i++) mean[i % channels]! += x.data[i]! / rows;
  for (let i = 0; i < x.data.length; i++) variance[i % channels]! += (x.data[i]! - mean[i % channels]!) ** 2 / rows;
  return { mean, variance };
}

export function normalize(
  x: Values,
  gamma: Values,
  beta: Values,
  mean: ArrayLike<number>,
  variance: ArrayLike<number>,
  epsilon: number,
): Values {
  const channels = x.shape.at(-1)!;
  return values(x.shape, (i) => {
    const c = i % channels;
    return ((x.data[i]! - mean[c]!) / Math.sqrt(variance[c]! + epsilon)) * gamma.data[c]! + beta.data[c]!;
  });
}

/** Uses the statistics of x. */
export function batchNorm(x: Values, gamma: Values, beta: Values, epsilon: number): Values {
  const { mean, variance } = statistics(x);
  return normalize(x, gamma, beta, mean, variance, epsilon);
}

/** The softmax is over the last axis. */
export function logSoftmax(x: Values): Values {
  const columns = x.shape.at(-1)!;
  return values(x.shape, (i) => {
    const row = x.data.subarray(i - (i % columns), i - (i % columns) + columns);
    const largest = Math.max(...row);
    return x.data[i]! - largest - Math.log(row.reduce((total, value) => total + Math.exp(value - largest), 0));
  });
}

/** The weights of the rows of a cross-entropy, as in the library's `crossEntropy`. */
export interface CrossEntropyWeights {
  readonly smoothing?: number;
  readonly ignoreIndex?: number;
  readonly classes?: ArrayLike<number> | undefined;
  readonly items?: ArrayLike<number> | undefined;
}

/**
 * The weighted mean over the rows that are not ignored. The target is (1 − smoothing)·w_y·onehot + smoothing/classes·w,
 * with class weights w.
 */
export function crossEntropy(
  logits: Values,
  labels: ArrayLike<number>,
  { smoothing = 0, ignoreIndex = -100, classes: ofClasses, items }: CrossEntropyWeights = {},
): Values {
  const [rows, classes] = logits.shape as [number, number];
  const logProbabilities = logSoftmax(logits).data;
  let total = 0;
  let weight = 0;
  for (let i = 0; i < rows; i++) {
    const label = labels[i]!;
    if (label === ignoreIndex) continue;
    const item = items?.[i] ?? 1;
    weight += item * (ofClasses?.[label] ?? 1);
    for (let j = 0; j < classes; j++) {
      const target = (j === label ? 1 - smoothing : 0) + smoothing / classes;
      total -= item * target * (ofClasses?.[j] ?? 1) * logProbabilities[i * classes + j]!;
    }
  }
  return values([], () => total / weight);
}

/**
 * Element by element: weight·(positive·y·log(1 + e⁻ˣ) + (1 − y)·log(1 + eˣ)). The weights of the positive class repeat.
 */
export function binaryCrossEntropy(
  logits: Values,
  targets: ArrayLike<number>,
  positive: ArrayLike<number> = [1],
  weights?: ArrayLike<number>,
): Values {
  const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  return values(logits.shape, (i) => {
    const [x, y] = [logits.data[i]!, targets[i]!];
    return (weights?.[i] ?? 1) * (positive[i % positive.length]! * y * softplus(-x) + (1 - y) * softplus(x));
  });
}
