import type { Schedule } from "../schedule/index.js";
import { lossFigure, type RecordedEvaluation, type RecordedStep } from "./loss-figure.js";
import { htmlPage, type Row, type Section } from "./page.js";
import { scheduleFigure } from "./schedule-figure.js";
import { smoothingSpan } from "./smooth.js";

/** What the report of a run is made of. */
export interface RunReport {
  readonly title: string;
  /** One sentence: what ran, and how it ended. */
  readonly lead: string;
  readonly figures: readonly Row[];
  readonly settings: readonly Row[];
  readonly results: readonly Row[];
  readonly records: readonly RecordedStep[];
  readonly evaluations: readonly RecordedEvaluation[];
  /** Settings that the run went on with otherwise: steps made before, setting, before, after. Default: none. */
  readonly changes?: readonly Row[] | undefined;
  readonly schedule: Schedule;
}

/** The page of a run: its curves, its settings and its results. Of an unfinished run too. */
export function runReport(run: RunReport): string {
  const { records, evaluations, changes = [], schedule } = run;
  const span = smoothingSpan(records.length);
  const dots = evaluations.length > 0 ? " Dots: evaluations on the way." : "";
  const sections: Section[] = [
    {
      heading: "Learning rate",
      figure: scheduleFigure(schedule, { made: records }),
      caption: `The schedule ${schedule.name} over its budget of ${count(schedule.budget)} steps${
        records.length < schedule.budget ? `; solid: the ${count(records.length)} steps made` : ""
      }.`,
    },
    { heading: "Results", rows: run.results },
    { heading: "Settings", rows: run.settings },
  ];
  if (records.some(({ loss }) => loss > 0 && Number.isFinite(loss)))
    sections.unshift({
      heading: "Loss",
      figure: lossFigure(records, { evaluations }),
      caption: `Faint: every step. Solid: the mean over the ${span} steps around each. Logarithmic scale.${dots}`,
    });
  if (evaluations.length > 0)
    sections.splice(-1, 0, {
      heading: "Evaluations on the way",
      columns: ["after step", "split", "loss", "accuracy"],
      rows: evaluations.map(({ step, split, loss, accuracy }) => [
        count(step),
        split,
        loss.toPrecision(4),
        accuracy === undefined ? "" : `${(100 * accuracy).toFixed(2)} %`,
      ]),
    });
  if (changes.length > 0)
    sections.splice(-1, 0, {
      heading: "Changes on the way",
      columns: ["from step", "setting", "before", "after"],
      rows: changes,
    });
  return htmlPage({ title: run.title, lead: run.lead, figures: run.figures, sections });
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}
