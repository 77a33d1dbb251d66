import * as Plot from "@observablehq/plot";
import type { Schedule } from "../schedule/index.js";
import { downsample, type Point } from "./downsample.js";
import { drawFigure, stepAxis } from "./figure.js";
import { rampColor } from "./style.js";
import { tick } from "./tick.js";

/** Largest number of steps that are evaluated for a figure. A longer schedule is sampled evenly. */
const maxSteps = 100_000;

/** The learning rate of a step. */
export interface Rate {
  readonly step: number;
  readonly learningRate: number;
}

/** Returns the points of a schedule's curve, reduced for drawing to about `maxPoints` (default 2000). */
export function curve(schedule: Schedule, maxPoints?: number): readonly Point[] {
  const { budget } = schedule;
  const count = Math.min(budget, maxSteps);
  const points = Array.from({ length: count }, (_, i) => {
    const x = count === budget ? i : Math.round((i * (budget - 1)) / (count - 1));
    return { x, y: schedule(x) };
  });
  return downsample(points, maxPoints);
}

/**
 * Draws the learning rate over the budget, as SVG.
 *
 * @param made the finished steps with their rates, which may be those of an earlier schedule. They are drawn solid, the
 * rest of the curve faint. Default: the whole curve is solid.
 */
export function scheduleFigure(
  schedule: Schedule,
  { made, standalone }: { made?: readonly Rate[]; standalone?: boolean } = {},
): string {
  const points = curve(schedule);
  const solid = made ? downsample(made.map(({ step, learningRate }) => ({ x: step, y: learningRate }))) : points;
  const stroke = "var(--rate)";
  return drawFigure({
    title: `Learning rate of the schedule ${schedule.name} over ${schedule.budget} steps`,
    standalone,
    plot: {
      height: 230,
      x: { ...stepAxis, domain: [0, schedule.budget] },
      y: rateAxis,
      marks: [
        Plot.lineY(points, { x: "x", y: "y", stroke, strokeOpacity: 0.35, strokeWidth: 1.5, strokeDasharray: "4 3" }),
        Plot.lineY(solid, { x: "x", y: "y", stroke, strokeWidth: 2 }),
      ],
    },
  });
}

/**
 * Draws several schedules with a legend, as a standalone SVG. The colors are one hue from weak to strong, so the order of
 * the schedules should be meaningful, for example UBA by φ.
 */
export function familyFigure(schedules: readonly Schedule[], labels: readonly string[]): string {
  const color = (i: number) => rampColor(i, schedules.length);
  const legend = labels.slice(0, schedules.length);
  const rows = legend.map((label, i) => ({ label, dy: 10 + i * 18, fill: color(i) }));
  // An estimate of the width of the text, which depends on the reader's font.
  const marginRight = 42 + 8 * Math.max(0, ...legend.map((label) => label.length));
  const place = { frameAnchor: "top-right", textAnchor: "start" } as const;
  return drawFigure({
    title: `Learning rate over the steps: ${legend.join(", ")}`,
    standalone: true,
    plot: {
      width: 720,
      height: 340,
      marginRight,
      x: { ...stepAxis, domain: [0, Math.max(1, ...schedules.map(({ budget }) => budget))] },
      y: rateAxis,
      marks: [
        schedules.map((schedule, i) =>
          Plot.lineY(curve(schedule), { x: "x", y: "y", stroke: color(i), strokeWidth: 2 }),
        ),
        rows.map(({ label, dy, fill }) => [
          Plot.text(["━━"], { ...place, dx: 10, dy, fill, fontWeight: "bold" }),
          Plot.text([label], { ...place, dx: 36, dy, fill: "currentColor" }),
        ]),
      ],
    },
  });
}

const rateAxis: Plot.ScaleOptions = {
  grid: true,
  label: "learning rate",
  labelArrow: "none",
  ticks: 5,
  tickFormat: tick,
  zero: true,
};
