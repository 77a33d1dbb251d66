// Random calls of every differentiable operation, each with its definition in float64.
import fc from "fast-check";
import * as t from "#lib/tensor/index.js";
import * as reference from "../../support/reference.js";
import { type Call, distinctNumbers, numbersOf, size } from "./call.js";
import { sequenceCalls } from "./sequence-cases.js";

type Values = reference.Values;

const sizeOrNone = fc.oneof({ weight: 8, arbitrary: size }, { weight: 1, arbitrary: fc.constant(0) });
const shape = fc.array(fc.constantFrom(0, 1, 2, 3, 5, 7), { maxLength: 4 });

function unary(
  name: string,
  compute: (x: t.Tensor) => t.Tensor,
  of: (x: number) => number,
  center = 0,
): [string, fc.Arbitrary<Call>] {
  const call = shape
    .chain((sizes) => numbersOf(sizes, center))
    .map((x) => ({
      title: `${name} of [${x.shape}]`,
      inputs: [x],
      compute,
      reference: (v: Values) => reference.map(v, of),
    }));
  return [name, call];
}

/** Two shapes that broadcast: axes of size 1 in place of some axes of a shape, and some first axes left out. */
const broadcastShapes = fc
  .tuple(shape, fc.nat({ max: 4 }), fc.array(fc.constantFrom("both", "both", "first", "second"), { minLength: 4 }))
  .chain(([sizes, from, repeated]) => {
    const without = (which: string) => sizes.map((size, axis) => (repeated[axis] === which ? 1 : size));
    const both = [without("first"), without("second").slice(from)] as const;
    return fc.constantFrom(both, [both[1], both[0]] as const);
  });

function binary(
  name: string,
  compute: (a: t.Tensor, b: t.Tensor) => t.Tensor,
  of: (a: number, b: number) => number,
  center = 0,
): [string, fc.Arbitrary<Call>] {
  const call = broadcastShapes
    .chain(([a, b]) => fc.tuple(numbersOf(a), numbersOf(b, center)))
    .map(([a, b]) => ({
      title: `${name} of [${a.shape}] and [${b.shape}]`,
      inputs: [a, b],
      compute,
      reference: (x: Values, y: Values) => reference.zip(x, y, of),
    }));
  return [name, call];
}

const addRelu = broadcastShapes
  .chain(([a, b]) => fc.tuple(numbersOf(a), numbersOf(b)))
  .map(([a, b]) => ({
    title: `addRelu of [${a.shape}] and [${b.shape}]`,
    inputs: [a, b],
    compute: t.addRelu,
    reference: (x: Values, y: Values) => reference.zip(x, y, (p, q) => Math.max(p + q, 0)),
    isSmooth: reference.zip(a, b, (p, q) => p + q).data.every((value) => Math.abs(value) > 1e-3),
  }))
  .filter(({ isSmooth }) => isSmooth);

const matmul = fc
  .tuple(sizeOrNone, sizeOrNone, sizeOrNone, fc.boolean(), fc.boolean())
  .chain(([m, k, n, transposeA, transposeB]) =>
    fc.tuple(numbersOf(transposeA ? [k, m] : [m, k]), numbersOf(transposeB ? [n, k] : [k, n])).map(([a, b]) => ({
      title: `matmul of [${a.shape}]${transposeA ? "ᵀ" : ""} and [${b.shape}]${transposeB ? "ᵀ" : ""}`,
      inputs: [a, b],
      compute: (x: t.Tensor, y: t.Tensor) => t.matmul(x, y, { transposeA, transposeB }),
      reference: (x: Values, y: Values) => reference.matmul(x, y, transposeA, transposeB),
    })),
  );

const activations: Readonly<Record<string, (x: number) => number>> = {
  none: (x) => x,
  relu: (x) => Math.max(x, 0),
  gelu: (x) => x * reference.normalShareBelow(x),
  silu: (x) => x / (1 + Math.exp(-x)),
};

