import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Exploration, type Grid, isBetter, type Score, type Trial, tune } from "#lib/study/tuning.js";

const rates = [0.1, 0.2, 0.4, 0.8];
const uba: Grid = { peakLearningRates: [0.2, 0.4], phi: [1, 4] };
const loss = (value: number): Score => ({ diverged: false, loss: value });

/** Runs tuning to its end, as the engine does: each requested trial gets a score, until none is requested. */
function settle(
  grids: ReadonlyMap<string, Grid>,
  scoreOf: (schedule: string, trial: Trial) => Score,
  rules: { measure: "loss" | "accuracy"; extensions: number },
): { found: ReadonlyMap<string, Exploration>; requested: string[] } {
  const scores = new Map<string, Score>();
  const key = (schedule: string, { maxLr, phi }: Trial) => `${schedule} ${maxLr} ${phi}`;
  const requested: string[] = [];
  for (let round = 0; round < 100; round++) {
    const found = tune(grids, (schedule, trial) => scores.get(key(schedule, trial)), rules);
    const open = [...found].flatMap(([name, { trials }]) =>
      trials.filter(({ score }) => score === undefined).map(({ trial }) => [name, trial] as const),
    );
    if (open.length === 0) return { found, requested };
    for (const [name, trial] of open) {
      expect(requested, "each trial once").not.toContain(key(name, trial));
      requested.push(key(name, trial));
      scores.set(key(name, trial), scoreOf(name, trial));
    }
  }
  throw new Error("tuning did not end");
}

/** Worse with the distance from an optimum, in logarithms. */
const bowl =
  (bestRate: number, bestPhi = 1) =>
  ({ maxLr, phi = bestPhi }: Trial): Score =>
    loss(Math.log(maxLr / bestRate) ** 2 + Math.log(phi / bestPhi) ** 2);

const trialsOf = (found: ReadonlyMap<string, Exploration>, name: string) =>
  (found.get(name) as Exploration).trials.map(({ trial }) => trial);

describe("the grid", () => {
  test("is requested first and completely, before any other trial", () => {
    const found = tune(new Map([["uba", uba]]), () => undefined, { measure: "loss", extensions: 5 });
    expect(trialsOf(found, "uba")).toEqual([
      { maxLr: 0.2, phi: 1 },
      { maxLr: 0.2, phi: 4 },
      { maxLr: 0.4, phi: 1 },
      { maxLr: 0.4, phi: 4 },
    ]);
    expect(found.get("uba")).not.toHaveProperty("best");
  });

  test("is not extended if the best trial is inside", () => {
    const { found } = settle(new Map([["cosine", { peakLearningRates: rates }]]), (_, trial) => bowl(0.25)(trial), {
      measure: "loss",
      extensions: 3,
    });
    expect(trialsOf(found, "cosine").map(({ maxLr }) => maxLr)).toEqual(rates);
    expect(found.get("cosine")).toMatchObject({ best: { maxLr: 0.2 }, onEdge: false, extensions: 0 });
  });
});

describe("the edge", () => {
  test.each([
    ["above", 3, [1.6, 3.2], 3.2],
    ["below", 0.03, [0.05, 0.025], 0.025],
  ])("is extended by the factor of the grid if the best trial is there, %s", (_, optimum, beyond, best) => {
    const { found } = settle(new Map([["linear", { peakLearningRates: rates }]]), (__, trial) => bowl(optimum)(trial), {
      measure: "loss",
      extensions: 2,
    });
    expect(
      trialsOf(found, "linear")
        .slice(4)
        .map(({ maxLr }) => maxLr),
    ).toEqual(beyond);
    expect(found.get("linear")).toMatchObject({ best: { maxLr: best }, extensions: 2 });
  });

  test("is extended up to the limit, and the choice is then marked as on the edge", () => {
    for (const extensions of [0, 1, 2]) {
      const { found } = settle(new Map([["linear", { peakLearningRates: rates }]]), (_, t) => bowl(1e6)(t), {
        measure: "loss",
        extensions,
      });
      expect(found.get("linear")).toMatchObject({ best: { maxLr: 0.8 * 2 ** extensions }, onEdge: true, extensions });
    }
  });

  test("is not extended further once a trial beyond it is worse", () => {
    const { found } = settle(new Map([["linear", { peakLearningRates: rates }]]), (_, t) => bowl(0.8)(t), {
      measure: "loss",
      extensions: 5,
    });
    expect(found.get("linear")).toMatchObject({ best: { maxLr: 0.8 }, onEdge: false, extensions: 1 });
  });

  test("of UBA has two dimensions, which are extended in turn", () => {
    const { found } = settle(new Map([["uba", uba]]), (_, trial) => bowl(100, 1000)(trial), {
      measure: "loss",
      extensions: 4,
    });
    expect(trialsOf(found, "uba").slice(4)).toEqual([
      { maxLr: 0.8, phi: 4 },
      { maxLr: 0.8, phi: 16 },
      { maxLr: 1.6, phi: 16 },
      { maxLr: 1.6, phi: 64 },
    ]);
  });

  test("does not exist in a dimension with one value, which is fixed", () => {
    const { found } = settle(
      new Map<string, Grid>([
        ["uba", { peakLearningRates: rates, phi: [2] }],
        ["cosine", { peakLearningRates: rates }],
      ]),
      (name, trial) => bowl(name === "uba" ? 0.2 : 5, 100)(trial),
      { measure: "loss", extensions: 2 },
    );
    expect(new Set(trialsOf(found, "uba").map(({ phi }) => phi))).toEqual(new Set([2]));
    expect(trialsOf(found, "uba")).toHaveLength(6);
  });
});

