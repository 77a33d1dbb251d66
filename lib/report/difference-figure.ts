import * as Plot from "@observablehq/plot";
import { drawFigure } from "./figure.js";
import { tick } from "./tick.js";

/** A difference with its interval, if it has one. */
export interface DifferencePoint {
  readonly name: string;
  readonly mean: number;
  readonly low?: number | undefined;
  readonly high?: number | undefined;
}

/** Options of {@link differenceFigure}. */
export interface DifferenceFigureOptions {
  readonly title: string;
  /** Label of the horizontal axis. */
  readonly label: string;
  /** Largest difference that counts as a tie; drawn as a band. Default none. */
  readonly margin?: number | undefined;
  readonly standalone?: boolean | undefined;
}

/** Draws differences as dots and their intervals as lines, around zero, as SVG. */
export function differenceFigure(points: readonly DifferencePoint[], options: DifferenceFigureOptions): string {
  const { title, label, margin, standalone } = options;
  const ends = points.flatMap(({ mean, low = mean, high = mean }) => [low, high]);
  // The range is symmetric, so that zero is in the middle.
  const reach = 1.05 * (Math.max(...ends.map(Math.abs), 1.5 * (margin ?? 0)) || 1);
  const names = points.map(({ name }) => name);
  return drawFigure({
    title,
    standalone,
    plot: {
      height: 60 + 24 * points.length,
      marginTop: 14,
      marginBottom: 44,
      marginLeft: 30 + 8 * Math.max(0, ...names.map((name) => name.length)),
      x: { label, labelArrow: "none", domain: [-reach, reach], grid: true, ticks: 7, tickFormat: tick },
      y: { label: null, domain: names, tickSize: 0 },
      marks: [
        margin === undefined ? undefined : Plot.rect([margin], { x1: -margin, x2: margin, fill: "var(--line)" }),
        Plot.ruleX([0], { stroke: "var(--muted)" }),
        Plot.ruleY(
          points.filter(({ low }) => low !== undefined),
          { y: "name", x1: "low", x2: "high", stroke: "var(--loss)", strokeWidth: 2.5 },
        ),
        Plot.dot(points, { y: "name", x: "mean", r: 4.5, fill: "var(--loss)", stroke: "var(--surface)" }),
      ],
    },
  });
}
