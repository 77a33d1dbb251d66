import * as Plot from "@observablehq/plot";
import { drawFigure, tick } from "./figure.js";
import { rampColour, seriesColour } from "./style.js";

/** A curve with a name. */
export interface Series {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
  /** Points beside the curve, drawn faint. */
  readonly others?: readonly { readonly x: number; readonly y: number }[];
}

/** An axis of a {@link seriesFigure}. */
export interface SeriesAxis {
  readonly label: string;
  readonly log?: boolean;
  /** Values to be marked; default as it comes out. */
  readonly ticks?: readonly number[];
}

/** Options of {@link seriesFigure}. */
export interface SeriesFigureOptions {
  /** What the figure shows, for those who cannot see it. */
  readonly title: string;
  readonly x: SeriesAxis;
  readonly y: SeriesAxis;
  /** `"order"`: names that differ by a number, from weak to strong; default `"name"`. */
  readonly colours?: "order" | "name";
  /** The curve in front of the others, drawn stronger. */
  readonly highlight?: string;
  /** A bound that the curves are to be seen against, drawn dashed. */
  readonly reference?: Series;
  /** Whether each point has a dot. */
  readonly dots?: boolean;
  readonly standalone?: boolean;
}

/** Colours alone do not tell seven curves apart for everybody. */
const symbols = ["circle", "square", "triangle", "diamond2", "star", "cross", "wye", "times"] as const;

/** Curves with a legend beside them, as SVG. Points that are not finite are gaps. */
export function seriesFigure(all: readonly Series[], options: SeriesFigureOptions): string {
  const { title, x, y, colours = "name", highlight, reference, dots = false, standalone } = options;
  const colour = (i: number) => (colours === "order" ? rampColour(i, all.length, 2) : seriesColour(i));
  // The one in front is drawn last and named first.
  const named = all.map((series, i) => ({
    ...series,
    stroke: colour(i),
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
