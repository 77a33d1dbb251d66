// Matrix products and convolutions larger than one block: k above 256 (a block of the depth), n above 512 (a block of
// columns), more rows than a tile and than 64 tiles, and weight gradients over more than 1024 positions, which are
// summed in slices. Also attention over several tiles, and small operands that repeat over more elements than a CUDA
// grid has threads. The reference computes some elements of each result in float64: its corners, its last rows and
// columns, and others.
import { expect, it } from "vitest";
import { causalAttention, conv2d, linear, matmul, type Tensor, tensor } from "#lib/tensor/index.js";
import { expectClose } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { numbers } from "../support/numbers.js";
import {
  conv2dElement,
  conv2dInputGradientElement,
  conv2dWeightGradientElement,
  elements,
  matmulElement,
} from "../support/reference.js";
import { causalAttention as attentionInFloat64, causalAttentionGradient } from "../support/sequence-reference.js";

const samples = 300;

/** Flat positions in a result: the first and last ones, and others spread over it. */
function positions(count: number): number[] {
  const spread = Array.from({ length: samples }, (_, i) => Math.floor(((i * 0.6180339887) % 1) * count));
  return [...new Set([0, Math.min(count, 17) - 1, ...spread, Math.max(0, count - 18), count - 1])];
}

type Input = ReturnType<typeof input>;

function input(device: Tensor["device"], shape: readonly number[], salt: number) {
  const data = numbers(elements(shape), salt);
  return { shape, data, tensor: tensor(device, data, shape) };
}

async function expectElements(result: Tensor, at: (flat: number) => number, terms: number, what: string) {
  const data = await result.read();
  const chosen = positions(result.size);
  // About twice the largest observed error, 1.6·√k. A term that is missing or counted twice causes an error of a
  // million epsilons.
  const got = chosen.map((i) => data[i]!);
  expectClose(got, chosen.map(at), 3 * Math.sqrt(terms), what);
}

