import { describe, expect, test } from "vitest";
import { completeStudy, type TrainingStudy } from "#lib/study/index.js";
import { cellsOf, type PlannedRun, planOf, runId } from "#lib/study/plan.js";
import type { RunRecord } from "#lib/study/records.js";
import { divergedRecord, recordOf } from "./support/records.js";

const given = {
  models: ["mlp"],
  data: ["mnist"],
  optimizers: ["sgd", "adamw"],
  steps: 100,
  budgets: [0.25, 1],
  schedules: ["step", "one-cycle", "uba"],
  tuningSeeds: [10, 11],
  finalSeeds: [1, 2, 3],
};
const study = completeStudy(given) as TrainingStudy;

/** Makes all outstanding runs, until there are none. Returns them in order. */
function makeAll(of: TrainingStudy, make: (run: PlannedRun) => RunRecord, records = new Map<string, RunRecord>()) {
  const made: PlannedRun[] = [];
  for (;;) {
    const run = planOf(of, records).flatMap(({ outstanding }) => outstanding)[0];
    if (!run) return { made, records };
    made.push(run);
    records.set(run.id, make(run));
  }
}

/** Worse the further the peak rate is from 0.1. */
const byRate = (run: PlannedRun) => recordOf(run, 1 + Math.log((run.schedule.options["maxLr"] as number) / 0.1) ** 2);

describe("cells", () => {
  test("are the products of models, data, optimizers and budgets", () => {
    expect(cellsOf(study).map(({ model, optimizer, steps }) => `${model} ${optimizer.name} ${steps}`)).toEqual([
      "mlp sgd 25",
      "mlp sgd 100",
      "mlp adamw 25",
      "mlp adamw 100",
    ]);
    const more = completeStudy({ ...given, models: ["mlp", "resnet8"], data: ["mnist", "idx:a"] }) as TrainingStudy;
    expect(cellsOf(more)).toHaveLength(16);
  });
});

test("the settings of how a table is read are a part of its runs", () => {
  const table = { source: "csv:some/houses.csv", target: "price", categories: ["zip"], test: 0.1, decimal: "," };
  const [run] = planOf(completeStudy({ ...given, data: [table] }) as TrainingStudy, new Map())[0]?.outstanding ?? [];
  const { source: _, ...settings } = table;
  expect(run?.spec.data).toEqual({ name: "csv:houses.csv", ...settings });
});

describe("the order of a study", () => {
  const { made } = makeAll(study, byRate);

  test("a cell is tuned before its final runs, with seeds that the final runs do not use", () => {
    for (const cell of cellsOf(study)) {
      const cellRuns = made.filter(
        (run) =>
          run.cell.model === cell.model &&
          run.cell.optimizer.name === cell.optimizer.name &&
          run.cell.steps === cell.steps,
      );
      const purposes = cellRuns.map(({ spec }) => spec.purpose);
      expect(purposes).toEqual([...purposes].sort().reverse());
      const seeds = (purpose: string) =>
        new Set(cellRuns.filter(({ spec }) => spec.purpose === purpose).map(({ spec }) => spec.seed));
      expect([...seeds("tuning")]).toEqual([10, 11]);
      expect([...seeds("final")]).toEqual([1, 2, 3]);
    }
  });

  test("every schedule has equally many tuning runs and the same final seeds", () => {
    for (const cell of cellsOf(study)) {
      const counts = study.schedules.map(({ name }) => {
        const scheduleRuns = made.filter(
          (run) =>
            run.cell.model === cell.model &&
            run.cell.optimizer.name === cell.optimizer.name &&
            run.cell.steps === cell.steps &&
            run.schedule.name === name,
        );
        const tuning = scheduleRuns.filter(({ spec }) => spec.purpose === "tuning").length;
        return [tuning, scheduleRuns.filter(({ spec }) => spec.purpose === "final").map(({ spec }) => spec.seed)];
      });
      expect(new Set(counts.map((count) => JSON.stringify(count))).size).toBe(1);
      expect(counts[0]?.[0]).toBeGreaterThanOrEqual(8);
    }
  });

  test("no run is made twice", () => {
    expect(new Set(made.map(({ id }) => id)).size).toBe(made.length);
  });

  test("final runs have the settings chosen by the tuning", () => {
    const finals = made.filter(
      ({ spec, cell }) => spec.purpose === "final" && cell.optimizer.name === "sgd" && spec.schedule.name === "step",
    );
    expect(finals.length).toBeGreaterThan(0);
    for (const { spec } of finals) expect(spec.schedule["maxLr"]).toBe(0.1);
  });
});

describe("warm-up", () => {
  const runs = makeAll(study, byRate).made;
  test("is the same part of the budget for every schedule with a warm-up", () => {
    for (const { schedule, cell } of runs)
      expect(schedule.options["warmup"]).toBe(
        schedule.name === "one-cycle" ? undefined : Math.round(0.05 * cell.steps),
      );
  });
});

