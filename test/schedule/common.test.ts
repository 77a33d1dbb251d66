import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as schedule from "#lib/schedule/index.js";
import { samples, warmable } from "./support/samples.js";

/** Adds the name, which vitest shows as the title of the test. */
const titled = (list: readonly schedule.ScheduleJSON[]) => list.map((json) => [json.name, json] as const);

test("every schedule has a sample", () => {
  expect([...samples.map(({ name }) => name), "joined"]).toEqual(schedule.names);
});

describe.each(titled(samples))("%s", (name, json) => {
  const { name: _name, ...options } = json;
  const lr = schedule.create(name, options);

  test("is a frozen function with name, budget and options", () => {
    expect([typeof lr, lr.name, lr.budget]).toEqual(["function", name, 60]);
    expect(lr.options).toMatchObject(options);
    expect(Object.isFrozen(lr) && Object.isFrozen(lr.options)).toBe(true);
    expect(() => Object.assign(lr, { budget: 7 })).toThrow(TypeError);
    expect(() => Object.assign(lr.options, { maxLr: 7 })).toThrow(TypeError);
  });

  test("is a pure function of the step, within its bounds", () => {
    const forwards = [...schedule.tabulate(lr)];
    const backwards = forwards.map((_, i) => lr(forwards.length - 1 - i)).reverse();
    expect(backwards).toEqual(forwards);
    const rise = (lr.options["riseSteps"] ?? 0) as number;
    const { maxLr, minLr } = lr.options as { maxLr: number; minLr: number };
    for (const [s, rate] of forwards.entries()) {
      expect(rate).toBeLessThanOrEqual(maxLr);
      if (s >= rise) expect(rate).toBeGreaterThanOrEqual(minLr);
    }
  });

  test("keeps its last value beyond the budget", () => {
    for (const step of [60, 61, 1_000_000, Number.MAX_SAFE_INTEGER]) expect(lr(step)).toBe(lr(59));
    if (lr.momentum) expect(lr.momentum(60)).toBe(lr.momentum(59));
  });

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, "3", undefined])("refuses step %s", (step) => {
    expect(() => lr(step as number)).toThrow(/^step: expected an integer of at least 0 .*, got /);
    if (lr.momentum) expect(() => lr.momentum!(step as number)).toThrow(/^step: /);
  });

  test("has the same values after a round trip through JSON", () => {
    const text = JSON.stringify(lr);
    expect(JSON.parse(text)).toEqual({ name, ...lr.options });
    const again = schedule.fromJSON(JSON.parse(text));
    expect(again.options).toEqual(lr.options);
    expect(schedule.tabulate(again)).toEqual(schedule.tabulate(lr));
    expect(again.momentum?.(3)).toEqual(lr.momentum?.(3));
  });

  test("needs only a budget of at least one step and a rate", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), (budget) => {
        const rates = schedule.tabulate(schedule.create(name, { budget, maxLr: 0.1 }));
        return rates.length === budget && rates.every((rate) => rate >= 0 && rate <= 0.1);
      }),
    );
  });

  test("has exactly the options that its table lists", () => {
    const entry = schedule.catalog.find((one) => one.name === name)!;
    const listed = entry.options.map((option) => option.name);
    for (const option of Object.keys(lr.options)) expect(listed).toContain(option);
    for (const { required, name: option, description } of entry.options) {
      expect(description).not.toBe("");
      // uba can take its rate from its phases instead.
      const needed = required || (name === "uba" && option === "maxLr");
      expect(needed).toBe(option === "budget" || option === "maxLr");
    }
  });
});

