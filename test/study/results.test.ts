import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseHTML } from "linkedom";
import { beforeAll, describe, expect, test } from "vitest";
import {
  completeStudy,
  StudyFolder,
  type TrainingStudy,
  writeQuadraticsReport,
  writeTrainingReport,
} from "#lib/study/index.js";
import { type PlannedRun, planOf } from "#lib/study/plan.js";
import { solveQuadratic } from "#lib/study/quadratics.js";
import type { RunRecord } from "#lib/study/records.js";
import { type ScheduleResult, trainingResults } from "#lib/study/results.js";
import { temporaryFolders } from "../support/folders.js";
import { divergedRecord, recordOf } from "./support/records.js";

const folders = temporaryFolders();

const given = {
  title: "Three <schedules>",
  steps: 100,
  budgets: [0.25, 1],
  optimizers: ["sgd"],
  schedules: ["step", "cosine", "uba"],
  finalSeeds: [1, 2, 3, 4, 5],
};
const studyOf = (more = {}) => completeStudy({ ...given, ...more }) as TrainingStudy;

/** Losses of the final runs by schedule and seed; UBA's deviations are the others' too, so that pairs matter. */
const luck = [0.3, -0.2, 0.1, -0.25, 0.05];
const lossOf = ({ schedule, spec }: PlannedRun): number => {
  if (spec.purpose === "tuning") return 1 + Math.log((schedule.options["maxLr"] as number) / 0.1) ** 2;
  const common = 2 + (luck[spec.seed - 1] ?? 0);
  const offset = [0.01, -0.01, 0.02, 0, -0.02][spec.seed - 1] ?? 0;
  return { uba: common, cosine: common + offset, step: common + 0.2 + offset }[schedule.name] as number;
};

function records(
  study: TrainingStudy,
  make: (run: PlannedRun) => RunRecord | undefined = (run) => recordOf(run, lossOf(run)),
) {
  const made = new Map<string, RunRecord>();
  for (;;) {
    const outstanding = planOf(study, made).flatMap((plan) => plan.outstanding);
    const before = made.size;
    for (const run of outstanding) {
      const record = make(run);
      if (record) made.set(run.id, record);
    }
    if (made.size === before) return made;
  }
}

const rowOf = (rows: readonly ScheduleResult[] | undefined, name: string) =>
  rows?.find(({ schedule }) => schedule === name);

