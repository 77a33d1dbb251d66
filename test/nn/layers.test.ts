import { describe, expect, test } from "vitest";
import type { Device } from "#lib/native/index.js";
import {
  AveragePool2d,
  BatchNorm,
  Conv2d,
  crossEntropy,
  Dropout,
  Flatten,
  GlobalAveragePool,
  Linear,
  MaxPool2d,
  Module,
  meanSquaredError,
  Parameter,
  ReLU,
  Seeds,
  Sequential,
} from "#lib/nn/index.js";
import { SGD } from "#lib/optim/index.js";
import {
  add,
  backward,
  divide,
  exp,
  log,
  mean,
  multiply,
  negate,
  ones,
  sqrt,
  square,
  subtract,
  sum,
  type Tensor,
  tensor,
  tidy,
  uniform,
} from "#lib/tensor/index.js";
import { expectClose } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { numbers } from "../support/numbers.js";
import * as reference from "../support/reference.js";

function input(device: Device, shape: readonly number[], salt = 1): Tensor {
  return tensor(device, numbers(reference.elements(shape), salt), shape);
}

/** The values of a tensor for the float64 reference. */
async function valuesOf(x: Tensor): Promise<reference.Values> {
  return { shape: x.shape, data: Float64Array.from(await x.read()) };
}

await onEveryDevice("shapes and parameters of layers", (device) => {
  const place = { device, seeds: 1 };
  const cases: [string, () => Module, readonly number[], readonly number[], Record<string, readonly number[]>][] = [
    ["Linear", () => new Linear(6, 4, place), [3, 6], [3, 4], { weight: [4, 6], bias: [4] }],
    ["Linear without bias", () => new Linear(6, 4, { ...place, bias: false }), [3, 6], [3, 4], { weight: [4, 6] }],
    ["Linear of no rows", () => new Linear(6, 4, place), [0, 6], [0, 4], { weight: [4, 6], bias: [4] }],
    ["Conv2d", () => new Conv2d(2, 5, place), [3, 8, 7, 2], [3, 6, 5, 5], { weight: [5, 3, 3, 2] }],
    [
      "Conv2d, padded",
      () => new Conv2d(2, 5, { ...place, padding: 1 }),
      [3, 8, 7, 2],
      [3, 8, 7, 5],
      { weight: [5, 3, 3, 2] },
    ],
    [
      "Conv2d, 5×5, stride 2, bias",
      () => new Conv2d(2, 5, { ...place, kernel: 5, stride: 2, padding: 2, bias: true }),
      [3, 8, 7, 2],
      [3, 4, 4, 5],
      { weight: [5, 5, 5, 2], bias: [5] },
    ],
    [
      "Conv2d, 1×1",
      () => new Conv2d(2, 5, { ...place, kernel: 1 }),
      [3, 8, 7, 2],
      [3, 8, 7, 5],
      { weight: [5, 1, 1, 2] },
    ],
    ["BatchNorm", () => new BatchNorm(5, place), [3, 4, 4, 5], [3, 4, 4, 5], { gamma: [5], beta: [5] }],
    ["BatchNorm of rows", () => new BatchNorm(5, place), [3, 5], [3, 5], { gamma: [5], beta: [5] }],
    ["Dropout", () => new Dropout(0.5), [3, 4], [3, 4], {}],
    ["ReLU", () => new ReLU(), [3, 4, 5], [3, 4, 5], {}],
    ["Flatten", () => new Flatten(), [3, 4, 5, 2], [3, 40], {}],
    ["Flatten of rows", () => new Flatten(), [3, 4], [3, 4], {}],
    ["Flatten of single numbers", () => new Flatten(), [3], [3, 1], {}],
    ["MaxPool2d", () => new MaxPool2d({ size: 2 }), [3, 8, 7, 2], [3, 4, 3, 2], {}],
    ["MaxPool2d, overlapping", () => new MaxPool2d({ size: 3, stride: 2, padding: 1 }), [3, 8, 7, 2], [3, 4, 4, 2], {}],
    ["AveragePool2d", () => new AveragePool2d({ size: 2 }), [3, 8, 7, 2], [3, 4, 3, 2], {}],
    ["GlobalAveragePool", () => new GlobalAveragePool(), [3, 8, 7, 2], [3, 2], {}],
    [
      "Sequential",
      () => new Sequential(new Flatten(), new Linear(8, 4, place), new ReLU(), new Linear(4, 2, place)),
      [3, 2, 2, 2],
      [3, 2],
      { "layers.1.weight": [4, 8], "layers.1.bias": [4], "layers.3.weight": [2, 4], "layers.3.bias": [2] },
    ],
    ["Sequential of nothing", () => new Sequential(), [3, 2], [3, 2], {}],
  ];

  test.each(cases)("%s", async (_, make, from, to, parameters) => {
    const layer = make();
    const output = layer.forward(input(device, from));
    expect(output.shape).toEqual(to);
    expect((await output.read()).length).toBe(reference.elements(to));
    const shapes = [...layer.namedParameters()].map(([name, { shape }]) => [name, shape]);
    expect(Object.fromEntries(shapes)).toEqual(parameters);
    if (shapes.length === 0 || from.includes(0)) return;
    // A weighted sum, because the gradient of a normalized tensor's plain sum would be 0 everywhere.
    backward(sum(multiply(output, input(device, to, 9))));
    for (const [name, { grad, shape }] of layer.namedParameters()) {
      expect(grad?.shape, name).toEqual(shape);
      expect(
        (await grad!.read()).some((value) => value !== 0),
        name,
      ).toBe(true);
    }
  });

  test("inputs of a wrong shape throw with the operation and the shapes", async () => {
    await expectError(
      () => new Linear(6, 4, place).forward(input(device, [3, 5])),
      "invalid-argument",
      "matmul",
      "[3,5]",
    );
    await expectError(() => new Conv2d(2, 4, place).forward(input(device, [1, 8, 8, 3])), "invalid-argument", "conv2d");
    await expectError(() => new BatchNorm(2, place).forward(input(device, [4, 3])), "invalid-argument", "batchNorm");
  });
});

