import * as Plot from "@observablehq/plot";
import { drawFigure, tick } from "./figure.js";

/** A difference with its interval. */
export interface DifferencePoint {
  readonly name: string;
  /** Each has a part of the figure to itself. */
  readonly panel: string;
  readonly mean: number;
  readonly low?: number | undefined;
  readonly high?: number | undefined;
}

/** Options of {@link differenceFigure}. */
export interface DifferenceFigureOptions {
  readonly title: string;
  /** Of the horizontal axis. */
  readonly label: string;
  /** Differences within it count for nothing; drawn as a band. */
  readonly margin?: number | undefined;
  readonly standalone?: boolean;
}

/** Differences as dots with their intervals as lines, around zero, as SVG. */
export function differenceFigure(points: readonly DifferencePoint[], options: DifferenceFigureOptions): string {
  const { title, label, margin, standalone } = options;
  const names = [...new Set(points.map(({ name }) => name))];
  const panels = [...new Set(points.map(({ panel }) => panel))];
  const ends = points.flatMap(({ mean, low = mean, high = mean }) => [low, high]);
  const reach = 1.05 * Math.max(...ends.map(Math.abs), 2 * (margin ?? 0), Number.MIN_VALUE);
  const place = { y: "name", fy: "panel" } as const;
  return drawFigure({
    title,
    standalone,
    plot: {
      height: 60 + panels.length * (26 + 20 * names.length),
      marginLeft: 30 + 8 * Math.max(0, ...names.map((name) => name.length)),
      x: { label, labelArrow: "none", domain: [-reach, reach], grid: true, ticks: 7, tickFormat: tick },
      y: { label: null, domain: names, tickSize: 0, padding: 0.4 },
      fy: { axis: null, domain: panels, padding: 0.22 },
      marks: [
        margin === undefined
          ? undefined
          : Plot.rect(panels, {
              fy: (panel: string) => panel,
              x1: -margin,
              x2: margin,
              fill: "var(--line)",
              fillOpacity: 0.5,
            }),
        Plot.ruleX([0], { stroke: "var(--muted)" }),
        Plot.text(panels, {
          fy: (panel: string) => panel,
          text: (panel: string) => panel,
          frameAnchor: "top",
          dy: -13,
        }),
        Plot.ruleY(
          points.filter(({ low }) => low !== undefined),
          { ...place, x1: "low", x2: "high", stroke: "var(--loss)", strokeWidth: 2 },
        ),
        Plot.dot(points, { ...place, x: "mean", r: 4, fill: "var(--loss)", stroke: "var(--surface)" }),
      ],
    },
  });
}
