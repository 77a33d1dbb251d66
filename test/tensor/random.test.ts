// Random numbers on the device are pure functions of seed, stream and position (Philox4x32-10).
import { describe, expect, it } from "vitest";
import { philox4x32 } from "#lib/random.js";
import { dropout, normal, ones, type Tensor, tensor, uniform } from "#lib/tensor/index.js";
import { bits, expectClose } from "../support/compare.js";
import { onEveryDevice, openAll } from "../support/devices.js";
import { numbers } from "../support/numbers.js";

const count = 200_000;

// More than one chunk of the CPU and more than the threads of an emulated grid. The last block is partial.
const several = 40_001;

/** The first uniform numbers of a stream, from an independent Philox. */
function uniformNumbers(count: number, seed: number, stream: number): Float64Array {
  const [low, high] = [(value: number) => value % 2 ** 32, (value: number) => Math.floor(value / 2 ** 32)];
  const words = new Uint32Array(4);
  return Float64Array.from({ length: count }, (_, i) => {
    if (i % 4 === 0) philox4x32(words, i / 4, 0, low(stream), high(stream), low(seed), high(seed));
    return (words[i % 4]! >>> 8) / 2 ** 24;
  });
}

/** Mean, variance, skewness and kurtosis. */
function moments(data: ArrayLike<number>) {
  const list = Array.from(data);
  const average = (power: number, center: number) =>
    list.reduce((total, value) => total + (value - center) ** power, 0) / list.length;
  const mean = average(1, 0);
  const variance = average(2, mean);
  return { mean, variance, skewness: average(3, mean) / variance ** 1.5, kurtosis: average(4, mean) / variance ** 2 };
}

