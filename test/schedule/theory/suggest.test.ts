import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { uba } from "#lib/schedule/index.js";
import { minimax, suggest, worstCase } from "#lib/schedule/theory/index.js";
import { ubaHighestPoint } from "#lib/schedule/theory/uba-product.js";
import { logUniform } from "../support/arbitrary.js";
import { leastOverCube } from "../support/exhaustive.js";
import { logOptimum } from "../support/quadratic.js";

const problems = fc.record({
  budget: fc.integer({ min: 1, max: 2_000 }),
  lowest: logUniform(0.01, 10),
  kappa: logUniform(1.1, 1e4),
  // In units of 1/λ_u, from far below stability to beyond 1/λ_l.
  top: logUniform(0.1, 1e5),
  part: fc.double({ min: 0, max: 1, noNaN: true }),
});

describe("the suggestion", () => {
  test("without bounds is φ = 2κ between 1/λ_u and 1/λ_l, which is optimal", () => {
    fc.assert(
      fc.property(problems, ({ budget, lowest, kappa }) => {
        const highest = lowest * kappa;
        const { phi, maxLr, minLr, worstCase } = suggest({ curvature: [lowest, highest], budget });
        expect([phi, maxLr, minLr]).toEqual([(2 * highest) / lowest, 1 / lowest, 1 / highest]);
        const expected = logOptimum(budget, highest / lowest);
        expect(Math.abs(worstCase - expected)).toBeLessThan((1e-12 * budget * kappa) / (kappa - 1));
      }),
    );
  });

  test("states the contraction of its UBA, stays inside the bounds, and no UBA tried inside them is better", () => {
    const others = fc.array(fc.tuple(...[0, 1, 2].map(() => fc.double({ min: 1e-6, max: 1, noNaN: true }))), {
      minLength: 100,
      maxLength: 100,
    });
    fc.assert(
      fc.property(problems, others, ({ budget, lowest, kappa, top, part }, tries) => {
        const highest = lowest * kappa;
        const bounds = { maxLr: top / highest, minLr: (part ** 3 * top) / highest };
        const curvature = [lowest, highest] as const;
        const { phi, maxLr, minLr, worstCase: value } = suggest({ curvature, budget, ...bounds });
        expect(maxLr <= bounds.maxLr && minLr >= bounds.minLr && minLr <= maxLr).toBe(true);
        const worst = (lr: ReturnType<typeof uba>) => worstCase(lr, curvature).value;
        expect(worst(uba({ budget, phi, maxLr, minLr }))).toBe(value);
        for (const [x, y, z] of tries) {
          const high = bounds.minLr + (bounds.maxLr - bounds.minLr) * x!;
          const low = bounds.minLr + (high - bounds.minLr) * y!;
          const other = uba({ budget, phi: 1e-4 * (1e5 * kappa) ** z!, maxLr: Math.max(low, high), minLr: low });
          expect(worst(other)).toBeGreaterThan(value - 1e-6);
        }
      }),
      { numRuns: 40 },
    );
  });

  // A problem that nested golden sections solved wrongly: their result was larger by a factor of 1.42.
  test("is optimal if the worst case has several minima", () => {
    const problem = { curvature: [1 / 2.59, 1], budget: 14, maxLr: 1.717 } as const;
    const known = worstCase(uba({ budget: 14, phi: 0.1956, maxLr: 1.717, minLr: 0.9837 }), problem.curvature).value;
    expect(suggest(problem).worstCase).toBeLessThanOrEqual(known);
  });

  const uneven = (min: number, max: number) => fc.double({ min, max, noNaN: true });
  const bounded = fc.record({
    kappa: logUniform(0.01, 1e3).map((beyond) => 1 + beyond),
    budget: logUniform(1, 300).map(Math.round),
    // Position of the upper bound between the best constant rate and 1/λ_l, or above 1/λ_l.
    upper: fc.oneof({ weight: 3, arbitrary: uneven(0, 1) }, { weight: 1, arbitrary: uneven(1, 3) }),
    // Position of the lower bound between 0 and the best constant rate.
    lower: fc.oneof(fc.constant(0), uneven(0, 0.98)),
  });
  /** The bounds of a problem, in units of 1/λ_u. */
  const boundsOf = ({ kappa, upper, lower }: { kappa: number; upper: number; lower: number }) => {
    const constant = (2 * kappa) / (kappa + 1);
    const maxLr = upper <= 1 ? constant + (kappa - constant) * upper ** 3 : kappa * upper ** 2;
    return { constant, maxLr, minLr: lower * constant };
  };
  /** Maps a point of the cube to a UBA within the bounds: φ, η_min, η_max. */
  const within =
    ({ kappa, maxLr, minLr, constant }: { kappa: number; maxLr: number; minLr: number; constant: number }) =>
    ([x, y, z = 1]: readonly number[]) => {
      const top = constant * (maxLr / constant) ** z;
      const floor = Math.max(minLr, 1e-3);
      return {
        phi: 1e-8 * (2e11 * kappa) ** x!,
        maxLr: Math.min(maxLr, top),
        minLr: Math.min(top, floor * (Math.min(top, constant) / floor) ** y!),
      };
    };

  test("is optimal: an exhaustive search over φ and η_min finds none better", () => {
    fc.assert(
      fc.property(bounded, (drawn) => {
        const { kappa, budget } = drawn;
        const bounds = boundsOf(drawn);
        const found = suggest({ curvature: [1 / kappa, 1], budget, maxLr: bounds.maxLr, minLr: bounds.minLr });
        const at = within({ kappa, ...bounds, maxLr: Math.min(bounds.maxLr, kappa) });
        const worst = (x: readonly number[]) => ubaHighestPoint({ steps: budget, ...at(x) }, 1 / kappa, 1).value;
        const best = leastOverCube(worst, { dimensions: 2, grid: 70, starts: 8 });
        expect(found.worstCase).toBeLessThan(best + 1e-6);
      }),
      { numRuns: 120 },
    );
  });

  test("is optimal: an exhaustive search over φ, η_min and η_max finds none better", () => {
    fc.assert(
      fc.property(bounded, (drawn) => {
        const { kappa, budget } = drawn;
        const bounds = boundsOf(drawn);
        const found = suggest({ curvature: [1 / kappa, 1], budget, maxLr: bounds.maxLr, minLr: bounds.minLr });
        const at = within({ kappa, ...bounds });
        const worst = (x: readonly number[]) => ubaHighestPoint({ steps: budget, ...at(x) }, 1 / kappa, 1).value;
        const best = leastOverCube(worst, { dimensions: 3, grid: 18, starts: 6 });
        expect(found.worstCase).toBeLessThan(best + 1e-6);
      }),
      { numRuns: 30 },
    );
  });

  test("respects a lower bound even if a better UBA is below it", () => {
    const problem = { curvature: [0.01, 1], budget: 64, maxLr: 10 } as const;
    const [free, bound] = [suggest(problem), suggest({ ...problem, minLr: 1.2 })];
    expect(free.minLr).toBeLessThan(1.1);
    expect(bound.minLr).toBe(1.2);
    expect(bound.worstCase).toBeGreaterThan(free.worstCase + 0.1);
  });

  test("is close to the asymptotic φ for large budgets and above the optimum of all steps", () => {
    for (const [kappa, c] of [
      [100, 10],
      [1000, 10],
      [1000, 100],
    ] as const) {
      const curvature = [1 / kappa, 1] as const;
      const X = 1 - c / kappa;
      const Y = 1 - 1 / kappa;
      const a = (-Math.sqrt(X * Y) + Math.sqrt(X * Y + Y * (c - 2 + c / kappa))) / Y;
      const { phi, minLr } = suggest({ curvature, budget: 1_000_000, maxLr: c });
      expect(phi / (2 * a * a)).toBeCloseTo(1, 3);
      expect(minLr).toBeCloseTo(1, 3);
    }
    const { worstCase: value } = suggest({ curvature: [0.01, 1], budget: 64, maxLr: 10 });
    // Known values for κ = 100, T = 64, c = 10: 0.075 with η_min = 1/λ_u, and 0.029.
    expect(Math.exp(value)).toBeCloseTo(0.075, 3);
    expect(Math.exp(minimax({ curvature: [0.01, 1], budget: 64, maxLr: 10 }).value)).toBeCloseTo(0.029, 3);
  });

  test("is a constant rate exactly if theory requires one, and its text says so", () => {
    const [lowest, highest] = [0.5, 50];
    for (const [maxLr, constant] of [
      [0.01, true],
      [2 / 50.5, true],
      [2.2 / 50.5, false],
    ] as const) {
      const given = suggest({ curvature: [lowest, highest], budget: 100, maxLr });
      expect(given.minLr === given.maxLr).toBe(constant);
      expect(given.assumptions.some((sentence) => sentence.startsWith("Theory asks for a constant rate"))).toBe(
        constant,
      );
      if (constant) expect(given.maxLr).toBe(maxLr);
    }
  });

  test("states its assumptions", () => {
    const noise = /noise is not in it/;
    const text = (options: object) => suggest({ curvature: [0.01, 1], budget: 10, ...options }).assumptions.join("\n");
    expect(text({})).toMatch(noise);
    expect(text({ maxLr: 0.5 })).toMatch(noise);
    // 1/λ_l is κ/2 times the stability limit.
    expect(text({})).toMatch(/maxLr is 50 times the stability limit/);
    expect(text({ maxLr: 1.5 })).not.toMatch(/stability limit/);
    expect(text({ minLr: 3, maxLr: 4 })).toMatch(/no UBA found contracts every curvature/);
  });
});
