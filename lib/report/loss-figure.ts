import * as Plot from "@observablehq/plot";
import { downsample, type Point } from "./downsample.js";
import { drawFigure, stepAxis, tick } from "./figure.js";
import { centredMean, smoothingSpan } from "./smooth.js";

/** What the figures and the page need of a step's record. */
export interface RecordedStep {
  readonly step: number;
  readonly loss: number;
  readonly learningRate: number;
}

/** What they need of an evaluation on the way. */
export interface RecordedEvaluation {
  /** Steps done. */
  readonly step: number;
  readonly split: string;
  readonly loss: number;
  readonly accuracy?: number | undefined;
}

/**
 * The loss of every step, faint, and its running mean, on a logarithmic scale, as SVG. Evaluations are dots.
 */
export function lossFigure(
  records: readonly RecordedStep[],
  { evaluations = [], standalone }: { evaluations?: readonly RecordedEvaluation[]; standalone?: boolean } = {},
): string {
  // Of what is not finite there is nothing to draw.
  const losses = records.map(({ loss }) => (Number.isFinite(loss) ? loss : Number.NaN));
  const means = centredMean(losses, smoothingSpan(records.length));
  // A logarithmic scale has no place for zero: a loss of exactly 0 is a gap in the curve.
  const curveOf = (values: readonly number[]) =>
    values.map((y, i): Point => ({ x: (records[i] as RecordedStep).step, y: y > 0 ? y : Number.NaN }));
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
