// The compiler checks these types (tsconfig.check.json). The test itself compares the arrays that are read.
import { describe, expect, expectTypeOf, it } from "vitest";
import type { DataType } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import * as t from "#lib/tensor/index.js";
import { devices, open } from "../support/devices.js";

type Values = Float32Array | Float64Array | Int32Array | Uint8Array | Uint16Array;

describe.each(devices)("types of tensors ($label)", (under) => {
  it("follow from the data, or from the option dtype", async () => {
    const device = await open(under);
    const nested = t.tensor(device, [[1, 2]]);
    expectTypeOf(nested).toEqualTypeOf<t.Tensor<"float32">>();
    expectTypeOf(t.tensor(device, 1)).toEqualTypeOf<t.Tensor<"float32">>();
    expectTypeOf(t.tensor(device, new Float32Array(1))).toEqualTypeOf<t.Tensor<"float32">>();
    expectTypeOf(t.tensor(device, new Float64Array(1))).toEqualTypeOf<t.Tensor<"float64">>();
    expectTypeOf(t.tensor(device, new Int32Array(1))).toEqualTypeOf<t.Tensor<"int32">>();
    expectTypeOf(t.tensor(device, new Uint8Array(1))).toEqualTypeOf<t.Tensor<"uint8">>();
    expectTypeOf(t.tensor(device, new Uint16Array(1))).toEqualTypeOf<t.Tensor<"bfloat16">>();
    expectTypeOf(t.tensor(device, [1], [1], { dtype: "int32" })).toEqualTypeOf<t.Tensor<"int32">>();
    expectTypeOf(t.tensor(device, [1], [1], { requiresGrad: true })).toEqualTypeOf<t.Tensor<"float32">>();
    expectTypeOf(t.zeros(device, [1])).toEqualTypeOf<t.Tensor<"float32">>();
    expectTypeOf(t.full(device, [1], 2, "uint8")).toEqualTypeOf<t.Tensor<"uint8">>();
    const unknown: Values = new Int32Array(1) as Values;
    expectTypeOf(t.tensor(device, unknown)).toEqualTypeOf<t.Tensor>();
    await device.close();
  });

  it("give the type of the array that is read", async () => {
    const device = await open(under);
    const read = async <D extends DataType>(x: t.Tensor<D>) => ({ array: await x.read(), dtype: x.dtype });
    for (const [dtype, array] of [
      ["float32", Float32Array],
      ["float64", Float64Array],
      ["int32", Int32Array],
      ["uint8", Uint8Array],
      ["bfloat16", Uint16Array],
    ] as const)
      expect(await read(t.ones(device, [2], dtype))).toEqual({ array: expect.any(array), dtype });
    expectTypeOf(t.ones(device, [2]).read()).toEqualTypeOf<Promise<Float32Array>>();
    expectTypeOf(t.ones(device, [2], "bfloat16").read()).toEqualTypeOf<Promise<Uint16Array>>();
    const any: t.Tensor = t.ones(device, [2]);
    expectTypeOf(any.read()).toEqualTypeOf<Promise<Values>>();
    await device.close();
  });

  it("follow from the operation", async () => {
    const device = await open(under);
    const x = t.tensor(device, [[1, 2, 3]], undefined, { requiresGrad: true });
    const ids = t.tensor(device, new Int32Array([0]));
    const bf16 = x.cast("bfloat16");
    const results = {
      float32: [
        x.add(1).multiply(x).relu(),
        t.linear(x, x, { activation: "gelu" }),
        t.layerNorm(x),
        t.sum(x, 0),
        t.embedding(ids, x),
        nn.crossEntropy(bf16, ids),
        nn.crossEntropy(x, ids, { reduction: "none" }),
        nn.binaryCrossEntropy(bf16, x),
        nn.meanSquaredError(bf16, x),
        t.correctCount(bf16, ids),
        t.weightedMean(bf16, x),
      ],
      int32: [x.argmax(), t.cast(t.sum(ids.cast("float32")), "int32"), x.detach().cast("int32")],
      bfloat16: [bf16.matmul(bf16, { transposeB: true }), t.embedding(ids, bf16), t.asType(x, "bfloat16")],
    } as const satisfies { readonly [D in DataType]?: readonly t.Tensor<D>[] };
    for (const [dtype, tensors] of Object.entries(results))
      expect(tensors.map((one) => one.dtype)).toEqual(tensors.map(() => dtype));
    x.square().sum().backward();
    expectTypeOf(x.grad).toEqualTypeOf<t.Tensor<"float32"> | undefined>();
    expect(x.grad?.dtype).toBe("float32");
    await device.close();
  });

  it("are narrowed by hasType, and any tensor is a Tensor", async () => {
    const device = await open(under);
    const any: t.Tensor = t.ones(device, [1], "int32");
    expect([any.hasType("int32"), any.hasType("float32")]).toEqual([true, false]);
    if (any.hasType("int32")) expectTypeOf(any.read()).toEqualTypeOf<Promise<Int32Array>>();
    const float = t.ones(device, [1]);
    float.write(new Float32Array(1));
    any.write(new Int32Array(1));
    // @ts-expect-error the array of another type
    expect(() => float.write(new Int32Array(1))).toThrow("expected a Float32Array");
    // @ts-expect-error a tensor of any type is not one of float32
    const wrong: t.Tensor<"float32"> = any;
    expect(wrong).toBe(any);
    // @ts-expect-error an unknown type
    expect(() => t.zeros(device, [1], "float16")).toThrow("float16");
    await device.close();
  });
});
