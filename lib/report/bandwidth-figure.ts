import * as Plot from "@observablehq/plot";
import { itemAt } from "../lookup.js";
import { drawFigure } from "./figure.js";
import { tick } from "./tick.js";

/** One measurement of {@link bandwidthFigure}. */
export interface BandwidthPoint {
  /** Name of the curve. Curves are drawn in the order in which their names first occur. */
  readonly contender: string;
  /** Setting of the measurement and title of its panel. Each setting has its own panel. */
  readonly panel: string;
  /** Number of tensors. */
  readonly tensors: number;
  /** Number of elements of all tensors together. */
  readonly elements: number;
  /** Label of the point, shown if there are several tensors. */
  readonly name: string;
  readonly gigabytesPerSecond: number;
}

const strokes = ["var(--loss)", "var(--muted)", "var(--mark)", "var(--rate)", "var(--ink)"];
const panelHeight = 240;

/**
 * Draws bandwidth in GB/s over the number of elements, on a logarithmic axis, as a standalone SVG. A line connects points
 * with the same number of tensors. If there are several tensors, the point of the first contender has a label.
 *
 * @param subject what was measured, for the title
 */
export function bandwidthFigure(points: readonly BandwidthPoint[], subject: string): string {
  const contenders = [...new Set(points.map(({ contender }) => contender))];
  const panels = [...new Set(points.map(({ panel }) => panel))];
  const sizes = points.map(({ elements }) => elements);
  const stroke = (contender: string) => itemAt(strokes, contenders.indexOf(contender) % strokes.length);
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
      // The margin gives the axis an extent even if there is only one size.
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
          const curve = sorted.filter((point) => point.contender === contender);
          return [
            Plot.lineY(curve, { ...channels, z: "tensors", stroke: stroke(contender), strokeWidth: 2 }),
            Plot.dot(curve, { ...channels, r: 3.5, fill: stroke(contender) }),
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
