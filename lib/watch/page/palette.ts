import { makeSvg } from "./dom.js";

/** Number of colors; see `series` in lib/report/style.ts. */
const colors = 8;
/** Curves beyond the number of colors have the same colors with other dashes. */
const dashes: readonly (readonly number[])[] = [[], [7, 4], [2, 3], [9, 3, 2, 3]];

/** The look of a curve. */
export interface Look {
  /** Value for CSS. */
  readonly color: string;
  readonly dash: readonly number[];
}

/** Returns the look of the curve with an index. */
export function lookOf(index: number): Look {
  return { color: `var(--series-${index % colors})`, dash: dashes[Math.floor(index / colors) % dashes.length] ?? [] };
}

/** Returns the present value of a color, which depends on the color scheme, for a canvas. */
export function resolved(color: string): string {
  const name = /^var\((--[\w-]+)\)$/.exec(color)?.[1];
  return name === undefined ? color : getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Draws a piece of a curve for a legend. */
export function swatch({ color, dash }: Look): SVGElement {
  return makeSvg(
    "svg",
    { class: "swatch", viewBox: "0 0 26 10", "aria-hidden": "true" },
    makeSvg("line", {
      x1: 1,
      y1: 5,
      x2: 25,
      y2: 5,
      stroke: color,
      "stroke-width": 3,
      "stroke-dasharray": dash.length > 0 ? dash.join(" ") : undefined,
    }),
  );
}
