import { describe, expect, test } from "vitest";
import { drawIds } from "#lib/bench/ids.js";

function countOf(ids: Int32Array, vocabulary: number): number[] {
  const counts = new Array<number>(vocabulary).fill(0);
  for (const id of ids) counts[id]!++;
  return counts;
}

describe("ids are drawn from their distribution", () => {
  const [amount, vocabulary] = [200_000, 1000];
  // The frequencies of the definition, normalized by themselves.
  const weights = Array.from({ length: vocabulary }, (_, id) => 1 / (id + 1 + 2.7));
  const sum = weights.reduce((total, weight) => total + weight, 0);

  test.each([
    ["uniform", () => 1 / vocabulary],
    ["text", (id: number) => weights[id]! / sum],
  ] as const)("%s", (distribution, probability) => {
    const counts = countOf(drawIds(distribution, amount, vocabulary, 3), vocabulary);
    expect(counts).toHaveLength(vocabulary);
    // Pearson's statistic has the mean 999 and the standard deviation √(2·999) = 45. The draws are the same in every
    // run, so that the limit of five deviations is not a matter of luck.
    const statistic = counts.reduce((total, count, id) => {
      const expected = amount * probability(id);
      return total + (count - expected) ** 2 / expected;
    }, 0);
    expect(statistic).toBeGreaterThan(999 - 5 * 45);
    expect(statistic).toBeLessThan(999 + 5 * 45);
  });

  test("equal seeds give equal ids, other seeds give others", () => {
    for (const distribution of ["uniform", "text"] as const) {
      const ids = drawIds(distribution, 100, 5000, 1);
      expect(drawIds(distribution, 100, 5000, 1)).toEqual(ids);
      expect(drawIds(distribution, 100, 5000, 2)).not.toEqual(ids);
    }
  });

  test("a vocabulary of one token has one id", () => {
    for (const distribution of ["uniform", "text"] as const)
      expect([...drawIds(distribution, 3, 1, 0)]).toEqual([0, 0, 0]);
  });
});
