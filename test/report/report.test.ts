import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import {
  downsample,
  endOf,
  familyFigure,
  headingOf,
  htmlPage,
  labelOf,
  lossFigure,
  runReport,
  scheduleFigure,
} from "#lib/report/index.js";
import { centeredMean, Smoother } from "#lib/report/smooth.js";
import { uba } from "#lib/schedule/index.js";

const schedule = uba({ budget: 100, maxLr: 0.1, warmup: 10 });
const records = (count: number, loss: (step: number) => number) =>
  Array.from({ length: count }, (_, step) => ({ step, loss: loss(step), learningRate: schedule(step) }));

/** The corners of each curve of one color. */
function curvesOf(svg: string, color: string): number[][][] {
  const { document } = parseHTML(`<body>${svg}</body>`);
  return [...document.querySelectorAll("[stroke]")]
    .filter((element) => element.getAttribute("stroke") === color)
    .flatMap((element) => [element, ...element.querySelectorAll("path")])
    .map((path) => path.getAttribute("d") ?? "")
    .filter((d) => d.startsWith("M"))
    .map((d) =>
      d
        .slice(1)
        .split(/[LM]/)

        .map((point: string) => point.split(",").map(Number)),
    );
}

describe("downsample", () => {
  test("keeps a few points as they are, and both ends and every spike of many points", () => {
    const few = records(50, (step) => step).map(({ step }) => ({ x: step, y: 1 }));
    expect(downsample(few, 50)).toBe(few);
    const many = Array.from({ length: 100_000 }, (_, x) => ({
      x,
      y: x === 77_777 ? 9 : x === 33_333 ? -9 : Math.sin(x),
    }));
    const kept = downsample(many, 1000);
    expect(kept.length).toBeLessThanOrEqual(1002);
    expect(kept.length).toBeGreaterThan(900);
    expect([kept[0], kept.at(-1)]).toEqual([many[0], many.at(-1)]);
    expect(kept).toContain(many[77_777]);
    expect(kept).toContain(many[33_333]);
    expect(kept.map(({ x }) => x)).toEqual([...new Set(kept.map(({ x }) => x))].sort((a, b) => a - b));
  });
});

describe("means", () => {
  test("the smoothed value of constants is the constant from the start, and non-finite values are skipped", () => {
    const smoother = new Smoother(20);
    expect(smoother.value).toBeNaN();
    expect(smoother.add(3)).toBe(3);
    expect(smoother.add(Number.NaN)).toBe(3);
    expect(smoother.add(3)).toBeCloseTo(3, 12);
    expect(smoother.add(4)).toBeGreaterThan(3);
  });

  test("a centered mean of a line is the line, except at its end", () => {
    const line = Array.from({ length: 30 }, (_, i) => 2 * i);
    expect(centeredMean(line, 7).slice(0, 27)).toEqual(line.slice(0, 27));
    expect(centeredMean([1, Number.NaN, 3, 5], 3)).toEqual([1, 2, 4, 4]);
  });
});

