// Tensors as values: creating, reading, writing, moving and disposing of them, and the errors of wrong calls.
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { type DataType, type Device, dataTypes } from "#lib/native/index.js";
import * as t from "#lib/tensor/index.js";
import { onEveryDevice, openAll } from "../support/devices.js";
import { expectError } from "../support/errors.js";

await onEveryDevice("tensors", (device) => {
  describe("are created", () => {
    it("from numbers, nested arrays and typed arrays", async () => {
      const cases = [
        { x: t.tensor(device, 3), shape: [], values: [3] },
        { x: t.tensor(device, []), shape: [0], values: [] },
        { x: t.tensor(device, [[], []]), shape: [2, 0], values: [] },
        { x: t.tensor(device, [[[1], [2]]]), shape: [1, 2, 1], values: [1, 2] },
        { x: t.tensor(device, [1, 2, 3, 4], [2, 2]), shape: [2, 2], values: [1, 2, 3, 4] },
        { x: t.tensor(device, Float32Array.of(1.5)), shape: [1], values: [1.5] },
      ];
      for (const { x, shape, values } of cases) {
        expect(x).toMatchObject({ shape, dtype: "float32", size: values.length, requiresGrad: false });
        expect(Array.from(await x.read())).toEqual(values);
      }
    });

    it("with the type of a typed array or a given type", async () => {
      const arrays = [Float32Array, Float64Array, Int32Array, Uint8Array, Uint16Array];
      for (const [i, dtype] of dataTypes.entries()) {
        const x = t.tensor(device, arrays[i]!.of(1, 2));
        expect(x.dtype).toBe(dtype);
        expect(await x.read()).toEqual(arrays[i]!.of(1, 2));
        const converted = t.tensor(device, [1, 2], undefined, { dtype });
        // A bfloat16 is read as its bits, the upper half of a float32.
        const expected = dtype === "bfloat16" ? [0x3f80, 0x4000] : [1, 2];
        expect(await converted.read()).toEqual(arrays[i]!.from(expected));
      }
    });

    it("filled with zeros, ones or a number, with up to six axes", async () => {
      expect(Array.from(await t.zeros(device, [2, 2]).read())).toEqual([0, 0, 0, 0]);
      expect(Array.from(await t.ones(device, [3], "uint8").read())).toEqual([1, 1, 1]);
      expect(await t.full(device, [1, 1, 1, 1, 1, 1], -2.5).item()).toBe(-2.5);
      expect(await t.full(device, [], 2 ** 53 - 1, "float64").item()).toBe(2 ** 53 - 1);
    });

    it("but not from rows of different lengths, text, or other kinds of arrays", async () => {
      await expectError(() => t.tensor(device, [[1, 2], [3]]), "invalid-argument", "rows of 2 values, got [3]");
      await expectError(() => t.tensor(device, [[1], 2] as never), "invalid-argument", "data: rows of 1");
      await expectError(() => t.tensor(device, ["1"] as never), "invalid-argument", "data: expected numbers", '"1"');
      await expectError(() => t.tensor(device, new Int16Array(2) as never), "invalid-argument", "a Int16Array");
      await expectError(() => t.tensor(device, [1, 2], [3]), "invalid-argument", "expected 3 elements", "got 2");
      await expectError(() => t.zeros(device, [1.5]), "invalid-argument", "shape[0]: expected a whole number", "1.5");
      await expectError(() => t.zeros(device, [-1]), "invalid-argument", "shape[0]", "-1");
      await expectError(() => t.zeros(device, [2 ** 30, 2 ** 30]), "invalid-argument", "more elements");
      await expectError(() => t.zeros(device, [1], "float16" as never), "invalid-argument", "one of float32, float64");
    });

    it("as a copy, so the array may be changed afterwards", async () => {
      const data = Float32Array.of(1, 2);
      const x = t.tensor(device, data);
      data.fill(9);
      expect(Array.from(await x.read())).toEqual([1, 2]);
      const next = Float32Array.of(3, 4);
      x.write(next);
      next.fill(9);
      expect(Array.from(await x.read())).toEqual([3, 4]);
    });
  });

  describe("are read", () => {
    it("in stream order: a read includes the work enqueued before it, and no later work", async () => {
      const x = t.tensor(device, [1]);
      const before = x.read();
      t.fill(x, 2);
      const between = x.read();
      x.write(Float32Array.of(3));
      const after = x.read();
      x.dispose();
      expect((await Promise.all([before, between, after])).map(([value]) => value)).toEqual([1, 2, 3]);
    });

    it("with item() if they have one element", async () => {
      expect(await t.tensor(device, [[7]]).item()).toBe(7);
      await expectError(() => t.tensor(device, [1, 2]).item(), "invalid-argument", "item", "float32[2]");
      await expectError(() => t.tensor(device, []).item(), "invalid-argument", "one element", "float32[0]");
    });
  });

  describe("as views", () => {
    it("share memory", async () => {
      const x = t.tensor(device, [1, 2, 3, 4]);
      const view = x.reshape([2, -1]);
      expect(view.shape).toEqual([2, 2]);
      t.fill(view, 5);
      expect(Array.from(await x.read())).toEqual([5, 5, 5, 5]);
      x.dispose();
      expect(Array.from(await view.read())).toEqual([5, 5, 5, 5]);
    });

    it.each([[[3]], [[2, 3]], [[-1, 3]], [[-1, -1]], [[]], [[-2, -2]]])("and cannot have shape %j", async (shape) => {
      await expectError(() => t.tensor(device, [1, 2, 3, 4]).reshape(shape), "invalid-argument", "shape");
    });
  });

  it("are identified when printed", () => {
    const x = t.tensor(device, [[1, 2]]);
    expect(`${x}`).toBe(`Tensor(float32[1,2], ${device.name})`);
    expect(inspect({ x })).toBe(`{ x: Tensor(float32[1,2], ${device.name}) }`);
    x.dispose();
    expect(`${x}`).toBe("Tensor(float32[1,2], disposed)");
  });

  it("cannot change their shape", () => {
    const x = t.tensor(device, [1]);
    expect(() => (x.shape as number[]).push(2)).toThrow(TypeError);
  });

  describe("refuse", () => {
    const [a, b] = [t.zeros(device, [2, 3]), t.zeros(device, [4, 5])];
    const integers = t.zeros(device, [2], "int32");
    const image = t.zeros(device, [1, 4, 4, 3]);
    const refused: [string, () => unknown, string[]][] = [
      ["matmul of other inner sizes", () => a.matmul(b), ["matmul(float32[2,3], float32[4,5])", "inner sizes differ"]],
      ["matmul of three axes", () => t.zeros(device, [1, 1, 1]).matmul(a), ["matmul", "2 axes, got [1,1,1]"]],
      [
        "add of shapes that do not fit",
        () => a.add(b),
        ["add(float32[2,3], float32[4,5])", "the shapes do not broadcast"],
      ],
      [
        "add of a vector that is shorter than the last axis",
        () => a.add(t.zeros(device, [2])),
        ["add(float32[2,3], float32[2])"],
      ],
      [
        "a bias of another length",
        () => t.linear(a, t.zeros(device, [4, 3]), { bias: t.zeros(device, [5]) }),
        ["[4], got [5]"],
      ],
      [
        "a residual of another shape",
        () => t.linear(a, t.zeros(device, [4, 3]), { residual: b }),
        ["residual: expected shape [2, 4], got [4, 5]"],
      ],
      [
        "an unknown activation",
        () => t.linear(a, t.zeros(device, [4, 3]), { activation: "swish" as "silu" }),
        ["activation: expected relu, gelu, silu", "swish"],
      ],
      ["arithmetic of integers", () => integers.add(1), ["affine(int32[2])", "must be float32 or bfloat16, got int32"]],
      ["conv2d of other channels", () => t.conv2d(image, t.zeros(device, [1, 3, 3, 2])), ["3 channels", "weights 2"]],
      [
        "conv2d of a larger kernel",
        () => t.conv2d(image, t.zeros(device, [1, 5, 1, 3])),
        ["window of 5", "height of 4"],
      ],
      ["conv2d with stride 0", () => t.conv2d(image, image, { stride: 0 }), ["conv2d: stride", "from 1", "got 0"]],
      ["conv2d with half a padding", () => t.conv2d(image, image, { padding: 0.5 }), ["conv2d: padding", "got 0.5"]],
      ["pooling with too much padding", () => t.maxPool2d(image, { size: 2, padding: 2 }), ["at most half the window"]],
      ["pooling of a matrix", () => t.averagePool2d(a, { size: 1 }), ["averagePool2d(float32[2,3])", "4 axes"]],
      ["labels of another type", () => t.crossEntropy(a, t.zeros(device, [2])), ["must be int32, got float32"]],
      ["labels of another number", () => t.crossEntropy(a, t.zeros(device, [3], "int32")), ["shape [2], got [3]"]],
      [
        "an empty batch's mean loss",
        () => t.crossEntropy(t.zeros(device, [0, 3]), t.zeros(device, [0], "int32")),
        ["empty"],
      ],
      ["smoothing above 1", () => t.crossEntropy(a, integers, { smoothing: 2 }), ["smoothing", "from 0 to 1, got 2"]],
      ["a softmax of a scalar", () => t.logSoftmax(t.tensor(device, 1)), ["logSoftmax(float32[])", "last axis"]],
      ["argmax of nothing", () => t.argmax(t.zeros(device, [2, 0])), ["argmax(float32[2,0])", "at least one"]],
      ["axes apart from each other", () => t.sum(image, [0, 2]), ["axes", "float32[1,4,4,3]", "[0, 2]"]],
      ["an axis after the last one", () => t.mean(a, 2), ["axes", "got 2"]],
      ["a copy to another type", () => t.copy(a, t.zeros(device, [6], "int32")), ["copy", "must be float32"]],
      ["a copy of another size", () => t.copy(a, b), ["copy(float32[2,3], float32[4,5])", "equally many"]],
      ["a write of another type", () => (a as t.Tensor).write(new Float64Array(6)), ["data: expected a Float32Array"]],
      ["a write of another size", () => a.write(new Float32Array(5)), ["expected 6 elements", "[2,3]", "got 5"]],
      ["a probability above 1", () => t.dropout(a, { probability: 1.1, seed: 0 }), ["dropout: probability", "1.1"]],
      ["a seed below 0", () => t.uniform(device, [1], { seed: -1 }), ["uniform: seed", "got -1"]],
      ["a fill of NaN", () => t.fill(a, Number.NaN), ["fill: value", "NaN"]],
      ["batch normalization of one row", () => normalize(device, [1, 3]), ["one value per channel has no variance"]],
      ["batch normalization of other channels", () => normalize(device, [4, 2]), ["must have shape [2], got [3]"]],
      [
        "a cast to integers of a tensor that requires a gradient",
        () => t.cast(trained(device), "int32"),
        ["cast", "float32 or bfloat16"],
      ],
      [
        "arithmetic of two types",
        () => a.add(t.zeros(device, [2, 3], "bfloat16")),
        ["add(float32[2,3], bfloat16[2,3])", "must be float32, got bfloat16"],
      ],
      [
        "statistics in bfloat16",
        () => normalize(device, [4, 3], "bfloat16"),
        ["batchNorm(bfloat16[4,3]", "tensor 3", "must be float32, got bfloat16"],
      ],
    ];
    it.each(refused)("%s", async (_, call, words) => {
      await expectError(call, "invalid-argument", ...words);
    });

    it("every use after dispose, with a hint about what may have disposed of them", async () => {
      const x = t.tensor(device, [1]);
      x.dispose();
      x.dispose();
      const uses = [() => x.read(), () => x.write(Float32Array.of(1)), () => x.reshape([1]), () => x.detach()];
      for (const use of [...uses, () => x.add(1), () => t.fill(x, 1), () => x.item()])
        await expectError(use, "invalid-state", "was disposed", "backward()", "tidy()", "keep()");
      await expectError(() => t.matmul(a, x), "invalid-state", "matmul: tensor 1");
    });
  });
});

