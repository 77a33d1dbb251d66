import { describe, expect, test } from "vitest";
import {
  configOf,
  create,
  MLP,
  type ModelConfig,
  mlp,
  names,
  olmoShapes,
  ResNet,
  resnet,
  resnet18,
  resnet34,
  resnet50,
} from "#lib/models/index.js";
import { crossEntropy, type Module } from "#lib/nn/index.js";
import { backward, ones, tensor } from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { numbers } from "../support/numbers.js";

const countOf = (model: Module) => model.parameters().reduce((total, { size }) => total + size, 0);

/** Number of parameters of a ResNet of depth 6n + 2 as in He et al. 2016, with convolutions as shortcuts. */
function expectedCount(n: number, width: number, channels: number, classes: number): number {
  const norm = (outputs: number) => 2 * outputs;
  const convolution = (inputs: number, outputs: number, kernel: number) =>
    kernel ** 2 * inputs * outputs + norm(outputs);
  let total = convolution(channels, width, 3);
  for (const [inputs, outputs] of [
    [width, width],
    [width, 2 * width],
    [2 * width, 4 * width],
  ] as const) {
    total += convolution(inputs, outputs, 3) + (2 * n - 1) * convolution(outputs, outputs, 3);
    if (inputs !== outputs) total += convolution(inputs, outputs, 1);
  }
  return total + 4 * width * classes + classes;
}

await onEveryDevice("resnet", (device) => {
  // The numbers in the table were counted in PyTorch with the usual implementation (option B).
  test.each([
    [8, 3, 16, 78_042],
    [8, 1, 16, 77_754],
    [20, 3, 16, 272_474],
    [32, 3, 16, 466_906],
    [14, 3, 4, undefined],
  ])(
    "depth %i with %i channels and width %i has the expected number of parameters",
    (depth, channels, width, literal) => {
      const count = countOf(resnet({ depth, classes: 10, channels, width, device }));
      expect(count).toBe(expectedCount((depth - 2) / 6, width, channels, 10));
      if (literal !== undefined) expect(count).toBe(literal);
    },
  );

  test("the defaults are three channels and a width of 16", () => {
    const model = resnet({ depth: 8, classes: 7, device });
    expect(countOf(model)).toBe(expectedCount(1, 16, 3, 7));
    expect(model.stem.weight.shape).toEqual([16, 3, 3, 3]);
  });

  test("the second and third stage halve the image and start with a shortcut", () => {
    const { blocks } = resnet({ depth: 20, classes: 10, width: 4, device });
    expect(blocks.length).toBe(9);
    expect(blocks.map(({ conv1 }) => conv1.stride)).toEqual([1, 1, 1, 2, 1, 1, 2, 1, 1]);
    expect(blocks.map(({ shortcut }) => shortcut?.weight.shape)).toEqual([
      ...[undefined, undefined, undefined],
      ...[[8, 1, 1, 4], undefined, undefined],
      ...[[16, 1, 1, 8], undefined, undefined],
    ]);
  });

  test.each([
    [2, 32, 32],
    [3, 28, 28],
    [2, 9, 13],
    [5, 4, 4],
  ])("%i images of %i×%i give logits, and every parameter gets a gradient", async (n, height, width) => {
    const model = resnet({ depth: 8, classes: 5, width: 4, device });
    const logits = model.forward(tensor(device, numbers(n * height * width * 3, 1), [n, height, width, 3]));
    expect(logits.shape).toEqual([n, 5]);
    backward(crossEntropy(logits, tensor(device, new Int32Array(n))));
    for (const [name, { grad, shape }] of model.namedParameters()) {
      expect(grad?.shape, name).toEqual(shape);
      expect((await grad!.read()).every(Number.isFinite), name).toBe(true);
    }
  });

  test("logits in evaluation do not depend on other items of the batch", async () => {
    const model = resnet({ depth: 8, classes: 5, width: 4, device }).eval();
    const data = numbers(3 * 12 * 12 * 3, 1);
    const all = await model.forward(tensor(device, data, [3, 12, 12, 3])).read();
    const one = await model.forward(tensor(device, data.slice(0, 12 * 12 * 3), [1, 12, 12, 3])).read();
    expect(all.subarray(0, 5)).toEqual(one);
  });

  test.each([7, 9, 2, 0, -4, 8.5, Number.NaN])("a depth of %f is refused", async (depth) => {
    await expectError(() => resnet({ depth, classes: 10, device }), "invalid-argument", "depth", "6n + 2");
  });
});

