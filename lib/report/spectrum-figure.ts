import * as Plot from "@observablehq/plot";
import { drawFigure } from "./figure.js";
import { tick } from "./tick.js";

/** The data of {@link spectrumFigure}. */
export interface SpectrumFigure {
  /** Ritz values with their mass, ascending. */
  readonly ritz: readonly { readonly value: number; readonly weight: number }[];
  /** Lower and upper bounds on the mass to the left of points, ascending in `x`. */
  readonly bounds: readonly { readonly x: number; readonly below: number; readonly upTo: number }[];
  readonly noiseFloor: number;
  readonly marks: readonly { readonly x: number; readonly label: string }[];
  /** Name of the model, for the title. */
  readonly subject: string;
}

/**
 * Draws the spectrum of a loss's Hessian, weighted by the gradient, as a standalone SVG. Each Ritz value has its mass as
 * a stem. The cumulative mass is a step curve, and its bounds are a band. The scale of curvature is linear inside the
 * noise floor and logarithmic outside.
 */
export function spectrumFigure({ ritz, bounds, noiseFloor, marks, subject }: SpectrumFigure): string {
  let sum = 0;
  const stairs = ritz.flatMap(({ value, weight }) => {
    const before = { x: value, y: sum };
    sum += weight;
    return [before, { x: value, y: sum }];
  });
  const [lowest, highest] = [Math.min(-noiseFloor, ritz[0]?.value ?? 0), Math.max(noiseFloor, ritz.at(-1)?.value ?? 0)];
  return drawFigure({
    title: `Curvature of ${subject}: mass of the gradient at each curvature, and on its left`,
    standalone: true,
    plot: {
      height: 320,
      marginTop: 40,
      marginRight: 30,
      x: {
        type: "symlog",
        constant: noiseFloor,
        label: "curvature",
        labelArrow: "none",
        domain: [lowest, highest],
        ticks: ticksBetween(lowest, highest, noiseFloor),
        tickFormat: tick,
      },
      y: { domain: [0, 1], grid: true, label: "share of the gradient, squared", labelArrow: "none", ticks: 5 },
      marks: [
        Plot.rectY([0], { x1: -noiseFloor, x2: noiseFloor, y1: 0, y2: 1, fill: "var(--muted)", fillOpacity: 0.12 }),
        Plot.areaY(bounds, { x: "x", y1: "below", y2: "upTo", fill: "var(--loss)", fillOpacity: 0.22 }),
        Plot.line(stairs, { x: "x", y: "y", stroke: "var(--loss)", strokeWidth: 1.5 }),
        Plot.ruleX(ritz, { x: "value", y1: 0, y2: "weight", stroke: "var(--rate)", strokeWidth: 2.5 }),
        Plot.ruleX(marks, { x: "x", stroke: "var(--mark)", strokeDasharray: "4 3" }),
        Plot.text(marks, { x: "x", y: 1, text: "label", dy: -8, fill: "var(--mark)" }),
      ],
    },
  });
}

/** Returns zero and round numbers between the noise floor and the ends. */
function ticksBetween(lowest: number, highest: number, noiseFloor: number): number[] {
  const sizes: number[] = [];
  const farthest = Math.max(-lowest, highest);
  for (let power = Math.floor(Math.log10(noiseFloor)); 10 ** power <= farthest; power++)
    for (const digit of [1, 2, 5]) sizes.push(digit * 10 ** power);
  const round = sizes.filter((size) => size > 1.5 * noiseFloor);
  // If there are too many ticks, only powers of ten are kept.
  const few = round.length > 9 ? round.filter((size) => Math.log10(size) % 1 === 0) : round;
  return [...few.map((size) => -size).reverse(), 0, ...few].filter((value) => value >= lowest && value <= highest);
}
