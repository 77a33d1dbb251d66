import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import { spectrumFigure } from "#lib/report/index.js";

type Nodes = readonly (readonly [value: number, weight: number])[];

/** Creates the figure of some Ritz values and parses it. */
function figureOf(nodes: Nodes, noiseFloor: number) {
  const ritz = nodes.map(([value, weight]) => ({ value, weight }));
  const bounds = ritz.map(({ value }) => ({ x: value, below: 0.1, upTo: 0.9 }));
  const marks = [{ x: nodes.at(-1)![0], label: "λ_max" }];
  const svg = spectrumFigure({ ritz, bounds, noiseFloor, marks, subject: "a model" });
  const { document } = parseHTML(svg);
  const all = (selector: string) => [...document.querySelectorAll(selector)];
  const stems = all('[stroke="var(--rate)"] line').map((stem) => ({
    x: Number(stem.getAttribute("x1")),
    length: Math.abs(Number(stem.getAttribute("y1")) - Number(stem.getAttribute("y2"))),
  }));
  const ticks = all('[aria-label="x-axis tick label"] text').map((text) => text.textContent);
  return { svg, stems, ticks };
}

describe("the figure of a spectrum", () => {
  const nodes: Nodes = [
    [-2, 0.1],
    [0.5, 0.2],
    [40, 0.4],
    [3000, 0.3],
  ];

  test("has a stem for each Ritz value with its weight as length, in order", () => {
    const { svg, stems } = figureOf(nodes, 0.1);
    expect(stems.map(({ length }) => length / stems[2]!.length)).toEqual(
      nodes.map(([, weight]) => expect.closeTo(weight / 0.4, 6)),
    );
    expect([...stems].sort((a, b) => a.x - b.x)).toEqual(stems);
    expect(svg).not.toMatch(/NaN|undefined/);
  });

  test.each<[string, Nodes, number]>([
    ["over many powers of ten", nodes, 1e-9],
    ["all within the noise floor", [[0.1, 1]], 5],
    ["all negative", [[-30, 0.5], [-2, 0.5]], 0.3], // biome-ignore format: one row
    ["a single value", [[7, 1]], 1e-3],
  ])("has ticks that do not overlap and are inside the figure: %s", (_, some, noiseFloor) => {
    const { ticks, svg } = figureOf(some, noiseFloor);
    expect(ticks).toContain("0");
    expect(ticks.length).toBeLessThanOrEqual(26);
    for (const tick of ticks) {
      const value = Number(tick.replace("−", "-"));
      expect(value).toBeGreaterThanOrEqual(Math.min(some[0]![0], -noiseFloor));
      expect(value).toBeLessThanOrEqual(Math.max(some.at(-1)![0], noiseFloor));
    }
    expect(svg).not.toMatch(/NaN|undefined/);
  });
});
