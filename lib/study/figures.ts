import { type DifferencePoint, differenceFigure } from "../report/difference-figure.js";
import { curve } from "../report/schedule-figure.js";
import { type Series, type SeriesFigureOptions, seriesFigure } from "../report/series-figure.js";
import { fromJSON } from "../schedule/index.js";
import type { TrainingStudy } from "./config.js";
import type { QuadraticCell } from "./quadratics.js";
import type { RunRecord } from "./records.js";
import type { CellResult } from "./results.js";
import type { Group, QuadraticGroup } from "./tables.js";

/** A figure of a report. It is part of the page and also written to a file of this name. */
export interface Figure {
  readonly name: string;
  readonly heading: string;
  readonly caption: string;
  draw(standalone: boolean): string;
}

/** Factor from the measure to the unit in figures: accuracies are in percent. */
const scaleOf = ({ measure }: TrainingStudy) => (measure === "accuracy" ? 100 : 1);
const unitOf = ({ measure }: TrainingStudy) => (measure === "accuracy" ? "accuracy in %" : "loss");

/** Puts UBA first, because the first series has the strongest color. */
function ubaFirst(names: readonly string[]): string[] {
  return [...names.filter((name) => name === "uba"), ...names.filter((name) => name !== "uba")];
}

/** Makes a figure of the differences to UBA for each budget. */
export function differenceFigures({ heading, cells }: Group, study: TrainingStudy): Figure[] {
  const [scale, unit] = [scaleOf(study), unitOf(study)];
  const margin = study.margin === undefined ? undefined : scale * study.margin;
  const better = study.measure === "accuracy" ? "right" : "left";
  const band = margin === undefined ? "" : " The band is the margin that was declared in advance.";
  return cells.flatMap(({ steps, confidence, schedules }): Figure[] => {
    const points = schedules.flatMap(({ schedule, versusUba }): DifferencePoint[] => {
      if (!versusUba?.difference) return [];
      const { mean, low, high } = versusUba.difference;
      const interval = low === undefined || high === undefined ? {} : { low: scale * low, high: scale * high };
      return [{ name: schedule, mean: scale * mean, ...interval }];
    });
    if (points.length === 0) return [];
    const title = `${heading}, ${steps} steps: difference to UBA`;
    return [
      {
        name: `difference-${steps}`,
        heading: title,
        caption: points.every(({ low }) => low === undefined)
          ? `Each schedule minus UBA with the same seed: the mean, without an interval. Values to the ${better} of 0 are better than UBA.`
          : `Each schedule minus UBA with the same seed: mean and ${(100 * confidence).toFixed(2)}\u00a0% interval, which gives 95\u00a0% ` +
            `for all of them together. Values to the ${better} of 0 are better than UBA. The verdicts in the table are those of Holm's ` +
            `test, which may distinguish a schedule even if its interval just contains 0.${band}`,
        draw: (standalone) =>
          differenceFigure(points, { title, label: `difference to UBA in test ${unit}`, margin, standalone }),
      },
    ];
  });
}

/** Makes a figure of the means over the budgets of a group. */
export function budgetFigure({ heading, cells }: Group, study: TrainingStudy): Figure[] {
  const done = cells.filter(({ complete }) => complete);
  if (done.length < 2) return [];
  const [scale, unit] = [scaleOf(study), unitOf(study)];
  const means = ubaFirst(study.schedules.map(({ name }) => name)).map((name): Series => {
    const at = (cell: CellResult) => cell.schedules.find(({ schedule }) => schedule === name)?.[study.measure]?.mean;
    return { name, points: done.map((cell) => ({ x: cell.steps, y: scale * (at(cell) ?? Number.NaN) })) };
  });
  return [
    {
      name: "budget",
      heading: `${heading}: test ${study.measure} over the budget`,
      caption: "Means over the final seeds. The tables have the standard deviations.",
      draw: (standalone) =>
        seriesFigure(means, {
          title: `${heading}: test ${unit} over the budget`,
          x: { label: "steps", log: true, ticks: done.map(({ steps }) => steps) },
          y: { label: `test ${unit}` },
          highlight: "uba",
          dots: true,
          standalone,
        }),
    },
  ];
}

/** Makes figures of the learning rate, the loss and the accuracy over the steps, for the largest complete budget. */
export function curveFigures(
  { heading, cells }: Group,
  study: TrainingStudy,
  recordsOf: (cell: CellResult, schedule: string) => readonly RunRecord[],
): Figure[] {
  const cell = cells.filter(({ complete }) => complete).at(-1);
  if (!cell) return [];
  const names = ubaFirst(study.schedules.map(({ name }) => name));
  const series = (pointsOf: (records: readonly RunRecord[]) => Series["points"]): Series[] =>
    names.map((name) => ({
      name,
      points: pointsOf(recordsOf(cell, name).filter(({ status }) => status === "completed")),
    }));
  const figure = (
    name: string,
    quantity: string,
    caption: string,
    curves: Series[],
    options: Partial<SeriesFigureOptions>,
  ) => ({
    name,
    heading: `${heading}: ${quantity} over ${cell.steps} steps`,
    caption,
    draw: (standalone: boolean) =>
      seriesFigure(curves, {
        title: `${heading}: ${quantity} over ${cell.steps} steps`,
        x: { label: "step" },
        y: { label: quantity },
        highlight: "uba",
        ...options,
        standalone,
      }),
  });
  const rates = series(([first]) => (first ? curve(fromJSON(first.run.schedule)) : []));
  const losses = series((records) =>
    points(records[0]?.curve.step ?? [], meanOver(records.map((record) => record.curve.loss))),
  );
  const accuracies = series(accuracyPoints);
  const hasAccuracy = accuracies.some(({ points }) => points.length > 1);
  return [
    figure("learning-rate", "learning rate", "With the tuned peak rate, and for UBA the tuned φ.", rates, {}),
    figure("loss", "training loss", "Running mean of each run, averaged over the final seeds.", losses, {
      y: { label: "training loss", log: true },
    }),
    ...(hasAccuracy
      ? [
          figure("accuracy", "validation accuracy", "Mean over the final seeds.", accuracies, {
            y: { label: "validation accuracy in %" },
            dots: true,
          }),
        ]
      : []),
  ];
}

