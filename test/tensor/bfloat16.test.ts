// In bfloat16 every differentiable operation equals the float32 operation on the same numbers, rounded once.
// gradients.test.ts checks the float32 operations against definitions on the same small shapes, so float32 is the
// oracle here. Larger products and attention use other kernels than float32 and are compared with definitions in
// float64.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cast, causalAttention, conv2d, linear, matmul, type Tensor, tensor } from "#lib/tensor/index.js";
import { epsilon, expectClose } from "../support/compare.js";
import { onEveryDevice, openAll } from "../support/devices.js";
import { numbers } from "../support/numbers.js";
import {
  conv2d as conv2dInFloat64,
  conv2dInputGradientElement,
  conv2dWeightGradientElement,
  elements,
  matmul as matmulInFloat64,
  type Values,
  values,
} from "../support/reference.js";
import { causalAttention as attentionInFloat64, causalAttentionGradient } from "../support/sequence-reference.js";
import type { Call } from "./support/call.js";
import { calls } from "./support/cases.js";

const devices = await openAll();

/** The error of one rounding: half the distance from 1 to the next bfloat16, in units of float32's epsilon. */
const rounding = 2 ** 15;

/** Number of bfloat16 numbers between two that are given by their bits. */
function stepsBetween(a: number, b: number): number {
  const ordered = (bits: number) => (bits & 0x8000 ? -(bits & 0x7fff) : bits);
  return Math.abs(ordered(a) - ordered(b));
}

const inFloat32 = async (x: Tensor) => Array.from(await cast(x.detach(), "float32").read());

/** The values that a tensor stores. */
const storedIn = async (x: Tensor): Promise<Values> => ({
  shape: x.shape,
  data: Float64Array.from(await inFloat32(x)),
});

/** Output and gradients of a call on bfloat16 numbers, stored in the given type. */
async function run(call: Call, device: Tensor["device"], dtype: "float32" | "bfloat16") {
  const stored = ({ shape, data }: Values) => cast(tensor(device, data, shape, { dtype: "bfloat16" }), dtype);
  const inputs = call.inputs.map((input) => Object.assign(stored(input), { requiresGrad: true }));
  const output = call.compute(...inputs).keep();
  // A loss is float32 already.
  const drawn = stored({ shape: output.shape, data: Float64Array.from(numbers(elements(output.shape), 7)) });
  const weights = cast(drawn, output.dtype);
  output.multiply(weights).sum().backward();
  return { inputs, output, weights, gradients: inputs.map((input) => input.grad as Tensor) };
}

/**
 * Tensor cores round the probabilities before they are multiplied by the values. A term of the output's sum is off by
 * up to half a step, 2⁻⁸ of it, and the output by another half. Σ p·|v| is the attention of |v|.
 */
async function expectProbabilitiesRounded(
  { inputs: [q, k, v], compute }: Call,
  device: Tensor["device"],
  got: Tensor,
  exact: readonly number[],
  what: string,
) {
  const absolute = { shape: v!.shape, data: v!.data.map(Math.abs) };
  const of = ({ shape, data }: Values) => cast(tensor(device, data, shape, { dtype: "bfloat16" }), "float32");
  const sizes = await compute(of(q!), of(k!), of(absolute)).read();
  for (const [i, value] of (await inFloat32(got)).entries()) {
    const allowed = 2 ** -8 * (sizes[i]! + Math.abs(exact[i]!)) + 16 * epsilon * (1 + sizes[i]!);
    if (!(Math.abs(value - exact[i]!) <= allowed)) expect.fail(`${what}, ${i}: ${value} instead of ${exact[i]}`);
  }
}

describe.each(calls)("%s in bfloat16", (name, arbitrary) => {
  it("equals float32, rounded", async () => {
    await fc.assert(
      fc.asyncProperty(arbitrary, async (call) => {
        for (const { label, device } of devices) {
          const [wide, low] = [await run(call, device, "float32"), await run(call, device, "bfloat16")];
          const what = `${call.title} on ${label}`;
          const expected = await cast(wide.output.detach(), low.output.dtype).read();
          const got = await low.output.read();
          // If a gradient is recorded, an activation after a product is a separate operation with a separate rounding.
          if (name === "linear") {
            const exact = await inFloat32(wide.output);
            expectClose(await inFloat32(low.output), exact, 3 * rounding, what);
          } else if (name === "causalAttention" && !label.startsWith("cpu")) {
            await expectProbabilitiesRounded(call, device, low.output, await inFloat32(wide.output), what);
          } else if (low.output.dtype === "bfloat16") {
            const worst = Math.max(0, ...Array.from(expected, (bits, i) => stepsBetween(bits, got[i]!)));
            // Tensor cores add products in another order, which may change a rounding to the neighboring number.
            expect(worst, what).toBeLessThanOrEqual(label.startsWith("cpu") ? 0 : 1);
          } else {
            expectClose(got, expected, 16, what);
          }
          for (const [i, gradient] of low.gradients.entries()) {
            expect(gradient.dtype).toBe("bfloat16");
            // Some gradients consist of several operations on rounded results, and each rounds again.
            const exact = await inFloat32(wide.gradients[i]!);
            expectClose(await inFloat32(gradient), exact, 6 * rounding, `the gradient of input ${i} of ${what}`);
          }
        }
      }),
      { numRuns: 30, endOnFailure: true },
    );
  });
});

