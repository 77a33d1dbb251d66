// Loading weights from PyTorch's files and from checkpoints. test/models/resnets.test.ts checks the outputs of networks
// with such weights.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { mlp, type ResNet, resnet18, resnet50, type TorchLayout, type TorchNames } from "#lib/models/index.js";
import * as nn from "#lib/nn/index.js";
import { cast, type Tensor, tensor } from "#lib/tensor/index.js";
import { loadTorchWeights, loadWeights, toTorchWeights } from "#lib/weights/index.js";
import { golden } from "../models/support/resnets.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { numbers } from "../support/numbers.js";
import { bitsOf, device, recordsOf, residual, smallResNet } from "../train/support/runs.js";
import { float32, type Stored, writeStored } from "./support/stored.js";

const folder = temporaryFolders();
const on = await device();

const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** A ResNet-18 with an eighth of the channels, for 10 classes. */
const small = (classes = 10) => resnet18({ classes, stem: "cifar", width: 8, device: on });

/** The tensors of such a network in PyTorch's names and layout, with hashed numbers. */
function torchFile(): Map<string, Stored> {
  const { tensors } = golden.networks.find(({ name, stem }) => name === "resnet18" && stem === "cifar")!;
  const narrow = (size: number) => (size >= 64 ? size / 8 : size);
  const stored = tensors.map(([name, full], k): [string, Stored] => {
    const shape = full.map(narrow);
    return [name, float32(shape, numbers(sizeOf(shape), 100 + k))];
  });
  const counters = tensors
    .filter(([name]) => name.endsWith("running_var"))
    .map(([name]): [string, Stored] => [
      name.replace("running_var", "num_batches_tracked"),
      { code: "I64", shape: [], data: BigInt64Array.of(3n) },
    ]);
  return new Map([...stored, ...counters]);
}

function written(tensors: ReadonlyMap<string, Stored>): string {
  return writeStored(join(folder(), "weights.safetensors"), tensors);
}

/** Writes the file with some tensors replaced, or removed if the change is undefined. */
function changed(changes: Readonly<Record<string, Stored | undefined>>): string {
  const tensors = torchFile();
  for (const [name, change] of Object.entries(changes))
    if (change) tensors.set(name, change);
    else tensors.delete(name);
  return written(tensors);
}

/** A tensor of the file with another shape of the same size. */
const reshaped = (name: string, shape: readonly number[]): Stored => ({ ...torchFile().get(name)!, shape });

/** Expects loading the file into a model to throw this error and to change nothing. */
async function expectRefused(path: string, ...words: string[]): Promise<void> {
  const model = small();
  const before = await bitsOf(model.stateDict());
  await expectError(() => loadTorchWeights(model, path), "invalid-file", path, ...words);
  await expectError(() => loadWeights(model, path), "invalid-file", path, ...words);
  expect(await bitsOf(model.stateDict())).toEqual(before);
}

