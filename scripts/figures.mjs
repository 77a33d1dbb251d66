// Draws the figures of the documents and prints the numbers that docs/uba.md quotes. Run it after set-up: node
// scripts/figures.mjs
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import * as Plot from "@observablehq/plot";
import { massBounds, spectrum } from "../dist/curvature/index.js";
import { drawFigure } from "../dist/report/figure.js";
import { familyFigure } from "../dist/report/index.js";
import { rampColor } from "../dist/report/style.js";
import { cosine, tabulate, uba } from "../dist/schedule/index.js";
import {
  contraction,
  decreasing,
  lebedevFinogenov,
  leja,
  minimax,
  roundingGrowth,
  suggest,
  worstCase,
} from "../dist/schedule/theory/index.js";

const save = (name, svg) => writeFileSync(`docs/figures/${name}.svg`, svg);
const times = (log) => Math.exp(log).toPrecision(3);
const powersOfTen = (log) => log / Math.LN10;
mkdirSync("docs/figures", { recursive: true });

const phis = [0.1, 0.5, 1, 2, 5, 20, 100];
const family = phis.map((phi) => uba({ budget: 200, maxLr: 1, phi }));
save(
  "uba-family",
  familyFigure(
    family,
    phis.map((phi) => `φ = ${phi}`),
  ),
);

/**
 * Curves with a legend at the right. Each has a label and points. `dash` and `dots` distinguish a curve from its
 * neighbors.
 */
function lines({ title, x, y, curves }) {
  const color = (i) => rampColor(i + 1, curves.length + 1);
  const place = { frameAnchor: "top-right", textAnchor: "start" };
  return drawFigure({
    title: `${title}: ${curves.map(({ label }) => label).join(", ")}`,
    standalone: true,
    plot: {
      height: 320,
      marginRight: 46 + 7.2 * Math.max(...curves.map(({ label }) => label.length)),
      x: { labelArrow: "none", ...x },
      y: { grid: true, labelArrow: "none", ...y },
      marks: curves.map(({ label, points, dash, dots }, i) => {
        const at = { x: "0", y: "1" };
        const legend = { ...place, dy: 10 + i * 18 };
        return [
          dots
            ? Plot.dot(points, { ...at, r: 2.4, fill: color(i) })
            : Plot.line(points, { ...at, stroke: color(i), strokeWidth: 2, strokeDasharray: dash ?? null }),
          Plot.text([dots ? "•••" : dash ? "╍╍" : "━━"], { ...legend, dx: 10, fill: color(i), fontWeight: "bold" }),
          Plot.text([label], { ...legend, dx: 36, fill: "currentColor" }),
        ];
      }),
    },
  });
}

// The remaining error after UBA with fixed bounds, for a suitable φ and for one that is too small or too large.
{
  const between = { budget: 16, maxLr: 1, minLr: 1 / 20 };
  const at = Array.from({ length: 1201 }, (_, i) => 20 ** (i / 1200));
  const curves = [20, 40, 80].map((phi) => {
    const lr = uba({ ...between, phi });
    // Zeros are below the edge of the figure.
    const points = at.map((curvature) => [curvature, Math.max(-5, powersOfTen(contraction(lr, curvature)))]);
    return { label: `φ = ${phi}`, points };
  });
  const title = "What is left of an error along each curvature, 16 steps, curvatures from 1 to 20";
  const x = { type: "log", label: "curvature λ", ticks: [1, 2, 5, 10, 20], tickFormat: String };
  save("uba-contraction", lines({ title, x, y: { label: "log₁₀ of what is left", domain: [-5, 1.5] }, curves }));

  console.log("T = 16, κ = 20, maxLr 1, minLr 1/20: what is left at worst");
  for (const phi of [2, 20, 40, 80])
    console.log(`  φ = ${phi}`, times(worstCase(uba({ ...between, phi }), [1, 20]).value));
  console.log("  cosine at s/T", times(worstCase(cosine(between), [1, 20]).value));
  console.log("  best constant", times(worstCase(new Float64Array(16).fill(2 / 21), [1, 20]).value));
}