/** Makes a figure of all tuning trials of UBA over φ, with one series per budget. */
export function phiFigure({ heading, cells }: Group, study: TrainingStudy): Figure[] {
  const [scale, unit] = [scaleOf(study), unitOf(study)];
  const sign = study.measure === "accuracy" ? -1 : 1;
  const all = cells.map((cell): Series => {
    const trials = cell.schedules.find(({ schedule }) => schedule === "uba")?.tuning.trials ?? [];
    const scored = trials.flatMap(({ phi, [study.measure]: value }) =>
      phi === undefined || value === undefined ? [] : [{ x: phi, y: scale * value }],
    );
    const phis = [...new Set(scored.map(({ x }) => x))].sort((a, b) => a - b);
    const best = (phi: number) =>
      scored.filter(({ x }) => x === phi).reduce((a, b) => (sign * b.y < sign * a.y ? b : a));
    return { name: `${cell.steps} steps`, points: phis.map(best), others: scored };
  });
  if (!all.some(({ points }) => points.length > 1)) return [];
  return [
    {
      name: "phi",
      heading: `${heading}: UBA's φ`,
      caption:
        "All trials of UBA on the validation split, with the tuning seeds only. The lines connect the best trials at each φ. " +
        "An apparent slope may be chance.",
      draw: (standalone) =>
        seriesFigure(all, {
          title: `${heading}: validation ${unit} over UBA's φ`,
          x: { label: "φ", log: true, ticks: [...new Set(all.flatMap(({ points }) => points.map(({ x }) => x)))] },
          y: { label: `validation ${unit}` },
          colors: "order",
          dots: true,
          standalone,
        }),
    },
  ];
}

/** Makes a figure of the worst contraction over the stability limit, for the largest budget of a group. */
export function quadraticFigure({ name, heading, cells }: QuadraticGroup): Figure {
  const budget = Math.max(...cells.map((cell) => cell.budget));
  const shown = cells.filter((cell) => cell.budget === budget);
  const power = (logarithm: number) => logarithm / Math.LN10;
  const all = ubaFirst(shown[0]?.schedules.map(({ schedule }) => schedule) ?? []).map((schedule): Series => {
    const at = (cell: QuadraticCell) =>
      cell.schedules.find((result) => result.schedule === schedule)?.worst ?? Number.NaN;
    return { name: schedule, points: shown.map((cell) => ({ x: cell.stabilityLimit, y: power(at(cell)) })) };
  });
  const optimum = shown.map((cell) => ({ x: cell.stabilityLimit, y: power(cell.optimum) }));
  return {
    name,
    heading: `${heading}: after ${budget} steps`,
    caption:
      "The worst factor that remains of an error, as a power of ten, over the highest allowed rate in units of 1/λ_u. Each " +
      "schedule has its best peak rate, and UBA also its best φ.",
    draw: (standalone) =>
      seriesFigure(all, {
        title: `${heading}: worst contraction after ${budget} steps over the stability limit`,
        x: { label: "stability limit c", log: true, ticks: shown.map(({ stabilityLimit }) => stabilityLimit) },
        y: { label: "log10 of the worst contraction" },
        highlight: "uba",
        reference: { name: "optimum", points: optimum },
        dots: true,
        standalone,
      }),
  };
}

function points(xs: readonly number[], ys: readonly number[]): Series["points"] {
  return xs.map((x, i) => ({ x, y: ys[i] ?? Number.NaN }));
}

/** Averages curves of equal length. */
function meanOver(curves: readonly (readonly number[])[]): number[] {
  return (curves[0] ?? []).map(
    (_, i) => curves.reduce((sum, curve) => sum + (curve[i] ?? Number.NaN), 0) / curves.length,
  );
}

/** Returns the mean validation accuracy over all seeds, in percent, at each intermediate evaluation and the last one. */
function accuracyPoints(records: readonly RunRecord[]): Series["points"] {
  const bySteps = new Map<number, number[]>();
  for (const { steps, onTheWay = [], validation } of records)
    for (const [step = 0, , accuracy] of [...onTheWay, [steps, 0, validation?.accuracy]])
      if (accuracy !== undefined) bySteps.set(step, [...(bySteps.get(step) ?? []), 100 * accuracy]);
  return [...bySteps].map(([x, values]) => ({ x, y: values.reduce((sum, value) => sum + value, 0) / values.length }));
}
