import type { Schedule } from "../schedule/index.js";
import { gradientNormFigure, lossFigure, type RecordedEvaluation, type RecordedStep } from "./loss-figure.js";
import { htmlPage, type Row, type Section } from "./page.js";
import { scheduleFigure } from "./schedule-figure.js";
import { smoothingSpan } from "./smooth.js";

/** The contents of the report of a run. */
export interface RunReport {
  readonly title: string;
  /** How the run stands; set off by a color if it is bad. */
  readonly badge?: { readonly text: string; readonly isBad: boolean } | undefined;
  /** The introduction: what was trained, and how the run ended. */
  readonly lead: string;
  readonly figures: readonly Row[];
  readonly settings: readonly Row[];
  readonly results: readonly Row[];
  readonly records: readonly RecordedStep[];
  readonly evaluations: readonly RecordedEvaluation[];
  /** Settings that were changed when the run was resumed: step, setting, old value, new value. Default none. */
  readonly changes?: readonly Row[] | undefined;
  readonly schedule: Schedule;
}

/** Makes the HTML report of a run, finished or not: its curves, settings and results. */
export function runReport(run: RunReport): string {
  const { records, evaluations, changes = [], schedule } = run;
  const span = smoothingSpan(records.length);
  const dots = evaluations.length > 0 ? " The dots are evaluations during the run." : "";
  const sections: Section[] = [
    {
      heading: "Learning rate",
      figure: scheduleFigure(schedule, { made: records }),
      caption: `The schedule ${schedule.name} over its budget of ${count(schedule.budget)} steps${
        records.length < schedule.budget ? `. The solid part is the ${count(records.length)} finished steps` : ""
      }.`,
    },
    ...(records.some(({ gradientNorm = 0 }) => gradientNorm > 0 && Number.isFinite(gradientNorm))
      ? [
          {
            heading: "Gradient norm",
            figure: gradientNormFigure(records),
            caption: `The global 2-norm of the gradient before clipping, and its mean over ${span} steps.`,
          },
        ]
      : []),
    { heading: "Results", rows: run.results },
    { heading: "Settings", rows: run.settings },
  ];
  if (records.some(({ loss }) => loss > 0 && Number.isFinite(loss)))
    sections.unshift({
      heading: "Loss",
      figure: lossFigure(records, { evaluations }),
      caption: `The faint line is the loss of every step, the solid line its mean over ${span} steps, on a logarithmic scale.${dots}`,
    });
  if (evaluations.length > 0)
    sections.splice(-1, 0, {
      heading: "Evaluations during the run",
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
      heading: "Changed settings",
      columns: ["from step", "setting", "before", "after"],
      rows: changes,
    });
  return htmlPage({ title: run.title, badge: run.badge, lead: run.lead, figures: run.figures, sections });
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}