describe("figures", () => {
  test("a loss axis is logarithmic: a factor of ten always has the same height", () => {
    const svg = lossFigure(records(31, (step) => 10 ** (-step / 10)));
    const [raw = []] = curvesOf(svg, "var(--loss)");
    expect(raw).toHaveLength(31);
    const height = (step: number) => raw[step]?.[1] ?? Number.NaN;
    expect(height(10) - height(0)).toBeGreaterThan(20);
    expect(height(20) - height(10)).toBeCloseTo(height(10) - height(0), 1);
  });

  test("zero or non-finite losses are gaps, and the drawing contains no NaN", () => {
    const special = [Number.NaN, 0, Number.POSITIVE_INFINITY];
    const losses = records(40, (step) => special[(step % 10) - 3] ?? 1 / (step + 1));
    const evaluations = special.map((loss, i) => ({ step: 10 * (i + 1), split: "test", loss }));
    const svg = lossFigure(losses, { evaluations });
    expect(svg).not.toContain("NaN");
    expect(svg).not.toContain("Infinity");
  });

  test("a schedule ends at its lowest rate, and the rest of an unfinished run is faint", () => {
    const [faint = [], solid = []] = curvesOf(scheduleFigure(schedule, { made: records(40, () => 1) }), "var(--rate)");
    expect([faint.length, solid.length]).toEqual([100, 40]);
    const heights = faint.map(([, y]) => y ?? 0);
    expect(heights.indexOf(Math.min(...heights))).toBe(9);
    expect(heights.at(-1)).toBe(Math.max(...heights));
  });

  test("completed steps show their own rates, even of another schedule", () => {
    const made = records(40, () => 1).map((record) => ({ ...record, learningRate: 0.05 }));
    const [, solid = []] = curvesOf(scheduleFigure(schedule, { made }), "var(--rate)");
    expect(new Set(solid.map(([, y]) => y)).size).toBe(1);
  });

  test("a family has a separately colored curve and a label for each schedule", () => {
    const phis = [0.5, 2, 8];
    const svg = familyFigure(
      phis.map((phi) => uba({ budget: 50, maxLr: 1, phi })),
      phis.map((phi) => `φ = ${phi}`),
    );
    for (const phi of phis) expect(svg).toContain(`>φ = ${phi}<`);
    const colors = new Set([...svg.matchAll(/stroke="(var\(--ramp-\d\))"/g)].map((match) => match[1]));
    expect(colors.size).toBe(3);
    expect(svg).toMatch(/^<svg[^>]* xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
  });
});

describe("the page", () => {
  const run = {
    title: "a <model>",
    lead: "It ran & ended.",
    figures: [["Accuracy", "98 %"]] as const,
    settings: [["data", 'idx:"<b>"']] as const,
    results: [["steps", "40"]] as const,
    records: records(40, (step) => 1 / (step + 1)),
    evaluations: [{ step: 20, split: "test", loss: 0.5, accuracy: 0.75 }],
    schedule,
  };

  test("contains everything, with escaped text", () => {
    const html = runReport(run);
    const { document } = parseHTML(html);
    expect(document.querySelector("h1")?.textContent).toBe("a <model>");
    expect(document.querySelectorAll("svg")).toHaveLength(2);
    expect(document.querySelector("dd")?.textContent).toBe("98 %");
    expect([...document.querySelectorAll("td")].map((cell) => cell.textContent)).toEqual(
      expect.arrayContaining(['idx:"<b>"', "40", "75.00 %"]),
    );
    expect(html).not.toContain("<b>");
  });

  test("has the gradient norm if the records do, and a badge that is escaped", () => {
    const withNorm = run.records.map((record) => ({ ...record, gradientNorm: 2 }));
    const { document } = parseHTML(runReport({ ...run, records: withNorm, badge: { text: "<b>", isBad: true } }));
    expect(document.querySelectorAll("svg")).toHaveLength(3);
    expect(document.querySelector(".badge.bad")?.textContent).toBe("<b>");
  });

  test("names settings and results in words", () => {
    expect(["maxLr", "phi", "testLoss", "finalLoss"].map(labelOf)).toEqual([
      "highest learning rate",
      "φ",
      "test loss",
      "loss of the last step",
    ]);
    expect(["maxLr", "phi", "constructor"].map(headingOf)).toEqual(["Highest learning rate", "φ", "Constructor"]);
    expect([["completed"], ["interrupted"], ["failed", "non-finite"], ["failed"]].map(([a, b]) => endOf(a, b))).toEqual(
      ["finished", "interrupted", "diverged", "failed"],
    );
  });

  test.each([
    ["without a step", []],
    ["with losses that are all not finite", records(3, () => Number.NaN)],
    ["of one step", records(1, () => 2)],
  ])("is created for a run %s too", (_, few) => {
    const html = runReport({ ...run, records: few, evaluations: [] });
    expect(html).toContain("</html>");
    expect(html).not.toContain("NaN");
  });

  test("loads no external resources", () => {
    const html = htmlPage({ title: "t", lead: "l", figures: [], sections: [] });
    expect(html).not.toMatch(/<script|<link|src=|href=|url\(|@import/);
  });
});
