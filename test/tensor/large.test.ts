// Matrix products and convolutions beyond one block: k past 256 (a block of the depth), n past 512 (a block of columns),
// rows past a tile and past 64 tiles, and weight gradients over more than 1024 positions, which are summed in slices.
// The reference computes in float64 some elements of each result: its corners, its last rows and columns, and others.
import { expect, it } from "vitest";
import { conv2d, matmul, type Tensor, tensor } from "#lib/tensor/index.js";
import { expectClose } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { numbers } from "../support/numbers.js";
import { conv2dElement, elements, matmulElement } from "../support/reference.js";

const samples = 300;

/** Flat positions of a result: the first and last ones, and others spread over it. */
function positions(count: number): number[] {
  const spread = Array.from({ length: samples }, (_, i) => Math.floor(((i * 0.6180339887) % 1) * count));
  return [...new Set([0, Math.min(count, 17) - 1, ...spread, Math.max(0, count - 18), count - 1])];
}

function input(device: Tensor["device"], shape: readonly number[], salt: number) {
  const data = numbers(elements(shape), salt);
  return { shape, data, tensor: tensor(device, data, shape) };
}

async function expectElements(result: Tensor, at: (flat: number) => number, terms: number, what: string) {
  const data = await result.read();
  const chosen = positions(result.size);
  // Twice the largest error that was seen, 1.6·√k. A term that is missing or counted twice is wrong by a million epsilons.
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
    // So many tiles of C that CUDA takes large ones.
    { m: 1921, k: 24, n: 1025 },
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

  it.each([
    // Depths of 288 = 3·3·32 and 576: two and three blocks.
    { image: [2, 17, 19, 32], weights: [40, 3, 3, 32], stride: 1, padding: 1 },
    { image: [1, 12, 9, 64], weights: [96, 3, 3, 64], stride: 2, padding: 1 },
    // 1025 positions are still one slice, 2048 are two; 30,000 need all 16.
    { image: [1, 41, 25, 3], weights: [7, 1, 1, 3], stride: 1, padding: 0 },
    { image: [2, 32, 32, 5], weights: [18, 3, 3, 5], stride: 1, padding: 1 },
    { image: [3, 100, 100, 1], weights: [4, 5, 5, 1], stride: 1, padding: 2 },
    { image: [1, 90, 91, 3], weights: [33, 3, 3, 3], stride: 3, padding: 0 },
    // Weights so many that a block of the depth is cut to fit the scratch memory: 3·3·600 = 5400 columns.
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
      const [n, height, width, channels] = image as [number, number, number, number];
      const [outputs, kernelHeight, kernelWidth] = weights as [number, number, number];
      const [, outHeight, outWidth] = output.shape as [number, number, number];
      const gradientAt = (i: number, y: number, z: number, o: number) =>
        g.data[((i * outHeight + y) * outWidth + z) * outputs + o]!;

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
        (flat) => {
          const c = flat % channels;
          const z = Math.floor(flat / channels) % width;
          const y = Math.floor(flat / channels / width) % height;
          const i = Math.floor(flat / channels / width / height);
          let total = 0;
          for (let dy = 0; dy < kernelHeight; dy++)
            for (let dx = 0; dx < kernelWidth; dx++) {
              const row = (y + padding - dy) / stride;
              const column = (z + padding - dx) / stride;
              if (!Number.isInteger(row) || !Number.isInteger(column)) continue;
              if (row < 0 || row >= outHeight || column < 0 || column >= outWidth) continue;
              for (let o = 0; o < outputs; o++)
                total +=
                  gradientAt(i, row, column, o) * w.data[((o * kernelHeight + dy) * kernelWidth + dx) * channels + c]!;
            }
          return total;
        },
        kernelHeight * kernelWidth * outputs,
        "the gradient of the images",
      );
      await expectElements(
        w.tensor.grad!,
        (flat) => {
          const c = flat % channels;
          const dx = Math.floor(flat / channels) % kernelWidth;
          const dy = Math.floor(flat / channels / kernelWidth) % kernelHeight;
          const o = Math.floor(flat / channels / kernelWidth / kernelHeight);
          let total = 0;
          for (let i = 0; i < n; i++)
            for (let row = 0; row < outHeight; row++)
              for (let column = 0; column < outWidth; column++) {
                const y = row * stride - padding + dy;
                const z = column * stride - padding + dx;
                if (y < 0 || y >= height || z < 0 || z >= width) continue;
                total += gradientAt(i, row, column, o) * x.data[((i * height + y) * width + z) * channels + c]!;
              }
          return total;
        },
        n * outHeight * outWidth,
        "the gradient of the weights",
      );
      for (const one of [x, w, g]) one.tensor.dispose();
    },
  );
});