// The effect of a stability limit on the steps and on the remaining error.
{
  const [budget, kappa] = [64, 100];
  const problem = { curvature: [1 / kappa, 1], budget };
  const bounded = minimax({ ...problem, maxLr: 10 });
  const { phi, maxLr, minLr } = suggest({ ...problem, maxLr: 10 });
  const curves = [
    { label: "best UBA, rates ≤ 10", points: [...tabulate(uba({ budget, phi, maxLr, minLr })).entries()] },
    { label: "best steps ≤ 10", points: [...bounded.steps.entries()], dots: true },
    { label: "best steps, no bound", points: [...minimax(problem).steps.entries()], dash: "5 3" },
  ];
  const y = { type: "log", label: "learning rate × λ_u", ticks: [1, 10, 100], tickFormat: String };
  const title = "Learning rates over 64 steps for κ = 100";
  save("uba-bound-steps", lines({ title, x: { label: "step", ticks: 8 }, y, curves }));

  const bounds = Array.from({ length: 81 }, (_, i) => 1.2 * (kappa / 1.2) ** (i / 80));
  const against = (value) => bounds.map((c) => [c, powersOfTen(value(c))]);
  const worst = [
    { label: "best constant", points: against((c) => 64 * Math.log(Math.max(1 - Math.min(c, 2 / 1.01) / kappa))) },
    { label: "best UBA", points: against((c) => suggest({ ...problem, maxLr: c }).worstCase) },
    { label: "best steps", points: against((c) => minimax({ ...problem, maxLr: c }).value) },
  ];
  const x = {
    type: "log",
    label: "highest learning rate allowed × λ_u",
    ticks: [2, 5, 10, 20, 50, 100],
    tickFormat: String,
  };
  const left = "What is left at worst after 64 steps for κ = 100, against the bound";
  save("uba-bound", lines({ title: left, x, y: { label: "log₁₀ of what is left" }, curves: worst }));

  console.log(`T = ${budget}, κ = ${kappa}, maxLr c/λ_u: what is left at worst`);
  console.log(
    "  c, best steps (at the bound), best UBA (φ, minLr·λ_u), UBA with minLr = 1/λ_u and with 0, best constant",
  );
  for (const c of [1.5, 2.2, 3, 5, 10, 20, 50, 100]) {
    const best = minimax({ ...problem, maxLr: c });
    const fit = suggest({ ...problem, maxLr: c });
    const grid = Array.from({ length: 40_000 }, (_, i) => 1e-6 * 1e14 ** (i / 39_999));
    const least = (minLr) =>
      Math.min(...grid.map((phi) => worstCase(uba({ budget, maxLr: c, minLr, phi }), problem.curvature).value));
    const constant = budget * Math.log(1 - Math.min(c, 2 / (1 + 1 / kappa)) / kappa);
    const figures = [best.value, fit.worstCase, least(Math.min(c, 1)), least(0), constant].map(times);
    console.log(
      " ",
      c,
      figures.join(" "),
      `at bound ${best.certificate.atMaxLr}`,
      fit.phi.toFixed(3),
      fit.minLr.toFixed(4),
    );
  }
  for (const c of [3, 10, 50]) {
    const { phi } = suggest({ ...problem, budget: 1e6, maxLr: c });
    const [X, Y] = [1 - c / kappa, 1 - 1 / kappa];
    const a = (-Math.sqrt(X * Y) + Math.sqrt(X * Y + Y * (c - 2 + c / kappa))) / Y;
    const at64 = suggest({ ...problem, maxLr: c }).phi;
    console.log(
      `  c = ${c}: φ at T = 64`,
      at64.toFixed(2),
      "at T = 1e6",
      phi.toFixed(2),
      "formula",
      (2 * a * a).toFixed(2),
    );
  }
}

// The effect of the order of steps on the largest error during the run.
{
  const curvature = [0.01, 1];
  const { steps } = minimax({ curvature, budget: 64 });
  const way = (order) =>
    Array.from(order, (_, s) => [s + 1, powersOfTen(worstCase(order.slice(0, s + 1), curvature).value)]);
  const curves = [
    { label: "falling", points: way(decreasing(steps)) },
    { label: "Leja", points: way(leja(steps)) },
    { label: "Lebedev–Finogenov", points: way(lebedevFinogenov(steps)), dash: "5 3" },
  ];
  const title = "The largest error on the way, 64 Chebyshev steps for κ = 100";
  save(
    "uba-order",
    lines({ title, x: { label: "steps taken", ticks: 8 }, y: { label: "log₁₀ of the largest error" }, curves }),
  );

  console.log("rounding growth, log10: falling, rising, Lebedev–Finogenov, Leja");
  for (const [kappa, budget, maxLr] of [
    [100, 64],
    [1000, 64],
    [1000, 128],
    [100, 64, 10],
    [1000, 64, 10],
  ]) {
    const range = [1 / kappa, 1];
    const { steps } = minimax({ curvature: range, budget, ...(maxLr && { maxLr }) });
    const orders = [decreasing(steps), decreasing(steps).reverse(), lebedevFinogenov(steps), leja(steps)];
    const growth = orders.map((order) => powersOfTen(roundingGrowth(order, range)).toFixed(1));
    console.log(`  κ = ${kappa}, T = ${budget}, maxLr ${maxLr ?? "free"}:`, growth.join(" "));
  }
}