const linear = fc
  .record({
    // Several axes before the last one, or only the rows. Inputs are few, so that the series of Φ is accurate enough.
    leading: fc.constantFrom([2, 3], [5], [0], [1, 9], [17]),
    inputs: fc.constantFrom(0, 1, 2, 3),
    outputs: sizeOrNone,
    hasBias: fc.boolean(),
    activation: fc.constantFrom("none", "relu", "gelu", "silu"),
    hasResidual: fc.boolean(),
  })
  .chain(({ leading, inputs, outputs, hasBias, activation, hasResidual }) => {
    const shapes = [
      [...leading, inputs],
      [outputs, inputs],
      ...(hasBias ? [[outputs]] : []),
      ...(hasResidual ? [[...leading, outputs]] : []),
    ];
    const activate = activations[activation]!;
    const before = (x: Values, w: Values, bias?: Values) => {
      const rows = reference.elements(leading);
      const product = reference.matmul({ shape: [rows, inputs], data: x.data }, w, false, true);
      const wide = { shape: [...leading, outputs], data: product.data };
      return bias ? reference.zip(wide, bias, (a, b) => a + b) : wide;
    };
    return (
      fc
        .tuple(...shapes.map((shape) => numbersOf(shape)))
        .map((all) => ({
          title: `linear of [${shapes.join("] [")}]${hasBias ? ", bias" : ""}, ${activation}${hasResidual ? ", residual" : ""}`,
          inputs: all,
          compute: (x: t.Tensor, weight: t.Tensor, ...more: t.Tensor[]) =>
            t.linear(x, weight, {
              ...(hasBias && { bias: more[0] }),
              ...(hasResidual && { residual: more[hasBias ? 1 : 0] }),
              ...(activation !== "none" && { activation: activation as "relu" }),
            }),
          reference: (x: Values, weight: Values, ...more: Values[]) => {
            const activated = reference.map(before(x, weight, hasBias ? more[0] : undefined), activate);
            return hasResidual ? reference.zip(activated, more[hasBias ? 1 : 0]!, (a, b) => a + b) : activated;
          },
        }))
        // ReLU has no derivative at its kink. A product over an empty axis has no inputs that could be changed to avoid
        // it.
        .filter(({ inputs: [x, weight, ...more] }) => {
          if (activation !== "relu" || (inputs === 0 && !hasBias)) return true;
          return before(x!, weight!, hasBias ? more[0] : undefined).data.every((value) => Math.abs(value) > 1e-3);
        })
    );
  });

const conv2d = fc
  .record({
    n: fc.constantFrom(0, 1, 2),
    height: fc.integer({ min: 1, max: 7 }),
    width: fc.integer({ min: 1, max: 7 }),
    // CUDA copies four or eight channels at once, and pads others.
    channels: fc.constantFrom(0, 1, 2, 3, 5, 8),
    outputs: fc.constantFrom(0, 1, 2, 3, 8, 9),
    kernelHeight: fc.integer({ min: 1, max: 7 }),
    kernelWidth: fc.integer({ min: 1, max: 7 }),
    stride: fc.integer({ min: 1, max: 6 }),
    padding: fc.integer({ min: 0, max: 4 }),
  })
  .filter((c) => c.height + 2 * c.padding >= c.kernelHeight && c.width + 2 * c.padding >= c.kernelWidth)
  .chain(({ n, height, width, channels, outputs, kernelHeight, kernelWidth, stride, padding }) =>
    fc
      .tuple(numbersOf([n, height, width, channels]), numbersOf([outputs, kernelHeight, kernelWidth, channels]))
      .map(([x, w]) => ({
        title: `conv2d of [${x.shape}] with [${w.shape}], stride ${stride}, padding ${padding}`,
        inputs: [x, w],
        compute: (images: t.Tensor, weights: t.Tensor) => t.conv2d(images, weights, { stride, padding }),
        reference: (images: Values, weights: Values) => reference.conv2d(images, weights, { stride, padding }),
      })),
  );

