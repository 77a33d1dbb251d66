import { describe, expect, test } from "vitest";
import { sampler } from "#lib/text/sampler.js";
import { expectError } from "../support/errors.js";
import { numbers } from "../support/numbers.js";

const logits = Float32Array.of(1.5, -0.5, 0, 2, 0.25, -2);
const all = { topK: logits.length, temperature: 1 };

/** How often each id is drawn. */
function counts(options: Parameters<typeof sampler>[0], from: Float32Array, draws: number): number[] {
  const sample = sampler(options);
  const times = new Array<number>(from.length).fill(0);
  for (let i = 0; i < draws; i++) times[sample(from)]! += 1;
  return times;
}

/** Probabilities by the book: softmax of logits/temperature over the ids that may be drawn. */
function exact(from: Float32Array, temperature: number, ids: readonly number[]): number[] {
  const weights = Array.from(from, (logit, id) => (ids.includes(id) ? Math.exp(logit / temperature) : 0));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** Of counts against probabilities; ids of probability 0 must not have been drawn. */
function chiSquare(times: readonly number[], probabilities: readonly number[]): number {
  const draws = times.reduce((sum, count) => sum + count, 0);
  return probabilities.reduce((sum, probability, id) => {
    if (probability === 0) expect(times[id], `id ${id}`).toBe(0);
    return probability === 0 ? sum : sum + (times[id]! - draws * probability) ** 2 / (draws * probability);
  }, 0);
}

describe("a drawn id", () => {
  // The 99.9 % quantiles of the chi-square distribution, by degrees of freedom.
  test.each([
    { temperature: 1, topK: 6, ids: [0, 1, 2, 3, 4, 5], quantile: 20.5 },
    { temperature: 0.5, topK: 99, ids: [0, 1, 2, 3, 4, 5], quantile: 20.5 },
    { temperature: 3, topK: 6, ids: [0, 1, 2, 3, 4, 5], quantile: 20.5 },
    { temperature: 1, topK: 4, ids: [0, 2, 3, 4], quantile: 16.3 },
    { temperature: 2, topK: 2, ids: [0, 3], quantile: 10.8 },
  ])("has the distribution of softmax at temperature $temperature among $topK", ({ ids, quantile, ...options }) => {
    const times = counts({ ...options, seed: 1 }, logits, 20_000);
    expect(chiSquare(times, exact(logits, options.temperature, ids))).toBeLessThan(quantile);
  });

  test("is the likeliest at temperature 0 or with topK 1; ties are broken by the first", () => {
    const ties = Float32Array.of(0, 3, 1, 3, 3);
    for (const options of [
      { temperature: 0, topK: 5 },
      { temperature: 1, topK: 1 },
    ])
      expect(counts({ ...options, seed: 2 }, ties, 50)).toEqual([0, 50, 0, 0, 0]);
    const two = counts({ temperature: 1, topK: 2, seed: 3 }, ties, 4000);
    expect(two.map((times) => times > 0)).toEqual([false, true, false, true, false]);
    expect(chiSquare(two, [0, 0.5, 0, 0.5, 0])).toBeLessThan(10.8);
  });

  test("is valid for large outputs, and never an impossible one", () => {
    const wide = Float32Array.of(1000, -1000, 999, -Infinity);
    const times = counts({ ...all, seed: 1 }, wide, 4000);
    expect(chiSquare(times, [1 / (1 + Math.exp(-1)), 0, 1 / (1 + Math.E), 0])).toBeLessThan(10.8);
    expect(counts({ topK: 4, temperature: 1e-320, seed: 1 }, wide, 20)).toEqual([20, 0, 0, 0]);
  });
});

describe("the seed", () => {
  const draw = (seed: number) => {
    const sample = sampler({ ...all, seed });
    return Array.from({ length: 200 }, () => sample(logits));
  };

  test("determines the drawn ids", () => {
    expect(draw(5)).toEqual(draw(5));
    expect(draw(5)).not.toEqual(draw(6));
  });

  test("and the number of the draw determine an id, whatever was drawn before", () => {
    const sample = sampler({ ...all, seed: 5 });
    for (let i = 0; i < 100; i++) sample(numbers(6, i));
    expect(Array.from({ length: 100 }, () => sample(logits))).toEqual(draw(5).slice(100));
  });
});

test("non-finite outputs are an error", async () => {
  const refuse = (bad: Float32Array, temperature = 1) =>
    expectError(
      () => sampler({ ...all, temperature, seed: 0 })(bad),
      "non-finite",
      "expected finite outputs of the model, got",
    );
  await refuse(Float32Array.of(0, Number.NaN, 1));
  await refuse(Float32Array.of(Number.NaN, 5, 1), 0);
  await refuse(Float32Array.of(0, Infinity));
  await refuse(Float32Array.of(-Infinity, -Infinity));
});
