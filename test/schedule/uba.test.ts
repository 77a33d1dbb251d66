import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tabulate, uba, ubaFactor } from "#lib/schedule/index.js";
import { budgets, logUniform, phis } from "./support/arbitrary.js";

/** [step, T, phi, f], from the published formula at 60 digits: see test/golden/schedules.py. */
type Point = [step: number, T: number, phi: number, f: number];
const points: Point[] = JSON.parse(readFileSync(new URL("../golden/schedules.json", import.meta.url), "utf8")).uba;

describe("UBA's profile f", () => {
  test("is the published formula to a few units of rounding, up to T = 1e8 and φ = 1e17", () => {
    expect(points.length).toBeGreaterThan(150);
    for (const [step, T, phi, f] of points) {
      // Two angles, sines, squares and a quotient, each rounded. The largest error in 20,000 random cases was 8.3e-16.
      expect(Math.abs(ubaFactor(step, T, phi) - f) / f, `f(${step}, ${T}, ${phi})`).toBeLessThan(1e-15);
    }
  });

  test("decreases strictly from step to step, strictly between 0 and 1", () => {
    fc.assert(
      fc.property(budgets, phis, (T, phi) => {
        let before = 1;
        for (let step = 0; step < T; step++) {
          const f = ubaFactor(step, T, phi);
          if (!(f > 0 && f < before)) return false;
          before = f;
        }
        return true;
      }),
    );
  });

  test("decreases strictly with φ at every step", () => {
    // Pairs of φ with a ratio of at least 1.5. At T = 1e5 the first step's f is 1 − 3e-14·φ/1e-3, so closer values of φ
    // may tie.
    const pairs = fc.tuple(logUniform(1e-3, 6e3), fc.double({ min: 1.5, max: 1e6, noNaN: true }));
    fc.assert(
      fc.property(budgets, pairs, (T, [phi, factor]) => {
        for (let step = 0; step < T; step++) {
          if (!(ubaFactor(step, T, phi * factor) < ubaFactor(step, T, phi))) return false;
        }
        return true;
      }),
    );
  });

  test("tends to 1 at every step as φ tends to 0, at the last step like 1/(1 + 8φT²/π²)", () => {
    fc.assert(
      fc.property(budgets, fc.double({ min: 0, max: 1, noNaN: true }), (T, part) => {
        const step = Math.floor(part * (T - 1));
        // v/u is at most (4T/π)², below 2e10. With φ = 1e-30, f differs from 1 by less than 1e-19.
        expect(ubaFactor(step, T, 1e-30)).toBe(1);
      }),
    );
    for (const T of [1_000, 30_000, 100_000]) {
      for (const phi of [1e-12, 1e-8, 1e-4]) {
        const expected = 1 / (1 + (8 * phi * T * T) / Math.PI ** 2);
        // tan²x = x²(1 + 2x²/3 + …) at x = π/4T, so the error of the approximation is at most 4.2e-1/T².
        expect(Math.abs(ubaFactor(T - 1, T, phi) / expected - 1)).toBeLessThan(0.5 / T ** 2 + 1e-14);
      }
    }
  });

  test("is the cosine schedule at half steps for φ = 2", () => {
    fc.assert(
      fc.property(budgets, fc.double({ min: 0, max: 1, noNaN: true }), (T, part) => {
        const step = Math.floor(part * (T - 1));
        const half = (1 + Math.cos(((step + 0.5) * Math.PI) / T)) / 2;
        // The tolerance is absolute, because 1 + cos is rounded to a unit of 1.
        expect(Math.abs(ubaFactor(step, T, 2) - half)).toBeLessThan(4e-16);
      }),
    );
  });

  test("is 2u/(1 + u) for φ = 1, which is REX's function on another profile", () => {
    fc.assert(
      fc.property(budgets, fc.double({ min: 0, max: 1, noNaN: true }), (T, part) => {
        const step = Math.floor(part * (T - 1));
        const u = Math.sin(((T - step - 0.5) * Math.PI) / (2 * T)) ** 2;
        expect(Math.abs(ubaFactor(step, T, 1) / ((2 * u) / (1 + u)) - 1)).toBeLessThan(2e-15);
      }),
    );
  });

  test("has a reciprocal that is affine in v/u: 1/f = 1 + (φ/2)·v/u", () => {
    fc.assert(
      fc.property(budgets, phis, fc.double({ min: 0, max: 1, noNaN: true }), (T, phi, part) => {
        const step = Math.floor(part * (T - 1));
        // √(v/u) is a tangent. In the second half its reciprocal is used, because a tangent near π/2 has no correct
        // digits.
        const ratio =
          2 * step < T
            ? Math.tan(((step + 0.5) * Math.PI) / (2 * T)) ** 2
            : Math.tan(((T - step - 0.5) * Math.PI) / (2 * T)) ** -2;
        expect(Math.abs(ubaFactor(step, T, phi) * (1 + (phi / 2) * ratio) - 1)).toBeLessThan(4e-15);
      }),
    );
  });

  test("has a mean that tends to 1/(1 + √(φ/2))", () => {
    fc.assert(
      fc.property(phis, (phi) => {
        const rates = tabulate(uba({ budget: 2_000, maxLr: 1, phi }));
        const mean = rates.reduce((total, rate) => total + rate, 0) / rates.length;
        // This is a midpoint rule on an analytic function. Its error is |(1 − a)/(1 + a)|^(2T), which is below rounding
        // (a ≥ 0.022).
        expect(Math.abs(mean * (1 + Math.sqrt(phi / 2)) - 1)).toBeLessThan(1e-12);
      }),
    );
  });

  test.each([
    [-1, 10, 2, /^step: expected an integer from 0 to T - 1, which is 9, got -1/],
    [10, 10, 2, /^step: /],
    [0.5, 10, 2, /^step: /],
    [Number.NaN, 10, 2, /^step: /],
    [0, 0, 2, /^T: expected an integer of at least 1, got 0/],
    [0, 2.5, 2, /^T: /],
    [0, 10, 0, /^phi: expected a finite number above 0 .*, got 0/],
    [0, 10, -2, /^phi: /],
    [0, 10, Number.NaN, /^phi: /],
    [0, 10, Number.POSITIVE_INFINITY, /^phi: /],
  ])("refuses f(%s, %s, %s)", (step, T, phi, message) => {
    expect(() => ubaFactor(step, T, phi)).toThrow(message);
  });
});