test("the highest rate is reached exactly and never exceeded, however the bounds are rounded", () => {
  // Bounds of a similar size that use all digits. Their difference is then rounded, and adding it back may not give the
  // same number.
  const rate = fc.integer({ min: 1, max: 1e9 }).map((n) => n / 3e8);
  const bounds = fc.tuple(rate, rate).map(([a, b]) => ({ minLr: Math.min(a, b), maxLr: Math.max(a, b) }));
  // For these bounds the sum is one unit too large. fast-check always tests them.
  const examples: [{ minLr: number; maxLr: number }][] = [[{ minLr: 0.45441950423700184, maxLr: 2.8998985292483526 }]];
  fc.assert(
    fc.property(bounds, (rates) => {
      const { minLr, maxLr } = rates;
      expect(schedule.constant({ budget: 2, ...rates })(1)).toBe(maxLr);
      expect(schedule.cosine({ budget: 2, ...rates })(0)).toBe(maxLr);
      // The decay is so slow that its profile rounds to 1 or one unit below.
      for (const phi of [1e-14, 1e-15, 1e-16]) {
        const lr = schedule.uba({ budget: 9, phi, ...rates });
        for (const rate of schedule.tabulate(lr)) expect(rate >= minLr && rate <= maxLr).toBe(true);
      }
    }),
    { numRuns: 500, examples },
  );
});

describe.each(titled(warmable))("%s after a warm-up", (name, json) => {
  test("rises to the peak in equal parts, then runs as without a warm-up over the remaining budget", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 1, max: 100 }), (warmup, rest) => {
        const { name: _name, ...options } = json;
        const lr = schedule.create(name, { ...options, budget: warmup + rest, warmup });
        const alone = schedule.create(name, { ...options, budget: rest });
        for (let s = 0; s < warmup; s++) expect(lr(s)).toBeCloseTo((0.1 * (s + 1)) / warmup, 15);
        // The peak is exact, so that no schedule exceeds maxLr.
        if (warmup > 0) expect(lr(warmup - 1)).toBe(0.1);
        for (let s = 0; s < rest; s++) expect(lr(warmup + s)).toBe(alone(s));
      }),
    );
  });
});

describe("phases", () => {
  const phases = [
    { iterations: 3, maxLr: 0.5 },
    { iterations: 7, phi: 9 },
  ];
  const lr = schedule.uba({ budget: 12, warmup: 2, maxLr: 0.25, phases });

  test("are restored from JSON", () => {
    const again = schedule.fromJSON(JSON.parse(JSON.stringify(lr)));
    expect(again.options).toEqual(lr.options);
    expect(schedule.tabulate(again)).toEqual(schedule.tabulate(lr));
  });

  test("are copied and frozen", () => {
    const before = lr(4);
    phases[0]!.maxLr = 99;
    expect(lr(4)).toBe(before);
    expect(lr.options["phases"]).toEqual([
      { iterations: 3, maxLr: 0.5 },
      { iterations: 7, phi: 9 },
    ]);
    const kept = lr.options["phases"] as object[];
    expect(Object.isFrozen(kept) && kept.every(Object.isFrozen)).toBe(true);
  });
});

test("milestones are copied and frozen, given or by default", () => {
  const milestones = [0.5];
  const lr = schedule.step({ budget: 10, maxLr: 1, milestones });
  milestones[0] = 0.1;
  expect(lr.options["milestones"]).toEqual([0.5]);
  for (const kept of [lr, schedule.step({ budget: 10, maxLr: 1 })]) {
    expect(Object.isFrozen(kept.options["milestones"])).toBe(true);
  }
});

test("an option that is undefined counts as absent", () => {
  const given = { budget: 10, maxLr: 1, phi: undefined, warmup: undefined };
  expect(schedule.create("uba", given).options).toEqual({ budget: 10, maxLr: 1, minLr: 0, warmup: 0, phi: 2 });
  expect(() => schedule.create("one-cycle", { budget: 10, maxLr: 1, warmup: undefined })).not.toThrow();
});

test("tabulate returns one rate per step", () => {
  const lr = schedule.linear({ budget: 4, maxLr: 1 });
  expect(schedule.tabulate(lr)).toEqual(Float64Array.of(1, 0.75, 0.5, 0.25));
});