await onEveryDevice("resnet18, resnet34, resnet50", (device) => {
  // resnets.test.ts checks the numbers of parameters and compares the outputs with PyTorch.
  test("the defaults are three channels and a width of 64", () => {
    const model = resnet18({ classes: 2, device });
    expect(model.stem.weight.shape).toEqual([64, 7, 7, 3]);
    expect(resnet18({ classes: 2, channels: 1, width: 4, device }).stem.weight.shape).toEqual([4, 7, 7, 1]);
    model.dispose();
  });

  test("the imagenet stem reduces each side to a quarter, and the cifar stem keeps it", () => {
    const sides = (["imagenet", "cifar"] as const).map((stem) => {
      const model = resnet18({ classes: 2, width: 4, stem, device });
      const x = model.stem.forward(ones(device, [1, 32, 48, 3]));
      return [model.stem.weight.shape, (model.stemPool ? model.stemPool.forward(x) : x).shape];
    });
    expect(sides).toEqual([
      [
        [4, 7, 7, 3],
        [1, 8, 12, 4],
      ],
      [
        [4, 3, 3, 3],
        [1, 32, 48, 4],
      ],
    ]);
  });

  test("the default is the imagenet stem", () => {
    expect(resnet34({ classes: 2, width: 4, device }).stemPool).toBeDefined();
  });

  test("all stages but the first halve the image, and a bottleneck strides in its 3×3 and widens fourfold", () => {
    const { blocks, stages, classifier } = resnet50({ classes: 5, width: 4, device });
    expect(stages).toEqual([3, 4, 6, 3]);
    const strides = blocks.map((block) => [block.conv1.stride, block.conv2.stride, block.shortcut?.stride]);
    const first = (stride: number) => [1, stride, stride];
    const rest = (count: number) => Array(count).fill([1, 1, undefined]);
    expect(strides).toEqual([
      ...[first(1), ...rest(2)],
      ...[first(2), ...rest(3)],
      ...[first(2), ...rest(5)],
      ...[first(2), ...rest(2)],
    ]);
    expect(classifier.weight.shape).toEqual([5, 4 * 8 * 4]);
  });

  test("very small images give logits, and every parameter gets a gradient", async () => {
    const model = resnet50({ classes: 3, width: 2, device });
    const logits = model.forward(tensor(device, numbers(2 * 5 * 3 * 3, 1), [2, 5, 3, 3]));
    expect(logits.shape).toEqual([2, 3]);
    backward(crossEntropy(logits, tensor(device, new Int32Array(2))));
    for (const [name, { grad, shape }] of model.namedParameters()) expect(grad?.shape, name).toEqual(shape);
  });

  test("convolutions start with Kaiming's fan-out deviation, norms with 1 and 0", async () => {
    const model = resnet18({ classes: 10, stem: "cifar", width: 8, device });
    for (const [name, parameter] of model.namedParameters()) {
      const values = (await parameter.read()) as Float32Array;
      if (name.endsWith("gamma")) expect(values.every((value) => value === 1)).toBe(true);
      if (name.endsWith("beta")) expect(values.every((value) => value === 0)).toBe(true);
      if (parameter.shape.length !== 4) continue;
      const [outputs, height, width] = parameter.shape as [number, number, number];
      const expected = Math.sqrt(2 / (outputs * height * width));
      const deviation = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
      // The deviation of n normal numbers has a relative error of 1/√2n. Five times this is practically never exceeded.
      expect(Math.abs(deviation / expected - 1), name).toBeLessThan(5 / Math.sqrt(2 * values.length));
    }
  });

  test("an unknown stem is refused and named", async () => {
    const stem = "large" as "cifar";
    await expectError(() => resnet18({ classes: 2, stem, device }), "invalid-argument", "stem", "imagenet or cifar");
  });
});

await onEveryDevice("mlp", (device) => {
  test.each([
    [784, [64, 32], 10, 784 * 64 + 64 + 64 * 32 + 32 + 320 + 10],
    [784, undefined, 10, 784 * 512 + 512 + 512 * 512 + 512 + 5120 + 10],
    [6, [], 3, 21],
  ])("%i inputs, hidden %j, %i classes: has the expected number of parameters", (inputs, hidden, classes, count) => {
    expect(countOf(mlp({ inputs, classes, device, ...(hidden && { hidden }) }))).toBe(count);
  });

  test("flattens its inputs", async () => {
    const model = mlp({ inputs: 12, hidden: [5], classes: 3, device });
    const data = numbers(24, 1);
    const images = await model.forward(tensor(device, data, [2, 2, 2, 3])).read();
    expect(images.length).toBe(6);
    expect(await model.forward(tensor(device, data, [2, 12])).read()).toEqual(images);
  });

  test("has a ReLU between layers and none after the last", async () => {
    const model = mlp({ inputs: 2, hidden: [2], classes: 2, device });
    const [first, last] = model.layers;
    first!.weight.write(Float32Array.of(1, 0, 0, 1));
    last!.weight.write(Float32Array.of(-1, 0, 0, 1));
    for (const { bias } of model.layers) bias!.write(new Float32Array(2));
    expect(await model.forward(tensor(device, [[3, -5]])).read()).toEqual(Float32Array.of(-3, 0));
  });

  test("refuses inputs of another size", async () => {
    const model = mlp({ inputs: 12, classes: 3, device });
    await expectError(() => model.forward(ones(device, [2, 11])), "invalid-argument", "[2,11]");
  });
});

