// Draws the figures of the documents. Run after set-up: node scripts/figures.mjs
import { mkdirSync, writeFileSync } from "node:fs";
import { familyFigure } from "../dist/report/index.js";
import { uba } from "../dist/schedule/index.js";

const phis = [0.1, 0.5, 1, 2, 5, 20, 100];
const family = phis.map((phi) => uba({ budget: 200, maxLr: 1, phi }));
mkdirSync("docs/figures", { recursive: true });
writeFileSync(
  "docs/figures/uba-family.svg",
  familyFigure(
    family,
    phis.map((phi) => `φ = ${phi}`),
  ),
);