await onEveryDevice("results of layers", (device) => {
  // Sums of at most 50 products around 1; see expectClose.
  const allowed = 10;

  test("Linear is x·Wᵀ + b", async () => {
    const layer = new Linear(6, 4, { device, seeds: 5 });
    const x = input(device, [3, 6]);
    const [values, weight, bias] = await Promise.all([x, layer.weight, layer.bias!].map(valuesOf));
    const expected = reference.zip(reference.matmul(values!, weight!, false, true), bias!, (a, b) => a + b);
    expectClose(await layer.forward(x).read(), expected.data, allowed);
  });

  test("Conv2d is a convolution plus a bias per channel", async () => {
    const layer = new Conv2d(2, 5, { device, seeds: 5, stride: 2, padding: 1, bias: true });
    layer.bias!.write(numbers(5, 3));
    const x = input(device, [2, 5, 5, 2]);
    const [values, weight, bias] = await Promise.all([x, layer.weight, layer.bias!].map(valuesOf));
    const convolved = reference.conv2d(values!, weight!, { stride: 2, padding: 1 });
    expectClose(await layer.forward(x).read(), reference.zip(convolved, bias!, (a, b) => a + b).data, allowed);
  });

  test("GlobalAveragePool is the mean over height and width", async () => {
    const x = input(device, [2, 5, 3, 4]);
    const expected = reference.sum(await valuesOf(x), 1, 2, 1 / 15);
    expectClose(await new GlobalAveragePool().forward(x).read(), expected.data, allowed);
  });

  test("BatchNorm uses and records the batch statistics in training, and the running statistics in evaluation", async () => {
    const layer = new BatchNorm(3, { device, momentum: 0.25, epsilon: 0.01 });
    layer.gamma.write(numbers(3, 7, 2));
    layer.beta.write(numbers(3, 8));
    const x = input(device, [10, 3]);
    const [values, gamma, beta] = await Promise.all([x, layer.gamma, layer.beta].map(valuesOf));
    expectClose(await layer.forward(x).read(), reference.batchNorm(values!, gamma!, beta!, 0.01).data, allowed);
    const { mean: batchMean, variance } = reference.statistics(values!);
    const runningMean = batchMean.map((value) => 0.25 * value);
    // The running variance moves from 1 towards the unbiased variance of 10 values.
    const runningVariance = variance.map((value) => 0.75 + (0.25 * value * 10) / 9);
    expectClose(await layer.runningMean.read(), runningMean, allowed);
    expectClose(await layer.runningVariance.read(), runningVariance, allowed);
    const expected = reference.normalize(values!, gamma!, beta!, runningMean, runningVariance, 0.01);
    expectClose(await layer.eval().forward(x).read(), expected.data, allowed);
    expectClose(await layer.runningMean.read(), runningMean, allowed);
  });

  test("Sequential is the composition of its layers", async () => {
    const [first, second] = [new Linear(6, 4, { device, seeds: 1 }), new Linear(4, 2, { device, seeds: 2 })];
    const x = input(device, [3, 6]);
    const composed = second.forward(new ReLU().forward(first.forward(x)));
    expect(await new Sequential(first, new ReLU(), second).forward(x).read()).toEqual(await composed.read());
  });
});