function pooling(
  name: string,
  compute: (images: t.Tensor, options: t.PoolingOptions) => t.Tensor,
  of: (images: Values, size: number, window: reference.Window) => Values,
): [string, fc.Arbitrary<Call>] {
  const call = fc
    .record({
      n: fc.constantFrom(0, 1, 2),
      height: fc.integer({ min: 1, max: 7 }),
      width: fc.integer({ min: 1, max: 7 }),
      channels: fc.constantFrom(0, 1, 3, 5),
      size: fc.integer({ min: 1, max: 4 }),
      stride: fc.integer({ min: 1, max: 5 }),
      padding: fc.integer({ min: 0, max: 2 }),
    })
    .filter((c) => 2 * c.padding <= c.size && Math.min(c.height, c.width) + 2 * c.padding >= c.size)
    .chain(({ n, height, width, channels, size, stride, padding }) =>
      distinctNumbers([n, height, width, channels]).map((x) => ({
        title: `${name} of [${x.shape}], size ${size}, stride ${stride}, padding ${padding}`,
        inputs: [x],
        compute: (images: t.Tensor) => compute(images, { size, stride, padding }),
        reference: (images: Values) => of(images, size, { stride, padding }),
      })),
    );
  return [name, call];
}

const reductions = fc
  .tuple(fc.constantFrom("sum" as const, "mean" as const), shape)
  .chain(([name, sizes]) =>
    fc
      .tuple(fc.nat({ max: sizes.length }), fc.nat({ max: sizes.length }))
      .map(([a, b]) => ({ name, sizes, from: Math.min(a, b), to: Math.max(a, b) })),
  )
  // The mean of nothing would be 0 · ∞.
  .filter(({ name, sizes, from, to }) => to > from && (name === "sum" || !sizes.slice(from, to).includes(0)))
  .chain(({ name, sizes, from, to }) =>
    numbersOf(sizes).map((x) => {
      const axes = Array.from({ length: to - from }, (_, i) => from + i);
      const scale = name === "sum" ? 1 : 1 / reference.elements(sizes.slice(from, to));
      return {
        title: `${name} of [${sizes}] over [${axes}]`,
        inputs: [x],
        compute: (v: t.Tensor) => (name === "sum" ? t.sum(v, axes) : t.mean(v, axes)),
        reference: (v: Values) => reference.sum(v, from, to - from, scale),
      };
    }),
  );

/** [rows…, channels] with at least two rows, because batch normalization refuses a single one. */
const channelShapes = fc
  .tuple(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }), fc.constantFrom(1, 3, 4, 8, 9, 17))
  .filter(([rows]) => reference.elements(rows) > 1)
  .map(([rows, channels]) => [...rows, channels]);

// An epsilon of 10⁻⁵ would magnify every rounding error of two equal rows 300 times.
const epsilon = fc.constantFrom(1e-3, 0.1);

/** Whether all numbers are away from the kink of ReLU, where there is no derivative. */
const isOffTheKink = ({ data }: Values) => data.every((value) => Math.abs(value) > 1e-3);
const isActive = (value: number) => Math.max(value, 0);

const batchNorm = fc.tuple(channelShapes, epsilon, fc.boolean()).chain(([sizes, epsilon, relu]) => {
  const channels = [sizes.at(-1)!];
  const before = (x: Values, gamma: Values, beta: Values) => reference.batchNorm(x, gamma, beta, epsilon);
  return fc
    .tuple(distinctNumbers(sizes), numbersOf(channels, 2), numbersOf(channels))
    .map((inputs) => ({
      title: `batchNorm of [${sizes}], epsilon ${epsilon}${relu ? ", ReLU" : ""}`,
      inputs,
      compute: (x: t.Tensor, gamma: t.Tensor, beta: t.Tensor) => {
        const [runningMean, runningVariance] = [t.zeros(x.device, channels), t.ones(x.device, channels)];
        const options = { epsilon, activation: relu ? ("relu" as const) : undefined };
        return t.batchNorm(x, { gamma, beta, runningMean, runningVariance }, options);
      },
      reference: (x: Values, gamma: Values, beta: Values) =>
        relu ? reference.map(before(x, gamma, beta), isActive) : before(x, gamma, beta),
    }))
    .filter(({ inputs: [x, gamma, beta] }) => !relu || isOffTheKink(before(x, gamma, beta)));
});