// Warm-up and phases.
{
  const phases = [
    { iterations: 90, phi: 2 },
    { iterations: 60, phi: 10 },
    { iterations: 30, maxLr: 0.5, phi: 10 },
  ];
  const lr = uba({ budget: 200, warmup: 20, maxLr: 1, minLr: 0.02, phases });
  save("uba-phases", familyFigure([lr], ["three phases"]));
}

// The information that a few products give about a spectrum of 300 eigenvalues. Most are small, and the gradient has
// larger components at the large ones.
{
  const eigenvalues = Float64Array.from({ length: 300 }, (_, i) => 10 * (i / 299) ** 6);
  const gradient = eigenvalues.map((lambda) => Math.sqrt(0.01 + lambda));
  const whole = gradient.reduce((sum, g) => sum + g * g, 0);
  const at = Array.from({ length: 801 }, (_, i) => -0.5 + (i / 800) * 11);
  const truth = at.map((x) => [
    x,
    gradient.reduce((sum, g, i) => (eigenvalues[i] <= x ? sum + g * g : sum), 0) / whole,
  ]);
  const marks = [];
  console.log("bounds on the mass: products, λ_q (truth), its bracket, λ_max of 10");
  for (const [i, steps] of [5, 12].entries()) {
    const found = await spectrum((v) => v.map((x, k) => x * eigenvalues[k]), gradient, { steps });
    const band = at.map((x) => ({ x, ...massBounds(found.matrix, x) }));
    const fill = rampColor(1 + 3 * i, 7);
    marks.push(Plot.areaY(band, { x: "x", y1: "below", y2: "upTo", fill, fillOpacity: 0.45 }));
    marks.push(
      Plot.text([`${steps} products`], { frameAnchor: "bottom-right", dy: -34 + 18 * i, fill, fontWeight: "bold" }),
    );
    const { estimate, lowest, highest } = found.lambdaQ;
    const quantile = truth.find(([, mass]) => mass >= 0.05)[0];
    const figures = [quantile, estimate, lowest, highest].map((value) => value.toFixed(3));
    console.log(`  ${steps}: ${figures.join(" ")} ${found.lambdaMax.toFixed(4)}`);
  }
  const svg = drawFigure({
    title: "Bounds on the mass on the left of each curvature after 5 and 12 products, and the mass itself",
    standalone: true,
    plot: {
      x: { label: "curvature", labelArrow: "none", ticks: 10 },
      y: { domain: [0, 1], grid: true, label: "mass on the left", labelArrow: "none", ticks: 5 },
      marks: [...marks, Plot.line(truth, { stroke: "var(--ink)", strokeWidth: 1.5 })],
    },
  });
  save("curvature-brackets", svg);
}

// The mass to the left of each curvature at several moments of a run of resnet8, from the file that bench/curvature.ts
// writes.
{
  const { rows } = JSON.parse(readFileSync("bench/results/curvature-resnet8-mnist.json", "utf8"));
  const shown = [0, 15, 75, 300];
  const moments = rows.filter(
    ({ optimizer, moment, batch }) => optimizer === "sgd" && batch === 512 && shown.includes(moment),
  );
  const curves = moments.map(({ moment, nodes }) => {
    let sum = 0;
    const points = nodes.flatMap(([value, weight]) => {
      const before = [value, sum];
      sum += weight;
      return [before, [value, sum]];
    });
    return { label: `${moment} steps`, points };
  });
  const title = "Mass of the gradient on the left of each curvature, resnet8 on MNIST with SGD";
  const x = { type: "symlog", constant: 0.5, label: "curvature", ticks: [-2, -1, 0, 1, 2, 5, 10] };
  save("curvature-resnet8", lines({ title, x, y: { domain: [0, 1], label: "mass on the left" }, curves }));
}

console.log("time of minimax: T, κ, bounds, seconds, faces looked at");
for (const [budget, kappa, bounds] of [
  [64, 1000, {}],
  [64, 1000, { maxLr: 10 }],
  [64, 1000, { maxLr: 10, minLr: 1.2 }],
  [128, 1000, { maxLr: 10 }],
]) {
  const begin = performance.now();
  const { certificate } = minimax({ curvature: [1 / kappa, 1], budget, ...bounds });
  const seconds = ((performance.now() - begin) / 1000).toFixed(2);
  console.log(" ", budget, kappa, JSON.stringify(bounds), seconds, certificate.excluded.length + 1);
}