describe("loadTorchWeights", () => {
  it("permutes OIHW to OHWI and keeps the order of everything else", async () => {
    const model = small();
    await loadTorchWeights(model, written(torchFile()));
    const at = (shape: readonly number[], index: readonly number[]) =>
      index.reduce((sum, i, axis) => sum * shape[axis]! + i, 0);
    const state = model.stateDict();
    const expectSame = async (stepsizeName: string, torch: string) => {
      const { shape, data } = torchFile().get(torch)!;
      const got = await state.get(stepsizeName)!.read();
      if (shape.length !== 4) return expect(got, stepsizeName).toEqual(data);
      const [outputs, inputs, height, width] = shape as [number, number, number, number];
      expect(state.get(stepsizeName)!.shape).toEqual([outputs, height, width, inputs]);
      for (let o = 0; o < outputs; o++)
        for (let i = 0; i < inputs; i++)
          for (let y = 0; y < height; y++)
            for (let x = 0; x < width; x++)
              if (
                got[at([outputs, height, width, inputs], [o, y, x, i])] !==
                (data as Float32Array)[at(shape, [o, i, y, x])]
              )
                expect.fail(`${stepsizeName} at ${[o, y, x, i]}`);
    };
    const pairs = {
      "stem.weight": "conv1.weight",
      "stemNorm.gamma": "bn1.weight",
      "stemNorm.beta": "bn1.bias",
      "stemNorm.runningMean": "bn1.running_mean",
      "stemNorm.runningVariance": "bn1.running_var",
      "blocks.0.conv1.weight": "layer1.0.conv1.weight",
      "blocks.1.norm2.beta": "layer1.1.bn2.bias",
      "blocks.2.conv1.weight": "layer2.0.conv1.weight",
      "blocks.2.shortcut.weight": "layer2.0.downsample.0.weight",
      "blocks.2.shortcutNorm.gamma": "layer2.0.downsample.1.weight",
      "blocks.2.shortcutNorm.runningVariance": "layer2.0.downsample.1.running_var",
      "blocks.7.conv2.weight": "layer4.1.conv2.weight",
      "classifier.weight": "fc.weight",
      "classifier.bias": "fc.bias",
    };
    for (const [stepsizeName, torch] of Object.entries(pairs)) await expectSame(stepsizeName, torch);
    for (const [stepsizeName, torch] of model.torchNames().names) await expectSame(stepsizeName, torch);
    expect(model.torchNames().names.size).toBe(torchFile().size - 20);
  });

  it("does not need the counters of batches, which older files do not have", async () => {
    const tensors = [...torchFile()].filter(([name]) => !name.endsWith("num_batches_tracked"));
    const [a, b] = [small(), small()];
    await loadTorchWeights(a, written(new Map(tensors)));
    await loadTorchWeights(b, written(torchFile()));
    expect(await bitsOf(a.stateDict())).toEqual(await bitsOf(b.stateDict()));
  });

  it("maps the layers of bottleneck blocks", () => {
    const { names } = resnet50({ classes: 10, width: 4, device: on }).torchNames();
    const { tensors } = golden.networks.find(({ name }) => name === "resnet50")!;
    expect([...names.values()].sort()).toEqual(tensors.map(([name]) => name).sort());
    expect(names.get("blocks.15.norm3.gamma")).toBe("layer4.2.bn3.weight");
  });

  // From the definition of the format: https://en.wikipedia.org/wiki/Half-precision_floating-point_format
  const halves = [
    [0x0000, 0],
    [0x0001, 2 ** -24],
    [0x03ff, 2 ** -14 - 2 ** -24],
    [0x0400, 2 ** -14],
    [0x3555, 0.333251953125],
    [0x3c01, 1 + 2 ** -10],
    [0x7bff, 65504],
    [0xc000, -2],
    [0x8000, -0],
    [0xfc00, Number.NEGATIVE_INFINITY],
  ] as const;
  const bfloats = [
    [0x0000, 0],
    [0x3f80, 1],
    [0x3f81, 1 + 2 ** -7],
    [0xc040, -3],
    [0x8000, -0],
    [0x0001, 2 ** -133],
    [0x7f80, Number.POSITIVE_INFINITY],
    [0x3eaa, 0.33203125],
    [0x4049, 3.140625],
    [0xff7f, -(2 ** 128 - 2 ** 120)],
  ] as const;
  it.each([
    ["F16", Uint16Array.from(halves, ([bits]) => bits), halves.map(([, value]) => value)],
    ["BF16", Uint16Array.from(bfloats, ([bits]) => bits), bfloats.map(([, value]) => value)],
    [
      "F64",
      Float64Array.of(1, -2.5, 0.1, 0, 1e-300, -0, 3, 4, 5, 6),
      [1, -2.5, Math.fround(0.1), 0, 0, -0, 3, 4, 5, 6],
    ],
  ])("accepts %s", async (code, data, expected) => {
    const model = small();
    await loadTorchWeights(model, changed({ "fc.bias": { code, shape: [10], data } }));
    expect([...(await model.classifier.bias!.read())]).toEqual(expected);
  });

  it("keeps a float16 NaN", async () => {
    const model = small();
    const data = Uint16Array.from({ length: 10 }, () => 0x7e00);
    await loadTorchWeights(model, changed({ "fc.bias": { code: "F16", shape: [10], data } }));
    expect([...(await model.classifier.bias!.read())]).toEqual(Array(10).fill(Number.NaN));
  });

  it("converts to the model's type", async () => {
    class Half extends nn.Module {
      readonly weight = new nn.Parameter(cast(tensor(on, new Float32Array(3)), "bfloat16"));
      forward(x: Tensor): Tensor {
        return x;
      }
      override torchNames(): TorchNames {
        return { names: new Map([["weight", "w"]]), unused: [] };
      }
    }
    const model = new Half();
    await loadTorchWeights(model, written(new Map([["w", float32([3], Float32Array.of(1, -2, 0.3333))]])));
    expect(await model.weight.read()).toEqual(Uint16Array.of(0x3f80, 0xc000, 0x3eab));
  });

  it("leaves the model trainable", async () => {
    const model = small();
    await loadTorchWeights(model, written(torchFile()));
    expect(model.parameters().every(({ requiresGrad, node }) => requiresGrad && !node)).toBe(true);
  });
});