const batchNormInference = fc.tuple(channelShapes, epsilon, fc.boolean()).chain(([sizes, epsilon, relu]) => {
  const channels = [sizes.at(-1)!];
  return fc
    .tuple(numbersOf(sizes), numbersOf(channels), numbersOf(channels), numbersOf(channels), numbersOf(channels, 2))
    .map(([x, gamma, beta, mean, variance]) => {
      const before = (x: Values, gamma: Values, beta: Values) =>
        reference.normalize(x, gamma, beta, mean.data, variance.data, epsilon);
      return {
        title: `batchNormInference of [${sizes}], epsilon ${epsilon}${relu ? ", ReLU" : ""}`,
        inputs: [x, gamma, beta],
        compute: (x: t.Tensor, gamma: t.Tensor, beta: t.Tensor) => {
          const runningMean = t.tensor(x.device, mean.data, channels, { dtype: "float32" });
          const runningVariance = t.tensor(x.device, variance.data, channels, { dtype: "float32" });
          const options = { epsilon, activation: relu ? ("relu" as const) : undefined };
          return t.batchNormInference(x, { gamma, beta, runningMean, runningVariance }, options);
        },
        reference: (x: Values, gamma: Values, beta: Values) =>
          relu ? reference.map(before(x, gamma, beta), isActive) : before(x, gamma, beta),
        isSmooth: !relu || isOffTheKink(before(x, gamma, beta)),
      };
    })
    .filter(({ isSmooth }) => isSmooth);
});

const logSoftmax = fc
  .tuple(fc.array(fc.constantFrom(0, 1, 2, 5), { maxLength: 2 }), size)
  .chain(([rows, columns]) => numbersOf([...rows, columns]))
  .map((x) => ({
    title: `logSoftmax of [${x.shape}]`,
    inputs: [x],
    compute: t.logSoftmax,
    reference: reference.logSoftmax,
  }));

/** Float32 weights from 1/4 to 2, or none. */
const weightsOf = (count: number) =>
  fc.option(fc.array(fc.constantFrom(0.25, 0.5, 1, 2), { minLength: count, maxLength: count }), { nil: undefined });
const onDevice = (x: t.Tensor, weights: readonly number[] | undefined, shape: readonly number[]) =>
  weights && t.tensor(x.device, weights, shape);

const crossEntropy = fc
  .record({
    rows: fc.integer({ min: 1, max: 6 }),
    classes: size,
    smoothing: fc.constantFrom(0, 0.1, 0.5, 1),
    ignoreIndex: fc.constantFrom(-100, 0, 1),
  })
  // At least one class must not be ignored. A filter that no draw can pass would never end.
  .map((drawn) => (drawn.classes === 1 && drawn.ignoreIndex === 0 ? { ...drawn, ignoreIndex: -100 } : drawn))
  .chain(({ rows, classes, smoothing, ignoreIndex }) =>
    fc
      .tuple(
        numbersOf([rows, classes]),
        fc.array(fc.oneof({ weight: 5, arbitrary: fc.nat({ max: classes - 1 }) }, fc.constant(ignoreIndex)), {
          minLength: rows,
          maxLength: rows,
        }),
        weightsOf(classes),
        weightsOf(rows),
      )
      // At least one label must not be ignored.
      .filter(([, labels]) => labels.some((label) => label !== ignoreIndex))
      .map(([x, labels, ofClasses, items]) => ({
        title: `crossEntropy of [${x.shape}] with labels [${labels}], smoothing ${smoothing}, without ${ignoreIndex}, classes [${ofClasses}], items [${items}]`,
        inputs: [x],
        compute: (logits: t.Tensor) =>
          t.crossEntropy(logits, t.tensor(logits.device, Int32Array.from(labels)), {
            smoothing,
            ignoreIndex,
            classWeights: onDevice(logits, ofClasses, [classes]),
            itemWeights: onDevice(logits, items, [rows]),
          }),
        reference: (logits: Values) =>
          reference.crossEntropy(logits, labels, { smoothing, ignoreIndex, classes: ofClasses, items }),
      })),
  );

