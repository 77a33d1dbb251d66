import * as Plot from "@observablehq/plot";
import { downsample, type Point } from "./downsample.js";
import { drawFigure, stepAxis } from "./figure.js";
import { centeredMean, smoothingSpan } from "./smooth.js";
import { tick } from "./tick.js";

/** The part of a step record that figures and the report need. */
export interface RecordedStep {
  readonly step: number;
  readonly loss: number;
  readonly learningRate: number;
  readonly gradientNorm?: number | undefined;
}

/** An evaluation during a run, for figures and the report. */
export interface RecordedEvaluation {
  /** Number of finished steps. */
  readonly step: number;
  readonly split: string;
  readonly loss: number;
  readonly accuracy?: number | undefined;
}

/** Options of {@link lossFigure}. */
export interface LossFigureOptions {
  /** Drawn as dots; default none. */
  readonly evaluations?: readonly RecordedEvaluation[] | undefined;
  readonly standalone?: boolean | undefined;
}

/**
 * Draws the loss of every step, faintly, and its running mean, on a logarithmic scale, as SVG. Evaluations are dots.
 */
export function lossFigure(
  records: readonly RecordedStep[],
  { evaluations = [], standalone }: LossFigureOptions = {},
): string {
  const dots = evaluations.map(({ step, loss }) => ({ x: step, y: loss }));
  return smoothedFigure(records, ({ loss }) => loss, {
    title: `Training loss over ${records.length} steps`,
    label: "loss",
    color: "var(--loss)",
    dots,
    standalone,
  });
}

/** Draws the gradient norm of every step, faintly, and its running mean, on a logarithmic scale, as SVG. */
export function gradientNormFigure(records: readonly RecordedStep[]): string {
  return smoothedFigure(records, ({ gradientNorm = Number.NaN }) => gradientNorm, {
    title: `Gradient norm over ${records.length} steps`,
    label: "gradient norm",
    color: "var(--mark)",
    dots: [],
  });
}

function smoothedFigure(
  records: readonly RecordedStep[],
  measure: (record: RecordedStep) => number,
  options: {
    readonly title: string;
    readonly label: string;
    readonly color: string;
    readonly dots: readonly Point[];
    readonly standalone?: boolean | undefined;
  },
): string {
  const { title, label, color, dots, standalone } = options;
  // Values that are not finite are gaps.
  const values = records.map((record) => (Number.isFinite(measure(record)) ? measure(record) : Number.NaN));
  const means = centeredMean(values, smoothingSpan(records.length));
  // A logarithmic scale cannot show zero, so a value of exactly 0 is a gap.
  const curveOf = (values: readonly number[]) =>
    records.map(({ step }, i): Point => {
      const y = values[i] ?? 0;
      return { x: step, y: y > 0 ? y : Number.NaN };
    });
  const [raw, smooth] = [curveOf(values), curveOf(means)];
  const drawn = raw.filter(({ y }) => Number.isFinite(y));
  return drawFigure({
    title,
    standalone,
    plot: {
      x: { ...stepAxis, domain: [0, Math.max(1, (records.at(-1)?.step ?? 0) + 1)] },
      y: { type: "log", grid: true, label, labelArrow: "none", ticks: 5, tickFormat: tick },
      marks: [
        Plot.lineY(downsample(drawn), { x: "x", y: "y", stroke: color, strokeWidth: 1, strokeOpacity: 0.3 }),
        Plot.lineY(downsample(smooth), { x: "x", y: "y", stroke: color, strokeWidth: 2 }),
        Plot.dot(
          dots.filter(({ y }) => y > 0 && Number.isFinite(y)),
          { x: "x", y: "y", r: 4, fill: "var(--mark)", stroke: "var(--surface)", strokeWidth: 1.5 },
        ),
      ],
    },
  });
}
