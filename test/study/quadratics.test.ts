import { describe, expect, test } from "vitest";
import { create, tabulate } from "#lib/schedule/index.js";
import { completeStudy, type QuadraticsStudy, solveQuadratics } from "#lib/study/index.js";
import { type QuadraticProblem, quadraticProblems, solveQuadratic } from "#lib/study/quadratics.js";

const named = (...names: string[]) => names.map((name) => ({ name, options: {} }));
const all = ["constant", "step", "cosine", "linear", "rex", "cyclical", "one-cycle", "uba"];
const problem = (more: Partial<QuadraticProblem> = {}): QuadraticProblem => ({
  conditionNumber: 20,
  budget: 12,
  stabilityLimit: 6,
  floor: 0,
  ...more,
});

/** The worst contraction on a grid of curvatures, by multiplying out: nothing of the theory's code. */
function onGrid(rates: ArrayLike<number>, conditionNumber: number, points = 1500): number {
  let worst = Number.NEGATIVE_INFINITY;
  for (let i = 0; i <= points; i++) {
    const curvature = conditionNumber ** (i / points - 1);
    worst = Math.max(
      worst,
      Array.from(rates).reduce((sum, rate) => sum + Math.log(Math.abs(1 - rate * curvature)), 0),
    );
  }
  return worst;
}

describe("the problems of a study", () => {
  const study = completeStudy({ kind: "quadratics", stabilityLimits: [1, 4], floors: [0, 2] }) as QuadraticsStudy;
  test("are all products of its settings whose limit is above the floor", () => {
    const problems = quadraticProblems(study);
    expect(problems).toHaveLength(3 * 2 * 3);
    expect(problems.every(({ stabilityLimit, floor }) => stabilityLimit > floor)).toBe(true);
  });
});

describe.each([0, 1])("with rates down to %i", (floor) => {
  const solved = solveQuadratic(problem({ floor }), named(...all));

  test("no schedule is better than the optimum, and each value agrees with a grid of curvatures", () => {
    for (const { schedule, worst, maxLr, phi } of solved.schedules) {
      expect(worst, schedule).toBeGreaterThanOrEqual(solved.optimum - 1e-9);
      expect(maxLr).toBeLessThanOrEqual(6);
      const rates = tabulate(create(schedule, { budget: 12, maxLr, minLr: floor, ...(phi !== undefined && { phi }) }));
      expect(Math.min(...rates), schedule).toBeGreaterThanOrEqual(floor);
      const seen = onGrid(rates, 20, 20_000);
      // A grid may miss the top of a lobe by the square of its spacing.
      expect(worst).toBeGreaterThanOrEqual(seen - 1e-12);
      expect(worst).toBeLessThan(seen + 1e-4);
    }
  });

  test.each(all.slice(0, -1))("%s has the best peak rate", (name) => {
    const found = solved.schedules.find(({ schedule }) => schedule === name)?.worst as number;
    const peaks = Array.from({ length: 250 }, (_, i) => Math.max(floor, 0.3) * (6 / Math.max(floor, 0.3)) ** (i / 249));
    const best = Math.min(
      ...peaks.map((maxLr) => onGrid(tabulate(create(name, { budget: 12, maxLr, minLr: floor })), 20, 600)),
    );
    expect(found).toBeLessThan(best + 1e-3);
  });

  test("UBA has a better φ and peak rate than thousands of samples", () => {
    const found = solved.schedules.find(({ schedule }) => schedule === "uba")?.worst as number;
    // Not at random from run to run: multiples of two irrational numbers fill the square evenly.
    const draws = Array.from({ length: 3000 }, (_, i) => [(i * Math.SQRT2) % 1, (i * Math.sqrt(3)) % 1] as const);
    for (const [x, y] of draws) {
      const [phi, maxLr] = [1e-5 * 4e7 ** x, Math.max(floor, 0.5) + (6 - Math.max(floor, 0.5)) * y];
      const rates = tabulate(create("uba", { budget: 12, maxLr, minLr: floor, phi }));
      expect(onGrid(rates, 20, 300)).toBeGreaterThan(found - 2e-2);
    }
  });
});

