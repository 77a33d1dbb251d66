import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cosine, linear, tabulate, uba } from "#lib/schedule/index.js";
import { contraction, worstCase } from "#lib/schedule/theory/index.js";
import { logUniform, phis } from "../support/arbitrary.js";
import { logOptimum, contraction as multiplied, worstOnGrid } from "../support/quadratic.js";

const sets = fc.record({
  T: fc.integer({ min: 1, max: 64 }),
  phi: phis,
  maxLr: logUniform(1e-3, 10),
  part: fc.double({ min: 0, max: 1, noNaN: true }),
});

/**
 * Allowed difference between the closed form and the sum of logarithms: 1e-10, plus the effect of the rounding of ηλ,
 * which 1 − ηλ magnifies close to a zero. Within a few units of rounding from a zero neither value has a correct digit.
 */
function allowed(steps: Float64Array, curvature: number): number {
  const magnified = steps.reduce((sum, rate) => sum + (1 + rate * curvature) / Math.abs(1 - rate * curvature), 0);
  const rounding = 32 * Number.EPSILON * magnified;
  return rounding < 1e-3 ? 1e-10 + rounding : Number.POSITIVE_INFINITY;
}

describe("the contraction", () => {
  test("is the logarithm of the product", () => {
    fc.assert(
      fc.property(sets, logUniform(1e-3, 5), ({ T, maxLr }, moved) => {
        const steps = tabulate(cosine({ budget: T, maxLr }));
        const { value, error } = multiplied(steps, moved / maxLr);
        const difference = Math.abs(Math.exp(contraction(steps, moved / maxLr)) - Math.abs(value));
        // A sum of T logarithms has an error of T units of the largest one. The helper gives the error of the product.
        expect(difference).toBeLessThanOrEqual(2 * error + 1e-13 * T * Math.abs(value));
      }),
    );
    expect(contraction([0.5, 0, 0.25], 1)).toBeCloseTo(Math.log(0.375), 15);
    expect(contraction([3], 1)).toBeCloseTo(Math.LN2, 15);
    expect(contraction([0.5], 2)).toBe(Number.NEGATIVE_INFINITY);
    // A result with digits that 1 − x in floating point does not have.
    expect(contraction([1e-20], 1)).toBe(-1e-20);
  });

  test("of UBA is the closed form, to 1e-10 of the multiplied product", () => {
    fc.assert(
      fc.property(sets, logUniform(1e-3, 30), ({ T, phi, maxLr, part }, moved) => {
        const lr = uba({ budget: T, phi, maxLr, minLr: part * maxLr });
        const [steps, curvature] = [tabulate(lr), moved / maxLr];
        const difference = Math.abs(contraction(lr, curvature) - contraction(steps, curvature));
        // Both may be −∞, and their difference is then NaN.
        expect(difference > allowed(steps, curvature)).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });

  test("of UBA includes its warm-up and its phases", () => {
    const phases = [{ iterations: 7, maxLr: 0.9, phi: 3 }, { iterations: 1 }, { iterations: 12, minLr: 0.1 }];
    const common = { budget: 25, maxLr: 0.5, minLr: 0.05, phi: 20 };
    const [rising, cycling] = [{ warmup: 5 }, { warmup: 5, phases }];
    for (const lr of [rising, cycling, { phases: [...phases, { iterations: 5 }] }].map((o) =>
      uba({ ...common, ...o }),
    )) {
      for (const curvature of [0.1, 1, 3.3, 12]) {
        expect(contraction(lr, curvature)).toBeCloseTo(contraction(tabulate(lr), curvature), 11);
        expect(worstCase(lr, [curvature, 20])).toEqual(worstCase(tabulate(lr), [curvature, 20]));
      }
    }
  });

  test("along a negative curvature is positive", () => {
    expect(contraction(uba({ budget: 3, maxLr: 1 }), -1)).toBeGreaterThan(0);
    expect(contraction([1, 2], -1)).toBeCloseTo(Math.log(6), 14);
  });

  test("changes with φ, a bound or the budget", () => {
    const lr = uba({ budget: 12, phi: 8, maxLr: 0.5, minLr: 0.05 });
    for (const change of [{ budget: 13 }, { phi: 8.000001 }, { maxLr: 0.500001 }, { minLr: 0.0500001 }]) {
      const other = tabulate(uba({ ...(lr.options as { budget: number; maxLr: number }), ...change }));
      expect(Math.abs(contraction(lr, 3) - contraction(other, 3))).toBeGreaterThan(1e-9);
    }
  });
});

describe("the worst case", () => {
  const ranges = fc.tuple(logUniform(0.01, 10), logUniform(1, 1e4));

  test("is reached at its curvature and exceeded nowhere", () => {
    fc.assert(
      fc.property(sets, ranges, ({ T, maxLr }, [low, kappa]) => {
        const steps = tabulate(linear({ budget: T, maxLr }));
        const [lowest, highest] = [low / maxLr, (low / maxLr) * kappa];
        const { curvature, value } = worstCase(steps, [lowest, highest]);
        expect(curvature >= lowest && curvature <= highest).toBe(true);
        expect(value).toBe(contraction(steps, curvature));
        for (let i = 0; i <= 1_000; i++) {
          const other = contraction(steps, Math.min(highest, lowest * kappa ** (i / 1_000)));
          // The rounding of λ on the grid, in T factors.
          expect(other).toBeLessThanOrEqual(value + 1e-11);
        }
      }),
    );
  });

  test("of a range from a zero to the next floating-point number is at that number", () => {
    const after = 1 + Number.EPSILON;
    expect(worstCase([1], [1, after])).toEqual({ curvature: after, value: Math.log(Number.EPSILON) });
    expect(worstCase([1], [1 - Number.EPSILON / 2, 1])).toEqual({
      curvature: 1 - Number.EPSILON / 2,
      value: Math.log(Number.EPSILON / 2),
    });
  });

  test("of UBA is computed from its closed form for any budget, and equals that of its steps", () => {
    fc.assert(
      fc.property(sets, ranges, ({ T, phi, maxLr, part }, [low, kappa]) => {
        const lr = uba({ budget: T, phi, maxLr, minLr: part * maxLr });
        const range = [low / maxLr, (low / maxLr) * kappa] as const;
        const [closed, direct] = [worstCase(lr, range), worstCase(tabulate(lr), range)];
        expect(Math.abs(closed.value - direct.value) > allowed(tabulate(lr), closed.curvature)).toBe(false);
      }),
      { numRuns: 2_000 },
    );
    const million = uba({ budget: 1e6, maxLr: 1, minLr: 0.01, phi: 200 });
    expect(worstCase(million, [1, 100]).value / logOptimum(1e6, 100)).toBeCloseTo(1, 10);
  });

  test("of the min-max steps is the known optimum", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), logUniform(1.01, 1e6), (budget, kappa) => {
        const lr = uba({ budget, maxLr: 1, minLr: 1 / kappa, phi: 2 * kappa });
        const expected = logOptimum(budget, kappa);
        // Relative to κ − 1, the rounding of the bounds moves each zero by one unit.
        const within = (1e-12 * budget * kappa) / (kappa - 1);
        expect(Math.abs(worstCase(lr, [1, kappa]).value - expected)).toBeLessThan(within);
        if (budget <= 64) expect(Math.abs(worstCase(tabulate(lr), [1, kappa]).value - expected)).toBeLessThan(within);
      }),
      { numRuns: 50 },
    );
  });

  test("agrees with a grid and with known values", () => {
    const between = { budget: 16, maxLr: 1, minLr: 1 / 20 };
    for (const phi of [2, 20, 40, 80]) {
      const lr = uba({ ...between, phi });
      expect(Math.exp(worstCase(lr, [1, 20]).value) / worstOnGrid(tabulate(lr), 1, 20, 20_000)).toBeCloseTo(1, 5);
    }
    expect(Math.exp(worstCase(cosine(between), [1, 20]).value) / 4.3e12).toBeCloseTo(1, 1);
    expect(worstCase(new Float64Array(16).fill(2 / 21), [1, 20]).value).toBeCloseTo(16 * Math.log(19 / 21), 12);
    expect(worstCase([], [1, 2]).value).toBe(0);
    expect(worstCase([0.5, 0.5], [2, 2])).toEqual({ curvature: 2, value: Number.NEGATIVE_INFINITY });
  });

  test.each([
    ["the lowest", [3, 1, 1 / 0.7], [0.7, 1.9]],
    ["the highest", [9, 9, 1], [0.1, 1]],
    ["both, several times", [10, 10, 1, 1, 0.4], [0.1, 1]],
    ["both, off by the rounding of 1/η", [1 / 0.3, 1 / 0.9, 1], [0.3 * (1 + 2e-16), 0.9 * (1 - 2e-16)]],
  ] as [string, number[], [number, number]][])(
    "is found between the bounds even if a step removes %s curvature",
    (_, steps, [lowest, highest]) => {
      const { curvature, value } = worstCase(steps, [lowest, highest]);
      expect(Math.exp(value) / worstOnGrid(steps, lowest, highest, 20_000)).toBeCloseTo(1, 5);
      expect(contraction(steps, curvature)).toBeCloseTo(value, 12);
    },
  );
});