describe("a file that does not match changes nothing:", () => {
  it.each([
    ["a tensor is missing", { "layer3.1.conv2.weight": undefined }, ["missing: layer3.1.conv2.weight"]],
    [
      "a tensor is left over",
      { "layer5.0.conv1.weight": float32([2], new Float32Array(2)) },
      ["left over: layer5.0.conv1.weight"],
    ],
    [
      "the classifier is transposed",
      { "fc.weight": reshaped("fc.weight", [64, 10]) },
      ["of another shape: fc.weight is [64,10], the model needs [10,64]"],
    ],
    [
      "a convolution has TensorFlow's order",
      { "layer1.0.conv1.weight": reshaped("layer1.0.conv1.weight", [3, 3, 8, 8]) },
      ["layer1.0.conv1.weight is [3,3,8,8], the model needs [8,8,3,3]"],
    ],
    [
      "a convolution has the library's order",
      { "conv1.weight": reshaped("conv1.weight", [8, 3, 3, 3].toReversed()) },
      ["conv1.weight is [3,3,3,8]", "[8,3,3,3]"],
    ],
    [
      "a tensor has one axis more",
      { "bn1.bias": reshaped("bn1.bias", [8, 1]) },
      ["bn1.bias is [8,1], the model needs [8]"],
    ],
    [
      "weights are integers",
      { "bn1.bias": { code: "I32", shape: [8], data: new Int32Array(8) } },
      ["not F32, F16, BF16, F64: bn1.bias is I32"],
    ],
    [
      "the stem is that for large images",
      { "conv1.weight": float32([8, 3, 7, 7], new Float32Array(8 * 147)) },
      ["conv1.weight is [8,3,7,7], the model needs [8,3,3,3]"],
    ],
    [
      "several things are wrong",
      { "fc.bias": undefined, "bn1.bias": reshaped("bn1.bias", [4, 2]), more: reshaped("fc.bias", [10]) },
      ["missing: fc.bias; left over: more; of another shape: bn1.bias"],
    ],
  ])("%s", async (_, changes, words) => {
    await expectRefused(changed(changes as never), "do not fit the model", ...words);
  });

  it("weights of another architecture, with the first names and the number of others", async () => {
    const { tensors } = golden.networks.find(({ name }) => name === "resnet34")!;
    const file = written(new Map(tensors.map(([name]) => [name, float32([1], new Float32Array(1))])));
    // Eight more blocks with ten tensors each.
    await expectRefused(file, "left over: layer1.2.conv1.weight, layer1.2.bn1.weight, layer1.2.bn1.bias, and 77 more");
  });

  it("a file that is cut at any place", async () => {
    const file = written(torchFile());
    const whole = readFileSync(file);
    for (const share of [0, 1e-5, 0.01, 0.5, 0.999]) {
      writeFileSync(file, whole.subarray(0, Math.floor(whole.length * share)));
      await expectRefused(file, "byte ", "expected", "found");
    }
    writeFileSync(file, whole.subarray(0, -1));
    await expectRefused(file, "cut short");
  });

  it.each([
    ["a zip archive", "PK\x03\x04\0\0\x08\x08\0\0"],
    ["a pickle", "\x80\x02\x8a\x0al\xfc\x9cF\xf9"],
  ])("%s of torch.save, with advice on how to convert it", async (kind, bytes) => {
    const path = join(folder(), "resnet18.pth");
    writeFileSync(path, Buffer.from(bytes, "latin1"));
    await expectRefused(path, "byte 0", kind, "torch.save", "safetensors.torch.save_file");
  });

  it("a missing file", async () => {
    const path = join(folder(), "none.safetensors");
    await expectError(() => loadTorchWeights(small(), path), "not-found", path);
  });
});