await onEveryDevice("random numbers", (device) => {
  const read = async (x: Tensor) => x.read();

  describe("uniform", () => {
    it("consists of the upper 24 bits of Philox's words, four elements per block", async () => {
      // Random123's known answer for counter 0 and key 0.
      const [first] = await read(uniform(device, [1], { seed: 0 }));
      expect(first! * 2 ** 24).toBe(0x6627e8);
      const [seed, stream] = [5 * 2 ** 32 + 7, 3 * 2 ** 32 + 11];
      const expected = uniformNumbers(several, seed, stream);
      expect(Array.from(await read(uniform(device, [several], { seed, stream })))).toEqual(Array.from(expected));
    });

    it("never returns high, even if the sum would be rounded to it", async () => {
      for (const [low, high] of [
        [1, 1 + 2 ** -22],
        [-1, -1 + 2 ** -23],
        [2 ** 20, 2 ** 20 + 0.25],
      ] as const) {
        const data = await read(uniform(device, [several], { low, high, seed: 3 }));
        const ends = [Math.min(...data), Math.max(...data)];
        expect(ends[0]).toBe(low);
        expect(ends[1]).toBeLessThan(high);
      }
    });

    it("fills [low, high) evenly", async () => {
      const data = await read(uniform(device, [count], { low: -1, high: 3, seed: 1 }));
      expect(data.every((value: number) => value >= -1 && value < 3)).toBe(true);
      // The bounds are five standard errors of each moment of 200,000 numbers.
      const { mean, variance, skewness, kurtosis } = moments(data);
      expect(Math.abs(mean - 1)).toBeLessThan(5 * Math.sqrt(16 / 12 / count));
      expect(Math.abs(variance / (16 / 12) - 1)).toBeLessThan(5 * Math.sqrt(0.8 / count));
      expect(Math.abs(skewness)).toBeLessThan(0.02);
      expect(Math.abs(kurtosis - 1.8)).toBeLessThan(0.02);
    });
  });

  describe("normal", () => {
    it("is computed from pairs of the same words by the Box-Muller transform", async () => {
      const [seed, stream] = [2 ** 32 + 3, 5];
      const words = uniformNumbers(several + 1, seed, stream);
      const expected = Float64Array.from({ length: several }, (_, i) => {
        const [u, v] = [words[i - (i % 2)]!, words[i - (i % 2) + 1]!];
        return 2 + 3 * Math.sqrt(-2 * Math.log(1 - u)) * (i % 2 === 0 ? Math.cos : Math.sin)(2 * Math.PI * v);
      });
      // A radius is up to 6. Its logarithm, root, product and sum are rounded.
      expectClose(await read(normal(device, [several], { mean: 2, deviation: 3, seed, stream })), expected, 64);
    });

    it("has the moments and the tails of the normal distribution", async () => {
      const data = await read(normal(device, [count], { mean: 2, deviation: 3, seed: 1 }));
      const { mean, variance, skewness, kurtosis } = moments(data);
      expect(Math.abs(mean - 2)).toBeLessThan((5 * 3) / Math.sqrt(count));
      expect(Math.abs(variance / 9 - 1)).toBeLessThan(5 * Math.sqrt(2 / count));
      expect(Math.abs(skewness)).toBeLessThan(5 * Math.sqrt(6 / count));
      expect(Math.abs(kurtosis - 3)).toBeLessThan(5 * Math.sqrt(24 / count));
      const beyond = data.filter((value: number) => Math.abs(value - 2) > 9).length / count;
      expect(beyond).toBeGreaterThan(0.002);
      expect(beyond).toBeLessThan(0.0034);
    });

    it("gives uncorrelated neighbors and pairs", async () => {
      const data = await read(normal(device, [count], { seed: 4 }));
      for (const lag of [1, 2, 3, 4]) {
        let product = 0;
        for (let i = lag; i < count; i++) product += data[i]! * data[i - lag]!;
        expect(Math.abs(product / count), `lag ${lag}`).toBeLessThan(5 / Math.sqrt(count));
      }
    });

    it("is finite for every word, and below 6 standard deviations", async () => {
      const data = await read(normal(device, [count], { seed: 5 }));
      expect(data.every((value: number) => Math.abs(value) < 6)).toBe(true);
    });
  });

  it.each([
    ["uniform", uniform],
    ["normal", normal],
  ] as const)(
    "%s differs between seeds and between streams, and a longer tensor begins like a shorter one",
    async (_, draw) => {
      const keys = [
        { seed: 1 },
        { seed: 2 },
        { seed: 1, stream: 1 },
        { seed: 1, stream: 2 ** 32 },
        { seed: 2 ** 32 + 1 },
      ];
      const drawn = await Promise.all(keys.map((key) => read(draw(device, [64], key))));
      expect(new Set(drawn.map(String)).size).toBe(keys.length);
      const longer = await read(draw(device, [40_001], { seed: 1 }));
      expect(longer.slice(0, 64)).toEqual(drawn[0]);
    },
  );

  describe("dropout", () => {
    it("keeps an element if its uniform number is at least the probability", async () => {
      const [seed, stream, probability] = [7, 2 ** 32 + 1, 0.25];
      const kept = uniformNumbers(several, seed, stream).map((value) => Number(value >= probability));
      const data = numbers(several, 1, 3);
      const scale = Math.fround(1 / 0.75);
      const expected = data.map((value, i) => (kept[i] ? value * scale : 0));
      expect(await read(dropout(tensor(device, data), { probability, seed, stream }))).toEqual(expected);
    });

    it("drops the given share of elements and scales the rest", async () => {
      for (const probability of [0.1, 0.5, 0.9]) {
        const data = await read(dropout(ones(device, [count]), { probability, seed: 6 }));
        const scale = Math.fround(1 / (1 - Math.fround(probability)));
        expect(data.every((value: number) => value === 0 || Math.abs(value / scale - 1) < 1e-6)).toBe(true);
        const dropped = data.filter((value: number) => value === 0).length / count;
        const error = Math.sqrt((probability * (1 - probability)) / count);
        expect(Math.abs(dropped - probability)).toBeLessThan(5 * error);
      }
    });

    it("keeps everything at probability 0 and nothing at 1", async () => {
      const data = numbers(100, 1);
      const x = tensor(device, data);
      expect(await read(dropout(x, { probability: 0, seed: 1 }))).toEqual(data);
      expect(new Set(await read(dropout(x, { probability: 1, seed: 1 })))).toEqual(new Set([0]));
    });

    it("passes the gradient of kept elements only", async () => {
      const x = tensor(device, numbers(5001, 1, 3), undefined, { requiresGrad: true });
      const y = dropout(x, { probability: 0.4, seed: 7, stream: 8 }).keep();
      y.sum().backward();
      const [value, gradient] = [await read(y), await read(x.grad!)];
      const scale = Math.max(...gradient);
      expect(scale).toBeCloseTo(1 / 0.6, 5);
      value.forEach((kept: number, i: number) => {
        expect(gradient[i]).toBe(kept === 0 ? 0 : scale);
      });
    });

    it("adds the number of calls to the stream, and nothing if the number is invalid", async () => {
      const drawn = async (stream: number, calls?: number) => {
        const counted = calls === undefined ? {} : { calls: tensor(device, [calls], []) };
        return read(dropout(ones(device, [64]), { probability: 0.5, seed: 1, stream, ...counted }));
      };
      expect(await drawn(2, 5)).toEqual(await drawn(7));
      for (const calls of [Number.NaN, -1, -1e30, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, 2 ** 63])
        expect(await drawn(7, calls), String(calls)).toEqual(await drawn(7));
    });

    it("drops other elements for another seed or stream", async () => {
      const masks = await Promise.all(
        [{ seed: 1 }, { seed: 2 }, { seed: 1, stream: 1 }].map((key) =>
          read(dropout(ones(device, [64]), { probability: 0.5, ...key })),
        ),
      );
      expect(new Set(masks.map(String)).size).toBe(3);
    });
  });
});

it("uniform numbers have the same bits on every device", async () => {
  const drawn = await Promise.all(
    (await openAll()).map(({ device }) => uniform(device, [50_001], { low: -2, high: 5, seed: 9, stream: 1 }).read()),
  );
  for (const other of drawn) expect(bits(other).equals(bits(drawn[0]!))).toBe(true);
});