describe("results", () => {
  const study = studyOf({ margin: 0.05 });
  const results = trainingResults(study, records(study));
  const rows = results.cells[1]?.schedules;

  test("are computed from all runs of the study", () => {
    expect(results).toMatchObject({
      format: "stepsize-study-1",
      complete: true,
      devices: ["cpu (avx2)"],
      versions: ["0.1.0"],
    });
    // Per budget: 3 schedules with equally many trials, then 5 seeds.
    const trials = results.cells.reduce((sum, cell) => sum + 3 * cell.trials, 0);
    expect(results.runs).toBe(trials + 2 * 3 * 5);
    expect(results.seconds).toBe(results.runs);
  });

  test("have means and deviations on the test split, and ranks by the mean", () => {
    expect(rowOf(rows, "uba")?.loss?.mean).toBeCloseTo(2, 12);
    expect(rowOf(rows, "uba")?.loss?.sd).toBeCloseTo(Math.sqrt(luck.reduce((sum, x) => sum + x * x, 0) / 4), 12);
    expect(rowOf(rows, "step")?.loss?.mean).toBeCloseTo(2.2, 12);
    expect(rows?.map(({ schedule, rank }) => [schedule, rank])).toEqual([
      ["step", 3],
      ["cosine", expect.any(Number)],
      ["uba", expect.any(Number)],
    ]);
  });

  test("compare seed by seed, with an interval for two comparisons together", () => {
    // Differences 0.01, −0.01, 0.02, 0, −0.02: sd √(0.001/4); t for 97.5 % and 4 degrees is 3.495406 (scipy).
    const half = (3.495405932945714 * Math.sqrt(0.001 / 4)) / Math.sqrt(5);
    const { difference, verdict } = rowOf(rows, "cosine")?.versusUba ?? {};
    expect(difference?.mean).toBeCloseTo(0, 12);
    expect(difference?.low).toBeCloseTo(-half, 9);
    expect(difference?.high).toBeCloseTo(half, 9);
    expect(verdict).toBe("tie");
    expect(rowOf(rows, "step")?.versusUba).toMatchObject({ verdict: "worse" });
    expect(rowOf(rows, "uba")).not.toHaveProperty("versusUba");
    expect(results.cells[1]?.confidence).toBeCloseTo(0.975, 12);
  });

  test("adjust the p-values for all comparisons of a cell, including diverged runs", () => {
    // One hundredth of a point from the interval's end: t for 95 % and 4 degrees is 2.776445, for 97.5 % 3.495406.
    const seeds = [1, 2, 3, 4, 5];
    const errors = [1, -1, 2, 0, -2].map((each) => each / Math.sqrt(10 / 4));
    const shifted = (t: number) => (run: PlannedRun) =>
      recordOf(
        run,
        run.spec.purpose === "tuning"
          ? lossOf(run)
          : 2 +
              (run.schedule.name === "uba"
                ? 0
                : (errors[seeds.indexOf(run.spec.seed)] as number) +
                  ({ cosine: t, step: 100 }[run.schedule.name] as number) / Math.sqrt(5)),
      );
    const plain = studyOf();
    const found = (t: number, diverges = false) =>
      rowOf(
        trainingResults(
          plain,
          records(plain, (run) =>
            diverges && run.schedule.name === "step" && run.spec.seed === 3 ? divergedRecord(run) : shifted(t)(run),
          ),
        ).cells[0]?.schedules,
        "cosine",
      )?.versusUba;
    // The larger p-value of two is compared with 5 % itself; its interval is still at 97.5 %, and contains 0.
    const between = found(3);
    expect(between?.verdict).toBe("worse");
    expect(between?.difference?.low).toBeLessThan(0);
    expect(between?.adjustedP).toBe(between?.difference?.p);
    expect(found(2.77)?.verdict).toBe("not distinguished");
    expect(found(2.78)?.verdict).toBe("worse");
    // The other comparison was planned, whatever became of it.
    expect(found(3, true)).toMatchObject({ verdict: "not distinguished" });
    expect(found(3, true)?.adjustedP).toBeCloseTo(2 * (between?.difference?.p as number), 14);
    expect(found(3.5, true)?.verdict).toBe("worse");
  });

  test("without a margin have no tie, and by accuracy the higher value is better", () => {
    const plain = trainingResults(studyOf(), records(studyOf())).cells[1]?.schedules;
    expect(rowOf(plain, "cosine")?.versusUba?.verdict).toBe("not distinguished");
    const byAccuracy = studyOf({ measure: "accuracy" });
    const better = (run: PlannedRun) => recordOf(run, 1, lossOf(run) / 10);
    const accuracyRows = trainingResults(byAccuracy, records(byAccuracy, better)).cells[1]?.schedules;
    expect(rowOf(accuracyRows, "step")).toMatchObject({ rank: 1, versusUba: { verdict: "better" } });
  });

  test.each([1, 2])("with %i final seeds have no interval", (seeds) => {
    const few = studyOf({ finalSeeds: [1, 2].slice(0, seeds) });
    const found = trainingResults(few, records(few));
    expect(found.complete).toBe(true);
    expect(rowOf(found.cells[0]?.schedules, "step")?.versusUba).toMatchObject({ verdict: "no interval" });
    expect(rowOf(found.cells[0]?.schedules, "step")?.versusUba?.difference).not.toHaveProperty("low");
    expect(rowOf(found.cells[0]?.schedules, "step")?.versusUba).not.toHaveProperty("adjustedP");
  });

  test("have no mean and no comparison for a schedule that diverged with one seed, which is ranked last", () => {
    const wild = (run: PlannedRun) =>
      run.schedule.name === "cosine" && run.spec.seed === 3 ? divergedRecord(run) : recordOf(run, lossOf(run));
    const row = rowOf(trainingResults(study, records(study, wild)).cells[0]?.schedules, "cosine");
    expect(row).toMatchObject({ rank: 3, versusUba: { verdict: "diverged" } });
    expect(row).not.toHaveProperty("loss");
    expect(row?.runs.map(({ diverged }) => diverged)).toEqual([undefined, undefined, true, undefined, undefined]);
  });

  test("report in every comparison that UBA diverged", () => {
    const wild = (run: PlannedRun) =>
      run.schedule.name === "uba" && run.spec.seed === 3 ? divergedRecord(run) : recordOf(run, lossOf(run));
    const found = trainingResults(study, records(study, wild)).cells[0]?.schedules;
    expect(found?.map(({ versusUba }) => versusUba?.verdict)).toEqual(["diverged", "diverged", undefined]);
  });

  test("have no comparison in unfinished cells of a study", () => {
    const half = trainingResults(
      study,
      records(study, (run) => (run.cell.steps === 100 && run.spec.seed === 5 ? undefined : recordOf(run, lossOf(run)))),
    );
    expect(half.complete).toBe(false);
    expect(half.cells.map(({ complete }) => complete)).toEqual([true, false]);
    for (const row of half.cells[1]?.schedules ?? []) {
      expect(row.runs).toHaveLength(4);
      expect(row).not.toHaveProperty("rank");
      expect(row).not.toHaveProperty("loss");
      expect(row).not.toHaveProperty("versusUba");
    }
    expect(trainingResults(study, new Map())).toMatchObject({ complete: false, runs: 0 });
  });

  test("contain only JSON values", () => {
    expect(JSON.parse(JSON.stringify(results))).toEqual(results);
  });
});

