import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import { differenceFigure } from "#lib/report/difference-figure.js";
import { seriesFigure } from "#lib/report/series-figure.js";
import { colorRules } from "#lib/report/style.js";

/** The variables of the light and of the dark theme. */
const themes = [...colorRules(":root").matchAll(/\{(--[^{}]*)\}/g)].map(
  ([, rules = ""]) => new Map(rules.split(";").map((rule) => rule.split(":") as [string, string])),
);

/** Contrast of two colors by WCAG 2.1. */
function contrast(a: string, b: string): number {
  const [light, dark] = [a, b].map(luminance).sort((x, y) => y - x) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

function luminance(hex: string): number {
  const parts = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255);
  const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)) as [
    number,
    number,
    number,
  ];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

const parsed = (svg: string) => parseHTML(`<body>${svg}</body>`).document;
const textsOf = (svg: string) => [...parsed(svg).querySelectorAll("text")].map((text) => text.textContent);

describe("colors of curves", () => {
  test("the contrast function has the known values", () => {
    expect(contrast("#000000", "#ffffff")).toBeCloseTo(21, 10);
    expect(contrast("#777777", "#ffffff")).toBeCloseTo(4.48, 2);
  });

  test.each([0, 1])("all differ and have enough contrast with the background of theme %i", (theme) => {
    const colors = themes[theme] as Map<string, string>;
    const series = [...colors].filter(([name]) => name.startsWith("--series-"));
    expect(series).toHaveLength(8);
    expect(new Set(series.map(([, color]) => color)).size).toBe(8);
    // WCAG requires 3 for graphics and 4.5 for text.
    for (const [name, color] of [...series, ...[...colors].filter(([variable]) => /^--ramp-[2-6]$/.test(variable))])
      expect(contrast(color, colors.get("--surface") as string), name).toBeGreaterThan(3);
    for (const name of ["--ink", "--muted"])
      expect(contrast(colors.get(name) as string, colors.get("--surface") as string), name).toBeGreaterThan(4.5);
  });
});