// More than one tile of 64 or 128 in every direction, with partial tiles at the ends. Sizes that are multiples of
// eight, which are copied in units of 16 bytes, and others. A k of more than one slice of 4096.
await onEveryDevice("products in bfloat16", (device) => {
  const of = (shape: readonly number[], salt: number) =>
    cast(tensor(device, numbers(elements(shape), salt), shape), "bfloat16");

  async function expectRounded(low: Tensor, { data: expected }: Values, terms: number, what: string) {
    expect(low.dtype).toBe("bfloat16");
    const got = await inFloat32(low);
    expect(got.length).toBe(expected.length);
    // Tensor cores may truncate a running sum where the emulator rounds it. This costs one unit in the last place for
    // every eight products of a slice. The sum grows like √k, as the products are around 1 at most.
    const slice = Math.min(terms, 4096);
    const cutOff = /^cuda:\d/.test(device.name) ? (slice / 8) * epsilon * Math.sqrt(slice) : 0;
    // The rounding of the result, plus the rounding of a sum of this many products, which is half as large at 10⁶
    // terms.
    for (const [i, value] of expected.entries()) {
      const allowed = 2 ** -8 * Math.abs(value) + 4 * Math.sqrt(terms) * epsilon * (1 + Math.abs(value)) + cutOff;
      if (!(Math.abs(got[i]! - value) <= allowed)) expect.fail(`${what}, element ${i}: ${got[i]} instead of ${value}`);
    }
  }

  const shapes = [
    { m: 1, k: 1, n: 1 },
    { m: 17, k: 31, n: 9 },
    { m: 64, k: 32, n: 64 },
    { m: 72, k: 104, n: 136 },
    { m: 130, k: 33, n: 70 },
    { m: 16, k: 8200, n: 24 },
    { m: 0, k: 8, n: 8 },
    { m: 8, k: 0, n: 8 },
  ];
  const flags = [false, true];
  it.each(shapes.flatMap((shape) => flags.flatMap((a) => flags.map((b) => ({ ...shape, a, b })))))(
    "matmul of $m × $k × $n, transposed: $a $b",
    async ({ m, k, n, a, b }) => {
      const [left, right] = [of(a ? [k, m] : [m, k], 1), of(b ? [n, k] : [k, n], 2)];
      const options = { transposeA: a, transposeB: b };
      const expected = matmulInFloat64(await storedIn(left), await storedIn(right), a, b);
      await expectRounded(matmul(left, right, options), expected, k, "the product");
    },
  );

  // Enough tiles for the large tile size, and a k that is cut into slices, so that the epilogue runs after the sum.
  it.each([
    { m: 1025, k: 24, n: 1921 },
    { m: 40, k: 4200, n: 72 },
  ])("linear of $m × $k × $n with bias, ReLU and residual", async ({ m, k, n }) => {
    const [x, weight, bias, residual] = [of([m, k], 1), of([n, k], 2), of([n], 3), of([m, n], 4)];
    const result = linear(x, weight, { bias, residual, activation: "relu" });
    const product = matmulInFloat64(await storedIn(x), await storedIn(weight), false, true);
    const [ofBias, ofResidual] = [await inFloat32(bias), await inFloat32(residual)];
    const expected = values([m, n], (i) => Math.max(product.data[i]! + ofBias[i % n]!, 0) + ofResidual[i]!);
    await expectRounded(result, expected, k, "the result");
  });

  it.each([
    { image: [2, 9, 7, 16], weights: [24, 3, 3, 16], stride: 1, padding: 1 },
    { image: [3, 8, 8, 8], weights: [40, 3, 3, 8], stride: 2, padding: 1 },
    { image: [2, 6, 6, 32], weights: [8, 1, 1, 32], stride: 2, padding: 0 },
    { image: [2, 11, 9, 3], weights: [10, 5, 5, 3], stride: 1, padding: 2 },
    { image: [2, 7, 7, 12], weights: [20, 3, 3, 12], stride: 3, padding: 1 },
    { image: [1, 66, 66, 8], weights: [16, 3, 3, 8], stride: 1, padding: 0 },
    // On CUDA, images of few channels with an even stride are read in pairs of pixels. Odd paddings begin windows at the
    // second pixel of a pair, and the last pixel of a window may have no partner.
    { image: [2, 12, 10, 3], weights: [10, 7, 7, 3], stride: 2, padding: 3 },
    { image: [1, 9, 8, 1], weights: [9, 2, 3, 1], stride: 2, padding: 0 },
    { image: [1, 10, 6, 2], weights: [5, 3, 4, 2], stride: 2, padding: 1 },
    { image: [2, 8, 12, 4], weights: [8, 4, 4, 4], stride: 4, padding: 2 },
  ])(
    "conv2d of $image with $weights, stride $stride, padding $padding",
    async ({ image, weights, stride, padding }) => {
      const window = { stride, padding };
      const [x, w] = [of(image, 1), of(weights, 2)].map((one) => Object.assign(one, { requiresGrad: true })) as [
        Tensor,
        Tensor,
      ];
      const output = conv2d(x, w, window).keep();
      const g = of(output.shape, 3);
      output.multiply(g).sum().backward();
      const [ofX, ofW, ofG] = [await storedIn(x), await storedIn(w), await storedIn(g)];
      const [outputs, kernelHeight, kernelWidth, channels] = weights as [number, number, number, number];
      const taps = kernelHeight * kernelWidth;
      await expectRounded(output, conv2dInFloat64(ofX, ofW, window), taps * channels, "the output");
      const ofImages = values(image, (flat) => conv2dInputGradientElement(ofG, ofW, image, window, flat));
      await expectRounded(x.grad!, ofImages, taps * outputs, "the gradient of the images");
      const ofWeights = values(weights, (flat) => conv2dWeightGradientElement(ofX, ofG, weights, window, flat));
      await expectRounded(w.grad!, ofWeights, elements(output.shape) / outputs, "the gradient of the weights");
    },
  );
});