await onEveryDevice("models from their configuration", (device) => {
  const configs: ModelConfig[] = [
    { kind: "resnet", depth: 8, classes: 10, channels: 1, width: 4 },
    { kind: "mlp", inputs: 20, hidden: [10], classes: 3 },
    { kind: "resnet18", classes: 3, stem: "cifar", width: 4 },
    { kind: "resnet50", classes: 3, width: 4 },
  ];

  test.each(configs)("$kind: JSON and a seed give the same bits", async (config) => {
    const build = (seed?: number) =>
      create(JSON.parse(JSON.stringify(config)), { device, ...(seed !== undefined && { seed }) });
    const weights = async (model: Module) => (await model.parameters()[0]!.read()) as Float32Array;
    const [a, b, other, unseeded] = await Promise.all([5, 5, 6, undefined].map((seed) => weights(build(seed))));
    expect(b).toEqual(a);
    expect(other).not.toEqual(a);
    expect(unseeded).toEqual(await weights(build(0)));
  });

  test("a configuration creates the class of its kind", () => {
    expect(create(configs[0]!, { device })).toBeInstanceOf(ResNet);
    expect(create(configs[1]!, { device })).toBeInstanceOf(MLP);
    const [small, large] = configs.slice(2).map((config) => create(config, { device }) as ResNet);
    expect([small!.stages, small!.stemPool]).toEqual([[2, 2, 2, 2], undefined]);
    expect([large!.stages, large!.stemPool?.options.size]).toEqual([[3, 4, 6, 3], 3]);
  });

  test("the names of tensors in a checkpoint are fixed", () => {
    const norm = (name: string) => ["gamma", "beta", "runningMean", "runningVariance"].map((part) => `${name}.${part}`);
    const block = (i: number) =>
      ["conv1.weight", ...norm("norm1"), "conv2.weight", ...norm("norm2")].map((part) => `blocks.${i}.${part}`);
    const shortcut = (i: number) => ["shortcut.weight", ...norm("shortcutNorm")].map((part) => `blocks.${i}.${part}`);
    expect([...create(configs[0]!, { device }).stateDict().keys()]).toEqual([
      ...["stem.weight", ...norm("stemNorm")],
      ...block(0),
      ...[...block(1), ...shortcut(1)],
      ...[...block(2), ...shortcut(2)],
      ...["classifier.weight", "classifier.bias"],
    ]);
  });

  test("layers of equal shape start with different weights", async () => {
    const model = resnet({ depth: 20, classes: 10, width: 4, device });
    const alike = model.parameters().filter(({ shape }) => String(shape) === "4,3,3,4");
    expect(alike.length).toBe(6);
    const values = await Promise.all(alike.map((one) => one.read()));
    expect(new Set(values.map(String)).size).toBe(6);
  });

  test("an unknown kind is refused and named", async () => {
    const config = { kind: "transformer" } as unknown as ModelConfig;
    await expectError(() => create(config, { device }), "invalid-argument", "model.kind", "transformer");
  });
});

describe("names of models", () => {
  const expected: Record<string, ModelConfig> = {
    mlp: { kind: "mlp", inputs: 672, classes: 7 },
    resnet8: { kind: "resnet", depth: 8, channels: 1, classes: 7 },
    resnet20: { kind: "resnet", depth: 20, channels: 1, classes: 7 },
    resnet32: { kind: "resnet", depth: 32, channels: 1, classes: 7 },
    resnet18: { kind: "resnet18", channels: 1, classes: 7, stem: "cifar" },
    resnet34: { kind: "resnet34", channels: 1, classes: 7, stem: "cifar" },
    resnet50: { kind: "resnet50", channels: 1, classes: 7, stem: "cifar" },
  };

  test.each(Object.entries(expected))("%s is configured for images of any size and channels", (name, config) => {
    expect(configOf(name, [28, 24, 1], 7)).toEqual(config);
  });

  test("the list is complete", () => {
    expect([...names].sort()).toEqual([...Object.keys(expected), ...Object.keys(olmoShapes)].sort());
  });

  test.each([
    [[32, 32, 3], "cifar"],
    [[64, 64, 3], "cifar"],
    [[65, 16, 3], "imagenet"],
    [[16, 65, 3], "imagenet"],
    [[224, 224, 3], "imagenet"],
  ])("images of %j get the %s stem", (shape, stem) => {
    expect(configOf("resnet18", shape, 10)).toMatchObject({ stem, channels: 3, classes: 10 });
  });

  test("mlp accepts items of any shape, a ResNet only images", async () => {
    expect(configOf("mlp", [13], 2)).toEqual({ kind: "mlp", inputs: 13, classes: 2 });
    await expectError(() => configOf("resnet50", [784], 10), "invalid-argument", "data", "height", "resnet50");
    await expectError(() => configOf("resnet8", [784], 10), "invalid-argument", "data", "height", "resnet8");
  });

  test("an unknown name is refused, and the known ones are listed", async () => {
    await expectError(() => configOf("resnet19", [32, 32, 3], 10), "invalid-argument", "resnet19", ...names);
  });
});