/** Simulations of color blindness in linear RGB: Machado, Oliveira and Fernandes 2009, severity 1. */
const blindness = {
  none: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

/** CIELAB coordinates of a color as a reader sees it, for D65. */
function labOf(hex: string, matrix: readonly (readonly number[])[]): number[] {
  const linear = [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  const dot = (row: readonly number[], values: readonly number[]) =>
    row.reduce((sum, factor, i) => sum + factor * (values[i] ?? 0), 0);
  const seen = matrix.map((row) => Math.min(1, Math.max(0, dot(row, linear))));
  const [x, y, z] = [
    dot([0.4124, 0.3576, 0.1805], seen) / 0.9505,
    dot([0.2126, 0.7152, 0.0722], seen),
    dot([0.0193, 0.1192, 0.9505], seen) / 1.089,
  ].map((t) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116)) as [number, number, number];
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

describe("colors of curves for readers with color blindness", () => {
  test("the conversion to CIELAB has the known values of white and red", () => {
    for (const [i, value] of [53.24, 80.09, 67.2].entries())
      expect(labOf("#ff0000", blindness.none)[i]).toBeCloseTo(value, 0);
    expect(labOf("#ffffff", blindness.none)[0]).toBeCloseTo(100, 1);
  });

  test.each(Object.keys(blindness) as (keyof typeof blindness)[])("any two differ: %s", (kind) => {
    for (const theme of [0, 1]) {
      const series = [...(themes[theme] as Map<string, string>)].filter(([name]) => name.startsWith("--series-"));
      const seen = series.map(([, color]) => labOf(color, blindness[kind]));
      for (const [i, a] of seen.entries())
        for (const b of seen.slice(0, i))
          expect(Math.hypot(...a.map((value, axis) => value - (b[axis] ?? 0)))).toBeGreaterThan(11);
    }
  });
});

describe("a figure of series", () => {
  const series = ["uba", "cosine"].map((name, i) => ({ name, points: [1, 2, 4].map((x) => ({ x, y: x + i })) }));
  const options = { title: "Two curves", x: { label: "budget", log: true, ticks: [1, 2, 4] }, y: { label: "height" } };

  test("has a title for screen readers, both axes, and a legend", () => {
    const svg = seriesFigure(series, options);
    expect(parsed(svg).querySelector("svg")?.getAttribute("aria-label")).toBe("Two curves");
    expect(textsOf(svg)).toEqual(expect.arrayContaining(["budget", "height", "uba", "cosine", "1", "2", "4"]));
  });

  test("draws each curve in its color, and the highlighted one last and thicker", () => {
    const svg = seriesFigure(series, { ...options, highlight: "uba" });
    const lines = [...parsed(svg).querySelectorAll('g[aria-label="line"]')].map((line) => [
      line.getAttribute("stroke"),
      line.getAttribute("stroke-width"),
    ]);
    expect(lines).toEqual([
      ["var(--series-1)", "1.75"],
      ["var(--series-0)", "3"],
    ]);
  });

  test("has a gap at a point that is not finite", () => {
    const svg = seriesFigure([{ name: "a", points: [0, 1, 2, 3].map((x) => ({ x, y: x === 1 ? Number.NaN : x })) }], {
      ...options,
      x: { label: "x" },
    });
    expect(svg).not.toContain("NaN");
    const path = parsed(svg).querySelector('g[aria-label="line"] path')?.getAttribute("d") ?? "";
    expect(path.match(/M/g)).toHaveLength(2);
  });

  test("draws a reference dashed, and dots with a separate symbol for each curve", () => {
    const svg = seriesFigure(series, {
      ...options,
      dots: true,
      reference: {
        name: "best",
        points: [
          { x: 1, y: 0 },
          { x: 4, y: 0 },
        ],
      },
    });
    expect(svg).toContain('stroke-dasharray="5 4"');
    expect(textsOf(svg)).toContain("best");
    const shapes = [...parsed(svg).querySelectorAll('g[aria-label="dot"]')].map((group) =>
      group.innerHTML.replace(/ transform="[^"]*"/g, ""),
    );
    expect(shapes.length).toBeGreaterThanOrEqual(4);
    expect(new Set(shapes.filter((shape) => shape !== "")).size).toBeGreaterThan(1);
  });
});

describe("a figure of differences", () => {
  const points = [
    { name: "cosine", mean: 1, low: -1, high: 3 },
    { name: "step", mean: -2 },
  ];
  const options = { title: "Differences", label: "difference" };

  test("has a dot for each difference and a line for each interval, to scale", () => {
    const document = parsed(differenceFigure(points, options));
    expect(document.querySelectorAll('g[aria-label="dot"] circle')).toHaveLength(2);
    const [interval, ...others] = document.querySelectorAll('g[aria-label="rule"][stroke="var(--loss)"] line');
    expect(others).toEqual([]);
    const zero = Number(
      document.querySelector('g[aria-label="rule"][stroke="var(--muted)"] line')?.getAttribute("x1") ?? Number.NaN,
    );
    const [low, high] = ["x1", "x2"].map((end) => Number(interval?.getAttribute(end)));
    // The group is shifted by half a pixel. The distances of the ends from zero have the ratio of −1 and 3.
    expect(((high as number) - zero) / ((low as number) - zero)).toBeCloseTo(-3, 1);
  });

  test("draws the margin as a band if there is one", () => {
    const bands = (svg: string) => parsed(svg).querySelectorAll('g[aria-label="rect"] rect').length;
    expect([
      bands(differenceFigure(points, options)),
      bands(differenceFigure(points, { ...options, margin: 0.5 })),
    ]).toEqual([0, 1]);
  });

  test("is drawn even if all values are zero", () => {
    expect(differenceFigure([{ name: "a", mean: 0 }], options)).not.toContain("NaN");
  });
});
