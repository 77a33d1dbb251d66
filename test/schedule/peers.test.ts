import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as schedule from "#lib/schedule/index.js";
import { contraction, worstCase } from "#lib/schedule/theory/index.js";
import { expectError } from "../support/errors.js";
import { joinedSample, samples } from "./support/samples.js";

/** Rates of PyTorch 2.6's schedulers, to their last step and beyond: see test/golden/peer_schedules.py. */
interface PeerCase {
  readonly title: string;
  readonly schedule: schedule.ScheduleJSON;
  readonly rates: readonly number[];
  readonly momenta?: readonly number[];
}
const cases: readonly PeerCase[] = JSON.parse(
  readFileSync(new URL("../golden/peer_schedules.json", import.meta.url), "utf8"),
).cases;

describe("agreement with PyTorch from step 0 to beyond the last", () => {
  // PyTorch multiplies from step to step, with one or two roundings for each of up to 50 steps.
  test.each(cases)("$title", ({ schedule: json, rates, momenta }) => {
    const lr = schedule.fromJSON(json);
    for (const [step, rate] of rates.entries()) expect(Math.abs(lr(step) - rate), `step ${step}`).toBeLessThan(3e-15);
    for (const [step, momentum] of momenta?.entries() ?? [])
      expect(Math.abs(lr.momentum!(step) - momentum), `momentum ${step}`).toBeLessThan(3e-14);
  });
});

/** optax 0.2's schedules, from their published source. */
const optax = {
  constant: (value: number) => (_: number) => value,
  polynomial:
    (from: number, to: number, power: number, steps: number, begin = 0) =>
    (count: number) =>
      (from - to) * (1 - Math.min(Math.max(count - begin, 0), steps) / steps) ** power + to,
  cosineDecay:
    (from: number, steps: number, alpha = 0) =>
    (count: number) =>
      from * ((1 - alpha) * 0.5 * (1 + Math.cos((Math.PI * Math.min(count, steps)) / steps)) + alpha),
  exponentialDecay:
    (from: number, steps: number, rate: number, begin: number, staircase: boolean) => (count: number) => {
      if (count <= begin) return from;
      const part = (count - begin) / steps;
      return from * rate ** (staircase ? Math.floor(part) : part);
    },
  join: (parts: readonly ((count: number) => number)[], boundaries: readonly number[]) => (step: number) =>
    boundaries.reduce(
      (rate, boundary, i) => (step < boundary ? rate : parts[i + 1]!(step - boundary)),
      parts[0]!(step),
    ),
};