describe("the report of a training study", () => {
  const study = studyOf({ margin: 0.05 });
  let folder: StudyFolder;
  beforeAll(async () => {
    folder = new StudyFolder(folders());
    const wild = (run: PlannedRun) =>
      run.schedule.name === "cosine" && run.cell.steps === 25 && run.spec.seed === 3
        ? divergedRecord(run)
        : recordOf(run, lossOf(run));
    await writeTrainingReport(folder, study, records(study, wild));
  });
  const figures = () => readdirSync(join(folder.path, "figures")).sort();
  const page = () => parseHTML(readFileSync(folder.report, "utf8")).document;

  test("is the same for the same records", async () => {
    const names = [
      folder.results,
      folder.table,
      folder.report,
      ...figures().map((name) => join(folder.path, "figures", name)),
    ];
    const before = names.map((name) => readFileSync(name, "utf8"));
    const wild = (run: PlannedRun) =>
      run.schedule.name === "cosine" && run.cell.steps === 25 && run.spec.seed === 3
        ? divergedRecord(run)
        : recordOf(run, lossOf(run));
    await writeTrainingReport(folder, study, records(study, wild));
    expect(names.map((name) => readFileSync(name, "utf8"))).toEqual(before);
  });

  test("has the results as JSON, and tables by budget as Markdown", () => {
    expect(JSON.parse(readFileSync(folder.results, "utf8"))).toMatchObject({
      format: "stepsize-study-1",
      complete: true,
    });
    const text = readFileSync(folder.table, "utf8");
    expect(text).toContain("# Three <schedules>");
    expect(text).toContain("| schedule | 25 steps | 100 steps |\n| --- | --- | --- |");
    expect(text).toMatch(/\| step \| 2\.2000 ± 0\.2\d{3} \(2\) \| 2\.2000 ± 0\.2\d{3} \(3\) \|/);
    expect(text).toMatch(/\| cosine \| diverged \(1 of 5\) \(3\) \| 2\.0000/);
    expect(text).toMatch(/\| cosine \| diverged \| 0\.0000 \[−0\.0247, \+0\.0247\] tie \|/);
    expect(text).toMatch(/\| step \| \+0\.2000 \[\+0\.17\d\d, \+0\.22\d\d\] worse \|/);
    expect(text).toContain("p-values of these differences, adjusted (Holm)");
    expect(text).toContain("| step | < 0.0001 | < 0.0001 |\n| cosine | – | 1.00 |");
    expect(text).toContain("| uba | 0.1, φ 0.25 (6 trials, at the edge) |");
    expect(text).toContain('a "tie" lies within ±0.05');
  });

  test("needs no other file and no script, and follows the reader's color theme", () => {
    const html = readFileSync(folder.report, "utf8");
    expect(page().querySelectorAll("script, link, img, iframe, [src], [href]").length).toBe(0);
    expect(html).not.toMatch(/url\(|@import|https?:\/\/(?!www\.w3\.org)/);
    expect(html).toContain("prefers-color-scheme:dark");
    expect(html).toContain("Three &#60;schedules&#62;");
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
  });

  test("has every figure on the page and as a standalone file", () => {
    // No accuracies on the way were recorded, so there is no curve of them.
    expect(figures()).toEqual([
      "mlp-mnist-sgd-budget.svg",
      "mlp-mnist-sgd-difference-100.svg",
      "mlp-mnist-sgd-difference-25.svg",
      "mlp-mnist-sgd-learning-rate.svg",
      "mlp-mnist-sgd-loss.svg",
      "mlp-mnist-sgd-phi.svg",
    ]);
    const labels = [...page().querySelectorAll("figure svg")].map((svg) => svg.getAttribute("aria-label"));
    expect(labels).toHaveLength(figures().length);
    for (const name of figures()) {
      const svg = readFileSync(join(folder.path, "figures", name), "utf8");
      expect(svg).toMatch(/^<svg[^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
      expect(svg).not.toMatch(/NaN|undefined/);
      expect(labels).toContain(
        parseHTML(`<body>${svg}</body>`).document.querySelector("svg")?.getAttribute("aria-label"),
      );
    }
  });

  test("can be written before any run", async () => {
    const empty = new StudyFolder(folders());
    await writeTrainingReport(empty, study, new Map());
    expect(readFileSync(empty.table, "utf8")).toContain("The study is not finished: 0 of 2 comparisons are complete.");
    expect(readFileSync(empty.table, "utf8")).toContain("| uba | – | – |");
    expect(readFileSync(empty.report, "utf8")).not.toMatch(/NaN|undefined|Student-t/);
  });

  test.each([
    [[1], "There are no intervals, because 1 final seed does not show"],
    [[1, 2], "There are no intervals, because 2 final seeds do not show"],
    [[1, 2, 3], "Student-t intervals"],
  ])("explains its intervals with final seeds %j", async (finalSeeds, words) => {
    const few = studyOf({ finalSeeds });
    const target = new StudyFolder(folders());
    await writeTrainingReport(target, few, records(few));
    expect(readFileSync(target.table, "utf8")).toContain(words);
    // The report has captions too.
    const mentions = readFileSync(target.report, "utf8").match(/\d\u00a0% interval/);
    expect(mentions !== null).toBe(finalSeeds.length > 2);
  });

  test("has the study's notes before its tables", async () => {
    const noted = studyOf({ notes: ["One tuning seed.", "No noise."] });
    const target = new StudyFolder(folders());
    await writeTrainingReport(target, noted, records(noted));
    expect(readFileSync(target.table, "utf8")).toMatch(/\n\nLimits: One tuning seed\. No noise\.\n\n##/);
    expect(readFileSync(target.report, "utf8")).toContain("Limits: One tuning seed. No noise.");
  });

  test("has e to the power of the loss as perplexity of text", async () => {
    const text = studyOf({ data: [{ source: "mnist", name: "text", context: 8 }] });
    const target = new StudyFolder(folders());
    await writeTrainingReport(target, text, records(text));
    const [, after = ""] = readFileSync(target.table, "utf8").split("test perplexity");
    expect(after).toContain(`| uba | ${Math.exp(2).toFixed(2)} | ${Math.exp(2).toFixed(2)} |`);
  });
});

test("the report of quadratics has a table and a figure for each condition number and floor", async () => {
  const folder = new StudyFolder(folders());
  const study = completeStudy({ kind: "quadratics", schedules: ["linear", "uba"] });
  const cells = [2, 8].map((stabilityLimit) =>
    solveQuadratic({ conditionNumber: 8, budget: 6, stabilityLimit, floor: 1 }, [
      { name: "linear", options: {} },
      { name: "uba", options: {} },
    ]),
  );
  await writeQuadraticsReport(folder, study as never, cells);
  const text = readFileSync(folder.table, "utf8");
  expect(text).toContain("## κ = 8, rates down to 1/λ_u\n\n| schedule | 6 steps, c = 2 | 6 steps, c = 8 |");
  const q = (Math.sqrt(8) - 1) / (Math.sqrt(8) + 1);
  const optimum = ((2 * q ** 6) / (1 + q ** 12)).toPrecision(3);
  expect(text).toMatch(
    new RegExp(`\\| uba \\| 0\\.\\d{3} \\| ${optimum} \\|\n\\| optimum \\| 0\\.\\d{3} \\| ${optimum} \\|`),
  );
  expect(text).toMatch(/\| uba \| 2, φ [\d.]+ \| 8, φ 16 \|/);
  expect(readdirSync(join(folder.path, "figures"))).toEqual(["kappa-8-floor-1.svg"]);
  expect(JSON.parse(readFileSync(folder.results, "utf8")).cells).toHaveLength(2);
});