await onEveryDevice("large shapes", (device) => {
  const flags = [false, true];
  const shapes = [
    { m: 3, k: 256, n: 5 },
    { m: 29, k: 257, n: 33 },
    { m: 13, k: 513, n: 544 },
    { m: 57, k: 300, n: 1029 },
    { m: 1000, k: 40, n: 16 },
    { m: 911, k: 31, n: 70 },
    { m: 1, k: 5000, n: 513 },
    { m: 1793, k: 7, n: 1 },
    // Enough tiles of C for CUDA to use the large tile size, and the tall one. Their rows are copied in chunks of 16
    // bytes, and element by element.
    { m: 2044, k: 8, n: 2048 },
    { m: 2045, k: 9, n: 2047 },
    { m: 16_900, k: 12, n: 60 },
  ];
  it.each(shapes.flatMap((shape) => flags.flatMap((a) => flags.map((b) => ({ ...shape, a, b })))))(
    "matmul of $m × $k × $n, transposed: $a $b",
    async ({ m, k, n, a, b }) => {
      const left = input(device, a ? [k, m] : [m, k], 1);
      const right = input(device, b ? [n, k] : [k, n], 2);
      const result = matmul(left.tensor, right.tensor, { transposeA: a, transposeB: b });
      expect(result.shape).toEqual([m, n]);
      await expectElements(
        result,
        (flat) => matmulElement(left, right, a, b, Math.floor(flat / n), flat % n, m, n, k),
        k,
        "the product",
      );
    },
  );

  // So few tiles of C that CUDA cuts k into slices. The epilogue then runs with the sum of the slices.
  it.each([
    { m: 40, k: 8200, n: 72 },
    // Groups of four numbers that span two rows.
    { m: 11, k: 8200, n: 33 },
    { m: 70, k: 4099, n: 3 },
  ])("linear of a deep product of $m × $k × $n, with bias, ReLU and residual", async ({ m, k, n }) => {
    const [x, weight] = [input(device, [m, k], 1), input(device, [n, k], 2)];
    const [bias, residual] = [input(device, [n], 3), input(device, [m, n], 4)];
    const result = linear(x.tensor, weight.tensor, {
      bias: bias.tensor,
      residual: residual.tensor,
      activation: "relu",
    });
    const at = (flat: number) => {
      const sum = matmulElement(x, weight, false, true, Math.floor(flat / n), flat % n, m, n, k);
      return Math.max(sum + bias.data[flat % n]!, 0) + residual.data[flat]!;
    };
    await expectElements(result, at, k, "the result");
  });

  // Periods that are a multiple of a group of four and others that are not, shorter and longer than what a grid
  // processes at once.
  it.each([3, 7, 64, 1000, 1001, 10_007])("multiplication by a repeated row of %i numbers", async (columns) => {
    const rows = Math.ceil(50_000 / columns);
    const [a, b] = [input(device, [rows, columns], 1), input(device, [columns], 2)];
    const got = await a.tensor.multiply(b.tensor).read();
    // The product of two float32 numbers is exact in float64 and is rounded once.
    expect(got).toEqual(Float32Array.from(a.data, (value, i) => Math.fround(value * b.data[i % columns]!)));
  });

  it.each([
    [2, 70, 3, 16],
    [1, 67, 2, 130],
    [1, 40, 1, 256],
  ])("attention of [%i, %i, %i, %i]", async (...shape) => {
    const [q, k, v, g] = [1, 2, 3, 4].map((salt) => input(device, shape, salt)) as [Input, Input, Input, Input];
    for (const one of [q, k, v]) one.tensor.requiresGrad = true;
    const output = causalAttention(q.tensor, k.tensor, v.tensor).keep();
    output.multiply(g.tensor).sum().backward();
    const scale = 1 / Math.sqrt(shape[3] as number);
    const [wideQ, wideK, wideV, wideG] = [q, k, v, g].map(({ data }) => ({ shape, data: Float64Array.from(data) }));
    const expected = causalAttentionGradient(wideQ!, wideK!, wideV!, wideG!, scale).gradients;
    expectClose(await output.read(), attentionInFloat64(wideQ!, wideK!, wideV!, scale).data, 64, "the output");
    for (const [i, gradient] of expected.entries()) {
      const got = await [q, k, v][i]!.tensor.grad!.read();
      expectClose(got, gradient.data, 64 * Math.sqrt(shape[1] as number), `the gradient of input ${i}`);
    }
  });

  it.each([
    // Depths of 288 = 3·3·32 and 576, which are two and three blocks.
    { image: [2, 17, 19, 32], weights: [40, 3, 3, 32], stride: 1, padding: 1 },
    { image: [1, 12, 9, 64], weights: [96, 3, 3, 64], stride: 2, padding: 1 },
    // 1025 positions are one slice, 2048 are two, and 30,000 use all 16.
    { image: [1, 41, 25, 3], weights: [7, 1, 1, 3], stride: 1, padding: 0 },
    { image: [2, 32, 32, 5], weights: [18, 3, 3, 5], stride: 1, padding: 1 },
    { image: [3, 100, 100, 1], weights: [4, 5, 5, 1], stride: 1, padding: 2 },
    { image: [1, 90, 91, 3], weights: [33, 3, 3, 3], stride: 3, padding: 0 },
    // So many weights that a block of the depth is cut to fit the scratch memory: 3·3·600 = 5400 columns.
    { image: [1, 9, 8, 600], weights: [3, 3, 3, 600], stride: 1, padding: 1 },
  ])(
    "conv2d of $image with $weights, stride $stride, padding $padding",
    async ({ image, weights, stride, padding }) => {
      const window = { stride, padding };
      const x = input(device, image, 1);
      const w = input(device, weights, 2);
      x.tensor.requiresGrad = true;
      w.tensor.requiresGrad = true;
      const output = conv2d(x.tensor, w.tensor, window).keep();
      const g = input(device, output.shape, 3);
      output.multiply(g.tensor).sum().backward();
      const [kernelHeight, kernelWidth, channels] = weights.slice(1) as [number, number, number];
      const [outHeight, outWidth, outputs] = output.shape.slice(1) as [number, number, number];
      await expectElements(
        output,
        (flat) => {
          const o = flat % outputs;
          const column = Math.floor(flat / outputs) % outWidth;
          const row = Math.floor(flat / outputs / outWidth) % outHeight;
          return conv2dElement(x, w, window, [Math.floor(flat / outputs / outWidth / outHeight), row, column, o]);
        },
        kernelHeight * kernelWidth * channels,
        "the output",
      );
      await expectElements(
        x.tensor.grad!,
        (flat) => conv2dInputGradientElement(g, w, image, window, flat),
        kernelHeight * kernelWidth * outputs,
        "the gradient of the images",
      );
      await expectElements(
        w.tensor.grad!,
        (flat) => conv2dWeightGradientElement(x, g, weights, window, flat),
        (image[0] as number) * outHeight * outWidth,
        "the gradient of the weights",
      );
      for (const one of [x, w, g]) one.tensor.dispose();
    },
  );
});