describe("agreement with optax", () => {
  const peers = { convention: "peers" } as const;
  const settings = fc.record({
    w: fc.integer({ min: 1, max: 40 }),
    T: fc.integer({ min: 1, max: 60 }),
    maxLr: fc.double({ min: 1e-4, max: 1, noNaN: true }),
    part: fc.double({ min: 0, max: 1, noNaN: true }),
    power: fc.double({ min: 0.3, max: 4, noNaN: true }),
  });
  const agree = (lr: schedule.Schedule, formula: (count: number) => number, steps: number, scale: number) => {
    for (let step = 0; step <= steps; step++)
      expect(Math.abs(lr(step) - formula(step)), `step ${step}`).toBeLessThan(4e-15 * scale);
  };

  test("warmup_cosine_decay_schedule", () => {
    fc.assert(
      fc.property(settings, ({ w, T, maxLr, part }) => {
        const minLr = part * maxLr;
        const reference = optax.join([optax.polynomial(0, maxLr, 1, w), optax.cosineDecay(maxLr, T, part)], [w]);
        agree(schedule.cosine({ budget: w + T, maxLr, minLr, warmup: w, ...peers }), reference, w + T + 20, maxLr);
      }),
    );
  });

  test("polynomial_schedule with a transition_begin, and linear_schedule", () => {
    fc.assert(
      fc.property(settings, ({ w, T, maxLr, part, power }) => {
        const options = { budget: w + T, maxLr, minLr: part * maxLr, hold: w, ...peers };
        const reference = (p: number) => optax.polynomial(maxLr, part * maxLr, p, T, w);
        agree(schedule.polynomial({ ...options, power }), reference(power), w + T + 20, maxLr);
        agree(schedule.linear(options), reference(1), w + T + 20, maxLr);
      }),
    );
  });

  test("exponential_decay, smooth and in steps, within the budget", () => {
    fc.assert(
      fc.property(settings, fc.integer({ min: 1, max: 20 }), ({ w, T, maxLr, part }, n) => {
        const rate = 0.2 + 0.7 * part;
        const options = { budget: w + T, maxLr, hold: w, ...peers };
        const smooth = schedule.exponential({ ...options, endLr: maxLr * rate ** (T / n) });
        agree(smooth, optax.exponentialDecay(maxLr, n, rate, w, false), w + T, maxLr);
        const milestones = Array.from({ length: Math.ceil(T / n) - 1 }, (_, i) => ((i + 1) * n) / T);
        const stairs = schedule.step({ ...options, gamma: rate, milestones });
        agree(stairs, optax.exponentialDecay(maxLr, n, rate, w, true), w + T - 1, maxLr);
      }),
    );
  });

  test("join_schedules", () => {
    fc.assert(
      fc.property(settings, ({ w, T, maxLr, part }) => {
        const cosine = schedule.cosine({ budget: T, maxLr, ...peers });
        const constant = schedule.constant({ budget: 1, maxLr: maxLr * (0.1 + part) });
        const reference = optax.join(
          [optax.cosineDecay(maxLr, T), optax.constant(maxLr * (0.1 + part)), optax.cosineDecay(maxLr, T)],
          [w, w + 7],
        );
        const lr = schedule.joinSchedules([cosine, constant, cosine], { boundaries: [w, w + 7], budget: w + T + 40 });
        agree(lr, reference, w + T + 39, maxLr);
      }),
    );
  });
});

describe("the peers' convention", () => {
  const takers = samples.filter(({ name }) =>
    schedule.catalog.find((one) => one.name === name)!.options.some(({ name: option }) => option === "convention"),
  );

  test.each(takers)("of $name changes nothing between the warm-up and the last step", (json) => {
    const stepsizeRate = schedule.fromJSON({ ...json, ...("riseSteps" in json ? {} : { warmup: 6 }) });
    const peers = schedule.fromJSON({ ...stepsizeRate.toJSON(), convention: "peers" });
    const rise = (stepsizeRate.options["warmup"] ?? stepsizeRate.options["riseSteps"]) as number;
    for (let step = rise; step < 60; step++) expect(peers(step)).toBe(stepsizeRate(step));
    for (let step = 0; step < rise; step++) expect(peers(step)).toBe(0.1 * (step / rise));
    expect(peers(10_000)).toBe(peers(60));
    expect(JSON.parse(JSON.stringify(peers)).convention).toBe("peers");
    expect(stepsizeRate.toJSON()).not.toHaveProperty("convention");
  });

  test.each(["cosine", "linear", "polynomial", "rex", "one-minus-sqrt", "wsd"])("%s ends at minLr exactly", (name) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 }), fc.double({ min: 0, max: 0.1, noNaN: true }), (budget, minLr) => {
        const lr = schedule.create(name, { budget, maxLr: 0.1, minLr, convention: "peers" });
        if (name === "wsd" && lr.options["cooldownSteps"] === 0) return;
        expect([lr(budget), lr(budget + 7)]).toEqual([minLr, minLr]);
        expect(lr(budget - 1)).toBeGreaterThanOrEqual(minLr);
      }),
    );
  });

  test.each(["uba", "cosine-restarts", "cyclical"])("%s has no end value and keeps its last rate", (name) => {
    const lr = schedule.create(name, { budget: 30, maxLr: 0.1, minLr: 0.01, convention: "peers" });
    expect(lr(30)).toBe(lr(29));
  });
});

