import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { uba } from "#lib/schedule/index.js";
import { decreasing, lebedevFinogenov, leja, minimax, roundingGrowth, worstCase } from "#lib/schedule/theory/index.js";
import { logUniform } from "../support/arbitrary.js";
import { chebyshevSteps, worstOnGrid } from "../support/quadratic.js";

describe("an order of steps", () => {
  test("contains the same steps", () => {
    const lists = fc.array(fc.oneof(logUniform(1e-3, 10), fc.constant(0), fc.constant(1)), { maxLength: 40 });
    const sorted = (steps: Iterable<number>) => [...steps].sort((x, y) => y - x);
    fc.assert(
      fc.property(lists, (steps) => {
        expect([...decreasing(steps)]).toEqual(sorted(steps));
        expect(sorted(leja(steps))).toEqual(sorted(steps));
        const length = 2 ** Math.floor(Math.log2(Math.max(1, steps.length)));
        const part = [...steps, 1].slice(0, length);
        expect(sorted(lebedevFinogenov(part))).toEqual(sorted(part));
      }),
    );
  });

  test("of a schedule is decreasing, or Lebedev and Finogenov's permutation", () => {
    const eight = [8, 7, 6, 5, 4, 3, 2, 1];
    expect([...decreasing([3, 5, 4])]).toEqual([5, 4, 3]);
    expect([...decreasing(uba({ budget: 1, maxLr: 1 }))]).toEqual([0.5]);
    // The published permutation for eight steps, 1 8 4 5 2 7 3 6, counts from the largest step.
    expect([...lebedevFinogenov([...eight].reverse())]).toEqual([1, 8, 4, 5, 2, 7, 3, 6].map((i) => eight[i - 1]));
    expect(() => lebedevFinogenov([1, 2, 3])).toThrow(/^steps: expected a power of two of learning rates .*, got 3$/);
    expect(() => lebedevFinogenov([])).toThrow(/^steps: /);
  });

  test("of Leja takes the step next whose curvature has the largest remaining product", () => {
    const order = leja(chebyshevSteps(20, 1, 50));
    const product = (curvature: number, count: number) =>
      order.slice(0, count).reduce((value, rate) => value * Math.abs(1 - rate * curvature), 1);
    expect(order[0]).toBe(Math.min(...order));
    for (let s = 1; s < order.length; s++) {
      const sizes = [...order.slice(s)].map((rate) => product(1 / rate, s));
      expect(sizes[0]! * (1 + 1e-12)).toBeGreaterThanOrEqual(Math.max(...sizes));
    }
  });
});

describe("the growth of rounding errors", () => {
  test("is the maximum over all steps of the worst product before it times the worst product after it", () => {
    const steps = [0.9, 0.2, 0.5, 0.11, 1.4];
    const moments = [0, 1, 2, 3, 4, 5].map(
      (s) => worstOnGrid(steps.slice(0, s), 1, 9, 20_000) * worstOnGrid(steps.slice(s), 1, 9, 20_000),
    );
    expect(Math.exp(roundingGrowth(steps, [1, 9])) / Math.max(...moments)).toBeCloseTo(1, 6);
    expect(roundingGrowth(steps, [1, 9])).toBeGreaterThanOrEqual(worstCase(steps, [1, 9]).value);
  });

  test.each([
    [64, 100, 26],
    [64, 1000, 30],
    [128, 1000, 61],
  ])(
    "with %i Chebyshev steps and κ = %i is 10^%i in decreasing and increasing order, and 10^3 in a stable order",
    (T, kappa, power) => {
      const steps = chebyshevSteps(T, 1, kappa);
      const growth = (order: Float64Array) => roundingGrowth(order, [1, kappa]) / Math.LN10;
      expect(Math.floor(growth(decreasing(steps)))).toBe(power);
      expect(Math.floor(growth(decreasing(steps).reverse()))).toBe(power);
      expect(growth(lebedevFinogenov(steps))).toBeLessThan(3);
      expect(growth(leja(steps))).toBeLessThan(3);
    },
  );

  test("stays small with many steps at a bound, which Leja's plain rule would put last", () => {
    const { steps } = minimax({ curvature: [0.001, 1], budget: 64, maxLr: 10 });
    const growth = (order: Float64Array) => roundingGrowth(order, [0.001, 1]) / Math.LN10;
    expect(growth(decreasing(steps))).toBeGreaterThan(28);
    expect(growth(lebedevFinogenov(steps))).toBeLessThan(5);
    const order = leja(steps);
    expect(growth(order)).toBeLessThan(5);
    // Repetitions of a step are at the end, in the order of the first occurrences.
    const seen = new Set<number>();
    const first = [...order].filter((rate) => !seen.has(rate) && seen.add(rate));
    const plain = [...first, ...new Array(steps.length - first.length).fill(10)];
    expect(growth(Float64Array.from(plain))).toBeGreaterThan(20);
  });

  test("does not amplify noise in decreasing order: no product of last steps exceeds 1", () => {
    const steps = decreasing(chebyshevSteps(64, 1, 100));
    for (let s = 0; s <= 64; s++) {
      expect(worstCase(steps.slice(s), [1, 100]).value).toBeLessThan(1e-12);
    }
    // The increasing order amplifies it.
    expect(worstCase(steps.slice().reverse().slice(32), [1, 100]).value).toBeGreaterThan(20);
  });
});

/**
 * Gradient descent in floating point on a quadratic whose eigenvectors are not the axes. Returns the norm of the
 * remaining error, starting from 1.
 */
function descend(order: ArrayLike<number>, curvatures: readonly number[]): number {
  const n = curvatures.length;
  // I − 2ww' with w of length 1 is a reflection of the axes. The Hessian is the reflected diagonal.
  const length = Math.sqrt((n * (n + 1) * (2 * n + 1)) / 6);
  const w = curvatures.map((_, i) => (i + 1) / length);
  const reflect = (x: readonly number[]) => {
    const along = 2 * x.reduce((sum, value, i) => sum + value * w[i]!, 0);
    return x.map((value, i) => value - along * w[i]!);
  };
  const axes = curvatures.map((_, i) => reflect(curvatures.map((_, j) => (i === j ? 1 : 0))));
  const hessian = axes.map((row) =>
    axes.map((other) => row.reduce((sum, value, i) => sum + value * other[i]! * curvatures[i]!, 0)),
  );
  let x = reflect(curvatures.map(() => 1 / Math.sqrt(n)));
  for (let s = 0; s < order.length; s++) {
    const gradient = hessian.map((row) => row.reduce((sum, value, i) => sum + value * x[i]!, 0));
    x = x.map((value, i) => value - order[s]! * gradient[i]!);
  }
  return Math.hypot(...x);
}

test("only stable orders contract in floating point as in theory", () => {
  const curvatures = Array.from({ length: 24 }, (_, i) => 100 ** (i / 23));
  const steps = chebyshevSteps(64, 1, 100);
  const theory = Math.exp(worstCase(steps, [1, 100]).value);
  expect(theory).toBeLessThan(1e-5);
  for (const order of [lebedevFinogenov(steps), leja(steps)]) expect(descend(order, curvatures)).toBeLessThan(theory);
  // 10^26 times the unit of rounding of 1e-16, minus what is distributed over the eigenvectors.
  for (const order of [decreasing(steps), decreasing(steps).reverse()]) {
    expect(descend(order, curvatures)).toBeGreaterThan(1e6);
  }
});