const binaryCrossEntropy = fc.tuple(fc.constantFrom([], [2], [0], [3, 2]), size).chain(([rows, columns]) => {
  const sizes = [...rows, columns];
  const count = reference.elements(sizes);
  const targets = fc.array(fc.constantFrom(0, 0.25, 1), { minLength: count, maxLength: count });
  return fc.tuple(numbersOf(sizes), targets, weightsOf(columns), weightsOf(count)).map(([x, y, positive, weights]) => ({
    title: `binaryCrossEntropy of [${sizes}] with [${y}], positives [${positive}], weights [${weights}]`,
    inputs: [x],
    compute: (logits: t.Tensor) =>
      t.binaryCrossEntropy(logits, t.tensor(logits.device, y, sizes), {
        posWeight: onDevice(logits, positive, [columns]),
        weights: onDevice(logits, weights, sizes),
        reduction: "none",
      }),
    reference: (logits: Values) => reference.binaryCrossEntropy(logits, y, positive, weights),
  }));
});

const weightedMean = fc
  .tuple(fc.integer({ min: 1, max: 5 }), fc.constantFrom([], [1], [3], [2, 2]))
  .chain(([rows, rest]) =>
    fc
      .tuple(
        numbersOf([rows, ...rest]),
        fc.array(fc.constantFrom(0.25, 0.5, 1, 2), { minLength: rows, maxLength: rows }),
      )
      .map(([x, weights]) => ({
        title: `weightedMean of [${x.shape}] by [${weights}]`,
        inputs: [x],
        compute: (v: t.Tensor) => t.weightedMean(v, t.tensor(v.device, weights)),
        reference: ({ data }: Values) => {
          const each = data.length / rows;
          const total = weights.reduce((sum, weight) => sum + weight * each, 0);
          const sum = data.reduce((all, value, i) => all + weights[Math.floor(i / each)]! * value, 0);
          return { shape: [], data: Float64Array.of(sum / total) };
        },
      })),
  );

const reshape = shape
  .chain((sizes) => numbersOf(sizes))
  .map((x) => ({
    title: `reshape of [${x.shape}]`,
    inputs: [x],
    compute: (v: t.Tensor) => v.reshape([1, v.size]),
    reference: ({ data }: Values) => ({ shape: [1, data.length], data }),
  }));

export const calls: readonly [string, fc.Arbitrary<Call>][] = [
  binary("add", t.add, (a, b) => a + b),
  binary("subtract", t.subtract, (a, b) => a - b),
  binary("multiply", t.multiply, (a, b) => a * b),
  binary("divide", t.divide, (a, b) => a / b, 2.5),
  unary(
    "add a number",
    (x) => x.add(0.75),
    (x) => x + 0.75,
  ),
  unary(
    "subtract a number",
    (x) => x.subtract(0.75),
    (x) => x - 0.75,
  ),
  unary(
    "multiply by a number",
    (x) => x.multiply(-1.5),
    (x) => x * -1.5,
  ),
  unary(
    "divide by a number",
    (x) => x.divide(4),
    (x) => x / 4,
  ),
  unary(
    "affine",
    (x) => t.affine(x, 0.5, 3),
    (x) => x * 0.5 + 3,
  ),
  unary("negate", t.negate, (x) => -x),
  unary("exp", t.exp, Math.exp),
  unary("log", t.log, Math.log, 1.5),
  unary("sqrt", t.sqrt, Math.sqrt, 1.5),
  unary("square", t.square, (x) => x * x),
  unary("tanh", t.tanh, Math.tanh),
  unary("sigmoid", t.sigmoid, (x) => 1 / (1 + Math.exp(-x))),
  unary("relu", t.relu, (x) => Math.max(x, 0)),
  unary("gelu", t.gelu, (x) => x * reference.normalShareBelow(x)),
  unary("silu", t.silu, (x) => x / (1 + Math.exp(-x))),
  ["reshape", reshape],
  ["sum and mean", reductions],
  ["matmul", matmul],
  ["linear", linear],
  ["conv2d", conv2d],
  pooling("maxPool2d", t.maxPool2d, reference.maxPool2d),
  pooling("averagePool2d", t.averagePool2d, reference.averagePool2d),
  ["addRelu", addRelu],
  ["batchNorm", batchNorm],
  ["batchNormInference", batchNormInference],
  ["logSoftmax", logSoftmax],
  ["crossEntropy", crossEntropy],
  ["binaryCrossEntropy", binaryCrossEntropy],
  ["weightedMean", weightedMean],
  ...sequenceCalls,
];
