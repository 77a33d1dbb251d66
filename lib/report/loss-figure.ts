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
}

/** An evaluation during a run, for figures and the report. */
export interface RecordedEvaluation {
  /** Number of finished steps. */
  readonly step: number;
  readonly split: string;
  readonly loss: number;
  readonly accuracy?: number | undefined;
}

/**
 * Draws the loss of every step, faintly, and its running mean, on a logarithmic scale, as SVG. Evaluations are dots.
 */
export function lossFigure(
  records: readonly RecordedStep[],
  {
    evaluations = [],
    standalone,
  }: { evaluations?: readonly RecordedEvaluation[]; standalone?: boolean | undefined } = {},
): string {
  // Values that are not finite are gaps.
  const losses = records.map(({ loss }) => (Number.isFinite(loss) ? loss : Number.NaN));
  const means = centeredMean(losses, smoothingSpan(records.length));
  // A logarithmic scale cannot show zero, so a loss of exactly 0 is a gap.
  const curveOf = (values: readonly number[]) =>
    records.map(({ step }, i): Point => {
      const y = values[i] ?? 0;
      return { x: step, y: y > 0 ? y : Number.NaN };
    });
  const [raw, smooth] = [curveOf(losses), curveOf(means)];
  const drawn = raw.filter(({ y }) => Number.isFinite(y));
  return drawFigure({
    title: `Training loss over ${records.length} steps`,
    standalone,
    plot: {
      x: { ...stepAxis, domain: [0, Math.max(1, (records.at(-1)?.step ?? 0) + 1)] },
      y: { type: "log", grid: true, label: "loss", labelArrow: "none", ticks: 5, tickFormat: tick },
      marks: [
        Plot.lineY(downsample(drawn), { x: "x", y: "y", stroke: "var(--loss)", strokeWidth: 1, strokeOpacity: 0.3 }),
        Plot.lineY(downsample(smooth), { x: "x", y: "y", stroke: "var(--loss)", strokeWidth: 2 }),
        Plot.dot(
          evaluations.filter(({ loss }) => loss > 0 && Number.isFinite(loss)),
          { x: "step", y: "loss", r: 4, fill: "var(--mark)", stroke: "var(--surface)", strokeWidth: 1.5 },
        ),
      ],
    },
  });
}
