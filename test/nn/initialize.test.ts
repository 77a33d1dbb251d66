import { expect, test } from "vitest";
import { BatchNorm, Conv2d, fanInUniform, kaimingNormal, Linear, Seeds } from "#lib/nn/index.js";
import type { Tensor } from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";

interface Moments {
  readonly mean: number;
  readonly variance: number;
  readonly kurtosis: number;
  readonly largest: number;
}

async function momentsOf(x: Tensor): Promise<Moments> {
  const values = Float64Array.from(await x.read());
  const average = (f: (value: number) => number) => values.reduce((total, v) => total + f(v), 0) / values.length;
  const mean = average((value) => value);
  const variance = average((value) => (value - mean) ** 2);
  const kurtosis = average((value) => (value - mean) ** 4) / variance ** 2;
  return { mean, variance, kurtosis, largest: values.reduce((max, value) => Math.max(max, Math.abs(value)), 0) };
}

/**
 * Bounds of five standard deviations of the moments of n independent draws. The mean deviates by √(variance/n), the
 * variance by √((kurtosis − 1)/n) of itself, and the sample's kurtosis by less than √(24/n) of itself for both
 * distributions.
 */
function expectMoments(got: Moments, n: number, variance: number, kurtosis: number): void {
  expect(Math.abs(got.mean)).toBeLessThan(5 * Math.sqrt(variance / n));
  expect(Math.abs(got.variance / variance - 1)).toBeLessThan(5 * Math.sqrt((kurtosis - 1) / n));
  expect(Math.abs(got.kurtosis / kurtosis - 1)).toBeLessThan(5 * Math.sqrt(24 / n));
}

const uniformKurtosis = 1.8;
const normalKurtosis = 3;

await onEveryDevice("initial weights", (device) => {
  test.each([
    [[128, 300], 300],
    [[32, 5, 5, 40], 1000],
  ] as const)("fanInUniform of %j is uniform in ±1/√%i", async (shape, fanIn) => {
    const moments = await momentsOf(fanInUniform(device, shape, new Seeds(1)));
    const bound = 1 / Math.sqrt(fanIn);
    expectMoments(
      moments,
      shape.reduce((product, size) => product * size, 1),
      bound ** 2 / 3,
      uniformKurtosis,
    );
    expect(moments.largest).toBeLessThanOrEqual(Math.fround(bound));
    expect(moments.largest).toBeGreaterThan(0.999 * bound);
  });

  test.each([
    [[128, 300], "fanOut", 128],
    [[128, 300], "fanIn", 300],
    [[64, 3, 3, 80], "fanOut", 576],
    [[64, 3, 3, 80], "fanIn", 720],
  ] as const)("kaimingNormal of %j, %s, has variance 2/%i", async (shape, mode, fan) => {
    const moments = await momentsOf(kaimingNormal(device, shape, new Seeds(1), mode));
    expectMoments(
      moments,
      shape.reduce((product, size) => product * size, 1),
      2 / fan,
      normalKurtosis,
    );
  });

  test("Linear draws weight and bias from ±1/√inputs, as PyTorch does", async () => {
    const layer = new Linear(400, 5000, { device, seeds: 1 });
    const bound = 1 / 20;
    expectMoments(await momentsOf(layer.weight), 2_000_000, bound ** 2 / 3, uniformKurtosis);
    expectMoments(await momentsOf(layer.bias!), 5000, bound ** 2 / 3, uniformKurtosis);
  });

  test("Conv2d draws its weight from the normal distribution of the fan-out, and its bias is zero", async () => {
    const layer = new Conv2d(32, 64, { device, seeds: 1, kernel: 5, bias: true });
    expectMoments(await momentsOf(layer.weight), 64 * 25 * 32, 2 / (64 * 25), normalKurtosis);
    expect((await momentsOf(layer.bias!)).largest).toBe(0);
  });

  test("BatchNorm starts as plain normalization, with running mean 0 and variance 1", async () => {
    const { gamma, beta, runningMean, runningVariance } = new BatchNorm(3, { device });
    const values = await Promise.all([gamma, beta, runningMean, runningVariance].map((one) => one.read()));
    expect(values).toEqual([1, 0, 0, 1].map((value) => new Float32Array(3).fill(value)));
  });

  test("equal seeds give the same bits, and different seeds give different weights", async () => {
    const make = (seed: number) => new Linear(30, 20, { device, seeds: new Seeds(seed) });
    const [a, b, c] = await Promise.all([1, 1, 2].map((seed) => make(seed).weight.read()));
    expect(b).toEqual(a);
    expect(c!.filter((value, i) => value === a![i]).length).toBeLessThan(3);
  });

  test("layers with shared seeds get different numbers, and so do a weight and its bias", async () => {
    const seeds = new Seeds(1);
    const layers = [new Linear(20, 20, { device, seeds }), new Linear(20, 20, { device, seeds })];
    const values = await Promise.all(layers.flatMap(({ weight, bias }) => [weight, bias!]).map((one) => one.read()));
    for (let i = 0; i < values.length; i++)
      for (let j = 0; j < i; j++) {
        const equal = values[i]!.slice(0, 20).filter((value, at) => value === values[j]![at]).length;
        expect(equal, `${i} and ${j}`).toBeLessThan(3);
      }
  });

  test("neighbors in a stream, and equal positions of neighboring streams and seeds, are uncorrelated", async () => {
    const n = 50_000;
    const draw = (seed: number, skip: number) => {
      const seeds = new Seeds(seed);
      for (let i = 0; i < skip; i++) seeds.next();
      return kaimingNormal(device, [n, 2], seeds, "fanIn").read();
    };
    const [a, stream, seed] = await Promise.all([draw(1, 0), draw(1, 1), draw(2, 0)]);
    const correlation = (x: ArrayLike<number>, y: ArrayLike<number>) => {
      let total = 0;
      for (let i = 0; i < n; i++) total += x[i]! * y[i]!;
      // The variance is 2/fanIn = 1.
      return total / n;
    };
    const bound = 5 / Math.sqrt(n);
    for (const other of [stream!, seed!, a!.subarray(1), a!.subarray(2), a!.subarray(4)])
      expect(Math.abs(correlation(a!, other))).toBeLessThan(bound);
    expect(correlation(a!, a!)).toBeGreaterThan(0.9);
  });
});
