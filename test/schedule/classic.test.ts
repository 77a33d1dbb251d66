import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as schedule from "#lib/schedule/index.js";
import { budgets } from "./support/arbitrary.js";

/** Rates of PyTorch 1.13's schedulers: see test/golden/schedules.py. */
interface TorchCase {
  readonly torch: string;
  readonly name: string;
  readonly options: { readonly budget: number; readonly maxLr: number };
  readonly rates: readonly number[];
  readonly momenta?: readonly number[];
}
const cases: TorchCase[] = JSON.parse(readFileSync(new URL("../golden/schedules.json", import.meta.url), "utf8")).torch;

/** Largest difference relative to the peak. Near zero the last digits of a rate have no meaning. */
function difference(rates: ArrayLike<number>, expected: ArrayLike<number>, peak: number): number {
  expect(rates.length).toBe(expected.length);
  return Math.max(...Array.from(rates, (rate, s) => Math.abs(rate - expected[s]!) / peak));
}

describe("agreement with PyTorch", () => {
  // PyTorch multiplies from step to step, with one or two roundings each: 50 steps of 2.2e-16.
  const tolerance = 3e-14;

  test.each(cases.map((entry, i) => ({ entry, title: `${entry.torch} is ${entry.name} (${i})` })))(
    "$title",
    ({ entry }) => {
      const { name, options, rates, momenta } = entry;
      const lr = schedule.create(name, options);
      expect(difference(schedule.tabulate(lr), rates, options.maxLr)).toBeLessThan(tolerance);
      if (momenta === undefined) return;
      const actual = momenta.map((_, step) => lr.momentum!(step));
      expect(difference(actual, momenta, 1)).toBeLessThan(tolerance);
    },
  );

  test("every scheduler is compared", () => {
    expect(new Set(cases.map(({ torch }) => torch))).toEqual(
      new Set([
        "StepLR",
        "MultiStepLR",
        "ExponentialLR",
        "PolynomialLR",
        "LinearLR",
        "CosineAnnealingLR",
        "CosineAnnealingWarmRestarts",
        "CyclicLR",
        "OneCycleLR",
      ]),
    );
  });
});

describe("agreement with the paper", () => {
  /** Compares every step with `formula(s)`. A formula takes a few roundings of values of at most 1. */
  function expectFormula(lr: schedule.Schedule, formula: (s: number) => number): void {
    const expected = Array.from({ length: lr.budget }, (_, s) => formula(s));
    expect(difference(schedule.tabulate(lr), expected, lr.options["maxLr"] as number)).toBeLessThan(2e-15);
  }
  const [budget, maxLr, minLr] = [50, 0.4, 0.1];

  test("constant: the peak", () => {
    expectFormula(schedule.constant({ budget, maxLr, minLr }), () => 0.4);
  });

  test("REX: (1 − z) / (1/2 + (1 − z)/2)", () => {
    expectFormula(schedule.rex({ budget, maxLr, minLr }), (s) => {
      const z = s / 50;
      return 0.1 + (0.3 * (1 - z)) / (0.5 + (1 - z) / 2);
    });
  });

  test("cosine: (1 + cos πz)/2", () => {
    expectFormula(
      schedule.cosine({ budget, maxLr, minLr }),
      (s) => 0.1 + (0.3 * (1 + Math.cos((Math.PI * s) / 50))) / 2,
    );
  });

  test("inverse square root: min((s + 1)/w, √(w/(s + 1)))", () => {
    expectFormula(
      schedule.inverseSqrt({ budget, maxLr, riseSteps: 7 }),
      (s) => 0.4 * Math.min((s + 1) / 7, Math.sqrt(7 / (s + 1))),
    );
    // 4,000 of 100,000 steps.
    expect(schedule.inverseSqrt({ budget: 100_000, maxLr }).options["riseSteps"]).toBe(4_000);
    expect(schedule.inverseSqrt({ budget: 3, maxLr })(0)).toBe(maxLr);
  });

  test.each([
    ["linear", (x: number) => 1 - x],
    ["sqrt", (x: number) => 1 - Math.sqrt(x)],
    ["exponential", (x: number) => Math.exp(x * Math.log(0.2))],
  ] as const)("warmup-stable-decay with a cooldown of shape %s", (cooldown, shape) => {
    const parts = { riseSteps: 8, cooldownSteps: 12, cooldown, cooldownFactor: 0.2 };
    expectFormula(schedule.warmupStableDecay({ budget, maxLr, minLr, ...parts }), (s) => {
      if (s < 8) return (0.4 * (s + 1)) / 8;
      return s < 38 ? 0.4 : 0.1 + 0.3 * shape((s - 38) / 12);
    });
  });

  test("warmup-stable-decay without a rise, a cooldown or both", () => {
    const flat = { budget: 6, maxLr, riseSteps: 0, cooldownSteps: 0 };
    expect([...schedule.tabulate(schedule.warmupStableDecay(flat))]).toEqual(Array(6).fill(0.4));
    const linear = schedule.tabulate(schedule.linear({ budget: 6, maxLr }));
    const lr = schedule.warmupStableDecay({ ...flat, cooldownSteps: 6 });
    expect(difference(schedule.tabulate(lr), linear, maxLr)).toBeLessThan(1e-15);
  });
});