describe("another number of classes", () => {
  const other = (classes: number) => ({
    "fc.weight": float32([classes, 64], numbers(classes * 64, 1)),
    "fc.bias": float32([classes], numbers(classes, 2)),
  });

  it("is refused, with advice", async () => {
    const words = ["fc.weight is [1000,64], the model needs [10,64]", 'classifier: "skip"'];
    await expectRefused(changed(other(1000)), ...words);
    await expectRefused(
      changed({ "fc.weight": undefined, "fc.bias": undefined }),
      "missing: fc.weight, fc.bias",
      words[1]!,
    );
  });

  it("is not named as the reason if other layers differ too", async () => {
    for (const more of [
      { more: reshaped("fc.bias", [10]) },
      { "bn1.bias": undefined },
      { "bn1.bias": reshaped("bn1.bias", [4, 2]) },
    ]) {
      const path = changed({ ...other(1000), ...more });
      await expect(loadTorchWeights(small(), path)).rejects.toThrow(/^(?!.*skip)/);
    }
  });

  it.each([
    ["of other classes", other(1000)],
    ["of as many classes", {}],
    ["without a classifier", { "fc.weight": undefined, "fc.bias": undefined }],
  ])("weights %s are skipped on request, and everything else is loaded", async (_, changes) => {
    const [model, whole] = [small(), small()];
    const before = await bitsOf(model.stateDict());
    await loadTorchWeights(model, changed(changes), { classifier: "skip" });
    await loadTorchWeights(whole, written(torchFile()));
    const [got, all] = [await bitsOf(model.stateDict()), await bitsOf(whole.stateDict())];
    for (const name of Object.keys(all))
      expect(got[name], name).toBe((name.startsWith("classifier.") ? before : all)[name]);
  });

  it("other missing weights are still refused", async () => {
    const path = changed({ "bn1.bias": undefined });
    await expectError(
      () => loadTorchWeights(small(), path, { classifier: "skip" }),
      "invalid-file",
      "missing: bn1.bias",
    );
  });
});

describe("custom models", () => {
  class Named extends nn.Module {
    readonly convolution = new nn.Conv2d(2, 3, { kernel: 1, bias: true, device: on });
    readonly table: TorchNames;
    constructor(table: TorchNames) {
      super();
      this.table = table;
    }
    forward(x: Tensor): Tensor {
      return this.convolution.forward(x);
    }
    override torchNames(): TorchNames {
      return this.table;
    }
  }
  const names = new Map([
    ["convolution.weight", "project.weight"],
    ["convolution.bias", "project.bias"],
  ]);
  const file = () =>
    written(
      new Map([
        ["project.weight", float32([3, 2, 1, 1], Float32Array.of(1, 2, 3, 4, 5, 6))],
        ["project.bias", float32([3], Float32Array.of(7, 8, 9))],
        ["inv_freq", float32([1], new Float32Array(1))],
      ]),
    );

  it("define their names and the unused ones", async () => {
    const model = new Named({ names, unused: ["inv_freq"] });
    await loadTorchWeights(model, file());
    expect(await model.convolution.weight.read()).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6));
    expect(await model.convolution.bias!.read()).toEqual(Float32Array.of(7, 8, 9));
    await expectError(
      () => loadTorchWeights(new Named({ names, unused: [] }), file()),
      "invalid-file",
      "left over: inv_freq",
    );
  });

  it("without a classifier cannot skip it", async () => {
    const model = new Named({ names, unused: ["inv_freq"] });
    await expectError(
      () => loadTorchWeights(model, file(), { classifier: "skip" }),
      "invalid-argument",
      "classifier",
      "skip",
    );
  });

  it("get an error for a tensor without a name", async () => {
    const model = new Named({ names: new Map([...names].slice(0, 1)), unused: [] });
    await expectError(() => loadTorchWeights(model, file()), "invalid-argument", "torchNames", "convolution.bias");
  });

  it("use the names of their members, with PyTorch's names for the parameters of layers", async () => {
    class Composed extends nn.Module {
      readonly features = new nn.Sequential(new nn.Conv2d(2, 3, { device: on }), new nn.BatchNorm(3, { device: on }));
      readonly head = new nn.LayerNorm(3, { device: on });
      readonly scale = new nn.Parameter(tensor(on, [1]));
      readonly inner = new Named({ names, unused: ["inv_freq"] });
      forward(x: Tensor): Tensor {
        return x;
      }
      protected override torchName(member: string): string {
        return member === "inner" ? "" : member;
      }
    }
    const { names: found, unused } = new Composed().torchNames();
    expect(Object.fromEntries(found)).toEqual({
      "features.layers.0.weight": "features.0.weight",
      "features.layers.1.gamma": "features.1.weight",
      "features.layers.1.beta": "features.1.bias",
      "features.layers.1.runningMean": "features.1.running_mean",
      "features.layers.1.runningVariance": "features.1.running_var",
      "head.gamma": "head.weight",
      "head.beta": "head.bias",
      scale: "scale",
      "inner.convolution.weight": "project.weight",
      "inner.convolution.bias": "project.bias",
    });
    expect(unused).toEqual(["features.1.num_batches_tracked", "inv_freq"]);
  });

  it("get an error for two tensors with one name", async () => {
    const model = new Named({ names: new Map([...names.keys()].map((path) => [path, "project"])), unused: [] });
    await expectError(
      () => loadTorchWeights(model, file()),
      "invalid-argument",
      "different names for convolution.weight and convolution.bias",
    );
  });

  describe("with a linear layer on flattened images", () => {
    const [height, width, channels, outputs] = [2, 3, 4, 5];
    class Flat extends nn.Module {
      readonly fc = new nn.Linear(height * width * channels, outputs, { bias: false, device: on });
      readonly layout: TorchLayout;
      constructor(layout: TorchLayout) {
        super();
        this.layout = layout;
      }
      forward(x: Tensor): Tensor {
        return x;
      }
      override torchNames(): TorchNames {
        return { ...super.torchNames(), layouts: new Map([["fc.weight", this.layout]]) };
      }
    }
    const size = outputs * height * width * channels;
    const path = () => written(new Map([["fc.weight", float32([outputs, size / outputs], numbers(size, 3))]]));

    it("permutes PyTorch's channels-first inputs to the library's order, and back", async () => {
      const model = new Flat({ flattened: [height, width, channels] });
      await loadTorchWeights(model, path());
      const [linear, torch] = [await model.fc.weight.read(), numbers(size, 3)];
      for (let o = 0; o < outputs; o++)
        for (let y = 0; y < height; y++)
          for (let x = 0; x < width; x++)
            for (let c = 0; c < channels; c++)
              expect(linear[((o * height + y) * width + x) * channels + c]).toBe(
                torch[((o * channels + c) * height + y) * width + x],
              );
      const back = (await toTorchWeights(model)).get("fc.weight")!;
      expect([back.shape, await back.read()]).toEqual([[outputs, size / outputs], torch]);
    });

    it.each<[TorchLayout, string]>([
      [{ flattened: [height, width, 5] }, "[outputs, 2·3·5]"],
      ["convolution", "four axes"],
    ])("refuses the layout %j", async (layout, words) => {
      await expectError(() => loadTorchWeights(new Flat(layout), path()), "invalid-argument", "layouts", words);
    });
  });

  it("can keep the layout of a parameter with four axes that is not a convolution", async () => {
    class Table extends nn.Module {
      readonly table = new nn.Parameter(tensor(on, new Float32Array(16), [2, 2, 2, 2]));
      forward(x: Tensor): Tensor {
        return x;
      }
      override torchNames(): TorchNames {
        return { ...super.torchNames(), layouts: new Map([["table", "same"]]) };
      }
    }
    const model = new Table();
    await loadTorchWeights(model, written(new Map([["table", float32([2, 2, 2, 2], numbers(16, 1))]])));
    expect(await model.table.read()).toEqual(numbers(16, 1));
  });

  it("an unknown classifier option is refused", async () => {
    const options = { classifier: "drop" as never };
    await expectError(
      () => loadTorchWeights(small(), written(torchFile()), options),
      "invalid-argument",
      "classifier",
      "drop",
    );
  });
});

