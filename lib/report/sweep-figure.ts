import * as Plot from "@observablehq/plot";
import { drawFigure } from "./figure.js";
import { tick } from "./tick.js";

/** The data of {@link sweepFigure}. */
export interface SweepFigure {
  readonly points: readonly { readonly learningRate: number; readonly loss: number; readonly smoothed: number }[];
  /** The range of losses to show. What is outside is cut off. */
  readonly range: readonly [number, number];
  /** Rates to mark. */
  readonly marks: readonly { readonly learningRate: number; readonly label: string }[];
  /** What was trained, for the title. */
  readonly subject: string;
}

/**
 * Draws the loss of a sweep over the learning rate, as a standalone SVG: every step faintly, the smoothed loss solid,
 * and marks at rates.
 */
export function sweepFigure({ points, range, marks, subject }: SweepFigure): string {
  const [x, stroke] = ["learningRate", "var(--loss)"];
  return drawFigure({
    title: `Loss over the learning rate of ${subject}`,
    standalone: true,
    plot: {
      height: 320,
      marginTop: 20 + 13 * marks.length,
      marginRight: 30,
      x: { type: "log", label: "learning rate", labelArrow: "none", ticks: 8, tickFormat: tick },
      y: { domain: range, clamp: true, grid: true, label: "loss", labelArrow: "none", ticks: 6, tickFormat: tick },
      marks: [
        Plot.lineY(points, { x, y: "loss", stroke, strokeOpacity: 0.3 }),
        Plot.lineY(points, { x, y: "smoothed", stroke, strokeWidth: 2 }),
        Plot.ruleX(marks, { x, stroke: "var(--mark)", strokeDasharray: "4 3" }),
        // Marks may be close to each other, so each label has a line of its own.
        marks.map((mark, i) =>
          Plot.text([mark], { x, frameAnchor: "top", text: "label", dy: -8 - 13 * i, fill: "var(--mark)" }),
        ),
      ],
    },
  });
}
