import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { colorRules } from "./style.js";

/** Options of {@link drawFigure}. */
export interface FigureOptions {
  readonly plot: Plot.PlotOptions;
  /** Describes the figure for screen readers. */
  readonly title: string;
  /** Whether the figure is a file of its own, with its own colors and background; default false, for use on a page. */
  readonly standalone?: boolean | undefined;
}

/** Draws a plot and returns it as the text of an SVG element. */
export function drawFigure({ plot, title, standalone = false }: FigureOptions): string {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const svg = Plot.plot({
    document,
    width: 720,
    height: 300,
    marginTop: 30,
    marginLeft: 62,
    // Half of a label such as 1,000,000 at the end of the axis.
    marginRight: 36,
    marginBottom: 36,
    style: { fontSize: "12px", overflow: "visible" },
    ...plot,
  });
  const [width, height] = [svg.getAttribute("width"), svg.getAttribute("height")];
  // Plot adds a style that separates several plots on a page. It is not needed here.
  svg.querySelector("style")?.remove();
  svg.setAttribute("role", "img");
  // The serializer escapes only quotes in attributes.
  svg.setAttribute("aria-label", title.replaceAll("&", "&amp;").replaceAll("<", "&lt;"));
  if (standalone) {
    // XML parsers need the namespace. HTML parsers imply it.
    svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    const style = document.createElement("style");
    style.textContent = `${colorRules(":root")}:root{color:var(--ink)}text{white-space:pre}`;
    const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of Object.entries({ width, height, fill: "var(--surface)" }))
      ground.setAttribute(name, String(value));
    svg.prepend(style, ground);
  }
  return svg.outerHTML;
}

/** Options of the horizontal axis of all figures over steps. */
export const stepAxis: Plot.ScaleOptions = { label: "step", labelArrow: "none", ticks: 8, nice: false };