describe("a hold", () => {
  test.each(
    samples.filter(
      ({ name }) =>
        name === "uba" ||
        schedule.catalog.find((one) => one.name === name)!.options.some(({ name: option }) => option === "hold"),
    ),
  )("of $name stays at the peak, and the rule covers the remaining steps", (json) => {
    const { name, ...options } = json;
    const lr = schedule.create(name, { ...options, warmup: 6, hold: 14 });
    const after = schedule.create(name, { ...options, budget: 40, hold: 0 });
    for (let step = 5; step < 20; step++) expect(lr(step)).toBe(0.1);
    for (let step = 0; step < 40; step++) expect(lr(20 + step)).toBe(after(step));
  });

  test("is included in the contraction of UBA on a quadratic", () => {
    const lr = schedule.uba({ budget: 40, maxLr: 1.9, minLr: 0.4, phi: 3, warmup: 5, hold: 9, convention: "peers" });
    const rates = schedule.tabulate(lr);
    for (const curvature of [0.01, 0.1, 0.4, 0.7, 1])
      expect(contraction(lr, curvature)).toBeCloseTo(contraction(rates, curvature), 10);
    expect(worstCase(lr, [0.1, 1]).value).toBeCloseTo(worstCase(rates, [0.1, 1]).value, 10);
  });
});