test("UBA's φ is found even if its valley is narrow", () => {
  const narrow = { conditionNumber: 10, budget: 16, stabilityLimit: 10, floor: 0 };
  const [found] = solveQuadratic(narrow, named("uba")).schedules;
  // A point in the valley, from a search at random; the next best valley is at −3.467.
  const known = onGrid(tabulate(create("uba", { budget: 16, maxLr: 2.104, minLr: 0, phi: 0.00524 })), 10, 20_000);
  expect(known).toBeLessThan(-3.58);
  expect(found?.worst).toBeLessThan(known + 1e-3);
});

describe("known answers", () => {
  test("the best constant rate is 2/(1/κ + 1), with a worst case of ((κ − 1)/(κ + 1))^T", () => {
    const [constant] = solveQuadratic(problem(), named("constant")).schedules;
    expect(constant?.maxLr).toBeCloseTo(2 / (1 / 20 + 1), 6);
    expect(constant?.worst).toBeCloseTo(12 * Math.log(19 / 21), 6);
  });

  test("UBA with rates from 1/λ_u to κ/λ_u and φ = 2κ is the optimum", () => {
    const { optimum, schedules } = solveQuadratic(problem({ stabilityLimit: 20, floor: 1 }), named("uba"));
    const q = (Math.sqrt(20) - 1) / (Math.sqrt(20) + 1);
    expect(optimum).toBeCloseTo(Math.log((2 * q ** 12) / (1 + q ** 24)), 10);
    expect(schedules[0]?.worst).toBeCloseTo(optimum, 3);
    expect(schedules[0]?.phi).toBeCloseTo(40, 0);
  });

  test("the results for κ = 100, 64 steps, up to 10/λ_u are the figures of docs/uba.md", () => {
    const at = (floor: number) =>
      solveQuadratic({ conditionNumber: 100, budget: 64, stabilityLimit: 10, floor }, named("constant", "uba"));
    const [bounded, free] = [at(1), at(0)];
    expect(Math.exp(bounded.optimum)).toBeCloseTo(0.029, 3);
    expect(bounded.schedules.map(({ worst }) => Number(Math.exp(worst).toPrecision(3)))).toEqual([0.278, 0.0748]);
    expect(Math.exp(free.optimum)).toBeCloseTo(0.029, 3);
  });

  test("below the stability limit of one step, the highest rate is optimal", () => {
    const { optimum, schedules } = solveQuadratic(problem({ stabilityLimit: 1 }), named("constant", "cosine", "uba"));
    expect(optimum).toBeCloseTo(12 * Math.log(1 - 1 / 20), 10);
    expect(schedules.map(({ maxLr }) => Number(maxLr.toFixed(6)))).toEqual([1, 1, 1]);
    expect(schedules[0]?.worst).toBeCloseTo(optimum, 10);
  });

  test("a schedule that starts at the floor has its worst case away from its zero at λ_u", () => {
    const { optimum, schedules } = solveQuadratic(problem({ stabilityLimit: 20, floor: 1 }), named("cyclical", "step"));
    for (const { worst } of schedules) expect(worst).toBeGreaterThan(optimum);
  });
});

test("a study of quadratics reports its progress, and stops on request", async () => {
  const study = completeStudy({
    kind: "quadratics",
    conditionNumbers: [5],
    budgets: [4],
    schedules: ["linear", "uba"],
  }) as QuadraticsStudy;
  const reports: number[][] = [];
  const cells = await solveQuadratics(study, {
    signal: new AbortController().signal,
    onProgress: (done, problems) => reports.push([done, problems]),
  });
  expect(cells).toHaveLength(6);
  expect(reports.at(-1)).toEqual([6, 6]);
  const stop = new AbortController();
  const stopped = solveQuadratics(study, {
    signal: stop.signal,
    onProgress: (done) => done === 2 && stop.abort(new Error("stop")),
  });
  await expect(stopped).rejects.toThrow("stop");
});
