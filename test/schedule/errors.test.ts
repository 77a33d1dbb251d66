import { describe, expect, test } from "vitest";
import { StepsizeError } from "#lib/errors.js";
import * as schedule from "#lib/schedule/index.js";

const good = { budget: 100, maxLr: 0.1 };

/** The error that `attempt` throws, which must be a StepsizeError with the code for invalid arguments. */
function errorOf(attempt: () => unknown): StepsizeError {
  try {
    attempt();
  } catch (error) {
    expect(error).toBeInstanceOf(StepsizeError);
    expect((error as StepsizeError).code).toBe("invalid-argument");
    return error as StepsizeError;
  }
  throw new Error("nothing was thrown");
}

/** All schedules except joined, which takes its rates from its parts. */
const ruled = schedule.names.filter((name) => name !== "joined");

describe.each(ruled)("%s refuses", (name) => {
  test.each([
    [{ budget: 0 }, "budget: expected an integer of at least 1, got 0"],
    [{ budget: 2.5 }, "budget: expected an integer of at least 1, got 2.5"],
    [{ budget: "100" }, 'budget: expected an integer of at least 1, got "100"'],
    [{ maxLr: Number.NaN }, "maxLr: expected a finite number above 0, got NaN"],
    [{ maxLr: -0.1 }, "maxLr: expected a finite number above 0, got -0.1"],
    [{ maxLr: 0 }, "maxLr: expected a finite number above 0, got 0"],
    [{ maxLr: Number.POSITIVE_INFINITY }, "maxLr: expected a finite number above 0, got Infinity"],
    [{ minLr: -1e-9 }, "minLr: expected a finite number of at least 0, got -1e-9"],
    [{ minLr: Number.NaN }, "minLr: expected a finite number of at least 0, got NaN"],
    [{ minLr: 0.2 }, "minLr: expected at most maxLr, which is 0.1, got 0.2"],
  ])("%o", (bad, message) => {
    expect(errorOf(() => schedule.create(name, { ...good, ...bad })).message).toBe(`${name}.${message}`);
  });

  test("a missing budget or rate, and lists the options", () => {
    const takes = schedule.catalog.find((entry) => entry.name === name)!.options.map((option) => option.name);
    for (const missing of ["budget", "maxLr"]) {
      const { message } = errorOf(() => schedule.create(name, { ...good, [missing]: undefined }));
      expect(message).toMatch(new RegExp(`^${name}\\.${missing}: expected .*, got undefined$`));
      expect(message).toContain(`the options are ${takes.join(", ")}`);
    }
  });

  test("an unknown option, and lists the options and the nearest one", () => {
    const { message } = errorOf(() => schedule.create(name, { ...good, maxlr: 0.1 }));
    expect(message).toMatch(
      /: expected only the options budget, maxLr, minLr.* \(did you mean maxLr\?\), got "maxlr"$/,
    );
    expect(message.startsWith(`${name}: `)).toBe(true);
    // Names of properties that every object has are not options.
    expect(errorOf(() => schedule.create(name, { ...good, toString: 1 })).message).toContain('got "toString"');
  });

  test.each([null, 3, "fast", [good]])("%o instead of options", (options) => {
    expect(errorOf(() => schedule.create(name, options as object)).message).toMatch(
      `${name}: expected an object with the options budget, maxLr`,
    );
  });
});