describe("joined schedules", () => {
  const { constant, cosine, joinSchedules, linear, oneCycle, oneCycleMomentum, oneMinusSqrt, uba } = schedule;

  test("are frozen, have a name, budget, options and JSON, and keep the last rate beyond the budget", () => {
    const lr = schedule.fromJSON(joinedSample);
    expect([typeof lr, lr.name, lr.budget, Object.isFrozen(lr), Object.isFrozen(lr.options)]).toEqual([
      "function",
      "joined",
      60,
      true,
      true,
    ]);
    const again = schedule.fromJSON(JSON.parse(JSON.stringify(lr)));
    expect(again.toJSON()).toEqual(lr.toJSON());
    expect(schedule.tabulate(again)).toEqual(schedule.tabulate(lr));
    for (const step of [60, 61, 1e6]) expect(lr(step)).toBe(lr(59));
    for (const step of [-1, 0.5, Number.NaN]) expect(() => lr(step)).toThrow(/^step: expected an integer/);
    expect(lr.options["parts"]).toHaveLength(2);
    const cut = schedule.fromJSON({ ...joinedSample, budget: 45 });
    expect([cut(45), cut(1e6)]).toEqual([lr(44), lr(44)]);
  });

  test("run in order for their budgets, include their warm-ups, and can be joined again", () => {
    const parts = [
      uba({ budget: 20, maxLr: 0.1, warmup: 4 }),
      cosine({ budget: 7, maxLr: 0.2 }),
      linear({ budget: 11, maxLr: 0.3 }),
    ];
    const flat = joinSchedules(parts);
    const nested = joinSchedules([parts[0]!, joinSchedules(parts.slice(1))]);
    const expected = parts.flatMap((part) => [...schedule.tabulate(part)]);
    expect([flat.budget, nested.budget]).toEqual([38, 38]);
    expect([...schedule.tabulate(flat)]).toEqual(expected);
    expect([...schedule.tabulate(nested)]).toEqual(expected);
    expect(flat.options["boundaries"]).toEqual([20, 27]);
  });

  test("of constant and cooldown equal warmup-stable-decay", () => {
    for (const [shape, cooldown] of [
      ["sqrt", oneMinusSqrt],
      ["linear", linear],
    ] as const) {
      const joined = joinSchedules([
        constant({ budget: 80, maxLr: 0.1, warmup: 5 }),
        cooldown({ budget: 20, maxLr: 0.1 }),
      ]);
      const whole = schedule.warmupStableDecay({
        budget: 100,
        maxLr: 0.1,
        riseSteps: 5,
        cooldownSteps: 20,
        cooldown: shape,
      });
      // The same line computed in two ways: 1 − x and (T − s)/T are rounded differently.
      for (let step = 0; step < 100; step++) expect(Math.abs(joined(step) - whole(step))).toBeLessThan(1.2e-16);
    }
  });

  test("accept plain functions, which are custom in JSON and cannot be restored", async () => {
    const waves = (step: number) => 0.1 + 0.05 * Math.sin(step);
    const lr = joinSchedules([linear({ budget: 10, maxLr: 0.1 }), waves], { budget: 25 });
    for (let step = 10; step < 25; step++) expect(lr(step)).toBe(waves(step - 10));
    const json = JSON.parse(JSON.stringify(lr));
    expect(json.parts[1]).toEqual({ name: "custom" });
    await expectError(
      () => schedule.fromJSON(json),
      "invalid-argument",
      "a function of your own has to be given again",
      "custom",
    );
    const wrong = joinSchedules([() => Number.NaN], { budget: 3 });
    await expectError(
      () => wrong(2),
      "invalid-argument",
      "joined.parts[0](2): expected a finite learning rate of at least 0, got NaN",
    );
  });

  test("cycle momentum if all parts do", async () => {
    const part = oneCycleMomentum({ budget: 12, maxLr: 0.1 });
    const lr = joinSchedules([part, part]);
    for (let step = 0; step < 24; step++) expect(lr.momentum!(step)).toBe(part.momentum!(step % 12));
    expect(lr.momentum!(99)).toBe(part.momentum!(11));
    expect(joinSchedules([oneCycle({ budget: 5, maxLr: 1 })])).not.toHaveProperty("momentum");
    await expectError(
      () => joinSchedules([part, constant({ budget: 2, maxLr: 1 })]),
      "invalid-argument",
      "joined.parts",
      "all with a momentum or all without",
    );
  });

  test("refuse invalid parts", async () => {
    const one = constant({ budget: 5, maxLr: 0.1 });
    const refused = (make: () => unknown, ...words: string[]) => expectError(make, "invalid-argument", ...words);
    await refused(() => joinSchedules([]), "joined.parts: expected an array of at least one schedule");
    await refused(
      () => joinSchedules([one, 0.1 as never]),
      "joined.parts[1]: expected a schedule or a function of the step, got 0.1",
    );
    await refused(() => joinSchedules([one, one], { boundaries: [1, 2] }), "joined.boundaries: expected 1 steps");
    await refused(
      () => joinSchedules([one, one, one], { boundaries: [4, 2] }),
      "joined.boundaries",
      "each larger than the one before",
    );
    await refused(
      () => joinSchedules([one, one], { boundaries: [2.5] }),
      "joined.boundaries[0]: expected a whole number, got 2.5",
    );
    await refused(
      () => joinSchedules([() => 1, one]),
      "joined.boundaries: expected given, because part 0 is a function without a budget",
    );
    await refused(
      () => joinSchedules([one, () => 1]),
      "joined.budget: expected given, because part 1 is a function without a budget",
    );
    await refused(
      () => joinSchedules([one], { budgets: 3 } as never),
      "joined: expected only the options budget, boundaries (did you mean budget?)",
    );
    await refused(
      () => schedule.create("joined", { parts: [{ name: "cosin", budget: 3, maxLr: 1 }] }),
      "did you mean cosine?",
    );
    await refused(
      () => schedule.create("joined", { parts: [{ name: "cosine", budget: 3, maxLr: 1, holt: 3 }] }),
      "cosine: expected only",
      "did you mean hold?",
    );
    await refused(
      () => schedule.create("joined", { partz: [] }),
      "joined: expected only the options budget, parts, boundaries (did you mean parts?)",
    );
    await refused(() => schedule.create("joined", {}), "joined.parts");
  });
});

describe("one-cycle-momentum", () => {
  test("equals one-cycle with cycleMomentum", () => {
    const options = { budget: 50, maxLr: 0.2, arms: "linear" } as const;
    const [named, cycled] = [
      schedule.oneCycleMomentum(options),
      schedule.oneCycle({ ...options, cycleMomentum: true }),
    ];
    expect(schedule.tabulate(named)).toEqual(schedule.tabulate(cycled));
    for (let step = 0; step < 50; step++) expect(named.momentum!(step)).toBe(cycled.momentum!(step));
    expect(schedule.oneCycle(options)).not.toHaveProperty("momentum");
    expect(schedule.oneCycleMomentum({ ...options, cycleMomentum: false })).not.toHaveProperty("momentum");
  });
});