describe("a run's id", () => {
  const first = planOf(study, new Map())[0]?.outstanding[0] as PlannedRun;

  test("does not change from one version to the next, because finished studies are continued by it", () => {
    expect(first.spec).toEqual({
      purpose: "tuning",
      model: "mlp",
      data: { name: "mnist" },
      validation: { share: 0.1, seed: 0 },
      batch: 128,
      accumulate: 1,
      augment: false,
      optimizer: { name: "sgd", weightDecay: 0, momentum: 0.9 },
      schedule: { name: "step", budget: 25, maxLr: 0.05, minLr: 0, warmup: 1, milestones: [0.5, 0.75], gamma: 0.1 },
      seed: 10,
    });
    expect(first.id).toBe("6c5c977a398d");
  });

  test("depends on each setting, and not on their order", () => {
    const { seed, ...rest } = first.spec;
    expect(runId({ seed, ...rest })).toBe(first.id);
    const changes: Partial<PlannedRun["spec"]>[] = [
      { purpose: "final" },
      { model: "resnet8" },
      { data: { name: "other" } },
      { data: { name: "mnist", classes: 3 } },
      { validation: { share: 0.2, seed: 0 } },
      { evaluationItems: 10 },
      { batch: 64 },
      { accumulate: 2 },
      { augment: true },
      { optimizer: { name: "sgd", weightDecay: 0.1, momentum: 0.9 } },
      { schedule: { ...first.spec.schedule, gamma: 0.2 } },
      { seed: 12 },
    ];
    const ids = changes.map((change) => runId({ ...first.spec, ...change }));
    expect(new Set([first.id, ...ids]).size).toBe(changes.length + 1);
  });

  test("does not depend on the path of the data", () => {
    const at = (source: string) =>
      planOf(completeStudy({ ...given, data: [source] }) as TrainingStudy, new Map())[0]?.outstanding.map(
        ({ id }) => id,
      );
    expect(at("cifar10:here")).toEqual(at("cifar10:/some/where/else"));
    expect(at("idx:a/digits")).toEqual(at("idx:/b/digits"));
    expect(at("idx:a/digits")).not.toEqual(at("idx:a/letters"));
  });
});

describe("a changed study keeps the runs that it still needs", () => {
  const { records } = makeAll(study, byRate);

  test("needs no run if anything is removed", () => {
    for (const change of [
      { budgets: [1] },
      { models: ["mlp"] },
      { optimizers: ["sgd"] },
      { finalSeeds: [1, 3] },
      { schedules: ["one-cycle", "uba"] },
    ]) {
      const fewer = completeStudy({ ...given, ...change }) as TrainingStudy;
      expect(planOf(fewer, records).flatMap(({ outstanding }) => outstanding)).toEqual([]);
    }
  });

  test("needs only the runs of a seed that is added", () => {
    const more = completeStudy({ ...given, finalSeeds: [1, 2, 3, 4] }) as TrainingStudy;
    const outstanding = planOf(more, records).flatMap(({ outstanding }) => outstanding);
    expect(outstanding.map(({ spec }) => [spec.purpose, spec.seed])).toEqual(
      Array.from({ length: 4 * 3 }, () => ["final", 4]),
    );
  });

  test("needs only the runs of a schedule that is added if the best trials are inside the grid", () => {
    const more = completeStudy({ ...given, schedules: ["step", "one-cycle", "uba", "rex"] }) as TrainingStudy;
    const { made } = makeAll(more, byRate, new Map(records));
    expect(new Set(made.map(({ schedule }) => schedule.name))).toEqual(new Set(["rex"]));
  });

  test("needs no run for another title, margin or number of evaluations", () => {
    const other = completeStudy({ ...given, title: "x", margin: 0.1, evaluations: 9 }) as TrainingStudy;
    expect(planOf(other, records).flatMap(({ outstanding }) => outstanding)).toEqual([]);
  });
});

describe("a run that diverged", () => {
  test("counts as made, and its trial is not chosen", () => {
    const { made, records } = makeAll(study, (run) =>
      (run.schedule.options["maxLr"] as number) > 0.15 || run.spec.seed === 2 ? divergedRecord(run) : byRate(run),
    );
    expect(planOf(study, records).flatMap(({ outstanding }) => outstanding)).toEqual([]);
    for (const { spec, cell } of made)
      if (spec.purpose === "final" && cell.optimizer.name === "sgd") expect(spec.schedule["maxLr"]).toBeLessThan(0.15);
  });

  test("excludes its trial, even if other tuning seeds did not diverge", () => {
    const { made } = makeAll(study, (run) =>
      run.spec.seed === 11 && run.schedule.options["maxLr"] === 0.1 ? divergedRecord(run) : byRate(run),
    );
    const finals = made.filter(({ spec, cell }) => spec.purpose === "final" && cell.optimizer.name === "sgd");
    for (const { spec } of finals) expect(spec.schedule["maxLr"]).not.toBe(0.1);
  });
});