describe("a warm-up", () => {
  const withRise = [
    ["one-cycle", "riseFraction"],
    ["one-cycle-momentum", "riseFraction"],
    ["inverse-sqrt", "riseSteps"],
    ["wsd", "riseSteps"],
  ] as const;

  test.each(withRise)("is refused by %s, which has its own rise", (name, instead) => {
    expect(errorOf(() => schedule.create(name, { ...good, warmup: 10 })).message).toBe(
      `${name}.warmup: expected none, because the schedule brings its own (set ${instead} instead), got 10`,
    );
  });

  test.each(ruled.filter((name) => !withRise.some(([one]) => one === name)))(
    "must be an integer below the budget of %s",
    (name) => {
      const message = (warmup: unknown) => errorOf(() => schedule.create(name, { ...good, warmup })).message;
      expect(message(100)).toBe(`${name}.warmup: expected fewer steps than the budget of 100, got 100`);
      expect(message(101)).toBe(`${name}.warmup: expected fewer steps than the budget of 100, got 101`);
      expect(message(1.5)).toBe(`${name}.warmup: expected an integer of at least 0, got 1.5`);
      expect(message(-1)).toBe(`${name}.warmup: expected an integer of at least 0, got -1`);
    },
  );
});

test.each([
  [
    "uba",
    { phi: 0 },
    "uba.phi: expected a finite number above 0 (2 gives the cosine schedule; a larger value decays sooner), got 0",
  ],
  ["uba", { phi: -1 }, "uba.phi: "],
  ["uba", { phi: Number.NaN }, "uba.phi: "],
  ["uba", { phi: "2" }, "uba.phi: "],
  ["uba", { phases: [] }, "uba.phases: expected an array of at least one phase, got []"],
  ["uba", { phases: { iterations: 100 } }, "uba.phases: expected an array of at least one phase, got an object"],
  [
    "uba",
    { phases: [{ iterations: 99 }] },
    "uba.phases: expected iterations that add up to budget - warmup, which is 100, got 99",
  ],
  [
    "uba",
    { warmup: 5, phases: [{ iterations: 60 }, { iterations: 40 }] },
    "uba.phases: expected iterations that add up to budget - warmup, which is 95, got 100",
  ],
  ["uba", { phases: [{ iterations: 100 }, {}] }, "uba.phases[1].iterations: expected steps in the phase"],
  [
    "uba",
    { phases: [{ iterations: 0 }, { iterations: 100 }] },
    "uba.phases[0].iterations: expected an integer of at least 1, got 0",
  ],
  ["uba", { phases: [{ iterations: 100, phi: 0 }] }, "uba.phases[0].phi: expected a finite number above 0"],
  [
    "uba",
    { phases: [{ iterations: 100, maxLr: -1 }] },
    "uba.phases[0].maxLr: expected a finite number above 0, got -1",
  ],
  [
    "uba",
    { phases: [{ iterations: 100, minLr: 0.2 }] },
    "uba.phases[0].minLr: expected at most the phase's maxLr, which is 0.1, got 0.2",
  ],
  [
    "uba",
    { phases: [{ iterations: 100, warmup: 2 }] },
    "uba.phases[0]: expected only the options iterations, maxLr, minLr, phi",
  ],
  ["uba", { phases: [100] }, "uba.phases[0]: expected an object with the options iterations"],
  [
    "step",
    { milestones: [0.5, 0.5] },
    "step.milestones: expected an array of numbers above 0 and below 1, each larger than the one before, got [0.5, 0.5]",
  ],
  ["step", { milestones: [30, 60] }, "step.milestones: "],
  ["step", { milestones: 0.5 }, "step.milestones: "],
  ["step", { milestones: [Number.NaN] }, "step.milestones: "],
  ["step", { gamma: 1.5 }, "step.gamma: expected a finite number above 0 and of at most 1, got 1.5"],
  ["exponential", { endLr: 0 }, "exponential.endLr: expected a finite number above 0, got 0"],
  ["exponential", { endLr: 0.2 }, "exponential.endLr: expected at most maxLr, which is 0.1, got 0.2"],
  ["polynomial", { power: 0 }, "polynomial.power: "],
  ["cosine-restarts", { firstPeriod: 0 }, "cosine-restarts.firstPeriod: "],
  ["cosine-restarts", { periodFactor: 1.5 }, "cosine-restarts.periodFactor: "],
  ["cyclical", { period: 1 }, "cyclical.period: "],
  ["one-cycle", { riseFraction: 1.1 }, "one-cycle.riseFraction: "],
  ["one-cycle", { initialDivisor: 0.5 }, "one-cycle.initialDivisor: "],
  ["one-cycle", { finalDivisor: 0 }, "one-cycle.finalDivisor: "],
  ["one-cycle", { arms: "cos" }, 'one-cycle.arms: expected one of "cosine", "linear", got "cos"'],
  ["one-cycle", { cycleMomentum: 1 }, "one-cycle.cycleMomentum: expected true or false, got 1"],
  ["one-cycle", { minMomentum: 0.97 }, "one-cycle.minMomentum: expected at most maxMomentum, which is 0.95, got 0.97"],
  ["one-cycle", { maxMomentum: 1 }, "one-cycle.maxMomentum: "],
  ["inverse-sqrt", { riseSteps: 0 }, "inverse-sqrt.riseSteps: expected an integer of at least 1, got 0"],
  ["inverse-sqrt", { riseSteps: 101 }, "inverse-sqrt.riseSteps: expected at most the budget of 100, got 101"],
  [
    "one-cycle-momentum",
    { threePhase: true, riseFraction: 0.6 },
    "one-cycle-momentum.riseFraction: expected at most 0.5 with threePhase, which falls as long, got 0.6",
  ],
  [
    "cosine",
    { warmup: 10, hold: 90 },
    "cosine.hold: expected fewer steps than the warm-up leaves of the budget, 90, got 90",
  ],
  ["cosine", { hold: -1 }, "cosine.hold: expected an integer of at least 0, got -1"],
  ["cosine", { convention: "torch" }, 'cosine.convention: expected one of "stepsize", "peers", got "torch"'],
  ["wsd", { hold: 5 }, "wsd: expected only the options"],
  [
    "uba",
    { hold: 5, phases: [{ iterations: 100 }] },
    "uba.phases: expected iterations that add up to budget - warmup - hold, which is 95, got 100",
  ],
  ["wsd", { riseSteps: 90 }, "wsd.riseSteps + cooldownSteps: expected at most the budget of 100, got 110"],
  ["wsd", { cooldown: "cosine" }, 'wsd.cooldown: expected one of "linear", "sqrt", "exponential", got "cosine"'],
  ["wsd", { cooldownFactor: 1 }, "wsd.cooldownFactor: "],
])("%s refuses %o", (name, bad, start) => {
  const { message } = errorOf(() => schedule.create(name, { ...good, ...bad }));
  expect(message.slice(0, start.length)).toBe(start);
});

