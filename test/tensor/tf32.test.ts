// Devices that multiply float32 in TF32. The values of all shapes are in test/check/operations.test.ts.
import { describe, expect, it } from "vitest";
import { type Device, findAddon, openDevice } from "#lib/native/index.js";
import { backward, cast, causalAttention, conv2d, matmul, type Tensor, tensor } from "#lib/tensor/index.js";
import { cudaDevices, open } from "../support/devices.js";
import { expectError } from "../support/errors.js";

/** Numbers in [−1, 1) with all bits of a float32. */
function numbers(count: number, salt: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => Math.sin(1 + salt + 3 * i));
}

/** Rounds to the 11 significant bits of TF32, ties to even. */
function rounded(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  bits[0] = (bits[0]! + 0xfff + ((bits[0]! >>> 13) & 1)) & ~0x1fff;
  return new Float32Array(bits.buffer)[0]!;
}

interface Matrix {
  readonly values: Float32Array;
  readonly shape: readonly [number, number];
}
const transposed = ({ values, shape: [rows, columns] }: Matrix): Matrix => ({
  values: values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!),
  shape: [columns, rows],
});

/** Computes each element of a · b in float64 from rounded factors, and the sum of the magnitudes of its terms. */
function exactly({ values: a, shape: [rows, k] }: Matrix, { values: b, shape: [, columns] }: Matrix, round = rounded) {
  return Array.from({ length: rows * columns }, (_, at) => {
    const terms = Array.from(
      { length: k },
      (_, i) => round(a[Math.floor(at / columns) * k + i]!) * round(b[i * columns + (at % columns)]!),
    );
    return { sum: terms.reduce((x, y) => x + y), size: terms.reduce((x, y) => x + Math.abs(y), 0) };
  });
}

const [m, k, n] = [70, 37, 21];
const a: Matrix = { values: numbers(m * k, 1), shape: [m, k] };
const b: Matrix = { values: numbers(k * n, 2), shape: [k, n] };
const g: Matrix = { values: numbers(m * n, 3), shape: [m, n] };

const upload = (device: Device, { values, shape }: Matrix) => tensor(device, values, shape, { requiresGrad: true });

/** Reads a · b and the gradients for the incoming gradient g. */
async function products(device: Device): Promise<Float32Array[]> {
  const [left, right] = [upload(device, a), upload(device, b)];
  const product = matmul(left, right);
  const result = await product.read();
  backward(product.multiply(tensor(device, g.values, g.shape)).sum());
  return [result, (await left.grad!.read()) as Float32Array, (await right.grad!.read()) as Float32Array];
}

// Few and small operations, so that the interpreter of PTX can run them too.
const interpreted = findAddon("cuda-ptx").addon ? [{ label: "cuda:ptx", name: "cuda:ptx", options: {} }] : [];

describe.each([...cudaDevices, ...interpreted])("products in TF32 ($label)", (under) => {
  it("are those of factors that are rounded to TF32, as are their gradients", async () => {
    const device = await open(under, { float32Products: "tf32" });
    expect(device.float32Products).toBe("tf32");
    expect(device.describe()).toMatchObject({ float32Products: "tf32" });
    const expected = [exactly(a, b), exactly(g, transposed(b)), exactly(transposed(a), g)];
    const got = await products(device);
    for (const [i, sums] of expected.entries()) {
      expect(got[i]!.length).toBe(sums.length);
      // Up to 70 terms are added in float32, in steps of eight, each with an error of 2⁻²³ at most.
      for (const [at, { sum, size }] of sums.entries())
        expect(Math.abs(got[i]![at]! - sum), `result ${i}, ${at}`).toBeLessThanOrEqual(10 * 2 ** -23 * size);
    }
    // Two factors with a relative error of 2⁻¹¹ each.
    const unrounded = exactly(a, b, (x) => x);
    const errors = unrounded.map(({ sum, size }, at) => Math.abs(got[0]![at]! - sum) / size);
    expect(Math.max(...errors)).toBeLessThanOrEqual(2 ** -10);
    expect(Math.max(...errors)).toBeGreaterThan(2 ** -15);
    expect(await products(device)).toEqual(got);
    await device.close();
  });

  it("are captured as they are", async () => {
    const device = await open(under, { float32Products: "tf32" });
    const [left, right] = [upload(device, a), upload(device, b)];
    const images = tensor(device, numbers(2 * 6 * 6 * 3, 4), [2, 6, 6, 3]);
    const weights = tensor(device, numbers(5 * 3 * 3 * 3, 5), [5, 3, 3, 3]);
    const run = () => [matmul(left, right), conv2d(images, weights, { padding: 1 })];
    const eager = await Promise.all(run().map((one) => one.read()));
    let results: Tensor[] = [];
    const capture = device.capture(() => {
      results = run();
    });
    capture.replay(2);
    expect(await Promise.all(results.map((one) => one.read()))).toEqual(eager);
    await device.close();
  });

  it("change neither bfloat16 nor attention, and are not the default", async () => {
    const [plain, device] = [await open(under), await open(under, { float32Products: "tf32" })];
    expect(plain.float32Products).toBe("float32");
    const others = async (on: Device) => {
      const heads = tensor(on, numbers(1 * 5 * 2 * 8, 6), [1, 5, 2, 8]);
      const low = matmul(cast(upload(on, a), "bfloat16"), cast(upload(on, b), "bfloat16"));
      return [await low.read(), await causalAttention(heads, heads, heads).read()];
    };
    expect(await others(device)).toEqual(await others(plain));
    // The sums of a float32 product are float32, with the rounding errors of that.
    const [product] = await products(plain);
    for (const [at, { sum, size }] of exactly(a, b, (x) => x).entries())
      expect(Math.abs(product![at]! - sum)).toBeLessThanOrEqual(k * 2 ** -24 * size);
    await plain.close();
    await device.close();
  });
});

describe("TF32", () => {
  it("is refused on a CPU and for other names", async () => {
    for (const [name, options] of [
      ["cpu", {}],
      ["auto", { threads: 1 }],
    ] as const)
      await expectError(
        () => openDevice(name, { ...options, float32Products: "tf32" }),
        "invalid-argument",
        'float32Products: expected "float32" on a CPU, got "tf32"; TF32 needs the tensor cores of a GPU',
      );
    for (const wrong of ["bf16", "TF32", 1, null])
      await expectError(
        () => openDevice("cpu", { float32Products: wrong as "tf32" }),
        "invalid-argument",
        'float32Products: expected "float32" or "tf32"',
      );
    const device = await openDevice("cpu", { float32Products: "float32" });
    expect(device.float32Products).toBe("float32");
    await device.close();
  });
});
