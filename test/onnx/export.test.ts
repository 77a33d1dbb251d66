import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { InferenceSession, Tensor as OnnxTensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { create } from "#lib/models/index.js";
import { openDevice } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { exportOnnx, type OnnxOptions } from "#lib/onnx/index.js";
import * as ops from "#lib/tensor/index.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { labelsOf, numbers } from "../support/numbers.js";
import { configs, type Data, inputsFor, makeModel, sizeOf, typeOf } from "./support/models.js";

const folder = temporaryFolders();
const device = await openDevice("cpu");

async function exported(model: nn.Module, options: OnnxOptions): Promise<{ path: string; session: InferenceSession }> {
  const path = join(folder(), "model.onnx");
  await exportOnnx(model, path, options);
  return { path, session: await InferenceSession.create(path) };
}

async function runOnnx(session: InferenceSession, data: Data, shape: readonly number[]) {
  const { output } = await session.run({ input: new OnnxTensor(typeOf(data), data, shape) });
  return output!;
}

/**
 * Expects ONNX Runtime to compute the model's outputs for one and for five items. Both compute in float32, in other
 * orders; outputs are about 1.
 */
async function expectEqualOutputs(
  model: nn.Module,
  session: InferenceSession,
  { data, shape, prepare }: { data: Data; shape: readonly number[]; prepare?: (raw: Tensor) => Tensor },
): Promise<void> {
  for (const items of [1, 5]) {
    const part = data.slice(0, items * sizeOf(shape));
    const expected = await model.predict(part, { shape, prepare });
    const found = await runOnnx(session, part, [items, ...shape]);
    expect(found.dims).toEqual(expected.shape);
    const values = found.data as Float32Array;
    expect(values.some((value) => Math.abs(value) > 0.01)).toBe(true);
    expected.data.forEach((value, i) => {
      expect(Math.abs(value - values[i]!), `output ${i} of ${items} items`).toBeLessThan(1e-4);
    });
  }
}

describe("every model has the same outputs in ONNX Runtime", () => {
  test.each(configs)("%s", async (_, config, shape) => {
    const model = makeModel(device, config, shape);
    const data = inputsFor(config, shape);
    const { session } = await exported(model, { shape, dtype: config.kind === "olmo" ? "int32" : "float32" });
    await expectEqualOutputs(model, session, { data, shape });
    // The export has left the model in training.
    expect(model.modules().every(({ training }) => training)).toBe(true);
    expect(model.modules().some((module) => Object.hasOwn(module, "forward"))).toBe(false);
  });

  test.each(configs)("%s in bf16, as the same model in float32", async (_, config, shape) => {
    const model = makeModel(device, config, shape).setPrecision("bf16");
    const data = inputsFor(config, shape);
    const { session } = await exported(model, { shape, dtype: config.kind === "olmo" ? "int32" : "float32" });
    // The weights stay those of bf16.
    await expectEqualOutputs(model.setPrecision("float32"), session, { data, shape });
  });

  test("with preprocessing, from raw bytes", async () => {
    const shape = [8, 8, 3];
    const preprocessing = { shape, dtype: "uint8", scale: 1 / 255, mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0] } as const;
    const model = makeModel(device, { kind: "resnet", depth: 8, classes: 3, width: 4 }, shape);
    const { session } = await exported(model, { preprocessing });
    const data = Uint8Array.from(labelsOf(5 * sizeOf(shape), 1, 256));
    const preparation = new nn.Preparation(model, preprocessing);
    await expectEqualOutputs(model, session, { data, shape, prepare: (raw) => preparation.apply(raw) });
  });
});

/** A module that calls a function. */
class Custom extends nn.Module {
  readonly inner: nn.Linear;
  readonly compute: (x: Tensor, inner: nn.Linear) => Tensor;

  constructor(inputs: number, compute: (x: Tensor, inner: nn.Linear) => Tensor) {
    super();
    this.inner = new nn.Linear(inputs, 4, { device, seeds: 1 });
    this.compute = compute;
  }