describe("the name of a schedule", () => {
  test.each([
    ["cosin", "cosine"],
    ["UBA", "uba"],
    ["oneCycle", "one-cycle"],
    ["cosine_restart", "cosine-restarts"],
    ["inverse-square", "inverse-sqrt"],
    ["lineer", "linear"],
  ])("that is unknown, %s, is refused with the suggestion %s", (typed, meant) => {
    expect(errorOf(() => schedule.create(typed, good)).message).toBe(
      `schedule: expected one of ${schedule.names.join(", ")} (did you mean ${meant}?), got "${typed}"`,
    );
  });

  test("must be a string", () => {
    expect(errorOf(() => schedule.create(3 as unknown as string, good)).message).toMatch(/^schedule: .* got 3$/);
    expect(errorOf(() => schedule.fromJSON(good)).message).toMatch(/^schedule: .* got undefined$/);
  });

  test.each([null, "uba", undefined])("is required, so %o is refused", (json) => {
    expect(errorOf(() => schedule.fromJSON(json)).message).toMatch(/^schedule: expected an object with a name/);
  });
});

test("the names of schedules are those of the command line", () => {
  expect(schedule.names.join(" ")).toBe(
    "uba constant step exponential polynomial linear cosine cosine-restarts cyclical one-cycle rex inverse-sqrt wsd " +
      "one-minus-sqrt one-cycle-momentum joined",
  );
});
