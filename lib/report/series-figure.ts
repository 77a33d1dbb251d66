import * as Plot from "@observablehq/plot";
import { drawFigure } from "./figure.js";
import { rampColor, seriesColor } from "./style.js";
import { tick } from "./tick.js";

/** A named curve of {@link seriesFigure}. */
export interface Series {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
  /** Further points, drawn faintly. */
  readonly others?: readonly { readonly x: number; readonly y: number }[];
}

/** An axis of a {@link seriesFigure}. */
export interface SeriesAxis {
  readonly label: string;
  readonly log?: boolean | undefined;
  /** Values with a tick; default chosen automatically. */
  readonly ticks?: readonly number[] | undefined;
}

/** Options of {@link seriesFigure}. */
export interface SeriesFigureOptions {
  /** Describes the figure for screen readers. */
  readonly title: string;
  readonly x: SeriesAxis;
  readonly y: SeriesAxis;
  /** `"order"` for series that are ordered, with colors from weak to strong; default `"name"`. */
  readonly colors?: "order" | "name" | undefined;
  /** Name of the curve that is drawn in front of the others, with a thicker line. */
  readonly highlight?: string | undefined;
  /** A curve to compare with, drawn dashed. */
  readonly reference?: Series | undefined;
  /** Whether each point has a dot. */
  readonly dots?: boolean | undefined;
  readonly standalone?: boolean | undefined;
}

/** Symbols distinguish the curves for readers who cannot distinguish their colors. */
const symbols = ["circle", "square", "triangle", "diamond2", "star", "cross", "wye", "times"] as const;

/** Draws curves with a legend, as SVG. Points that are not finite are gaps. */
export function seriesFigure(all: readonly Series[], options: SeriesFigureOptions): string {
  const { title, x, y, colors = "name", highlight, reference, dots = false, standalone } = options;
  const color = (i: number) => (colors === "order" ? rampColor(i, all.length, 2) : seriesColor(i));
  // The highlighted curve is drawn last, so that it is in front.
  const named = all.map((series, i) => ({
    ...series,
    stroke: color(i),
    symbol: symbols[i % symbols.length] ?? "circle",
  }));
  const behind = [...named].sort((a, b) => Number(a.name === highlight) - Number(b.name === highlight));
  const legend = [
    ...named.map(({ name, stroke, symbol }) => ({ name, stroke, symbol, sample: "━━" })),
    ...(reference ? [{ name: reference.name, stroke: "var(--ink)", symbol: undefined, sample: "╌╌" }] : []),
  ];
  const marginRight = 46 + 8 * Math.max(0, ...legend.map(({ name }) => name.length));
  const place = { frameAnchor: "top-right", textAnchor: "start" } as const;
  const axis = ({ label, log, ticks }: SeriesAxis): Plot.ScaleOptions => ({
    label,
    labelArrow: "none",
    type: log ? "log" : "linear",
    ticks: ticks ? [...ticks] : 6,
    tickFormat: tick,
  });
  return drawFigure({
    title,
    standalone,
    plot: {
      height: Math.max(280, 90 + 18 * legend.length),
      marginRight,
      inset: dots ? 8 : 0,
      x: { ...axis(x), nice: false },
      y: { ...axis(y), grid: true },
      marks: [
        reference && Plot.lineY(reference.points, { x: "x", y: "y", stroke: "var(--ink)", strokeDasharray: "5 4" }),
        behind.map(({ name, points, others = [], stroke, symbol }) => [
          Plot.dot(others, { x: "x", y: "y", r: 2.5, stroke, strokeOpacity: 0.6, symbol }),
          Plot.lineY(points, { x: "x", y: "y", stroke, strokeWidth: name === highlight ? 3 : 1.75 }),
          dots ? Plot.dot(points, { x: "x", y: "y", r: 4, fill: stroke, stroke: "var(--surface)", symbol }) : undefined,
        ]),
        legend.map(({ name, stroke, symbol, sample }, i) => [
          Plot.text([sample], { ...place, dx: 12, dy: 10 + i * 18, fill: stroke, fontWeight: "bold" }),
          dots && symbol
            ? Plot.dot([name], { ...place, dx: 21, dy: 15 + i * 18, r: 3.5, fill: stroke, symbol })
            : undefined,
          Plot.text([name], { ...place, dx: 38, dy: 10 + i * 18, fill: "currentColor" }),
        ]),
      ],
    },
  });
}