function normalize(device: Device, shape: readonly number[], dtype: DataType = "float32"): t.Tensor {
  const three = () => t.ones(device, [3], dtype);
  return t.batchNorm(t.ones(device, shape, dtype), {
    gamma: three(),
    beta: three(),
    runningMean: three(),
    runningVariance: three(),
  });
}

function trained(device: Device): t.Tensor {
  return t.tensor(device, [1], undefined, { requiresGrad: true });
}

it("tensors move between devices through the host, and are refused on a device that they do not belong to", async () => {
  // A device that is opened twice counts as two devices.
  const [one, two] = [(await openAll()).at(0)!, (await openAll()).at(-1)!];
  for (const dtype of dataTypes) {
    const x = t.tensor(one.device, [[1, 2], [3, 4]], undefined, { dtype }); // biome-ignore format: a matrix
    const moved = await x.to(two.device);
    expect(moved).toMatchObject({ shape: [2, 2], dtype });
    expect(moved.device).toBe(two.device);
    expect(await moved.read()).toEqual(await x.read());
    expect(Array.from(await moved.cast("float32").read())).toEqual([1, 2, 3, 4]);
  }
  const [a, b] = [t.tensor(one.device, [1]), t.tensor(two.device, [1])];
  await expectError(() => a.add(b), "invalid-argument", "add: tensor 1", "another device", "to(device)");
});