await onEveryDevice("dropout", (device) => {
  const size = 20_000;

  test.each([0.1, 0.5, 0.9])("drops a share of %f and scales the others", async (probability) => {
    const values = await new Dropout(probability, { seeds: 1 }).forward(ones(device, [size])).read();
    const kept = values.filter((value) => value !== 0);
    // All kept elements have one factor. Computing 1 − p in float32 loses digits if p is near 1.
    expect(new Set(kept).size).toBe(1);
    expectClose(kept.subarray(0, 1), [1 / (1 - probability)], 4);
    // The bound is five standard deviations of the number of kept elements.
    const deviation = Math.sqrt(size * probability * (1 - probability));
    expect(Math.abs(kept.length - size * (1 - probability))).toBeLessThan(5 * deviation);
  });

  test("drops the gradients of dropped values", async () => {
    const x = tensor(device, numbers(size, 1, 2), [size], {});
    x.requiresGrad = true;
    const output = new Dropout(0.5, { seeds: 1 }).forward(x);
    output.keep();
    backward(sum(output));
    const [values, gradient] = [await output.read(), await x.grad!.read()];
    expect(gradient.every((value, i) => value === (values[i] === 0 ? 0 : 2))).toBe(true);
  });

  test("drops other elements in each call and in each layer with shared seeds, and the same ones for equal seeds", async () => {
    const seeds = new Seeds(1);
    const [first, second] = [new Dropout(0.5, { seeds }), new Dropout(0.5, { seeds })];
    const twin = new Dropout(0.5, { seeds: 1 });
    const masks = await Promise.all(
      [first, first, second, twin].map((layer) => layer.forward(ones(device, [size])).read()),
    );
    expect(masks[3]).toEqual(masks[0]);
    for (const [a, b] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const) {
      const equal = masks[a]!.filter((value, i) => value === masks[b]![i]).length;
      // Two independent halves agree in half of the places. The bound is again five standard deviations.
      expect(Math.abs(equal - size / 2)).toBeLessThan(5 * Math.sqrt(size / 4));
    }
  });

  test("does not use the random numbers of weights with the same seed", async () => {
    for (const stream of [0, 1]) {
      const dropout = new Dropout(0.5, { seeds: 1 });
      dropout.counter = stream;
      const mask = await dropout.forward(ones(device, [size])).read();
      const drawn = await uniform(device, [size], { seed: 1, stream }).read();
      const equal = mask.filter((value, i) => value > 0 === drawn[i]! >= 0.5).length;
      expect(Math.abs(equal - size / 2)).toBeLessThan(5 * Math.sqrt(size / 4));
    }
  });

  test("returns its input and counts no call in evaluation or with probability 0", () => {
    const x = ones(device, [4]);
    const [evaluated, none] = [new Dropout(0.5).eval(), new Dropout(0)];
    expect(evaluated.forward(x)).toBe(x);
    expect(none.forward(x)).toBe(x);
    expect([evaluated.counter, none.counter]).toEqual([0, 0]);
  });

  test("refuses a probability outside 0 to 1", async () => {
    for (const probability of [-0.1, 1.5, Number.NaN])
      await expectError(() => new Dropout(probability).forward(ones(device, [2])), "invalid-argument", "probability");
  });
});