describe("equal tuning", () => {
  test("gives schedules with fewer trials more between the best one and its better neighbor", () => {
    const { found } = settle(
      new Map([
        ["linear", { peakLearningRates: rates }],
        ["cosine", { peakLearningRates: rates }],
      ]),
      (name, trial) => bowl(name === "linear" ? 1e6 : 0.25)(trial),
      { measure: "loss", extensions: 2 },
    );
    // 0.2 is best of the grid and 0.4 the better neighbor; then 0.2828 is best, and 0.2 nearer than 0.4.
    expect(trialsOf(found, "cosine").map(({ maxLr }) => maxLr)).toEqual([...rates, 0.282843, 0.237842]);
    expect(found.get("cosine")).toMatchObject({ best: { maxLr: 0.237842 }, extensions: 0 });
  });

  test("places UBA's further trials between rates and between values of φ in turn", () => {
    const grid: Grid = { peakLearningRates: [0.1, 0.2, 0.4], phi: [1, 4, 16] };
    const { found } = settle(
      new Map<string, Grid>([
        ["linear", { peakLearningRates: [1, 2, 3, 4, 5, 6, 7, 8, 9] }],
        ["uba", grid],
      ]),
      (name, trial) => (name === "linear" ? bowl(1e6)(trial) : bowl(0.21, 5)(trial)),
      { measure: "loss", extensions: 2 },
    );
    expect(trialsOf(found, "uba").slice(9)).toEqual([
      { maxLr: 0.282843, phi: 4 },
      { maxLr: 0.2, phi: 8 },
    ]);
  });

  test("gives all schedules equally many trials, chooses the best and repeats none, whatever the scores", () => {
    const score = fc.oneof(
      fc.record({
        diverged: fc.constant(false),
        loss: fc.float({ min: 0, max: 9, noNaN: true }),
        accuracy: fc.constantFrom(0.1, 0.5, 0.9),
      }),
      fc.constant<Score>({ diverged: true, loss: Number.NaN }),
    );
    const grids = new Map<string, Grid>([
      ["step", { peakLearningRates: rates }],
      ["rex", { peakLearningRates: rates }],
      ["uba", uba],
    ]);
    fc.assert(
      fc.property(
        fc.array(score, { minLength: 30 }),
        fc.constantFrom("loss", "accuracy"),
        fc.integer({ min: 0, max: 3 }),
        (scores, measure, extensions) => {
          let next = 0;
          const { found } = settle(grids, () => scores[next++ % scores.length] as Score, { measure, extensions });
          const counts = [...found.values()].map(({ trials }) => trials.length);
          expect(new Set(counts).size).toBe(1);
          expect(counts[0]).toBeLessThanOrEqual(4 + extensions);
          for (const { trials, best } of found.values()) {
            const chosen = trials.find(({ trial }) => trial === best);
            for (const { trial, score: other } of trials)
              expect(isBetter([trial, other as Score], [best as Trial, chosen?.score as Score], measure)).toBe(false);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe("the better trial", () => {
  const at = (maxLr: number, score: Partial<Score>): [Trial, Score] => [
    { maxLr },
    { diverged: false, loss: 1, ...score },
  ];

  test("has the lower loss if the measure is the loss", () => {
    expect(isBetter(at(1, { loss: 0.5, accuracy: 0.1 }), at(1, { loss: 0.6, accuracy: 0.9 }), "loss")).toBe(true);
  });

  test("has the higher accuracy if the measure is the accuracy; ties are broken by the lower loss", () => {
    expect(isBetter(at(1, { loss: 9, accuracy: 0.9 }), at(1, { loss: 1, accuracy: 0.8 }), "accuracy")).toBe(true);
    expect(isBetter(at(1, { loss: 1, accuracy: 0.9 }), at(1, { loss: 2, accuracy: 0.9 }), "accuracy")).toBe(true);
  });

  test("has the lower rate in a tie, then the lower φ, and is never the trial itself", () => {
    expect(isBetter(at(1, {}), at(2, {}), "loss")).toBe(true);
    const [low, high] = [1, 4].map((phi): [Trial, Score] => [{ maxLr: 1, phi }, loss(1)]) as [
      [Trial, Score],
      [Trial, Score],
    ];
    expect([isBetter(low, high, "loss"), isBetter(high, low, "loss"), isBetter(low, low, "loss")]).toEqual([
      true,
      false,
      false,
    ]);
  });

  test("is not a diverged one; of two diverged ones it has the lower rate", () => {
    const gone = { diverged: true, loss: Number.NaN };
    expect(isBetter(at(1, gone), at(1, { loss: 1e30 }), "loss")).toBe(false);
    expect(isBetter(at(1, { loss: 1e30, accuracy: 0 }), at(1, gone), "accuracy")).toBe(true);
    expect(isBetter(at(1, gone), at(2, gone), "accuracy")).toBe(true);
  });

  test("has a lower rate, beyond the grid, if all trials diverged", () => {
    const { found } = settle(
      new Map([["step", { peakLearningRates: rates }]]),
      () => ({ diverged: true, loss: Number.NaN }),
      {
        measure: "accuracy",
        extensions: 2,
      },
    );
    expect(found.get("step")).toMatchObject({ best: { maxLr: 0.025 }, onEdge: true });
  });
});
