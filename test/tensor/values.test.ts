// Results of operations for special values: NaN, infinities, ties, the limits of integer ranges, empty tensors and
// vector tails.
import { describe, expect, it } from "vitest";
import { dataTypes } from "#lib/native/index.js";
import * as t from "#lib/tensor/index.js";
import { expectClose } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { numbers } from "../support/numbers.js";
import { normalShareBelow } from "../support/reference.js";

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;

await onEveryDevice("special values", (device) => {
  const read = async (x: t.Tensor) => Array.from(await x.read());
  const of = (...values: number[]) => t.tensor(device, values);
  const of3 = (middle: number) => [0, middle, 1];

  describe("NaN and infinities", () => {
    it("pass through relu but stop its gradient", async () => {
      const x = t.tensor(device, [nan, -infinity, infinity, -0, 0], undefined, { requiresGrad: true });
      const y = t.relu(x).keep();
      expect(await read(y)).toEqual([nan, 0, infinity, -0, 0]);
      y.sum().backward();
      expect(await read(x.grad!)).toEqual([0, 0, 1, 0, 0]);
    });

    it("follow IEEE 754 in arithmetic", async () => {
      expect(await read(of(1, -1, 0, infinity).divide(of(0, 0, 0, infinity)))).toEqual([infinity, -infinity, nan, nan]);
      expect(await read(t.log(of(0, -1, 1)))).toEqual([-infinity, nan, 0]);
      expect(await read(t.sqrt(of(-1, 0, infinity)))).toEqual([nan, 0, infinity]);
      expect(await read(t.exp(of(-infinity, 1000, 0)))).toEqual([0, infinity, 1]);
      expect(await read(t.sigmoid(of(-1000, 0, 1000)))).toEqual([0, 0.5, 1]);
      expect(await read(t.tanh(of(-1000, 0, 1000)))).toEqual([-1, 0, 1]);
      expect(await read(t.gelu(of(-1000, -0, 1000, nan)))).toEqual([-0, -0, 1000, nan]);
      expect(await read(t.silu(of(-1000, -0, 1000, nan)))).toEqual([-0, -0, 1000, nan]);
    });

    it("propagate through a sum, a maximum and an argmax", async () => {
      expect(await read(of(1, nan, 2).sum())).toEqual([nan]);
      const image = t.tensor(device, [1, nan, 3, 2], [1, 2, 2, 1]);
      expect(await read(t.maxPool2d(image, { size: 2 }))).toEqual([nan]);
      expect(await read(t.argmax(of(1, nan, infinity)))).toEqual([1]);
      // Four channels are processed together. Each has its NaN at another place.
      const places = Array.from({ length: 16 }, (_, i) => (i % 4 === Math.floor(i / 4) ? nan : i));
      const four = t.tensor(device, places, [1, 2, 2, 4]);
      expect(await read(t.maxPool2d(four, { size: 2 }))).toEqual([nan, nan, nan, nan]);
    });

    it("do not arise in a softmax of large logits", async () => {
      const x = t.tensor(device, [[1000, 1000, -1000], [-3e38, 0, 3e38]]); // biome-ignore format: a matrix
      const result = await read(t.logSoftmax(x));
      // The epsilon of the logits is 6·10⁻⁵ at 1000.
      expect(result[0]).toBeCloseTo(-Math.LN2, 4);
      expect(result[2]).toBeCloseTo(-2000 - Math.LN2, 3);
      expect(result.slice(3)).toEqual([-infinity, -Math.fround(3e38), 0]);
      expect(await t.crossEntropy(x, t.tensor(device, Int32Array.of(0, 2))).item()).toBeCloseTo(Math.LN2 / 2, 4);
    });

    // A single row whose label is the first class. Long rows use another kernel than short ones.
    it.each([0, 700])(
      "in a softmax: −∞ is an impossible class, and the other classes have valid probabilities (and %i more)",
      async (more) => {
        const lossOf = (...logits: number[]) => {
          const row = [...logits, ...new Array<number>(more).fill(-infinity)];
          return t.crossEntropy(t.tensor(device, [row]), t.tensor(device, Int32Array.of(0))).item();
        };
        expect(await lossOf(1, 1, -infinity)).toBeCloseTo(Math.LN2, 6);
        expect(await lossOf(-infinity, 2, 3)).toBe(infinity);
        expect(await lossOf(1, 2, nan)).toBeNaN();
        expect(await lossOf(nan, 2, 1)).toBeNaN();
        expect(await lossOf(1, infinity, 2)).toBeNaN();
        expect(await lossOf(-infinity, -infinity)).toBeNaN();
      },
    );
  });

  // A GPU computes the exponentials and the normal distribution from approximations, whose relative error grows with x.
  it("activations and their derivatives are accurate far from zero", async () => {
    const points = Array.from({ length: 1999 }, (_, i) => (i - 999) / 37);
    const sigmoidAt = (x: number) => 1 / (1 + Math.exp(-x));
    const density = (x: number) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
    const functions = [
      [t.sigmoid, sigmoidAt, (x: number) => sigmoidAt(x) * sigmoidAt(-x)],
      [t.silu, (x: number) => x * sigmoidAt(x), (x: number) => sigmoidAt(x) * (1 + x * sigmoidAt(-x))],
      [t.gelu, (x: number) => x * normalShareBelow(x), (x: number) => normalShareBelow(x) + x * density(x)],
    ] as const;
    for (const [activation, value, derivative] of functions) {
      const x = t.tensor(device, points, undefined, { requiresGrad: true });
      const y = activation(x).keep();
      const exact = [...(await x.read())];
      expectClose(await read(y), exact.map(value), 4, activation.name);
      y.sum().backward();
      // The derivative of SiLU contains x·(1 − σ). Up to x = 17, σ is below 1 but has no more digits than 1.
      const allowed = activation === t.silu ? 10 : 4;
      expectClose(await read(x.grad!), exact.map(derivative), allowed, `the derivative of ${activation.name}`);
    }
  });

  describe("cast and fill", () => {
    const floats = [-infinity, -3e9, -1.5, -0.5, 0.5, 1.999, 254.5, 256, 3e9, infinity, nan];
    it.each([
      ["int32", [-(2 ** 31), -(2 ** 31), -1, 0, 0, 1, 254, 256, 2 ** 31 - 1, 2 ** 31 - 1, 0]],
      ["uint8", [0, 0, 0, 0, 0, 1, 254, 255, 255, 255, 0]],
    ] as const)("truncate towards %s and clamp to its range", async (dtype, expected) => {
      expect(await read(of(...floats).cast(dtype))).toEqual(expected.map((value) => value + 0));
      const wide = t.tensor(device, Float64Array.from(floats));
      expect(await read(wide.cast(dtype))).toEqual(expected.map((value) => value + 0));
      const filled = await Promise.all(
        // NaN is not accepted as an attribute.
        floats.slice(0, -1).map((value) => t.full(device, [1], value, dtype).read()),
      );
      expect(filled.map(([value]) => value)).toEqual(expected.slice(0, -1).map((value) => value + 0));
    });

    it("keep numbers that both types can hold", async () => {
      const values = [0, 1, 7, 200, 255];
      for (const from of dataTypes)
        for (const to of dataTypes) {
          const x = t.tensor(device, values, undefined, { dtype: from }).cast(to);
          expect(x.dtype).toBe(to);
          expect(await read(x.cast("float64"))).toEqual(values);
        }
      expect(await read(t.tensor(device, Int32Array.of(-5, 300)).cast("uint8"))).toEqual([0, 255]);
      expect(await read(t.tensor(device, Float64Array.of(0.1, 1e300)).cast("float32"))).toEqual([
        Math.fround(0.1),
        infinity,
      ]);
    });

    it("round to the nearest bfloat16, ties to even, and keep non-finite numbers", async () => {
      // Numbers between the neighbors 1 and 1 + 2⁻⁷, at a quarter, a half and three quarters. The next half rounds up
      // to the even number.
      const values = [1 + 2 ** -9, 1 + 2 ** -8, 1 + 3 * 2 ** -9, 1 + 3 * 2 ** -8, 3.4e38, -infinity, -0, nan];
      const rounded = of(...values).cast("bfloat16");
      const expected = [1, 1, 1 + 2 ** -7, 1 + 2 ** -6, infinity, -infinity, -0, nan];
      expect(await read(rounded.cast("float32"))).toEqual(expected);
      // Rounding must not carry through the bits of a NaN: every NaN stays a NaN.
      const nans = new Float32Array(Uint32Array.of(0x7fffffff, 0xffffffff, 0x7f800001, 0xff800001, 0x7fc00000).buffer);
      const kept = await t.tensor(device, nans).cast("bfloat16").cast("float32").read();
      expect([...kept]).toEqual(new Array(5).fill(nan));
      // The host rounds in the same way.
      const onHost = await t.tensor(device, values, undefined, { dtype: "bfloat16" }).read();
      expect(onHost).toEqual(await rounded.read());
      expect(await t.tensor(device, [-2.5], undefined, { dtype: "bfloat16" }).item()).toBe(-2.5);
    });

    it("round every float32 next to the boundary of two bfloat16 as integers do", async () => {
      // All upper halves, and lower halves around a tie. A group of eight is rounded in pairs, the last seven are not.
      const lower = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
      const words = Uint32Array.from({ length: 0x10000 * lower.length - 1 }, (_, i) => {
        const upper = Math.floor(i / lower.length);
        return ((upper << 16) | lower[i % lower.length]!) >>> 0;
      });
      const expected = Uint16Array.from(words, (word) => {
        const isNan = (word & 0x7fffffff) > 0x7f800000;
        return isNan ? 0x7fff : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
      });
      const x = t.tensor(device, new Float32Array(words.buffer));
      const rounded = await x.cast("bfloat16").read();
      const wrong = expected.findIndex((bits, i) => bits !== rounded[i]);
      expect(`${wrong}: ${rounded[wrong]}`).toBe("-1: undefined");
    });

    it("copy bits between shapes of equal size", async () => {
      const to = t.zeros(device, [2, 3]);
      t.copy(to, of(1, -0, nan, 4, 5, 6));
      expect(await read(to)).toEqual([1, -0, nan, 4, 5, 6]);
    });
  });

  describe("ties", () => {
    it("select the first in argmax", async () => {
      const rows = t.tensor(device, [[3, 3, 1], [0, 2, 2], [-1, -1, -1]]); // biome-ignore format: a matrix
      expect(await read(t.argmax(rows))).toEqual([0, 1, 0]);
      // Far apart in a row, so that different threads find them.
      const far = (...places: [number, number][]) => {
        const row = new Float32Array(300).fill(-1);
        for (const [at, value] of places) row[at] = value;
        return row;
      };
      const long = [far([7, 2], [250, 2]), far([12, nan], [130, infinity], [290, nan]), far([299, 0]), far()];
      const picked = await read(
        t.argmax(t.tensor(device, Float32Array.from(long.flatMap((row) => [...row])), [4, 300])),
      );
      expect(picked).toEqual([7, 12, 299, 0]);
      expect(await read(t.correctCount(rows, t.tensor(device, Int32Array.of(0, 2, 0))))).toEqual([2]);
    });

    it("select the first in the gradient of a maximum", async () => {
      const x = t.tensor(device, Float32Array.of(2, 2, 2, 2), [1, 2, 2, 1], { requiresGrad: true });
      t.maxPool2d(x, { size: 2 }).sum().backward();
      expect(await read(x.grad!)).toEqual([1, 0, 0, 0]);
    });
  });

  describe("vector tails", () => {
    it.each([0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 257, 16_384, 16_385, 33_000])(
      "are included in additions and sums of %i elements",
      async (n) => {
        const [a, b] = [numbers(n, 1), numbers(n, 2)];
        const sums = t.tensor(device, a).add(t.tensor(device, b));
        expect(await sums.read()).toEqual(a.map((value, i) => value + b[i]!));
        // The tolerance of a sum is a random walk of n roundings.
        expectClose([await t.tensor(device, a).sum().item()], [a.reduce((total, x) => total + x, 0)], Math.sqrt(n));
        t.fill(sums, 3);
        expect(new Set(await read(sums))).toEqual(new Set(n > 0 ? [3] : []));
      },
    );

    it.each([
      { shape: [70_000, 3], axis: 0 },
      { shape: [3, 70_000], axis: 1 },
      { shape: [2, 40_000, 2], axis: 1 },
      { shape: [5, 3, 9001], axis: 1 },
    ])("are included in the sum of $shape over axis $axis, in parts", async ({ shape, axis }) => {
      const x = t.ones(device, shape);
      expect(new Set(await read(t.sum(x, axis)))).toEqual(new Set([shape[axis]]));
      expect(new Set(await read(t.mean(x, -shape.length + axis)))).toEqual(new Set([1]));
    });
  });

  describe("batch normalization", () => {
    const state = (channels: number) => ({
      gamma: t.ones(device, [channels]),
      beta: t.zeros(device, [channels]),
      runningMean: t.zeros(device, [channels]),
      runningVariance: t.ones(device, [channels]),
    });

    it("is accurate if the mean is far from zero", async () => {
      const data = numbers(4000, 1).map((value) => value + 1000);
      const y = await read(t.batchNorm(t.tensor(device, data, [2000, 2]), state(2)));
      // The inputs themselves are rounded to 2⁻¹⁴. Computing E[x²] − E[x]² in float32 would leave no correct digit.
      const column = y.filter((_, i) => i % 2 === 0);
      expect(column.reduce((total, value) => total + value, 0) / 2000).toBeCloseTo(0, 3);
      expect(column.reduce((total, value) => total + value ** 2, 0) / 2000).toBeCloseTo(1, 3);
    });

    it("keeps the running statistics of a non-finite channel, so that a skipped step leaves no trace", async () => {
      const statistics = state(3);
      const y = t.batchNorm(t.tensor(device, [of3(nan), of3(infinity), of3(3)].flat(), [3, 3]), statistics);
      expect((await read(y)).some(Number.isNaN)).toBe(true);
      // Column 1 holds NaN, infinity and 3. The others hold 0, 0, 0 and 1, 1, 1.
      expectClose(await statistics.runningMean.read(), [0, 0, 0.1], 2);
      expectClose(await statistics.runningVariance.read(), [0.9, 1, 0.9], 2);
    });

    it("has zero gradients for an empty batch, whatever the memory contained", async () => {
      for (const _ of [1, 2, 3]) t.full(device, [5], infinity).dispose();
      const statistics = state(5);
      statistics.gamma.requiresGrad = true;
      statistics.beta.requiresGrad = true;
      t.batchNorm(t.zeros(device, [0, 5]), statistics)
        .sum()
        .backward();
      expect(await read(statistics.gamma.grad!)).toEqual([0, 0, 0, 0, 0]);
      expect(await read(statistics.beta.grad!)).toEqual([0, 0, 0, 0, 0]);
      expect(await read(statistics.runningMean)).toEqual([0, 0, 0, 0, 0]);
    });
  });
});
