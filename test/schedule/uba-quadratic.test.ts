import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cosine, type Schedule, tabulate, uba } from "#lib/schedule/index.js";
import { logUniform, phis } from "./support/arbitrary.js";
import { chebyshevSteps, contraction, extremes, logOptimum, ubaContraction, worstOnGrid } from "./support/quadratic.js";

const bounds = fc.record({
  maxLr: logUniform(1e-3, 10),
  part: fc.double({ min: 0, max: 1, noNaN: true }),
});

describe("the contraction of UBA along a curvature λ", () => {
  test("is the closed form of Π (1 − η·λ), for any φ, bounds, budget and λ", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), phis, bounds, logUniform(1e-3, 30), (T, phi, rates, moved) => {
        const { maxLr } = rates;
        const minLr = rates.part * maxLr;
        // λ is relative to the stability limit, so that stable, unstable, real and complex cases all occur.
        const curvature = moved / maxLr;
        const product = contraction(tabulate(uba({ budget: T, maxLr, minLr, phi })), curvature);
        const closed = ubaContraction({ T, phi, maxLr, minLr }, curvature);
        expect(Math.abs(product.value - closed.value)).toBeLessThanOrEqual(product.error + closed.error);
      }),
      { numRuns: 2_000 },
    );
  });

  test("is compared tightly: another φ, bound or budget fails the comparison", () => {
    const c = { T: 12, phi: 8, maxLr: 0.5, minLr: 0.05 };
    const steps = (change: object) => {
      const { T, ...rest } = { ...c, ...change };
      return tabulate(uba({ budget: T, ...rest }));
    };
    const closed = ubaContraction(c, 3);
    expect(Math.abs(contraction(steps({}), 3).value - closed.value)).toBeLessThan(1e-13 * Math.abs(closed.value));
    for (const change of [{ T: 13 }, { phi: 8.0001 }, { maxLr: 0.50001 }, { minLr: 0.050001 }]) {
      const { value, error } = contraction(steps(change), 3);
      expect(Math.abs(value - closed.value)).toBeGreaterThan(100 * (error + closed.error));
    }
  });
});

/** UBA with the parameters that solve the min-max problem over [lowest, highest]. */
function optimal(T: number, lowest: number, highest: number): Schedule {
  return uba({ budget: T, maxLr: 1 / lowest, minLr: 1 / highest, phi: (2 * highest) / lowest });
}

describe("UBA with η_max = 1/λ_l, η_min = 1/λ_u, φ = 2κ", () => {
  const range = fc.tuple(logUniform(1e-3, 1e3), logUniform(1, 1e6));

  test("has the Chebyshev steps", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2_000 }), range, (T, [lowest, kappa]) => {
        const rates = tabulate(optimal(T, lowest, lowest * kappa));
        const expected = chebyshevSteps(T, lowest, lowest * kappa);
        for (let s = 0; s < T; s++) expect(Math.abs(rates[s]! / expected[s]! - 1)).toBeLessThan(1e-12);
      }),
    );
  });

  const problem = fc.tuple(fc.integer({ min: 1, max: 24 }), logUniform(0.1, 10), logUniform(1.5, 1e3));

  test("has the worst case 2q^T/(1 + q^(2T)), at T + 1 curvatures with alternating signs", () => {
    fc.assert(
      fc.property(problem, ([T, lowest, kappa]) => {
        const rates = tabulate(optimal(T, lowest, lowest * kappa));
        const worst = Math.exp(logOptimum(T, kappa));
        for (const [j, curvature] of extremes(T, lowest, lowest * kappa).entries()) {
          const { value, error } = contraction(rates, curvature);
          // The sign at the lowest curvature is positive, because every factor is.
          expect(Math.abs(value * (-1) ** (T - j) - worst)).toBeLessThan(error + 1e-12 * worst);
        }
        expect(worstOnGrid(rates, lowest, lowest * kappa, 500)).toBeLessThan(worst * (1 + 1e-9));
      }),
    );
  });

  test("is at least as good as any other steps", () => {
    const others = fc.array(fc.double({ min: 0.3, max: 3, noNaN: true }), { minLength: 24, maxLength: 24 });
    fc.assert(
      fc.property(problem, others, fc.double({ min: 0, max: 1, noNaN: true }), ([T, lowest, kappa], factors, far) => {
        const best = tabulate(optimal(T, lowest, lowest * kappa));
        const steps = best.map((rate, s) => rate * factors[s]! ** far);
        const worst = Math.max(
          ...extremes(T, lowest, lowest * kappa).map((curvature) => Math.abs(contraction(steps, curvature).value)),
        );
        // 1e-9 is far above the rounding error of the product. If far is 0, the steps are the optimal ones.
        expect(worst).toBeGreaterThanOrEqual(Math.exp(logOptimum(T, kappa)) * (1 - 1e-9));
      }),
      { numRuns: 300 },
    );
  });

  test("removes a single curvature completely", () => {
    expect(logOptimum(5, 1)).toBe(Number.NEGATIVE_INFINITY);
    expect(contraction(tabulate(optimal(5, 4, 4)), 4).value).toBe(0);
    // A nearly single curvature is reduced by nearly as much: q tends to (κ − 1)/4.
    expect(logOptimum(3, 1 + 1e-8)).toBeCloseTo(Math.LN2 + 3 * Math.log(1e-8 / 4), 6);
  });

  test("has the known values at T = 16, κ = 20", () => {
    const worst = (lr: Schedule) => worstOnGrid(tabulate(lr), 1, 20, 20_000);
    const between = { budget: 16, maxLr: 1, minLr: 1 / 20 };
    expect(worst(uba({ ...between, phi: 40 }))).toBeCloseTo(0.0013806, 7);
    expect(Math.exp(logOptimum(16, 20))).toBeCloseTo(0.0013806, 7);
    expect(worst(uba({ ...between, phi: 80 }))).toBeCloseTo(0.008, 4);
    expect(worst(uba({ ...between, phi: 20 }))).toBeCloseTo(8.8, 1);
    expect(worst(uba({ ...between, phi: 2 })) / 1.34e11).toBeCloseTo(1, 2);
    expect(worst(cosine(between)) / 4.3e12).toBeCloseTo(1, 1);
    // The best constant step is 2/(λ_l + λ_u).
    expect(worstOnGrid(new Float64Array(16).fill(2 / 21), 1, 20)).toBeCloseTo(0.2016, 4);
  });
});
