import * as Plot from "@observablehq/plot";
import { drawFigure, tick } from "./figure.js";

/** One measurement of the figure. */
export interface BandwidthPoint {
  /** Whose it is: a curve of its own, in the order in which they come. */
  readonly contender: string;
  /** What it was measured with; each has a panel of its own. */
  readonly panel: string;
  /** How many tensors, and how many elements they have together. */
  readonly tensors: number;
  readonly elements: number;
  /** What the tensors are called, for where they are several. */
  readonly name: string;
  readonly gigabytesPerSecond: number;
}

const strokes = ["var(--loss)", "var(--muted)", "var(--mark)", "var(--rate)", "var(--ink)"];
const panelHeight = 240;

/**
 * Bandwidth over the number of elements, on a logarithmic axis, as an SVG file of its own. A line joins what has equally
 * many tensors; several tensors have their name beside the dot of the first contender.
 */
export function bandwidthFigure(points: readonly BandwidthPoint[], subject: string): string {
  const contenders = [...new Set(points.map(({ contender }) => contender))];
  const panels = [...new Set(points.map(({ panel }) => panel))];
  const sizes = points.map(({ elements }) => elements);
  const stroke = (contender: string) => strokes[contenders.indexOf(contender) % strokes.length] as string;
  const sorted = [...points].sort((a, b) => a.elements - b.elements);
  const channels = { x: "elements", y: "gigabytesPerSecond", fy: "panel" } as const;
  const legend = contenders.map((contender, i) => ({ contender, panel: panels[0], dy: 10 + i * 18 }));
  const marginRight = 42 + 8 * Math.max(...contenders.map((contender) => contender.length));
  const place = { frameAnchor: "top-right", textAnchor: "start", fy: "panel" } as const;
  return drawFigure({
    title: `${subject}: bytes moved per second over the number of elements`,
    standalone: true,
    plot: {
      height: 70 + panelHeight * panels.length,
      marginRight,
      // A little room, also where there is one size only.
      x: {
        type: "log",
        domain: [Math.min(...sizes) / 1.5, Math.max(...sizes) * 1.5],
        label: "elements",
        labelArrow: "none",
        ticks: 5,
        tickFormat: tick,
      },
      y: { zero: true, grid: true, label: "GB/s", labelArrow: "none", ticks: 5 },
      fy: { axis: null, domain: panels, padding: 0.2 },
      marks: [
        Plot.text(panels, {
          fy: (panel: string) => panel,
          text: (panel: string) => panel,
          frameAnchor: "top",
          dy: -14,
        }),
        contenders.map((contender) => {
          const own = sorted.filter((point) => point.contender === contender);
          return [
            Plot.lineY(own, { ...channels, z: "tensors", stroke: stroke(contender), strokeWidth: 2 }),
            Plot.dot(own, { ...channels, r: 3.5, fill: stroke(contender) }),
          ];
        }),
        Plot.text(
          sorted.filter(({ tensors, contender }) => tensors > 1 && contender === contenders[0]),
          {
            ...channels,
            text: "name",
            dx: 8,
            dy: 9,
            textAnchor: "start",
            fill: "var(--muted)",
            stroke: "var(--surface)",
          },
        ),
        legend.map((row) => [
          Plot.text([row], { ...place, text: () => "━━", dx: 10, dy: row.dy, fill: stroke(row.contender) }),
          Plot.text([row], { ...place, text: "contender", dx: 36, dy: row.dy, fill: "currentColor" }),
        ]),
      ],
    },
  });
}