  forward(x: Tensor): Tensor {
    return this.compute(x, this.inner);
  }
}

describe("custom modules", () => {
  const functions: Record<string, (x: Tensor, inner: nn.Linear) => Tensor> = {
    "elementwise functions": (x) =>
      x
        .square()
        .add(1)
        .log()
        .add(x.exp())
        .multiply(x.tanh())
        .divide(x.sigmoid().add(x))
        .subtract(x.square().add(0.5).sqrt()),
    activations: (x) => x.relu().add(x.gelu()).add(x.silu()).negate(),
    "affine maps": (x) =>
      ops
        .affine(x, 1, 0)
        .add(ops.affine(x, 2, 3))
        .subtract(ops.affine(x, 0, 1)),
    "sums and means": (x) => x.sum(1).multiply(3).add(ops.mean(x, -1)),
    "the largest index": (x) => ops.asType(x.argmax(), "float32").add(x.sum(1)),
    "log softmax": (x) => x.logSoftmax(),
    "products with an epilogue": (x, inner) =>
      ops.linear(x, inner.weight, { bias: inner.bias, activation: "silu", residual: inner.forward(x) }),
    "a product without a bias": (x, inner) =>
      ops.linear(x, inner.weight, { activation: "gelu", residual: inner.forward(x) }),
    "transposed products": (x, inner) => ops.matmul(x, inner.weight, { transposeB: true }),
    "a row for all items": (x) => x.add(tensor(device, [1, 2, 3, 4, 5, 6])),
    "constants of the forward pass": (x) => x.multiply(ops.full(device, [6], 0.5)),
    "reshaped items": (x) => ops.causalAttention(...heads(x)).reshape([-1, 6]),
    detached: (x) => x.detach().add(1),
  };
  const heads = (x: Tensor) => {
    const split = x.reshape([-1, 3, 1, 2]);
    return [ops.rotary(split), ops.rotary(split, { base: 100 }), split] as const;
  };

  test.each(Object.entries(functions))("%s", async (_, compute) => {
    const model = new Custom(6, compute);
    const { session } = await exported(model, { shape: [6] });
    await expectEqualOutputs(model, session, { data: numbers(30, 2), shape: [6] });
  });

  test("layers that no model of the library has", async () => {
    const model = new nn.Sequential(
      new nn.Conv2d(2, 4, { device, kernel: 3, stride: 2, padding: 1, bias: true }),
      new nn.GELU(),
      new nn.AveragePool2d({ size: 2, stride: 1, padding: 1 }),
      new nn.MaxPool2d({ size: 2 }),
      new nn.ReLU(),
      new nn.Dropout(0.5),
      new nn.Flatten(),
      new nn.Linear(16, 8, { device }),
      new nn.BatchNorm(8, { device }),
      new nn.LayerNorm(8, { device }),
      new nn.RMSNorm(8, { device, learned: false }),
      new nn.SiLU(),
    );
    const shape = [7, 7, 2];
    const { session } = await exported(model, { shape });
    await expectEqualOutputs(model, session, { data: numbers(5 * sizeOf(shape), 4), shape });
  });

  test("names of nodes and weights are the paths in the model", async () => {
    const model = create({ kind: "mlp", inputs: 6, hidden: [4], classes: 2 }, { device });
    const { path } = await exported(model, { shape: [6] });
    const text = readFileSync(path, "latin1");
    for (const name of ["layers.0.weight", "layers.1.bias", "layers.0/Gemm", "flatten/Reshape"])
      expect(text).toContain(name);
  });

  test.each([
    [
      "an operation that ONNX does not have",
      (x: Tensor) => ops.dropout(x, { probability: 0.5, seed: 1 }),
      "the operation dropout cannot be exported",
    ],
    [
      "random numbers",
      (x: Tensor) => x.add(ops.normal(device, [6], { seed: 1 })),
      "the operation normal cannot be exported",
    ],
    [
      "a change of a buffer",
      (x: Tensor) => {
        const buffer = ops.zeros(device, [6]);
        ops.copy(buffer, ops.mean(x, 0));
        return x.add(buffer);
      },
      "the operation",
    ],
    [
      "another computation for more items",
      (x: Tensor) => (x.shape[0] === 2 ? x.relu() : x.exp()),
      "depends on the number of items",
    ],
    [
      "another number of operations",
      (x: Tensor) => (x.shape[0] === 2 ? x : x.exp().log()),
      "the number of operations depends on the number of items",
    ],
    [
      "a mean over the items",
      (x: Tensor) => x.subtract(ops.mean(x, 0)),
      "the operation sum depends on the number of items",
    ],
    ["an output for all items", (x: Tensor) => ops.sum(x, 0), "expected one output per item"],
    [
      "a constant with a row per item",
      (x: Tensor) => x.add(ops.ones(device, x.shape)),
      "depends on the number of items",
    ],
    [
      "outputs that do not depend on the inputs",
      (_: Tensor, inner: nn.Linear) => ops.asType(inner.weight, "float32"),
      "computed from the inputs",
    ],
  ])("%s is refused, with the module", async (_, compute, words) => {
    const path = join(folder(), "model.onnx");
    writeFileSync(path, "before");
    const model = new nn.Sequential(new Custom(6, compute));
    await expectError(() => exportOnnx(model, path, { shape: [6] }), "unsupported", "exportOnnx", words);
    expect(readFileSync(path, "utf8")).toBe("before");
  });

  test("an error names the innermost module", async () => {
    const random = new Custom(6, (x) => ops.dropout(x, { probability: 0.5, seed: 1 }));
    const model = new nn.Sequential(new nn.ReLU(), new nn.Sequential(random));
    await expectError(() => exportOnnx(model, "none.onnx", { shape: [6] }), "unsupported", "layers.1.layers.0: ");
    expect(existsSync("none.onnx")).toBe(false);
  });

  test("weights of more than 2 GiB are refused before a forward pass", async () => {
    // A model of this size would take seconds to make, so it only says that it has such a tensor.
    class Large extends Custom {
      override stateDict() {
        const state = super.stateDict();
        const [one] = state.values();
        return state.set("large.weight", Object.create(one!, { size: { value: 2 ** 29 } }));
      }
    }
    const model = new Large(6, () => {
      throw new Error("a forward pass");
    });
    const words = ["expected at most 2.13 GB of float32 weights", "got 2.15 GB", "safetensors"];
    await expectError(() => exportOnnx(model, "none.onnx", { shape: [6] }), "unsupported", ...words);
    expect(existsSync("none.onnx")).toBe(false);
  });

  test("an error of forward is passed on, and the model is unchanged", async () => {
    const mistake = new Error("a mistake");
    const model = new Custom(6, () => {
      throw mistake;
    });
    await expect(exportOnnx(model, "none.onnx", { shape: [6] })).rejects.toBe(mistake);
    expect([model.training, Object.hasOwn(model, "forward")]).toEqual([true, false]);
  });
});

describe("arguments", () => {
  const model = create({ kind: "mlp", inputs: 6, hidden: [4], classes: 2 }, { device });

  test.each([
    ["no shape", {}, "exportOnnx.shape: expected the shape of one item"],
    ["a type without inputs", { shape: [6], dtype: "float64" }, "exportOnnx.dtype: expected float32, int32, uint8"],
    ["metadata that are no text", { shape: [6], metadata: { step: 1 } }, "exportOnnx.metadata.step"],
    ["a shape that does not fit", { shape: [5] }, ""],
  ])("%s is refused", async (_, options, words) => {
    await expectError(() => exportOnnx(model, "none.onnx", options as OnnxOptions), "invalid-argument", words);
    expect(existsSync("none.onnx")).toBe(false);
  });
});