describe("the UBA schedule", () => {
  test("decreases strictly, strictly inside its bounds", () => {
    // Bounds that differ by a factor of at least 2. The closer they are, the fewer digits the difference between rates
    // has.
    const bounds = fc.tuple(logUniform(1e-6, 10), fc.double({ min: 0, max: 0.5, noNaN: true }));
    fc.assert(
      fc.property(budgets, phis, bounds, (budget, phi, [maxLr, part]) => {
        const minLr = part * maxLr;
        let before = maxLr;
        for (const rate of tabulate(uba({ budget, maxLr, minLr, phi }))) {
          if (!(rate < before && rate > minLr)) return false;
          before = rate;
        }
        return true;
      }),
    );
  });

  test("stays inside its bounds and does not rise if rates may tie", () => {
    const extreme = fc.record({
      budget: fc.integer({ min: 1, max: 3_000 }),
      phi: logUniform(1e-300, 1e300),
      maxLr: logUniform(1e-300, 1e300),
    });
    fc.assert(
      fc.property(extreme, fc.double({ min: 0, max: 1, noNaN: true }), ({ budget, phi, maxLr }, part) => {
        const minLr = part * maxLr;
        let before = maxLr;
        for (const rate of tabulate(uba({ budget, maxLr, minLr, phi }))) {
          // The range is guaranteed. A rise by one unit of rounding between near ties is not excluded.
          if (!(rate >= minLr && rate <= maxLr && rate <= before * (1 + 2 * Number.EPSILON))) return false;
          before = rate;
        }
        return true;
      }),
    );
  });

  test("is η_min + (η_max − η_min)·f, with φ = 2 by default", () => {
    const lr = uba({ budget: 11, maxLr: 0.5, minLr: 0.125, phi: 3 });
    const plain = uba({ budget: 11, maxLr: 1 });
    for (let s = 0; s < 11; s++) {
      expect(lr(s)).toBe(0.125 + 0.375 * ubaFactor(s, 11, 3));
      expect(plain(s)).toBe(ubaFactor(s, 11, 2));
    }
  });

  test("takes a single step at η_min + (η_max − η_min)·2/(2 + φ)", () => {
    expect(uba({ budget: 1, maxLr: 1, minLr: 0.5, phi: 6 })(0)).toBeCloseTo(0.5 + 0.5 * (2 / 8), 15);
  });

  test("restarts in every phase with the phase's bounds, φ and length", () => {
    const phases = [
      { iterations: 4, maxLr: 0.5, minLr: 0.1, phi: 1 },
      { iterations: 1, maxLr: 0.25 },
      { iterations: 5, minLr: 0.01, phi: 40 },
    ];
    const lr = uba({ budget: 12, warmup: 2, maxLr: 0.3, minLr: 0.02, phi: 8, phases });
    const apart = [
      uba({ budget: 4, maxLr: 0.5, minLr: 0.1, phi: 1 }),
      uba({ budget: 1, maxLr: 0.25, minLr: 0.02, phi: 8 }),
      uba({ budget: 5, maxLr: 0.3, minLr: 0.01, phi: 40 }),
    ].flatMap((phase) => [...tabulate(phase)]);
    // The warm-up rises to the first rate of the first phase.
    expect([...tabulate(lr)]).toEqual([0.25, 0.5, ...apart]);
    expect(lr(99)).toBe(apart.at(-1));
  });

  test("is the same with one phase of the whole length as without phases", () => {
    const lr = uba({ budget: 30, warmup: 3, maxLr: 0.3, minLr: 0.1, phi: 5 });
    const phases = [{ iterations: 27, maxLr: 0.3, minLr: 0.1, phi: 5 }];
    expect(tabulate(uba({ budget: 30, warmup: 3, phases }))).toEqual(tabulate(lr));
  });

  test("needs no maxLr if every phase has one; maxLr is then the largest of them", () => {
    const phases = [
      { iterations: 5, maxLr: 0.25 },
      { iterations: 5, maxLr: 0.5 },
    ];
    expect(uba({ budget: 10, phases }).options["maxLr"]).toBe(0.5);
    expect(() => uba({ budget: 10, phases: [...phases.slice(1), { iterations: 5 }] })).toThrow(/^uba\.maxLr: /);
  });
});
