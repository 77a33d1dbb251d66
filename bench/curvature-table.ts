/**
 * `npx tsx bench/curvature-table.ts`: writes the rows of the results file into docs/uba.md, between its two markers.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Curvature at one moment of a run. */
export interface Row {
  readonly optimizer: "sgd" | "adamw";
  /** Whether the Hessian is divided by Adam's denominator. */
  readonly adam: boolean;
  /** Number of steps made. */
  readonly moment: number;
  readonly batch: number;
  /** Learning rate of the next step. */
  readonly learningRate: number;
  readonly loss: number;
  readonly gradientNorm: number;
  readonly lambdaMax: number;
  readonly lambdaMin: number;
  readonly lambdaQ: Span;
  readonly kappa: Span & { readonly lowerBoundOnly: boolean };
  readonly negativeMass: Span;
  readonly noiseFloor: number;
  readonly distance: number;
  /** Ritz values with their weights. */
  readonly nodes: readonly (readonly [value: number, weight: number])[];
}

interface Span {
  readonly estimate: number;
  /** `null` in the file if it is infinite. */
  readonly lowest: number | null;
  readonly highest: number | null;
}

/** The file that `bench/curvature.ts` writes. */
export interface CurvatureResults {
  readonly command: string;
  readonly cpu: string;
  readonly node: string;
  readonly commit: string;
  readonly date: string;
  readonly rows: readonly Row[];
}

const short = (value: number) => String(Number(value.toPrecision(3)));
const percent = (share: number) => `${(100 * share).toFixed(0)} %`;

/** One row of the table. */
export function line(row: Row): string {
  const { optimizer, adam, moment, batch, loss, lambdaMax, lambdaMin, noiseFloor, negativeMass, kappa, learningRate } =
    row;
  const what = adam ? `${optimizer}, divided by √v̂ + ε` : optimizer;
  const [low, high] = [negativeMass.lowest ?? 0, negativeMass.highest ?? 1].map(percent);
  const cells = [
    what,
    moment,
    batch,
    short(loss),
    short(lambdaMax),
    short(lambdaMin),
    short(noiseFloor),
    `${low} … ${high}`,
    `${kappa.lowerBoundOnly ? "≥ " : ""}${short(kappa.estimate)}`,
    short(learningRate * lambdaMax),
  ];
  return `| ${cells.join(" | ")} |`;
}

/** The results as a Markdown table below the machine and the command. */
export function format({ command, cpu, node, commit, date, rows }: CurvatureResults): string {
  return [
    `${cpu}, Node ${node}, commit ${commit}, ${date}: \`${command}\`. One run each, one batch each.`,
    "",
    "| run | after step | batch | loss | λ_max | λ_min | noise floor | negative mass | κ_eff | next rate × λ_max |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ...rows.map(line),
  ].join("\n");
}

/** A page with the table between its markers. */
export function withTable(page: string, read: (file: string) => string): string {
  const marker = /<!-- figures from (\S+) -->[\s\S]*?<!-- end of figures -->/;
  const file = page.match(marker)?.[1];
  if (!file) throw new Error("expected the marker <!-- figures from bench/results/<file>.json -->");
  const results = JSON.parse(read(file)) as CurvatureResults;
  return page.replace(marker, `<!-- figures from ${file} -->\n\n${format(results)}\n\n<!-- end of figures -->`);
}

if (process.argv[1] === import.meta.filename) {
  const root = join(import.meta.dirname, "..");
  const page = join(root, "docs", "uba.md");
  writeFileSync(
    page,
    withTable(readFileSync(page, "utf8"), (file) => readFileSync(join(root, file), "utf8")),
  );
}