// Tiles of 64 positions with a partial tile at the end. Heads of whole 16-byte chunks use tensor cores, others do not.
// The kernel's own test checks every term of every sum. This one detects a row or a head in the wrong place.
await onEveryDevice("attention in bfloat16", (device) => {
  it.each([
    { shape: [2, 70, 3, 16] },
    { shape: [1, 130, 2, 40] },
    { shape: [2, 65, 1, 96] },
    { shape: [1, 67, 2, 20] },
    { shape: [1, 40, 1, 200] },
    { shape: [1, 70, 1, 32], scale: -0.4 },
    { shape: [1, 70, 1, 32], scale: 0 },
  ])("of $shape with scale $scale agrees with its definition, and so do its gradients", async ({ shape, scale }) => {
    const call: Call = {
      title: `attention of [${shape}]`,
      inputs: [1, 2, 3].map((salt) => ({ shape, data: Float64Array.from(numbers(elements(shape), salt)) })),
      compute: (q, k, v) => causalAttention(q!, k!, v!, { scale }),
      reference: () => expect.fail("computed from the stored numbers, below"),
    };
    const { inputs, output, gradients, weights } = await run(call, device, "bfloat16");
    const [q, k, v, g] = (await Promise.all([...inputs, weights].map(storedIn))) as [Values, Values, Values, Values];
    const factor = scale ?? 1 / Math.sqrt(shape[3] as number);
    const expected = [attentionInFloat64(q, k, v, factor), ...causalAttentionGradient(q, k, v, g, factor).gradients];
    for (const [i, got] of [output, ...gradients].entries()) {
      const exact = expected[i]!.data;
      // With a scale of 0, the gradients of queries and keys are exactly 0.
      const length = Math.hypot(...exact) || Number.MIN_VALUE;
      const distance = Math.hypot(...(await inFloat32(got)).map((value, j) => value - exact[j]!));
      // A few roundings of at most 2⁻⁸ each, in either direction.
      expect(distance / length, `${i ? `gradient ${i}` : "output"}`).toBeLessThan(2 ** -7);
    }
  });

  // The kernels for tensor cores take the largest product for the largest score. Here it is the smallest one, and the
  // weights relative to it would overflow.
  it("with a large negative scale agrees with its definition", async () => {
    const shape = [1, 70, 1, 32];
    const [q, k, v] = await Promise.all(
      [1, 2, 3].map((salt) => storedIn(tensor(device, numbers(elements(shape), salt), shape, { dtype: "bfloat16" }))),
    );
    const inputs = [q!, k!, v!].map(({ data }) => tensor(device, data, shape, { dtype: "bfloat16" }));
    const exact = attentionInFloat64(q!, k!, v!, -60).data;
    const got = await inFloat32(causalAttention(inputs[0]!, inputs[1]!, inputs[2]!, { scale: -60 }));
    expect(Math.hypot(...got.map((value, i) => value - exact[i]!)) / Math.hypot(...exact)).toBeLessThan(2 ** -7);
  });
});