describe("loadWeights", () => {
  it("detects PyTorch's names", async () => {
    const [a, b] = [small(), small()];
    await loadWeights(a, written(torchFile()));
    await loadTorchWeights(b, written(torchFile()));
    expect(await bitsOf(a.stateDict())).toEqual(await bitsOf(b.stateDict()));
  });

  async function checkpoint() {
    const run = residual.make(on, { budget: 3 });
    const path = join(folder(), "checkpoint.safetensors");
    await recordsOf(run.trainer);
    await run.trainer.save(path);
    return { path, state: await bitsOf(run.model.stateDict()) };
  }

  it("detects a checkpoint and loads only the model", async () => {
    const { path, state } = await checkpoint();
    const model = smallResNet(on, 8);
    await loadWeights(model, path);
    expect(await bitsOf(model.stateDict())).toEqual(state);
  });

  it("skips a checkpoint's classifier on request", async () => {
    const { path, state } = await checkpoint();
    const model = smallResNet(on, 8) as ResNet;
    const before = await bitsOf(model.classifier.stateDict());
    await loadWeights(model, path, { classifier: "skip" });
    expect(await bitsOf(model.classifier.stateDict())).toEqual(before);
    expect((await bitsOf(model.stateDict()))["stem.weight"]).toBe(state["stem.weight"]);
  });

  it("names the differences from another model's checkpoint, in the checkpoint's names", async () => {
    const { path } = await checkpoint();
    const wider = mlp({ inputs: 4, classes: 4, device: on });
    await expectError(
      () => loadWeights(wider, path),
      "invalid-file",
      path,
      "missing: model.layers.0.weight",
      "left over: model.stem.weight",
    );
  });

  it("names the missing tensors if a file is neither", async () => {
    const path = written(new Map([["something", float32([1], new Float32Array(1))]]));
    await expectError(() => loadWeights(small(), path), "invalid-file", "missing", "left over: something");
  });
});