describe("relations between schedules", () => {
  test("polynomial with power 1 is linear", () => {
    fc.assert(
      fc.property(budgets, fc.nat(), (budget, any) => {
        const s = any % budget;
        expect(schedule.polynomial({ budget, maxLr: 1, power: 1 })(s)).toBe(schedule.linear({ budget, maxLr: 1 })(s));
      }),
    );
  });

  test("cosine restarts with one cycle as long as the budget is cosine", () => {
    const lr = schedule.cosineRestarts({ budget: 40, maxLr: 1, firstPeriod: 40 });
    expect(schedule.tabulate(lr)).toEqual(schedule.tabulate(schedule.cosine({ budget: 40, maxLr: 1 })));
  });

  test("REX is UBA's function for φ = 1 on the linear profile", () => {
    const rex = schedule.tabulate(schedule.rex({ budget: 40, maxLr: 1 }));
    const expected = schedule.tabulate(schedule.linear({ budget: 40, maxLr: 1 })).map((u) => (2 * u) / (1 + u));
    expect(difference(rex, expected, 1)).toBeLessThan(1e-15);
  });
});

describe("defaults that depend on the budget", () => {
  test("three cosine cycles and four triangles fill the steps after the warm-up", () => {
    const tops = (lr: schedule.Schedule, top: number) => schedule.tabulate(lr).filter((rate) => rate === top).length;
    expect(tops(schedule.cosineRestarts({ budget: 75, maxLr: 1, warmup: 5 }), 1)).toBe(3 + 1);
    expect(schedule.cosineRestarts({ budget: 75, maxLr: 1, warmup: 5 }).options["firstPeriod"]).toBe(10);
    expect(tops(schedule.cyclical({ budget: 80, maxLr: 1 }), 0)).toBe(4);
  });

  test("milestones are rounded to the nearest step", () => {
    // 0.55·100 is 55.00000000000001 in floating point.
    const lr = schedule.step({ budget: 100, maxLr: 1, milestones: [0.55], gamma: 0.5 });
    expect([lr(54), lr(55)]).toEqual([1, 0.5]);
  });

  test("the exponential schedule ends at minLr, or at a hundredth of maxLr if minLr is not given", () => {
    expect(schedule.exponential({ budget: 9, maxLr: 1, minLr: 0.25 }).options["endLr"]).toBe(0.25);
    expect(schedule.exponential({ budget: 9, maxLr: 1 }).options["endLr"]).toBe(0.01);
  });

  test("one-cycle changes the momentum only on request, and accepts a rise of length zero", () => {
    expect(schedule.oneCycle({ budget: 10, maxLr: 1 })).not.toHaveProperty("momentum");
    // The rise would end at step 0.1·10 − 1 = 0, where PyTorch divides by zero.
    const lr = schedule.oneCycle({ budget: 10, maxLr: 1, riseFraction: 0.1, cycleMomentum: true });
    expect([lr(0), lr.momentum!(0), lr.momentum!(9)]).toEqual([1, 0.85, 0.95]);
    for (const riseFraction of [0, 1]) {
      for (const budget of [1, 2, 9]) {
        const rates = schedule.tabulate(schedule.oneCycle({ budget, maxLr: 1, riseFraction }));
        expect(rates.every((rate) => rate > 0 && rate <= 1)).toBe(true);
      }
    }
  });
});