await onEveryDevice("losses", (device) => {
  test("meanSquaredError is the mean over all elements, and its gradient matches", async () => {
    const outputs = input(device, [4, 3]);
    const targets = input(device, [4, 3], 2);
    outputs.requiresGrad = true;
    const loss = meanSquaredError(outputs, targets);
    backward(loss);
    const [x, y] = [numbers(12, 1), numbers(12, 2)];
    const expected = x.reduce((total, value, i) => total + (value - y[i]!) ** 2 / 12, 0);
    expectClose([await loss.item()], [expected], 4);
    expectClose(
      await outputs.grad!.read(),
      x.map((value, i) => (value - y[i]!) / 6),
      4,
    );
  });

  test("crossEntropy of equal logits is log(classes)", async () => {
    const loss = crossEntropy(ones(device, [3, 7]), tensor(device, Int32Array.of(0, 3, 6)));
    expectClose([await loss.item()], [Math.log(7)], 4);
  });

  test("crossEntropy refuses labels that are not int32, and rows that do not match", async () => {
    const logits = ones(device, [3, 7]);
    await expectError(() => crossEntropy(logits, ones(device, [3])), "invalid-argument", "crossEntropy");
    await expectError(() => crossEntropy(logits, tensor(device, Int32Array.of(1))), "invalid-argument", "crossEntropy");
  });
});

/** exp(rate)·x, a custom module. */
class Growth extends Module {
  readonly rate: Parameter;

  constructor(device: Device) {
    super();
    this.rate = new Parameter(tensor(device, [0]));
  }

  forward(x: Tensor): Tensor {
    return multiply(x, exp(this.rate));
  }
}

await onEveryDevice("a custom module and a custom loss", (device) => {
  /** A loss between the absolute and the squared error: the mean of √((d/2)² + 0.01). */
  const loss = (outputs: Tensor, targets: Tensor) =>
    mean(sqrt(add(square(divide(subtract(outputs, targets), 2)), 0.01)));

  test("have the gradient of their formula", async () => {
    const model = new Growth(device);
    model.rate.write(Float32Array.of(0.5));
    const [x, y] = [numbers(20, 1), numbers(20, 2)];
    const result = loss(model.forward(tensor(device, x, [20, 1])), tensor(device, y, [20, 1]));
    backward(result);
    let [value, gradient] = [0, 0];
    for (let i = 0; i < 20; i++) {
      const d = (x[i]! * Math.exp(0.5) - y[i]!) / 2;
      value += Math.sqrt(d * d + 0.01) / 20;
      gradient += ((d / Math.sqrt(d * d + 0.01)) * x[i]! * Math.exp(0.5)) / 2 / 20;
    }
    // About ten roundings each.
    expectClose([await result.item()], [value], 8);
    expectClose(await model.rate.grad!.read(), [gradient], 8);
  });

  test("can be trained", async () => {
    const model = new Growth(device);
    const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.5 });
    const x = input(device, [20, 1]);
    const y = multiply(x, 3);
    for (let step = 0; step < 200; step++)
      tidy(() => {
        backward(loss(model.forward(x), y));
        optimizer.step();
        optimizer.zeroGrad();
      });
    // Float32 gradients vanish in the minimum: the last steps change the rate by less than its last digits.
    expect(await model.rate.item()).toBeCloseTo(Math.log(3), 5);
  });

  test("may end in any operation, and have accurate logarithms", async () => {
    const model = new Growth(device);
    backward(mean(negate(log(model.forward(tensor(device, [[1], [2], [3]]))))));
    expectClose(await model.rate.grad!.read(), [-1], 2);
  });
});

describe("seeds", () => {
  test.each([-1, 1.5, Number.NaN, 2 ** 53])("refuse %f", async (seed) => {
    await expectError(() => new Seeds(seed), "invalid-argument", "seed");
  });

  test("count their streams", () => {
    const seeds = new Seeds(7);
    expect([seeds.next(), seeds.next()]).toEqual([
      { seed: 7, stream: 0 },
      { seed: 7, stream: 1 },
    ]);
  });
});
