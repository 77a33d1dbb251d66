import { htmlPage, type Row, type Section } from "../report/page.js";
import type { QuadraticsStudy, TrainingStudy } from "./config.js";
import type { Figure } from "./figures.js";
import type { StudyFolder } from "./folder.js";
import { cellsOf, tuningOf } from "./plan.js";
import type { QuadraticCell } from "./quadratics.js";
import type { RunRecord } from "./records.js";
import { type CellResult, finalRecords, type TrainingResults, trainingResults } from "./results.js";
import {
  contractionTable,
  groupsOf,
  markdown,
  peakTable,
  quadraticGroups,
  type Table,
  trainingTables,
} from "./tables.js";

/** The contents of `results.json` for quadratics. */
export interface QuadraticResults {
  readonly format: "stepsize-study-1";
  readonly study: QuadraticsStudy;
  readonly cells: readonly QuadraticCell[];
}

/** The text of a report before its tables. */
interface Words {
  readonly title: string;
  readonly lead: readonly string[];
  readonly tiles: readonly Row[];
}

/** Formats the notes of a study as a paragraph. */
function limitsOf({ notes }: TrainingStudy | QuadraticsStudy): string[] {
  return notes === undefined ? [] : [`Limits: ${notes.join(" ")}`];
}

/** Writes `results.json`, `results.md`, `report.html` and the figures of a training study, finished or not. */
export async function writeTrainingReport(
  folder: StudyFolder,
  study: TrainingStudy,
  records: ReadonlyMap<string, RunRecord>,
): Promise<TrainingResults> {
  const results = trainingResults(study, records);
  // Imported here, because the plotting library takes a while to load.
  const { budgetFigure, curveFigures, differenceFigures, phiFigure } = await import("./figures.js");
  const recordsOf = finalRecordsBy(study, records);
  const groups = groupsOf(results).map((group) => {
    const figures = [
      ...differenceFigures(group, study),
      ...budgetFigure(group, study),
      ...phiFigure(group, study),
      ...curveFigures(group, study, recordsOf),
    ].map((figure) => ({ ...figure, name: `${slug(group.heading)}-${figure.name}` }));
    return { tables: trainingTables(group, study), figures };
  });
  await writeReport(folder, trainingWords(results), groups, results);
  return results;
}

/** Writes `results.json`, `results.md`, `report.html` and the figures of a study of quadratics. */
export async function writeQuadraticsReport(
  folder: StudyFolder,
  study: QuadraticsStudy,
  cells: readonly QuadraticCell[],
): Promise<QuadraticResults> {
  const { quadraticFigure } = await import("./figures.js");
  const results: QuadraticResults = { format: "stepsize-study-1", study, cells };
  const words = {
    title: study.title,
    lead: [
      "Gradient descent on quadratics with curvatures from λ_u/κ to λ_u. The tables show the factor that remains of an error " +
        "after all steps, in the worst direction. Every schedule has its best peak rate of at most c/λ_u, and UBA also its best φ. " +
        "The optimum is the solution of the min–max problem with the same bounds. There is no noise, although noise is the main " +
        "reason for decay: see docs/uba.md.",
      ...limitsOf(study),
    ],
    tiles: [["Problems", String(cells.length)] as const],
  };
  const groups = quadraticGroups(cells);
  const parts = groups.map((group) => ({ tables: [contractionTable(group)], figures: [quadraticFigure(group)] }));
  await writeReport(folder, words, [...parts, { tables: groups.map(peakTable), figures: [] }], results);
  return results;
}

async function writeReport(
  folder: StudyFolder,
  { title, lead, tiles }: Words,
  groups: readonly { readonly tables: readonly Table[]; readonly figures: readonly Figure[] }[],
  results: object,
): Promise<void> {
  const sections = groups.flatMap(({ tables, figures }): Section[] => [
    ...tables,
    ...figures.map(({ heading, caption, draw }) => ({ heading, caption, figure: draw(false) })),
  ]);
  await folder.write(folder.results, `${JSON.stringify(results, undefined, 2)}\n`);
  await folder.write(
    folder.table,
    markdown(
      title,
      lead,
      groups.flatMap(({ tables }) => tables),
    ),
  );
  for (const { name, draw } of groups.flatMap(({ figures }) => figures))
    await folder.write(folder.figure(name), `${draw(true)}\n`);
  await folder.write(folder.report, htmlPage({ title, lead: lead.join(" "), figures: tiles, sections }));
}

function trainingWords(results: TrainingResults): Words {
  const { study, cells, complete, runs, seconds, devices, versions } = results;
  const { finalSeeds, measure, margin } = study;
  const finished = cells.filter((cell) => cell.complete).length;
  const state = complete ? "" : `The study is not finished: ${finished} of ${cells.length} comparisons are complete. `;
  const enough = finalSeeds.length >= 3;
  const hasIntervals = cells.some(({ schedules }) =>
    schedules.some(({ versusUba }) => versusUba?.difference?.low !== undefined),
  );
  const few = `${finalSeeds.length} final seed${finalSeeds.length === 1 ? " does" : "s do"} not show the spread between seeds`;
  return {
    title: study.title,
    lead: [
      `${state}A full run has ${study.steps} steps of ${study.batch * study.accumulate} items. Every schedule had the same ` +
        `number of trials for each budget, with seed ${study.tuningSeeds.join(", ")}. Settings were chosen by the ${measure} on a ` +
        `validation split. They were then run with ${finalSeeds.length} seed${finalSeeds.length === 1 ? "" : "s"} that no trial had, and ` +
        "each of these runs was evaluated once on the test split, after its last step. Values are means ± standard deviations " +
        "over the seeds. The ranks in parentheses are descriptive only.",
      hasIntervals
        ? "Differences are paired by seed. Their Student-t intervals hold with 95\u00a0% for all of a budget together (Bonferroni). " +
          '"Better" and "worse" are verdicts of paired t-tests: the p-value, adjusted for all comparisons of a budget (Holm), is ' +
          "at most 0.05. This test is sharper than the intervals, so an interval beside a verdict may just contain 0. " +
          '"Not distinguished" does not mean equal. ' +
          (margin === undefined
            ? "No margin was declared, so there are no ties."
            : `The interval of a "tie" lies within ±${measure === "accuracy" ? `${100 * margin}\u00a0%` : margin}, which was declared in advance.`)
        : `There are no intervals, because ${enough ? "no comparison has three pairs of completed runs yet" : few}.`,
      ...limitsOf(study),
    ],
    tiles: [
      ["Runs", String(runs)],
      ["Computing time", seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`],
      ["Final seeds", String(finalSeeds.length)],
      ["Device", devices.join(", ") || "–"],
      ["Version", versions.join(", ") || "–"],
    ],
  };
}

function finalRecordsBy(study: TrainingStudy, records: ReadonlyMap<string, RunRecord>) {
  return ({ model, data, optimizer, budget }: CellResult, name: string): readonly RunRecord[] => {
    const cell = cellsOf(study).find(
      (each) =>
        each.model === model && each.data.name === data && each.optimizer.name === optimizer && each.budget === budget,
    );
    const schedule = study.schedules.find((each) => each.name === name);
    if (!cell || !schedule) return [];
    return finalRecords(study, cell, schedule, tuningOf(study, cell, records).get(name)?.best, records);
  };
}

/** Converts a heading to a part of a file name. */
function slug(heading: string): string {
  return heading
    .replace(/ (on|with) /g, "-")
    .replace(/[^\w-]+/g, "-")
    .toLowerCase();
}
