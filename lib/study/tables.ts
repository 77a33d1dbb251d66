import { itemAt } from "../lookup.js";
import type { Section } from "../report/page.js";
import type { TrainingStudy } from "./config.js";
import type { QuadraticCell, QuadraticResult } from "./quadratics.js";
import type { CellResult, ScheduleResult, TrainingResults } from "./results.js";
import type { Summary } from "./statistics.js";

/** A table of a report, for the page and for Markdown. */
export type Table = Extract<Section, { readonly rows: unknown }>;

/** Cells that differ only in their budget. They are the columns of one table. */
export interface Group {
  readonly heading: string;
  readonly cells: readonly CellResult[];
}

/** Groups the cells by model, data and optimizer. */
export function groupsOf({ cells }: TrainingResults): Group[] {
  const groups = new Map<string, CellResult[]>();
  for (const cell of cells) {
    const heading = `${cell.model} on ${cell.data} with ${cell.optimizer}`;
    groups.set(heading, [...(groups.get(heading) ?? []), cell]);
  }
  return [...groups].map(([heading, members]) => ({ heading, cells: members }));
}

/** Makes the tables of a group: test results, differences to UBA with their p-values, and chosen rates. */
export function trainingTables({ heading, cells }: Group, study: TrainingStudy): Table[] {
  const table = (title: string, textOf: (row: ScheduleResult) => string): Table => ({
    heading: `${heading}: ${title}`,
    columns: ["schedule", ...cells.map(({ steps }) => `${steps} steps`)],
    // All cells have the schedules in the order of the study.
    rows: study.schedules.map(({ name }, i) => [name, ...cells.map((cell) => textOf(itemAt(cell.schedules, i)))]),
  });
  const { measure } = study;
  const secondMeasure = measure === "accuracy" ? "loss" : "accuracy";
  const hasSecond = cells.some(({ schedules }) => schedules.some((row) => row[secondMeasure]));
  const perplexity = study.data.some(({ context }) => context !== undefined);
  const points = measure === "accuracy" ? ", in percentage points" : "";
  const versus = table(`difference to UBA in test ${measure}${points}`, differenceInWords(measure));
  return [
    table(
      `test ${measure}`,
      (row) => `${summaryInWords(row, measure)}${row.rank === undefined ? "" : ` (${row.rank})`}`,
    ),
    withoutUba(versus),
    withoutUba(table("p-values of these differences, adjusted (Holm)", adjustedPInWords)),
    ...(hasSecond ? [table(`test ${secondMeasure}`, (row) => summaryInWords(row, secondMeasure))] : []),
    ...(perplexity ? [table("test perplexity", (row) => (row.loss ? Math.exp(row.loss.mean).toFixed(2) : "–"))] : []),
    table("chosen peak learning rate", choiceInWords),
  ];
}

/** Quadratics that differ only in budget and stability limit. They are the columns of one table. */
export interface QuadraticGroup {
  readonly name: string;
  readonly heading: string;
  readonly cells: readonly QuadraticCell[];
}

/** Groups the quadratics by floor and condition number. */
export function quadraticGroups(cells: readonly QuadraticCell[]): QuadraticGroup[] {
  const groups = new Map<string, QuadraticGroup>();
  for (const cell of cells) {
    const { conditionNumber, floor } = cell;
    const name = `kappa-${conditionNumber}-floor-${floor}`;
    const heading = `κ = ${conditionNumber}, rates down to ${floor === 0 ? "0" : `${floor}/λ_u`}`;
    groups.set(name, { name, heading, cells: [...(groups.get(name)?.cells ?? []), cell] });
  }
  return [...groups.values()];
}

/** Makes a table of the worst-case error factor of every schedule of a group, and of the optimum. */
export function contractionTable({ heading, cells }: QuadraticGroup): Table {
  const optimum = ["optimum", ...cells.map((cell) => contraction(cell.optimum))] as const;
  const table = quadraticTable(heading, cells, ({ worst }) => contraction(worst));
  return { ...table, rows: [...table.rows, optimum] };
}

/** Makes a table of the best peak rate of every schedule, and of the best φ of UBA. */
export function peakTable({ heading, cells }: QuadraticGroup): Table {
  return quadraticTable(`Chosen peak rate, ${heading}`, cells, ({ maxLr, phi }) => {
    return `${digits(maxLr, 3)}${phi === undefined ? "" : `, φ ${digits(phi, 2)}`}`;
  });
}

function quadraticTable(
  heading: string,
  cells: readonly QuadraticCell[],
  inWords: (result: QuadraticResult) => string,
): Table {
  return {
    heading,
    columns: ["schedule", ...cells.map(({ budget, stabilityLimit }) => `${budget} steps, c = ${stabilityLimit}`)],
    // All cells have the schedules in the same order.
    rows: (cells[0]?.schedules ?? []).map(({ schedule }, i) => [
      schedule,
      ...cells.map((cell) => inWords(itemAt(cell.schedules, i))),
    ]),
  };
}

/** Formats a report as Markdown: the title, the paragraphs, and each table under its heading. */
export function markdown(title: string, lead: readonly string[], tables: readonly Table[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const parts = tables.map(({ heading, columns = [], rows }) =>
    [`## ${heading}`, "", line(columns), line(columns.map(() => "---")), ...rows.map((row) => line(row))].join("\n"),
  );
  return `${[`# ${title}`, ...lead, ...parts].join("\n\n")}\n`;
}

function summaryInWords({ runs, ...row }: ScheduleResult, measure: "loss" | "accuracy"): string {
  const diverged = runs.filter((run) => run.diverged).length;
  if (diverged > 0) return `diverged (${diverged} of ${runs.length})`;
  const summary = row[measure];
  if (summary === undefined) return "–";
  return measure === "accuracy" ? `${meanAndDeviation(summary, 100, 2)} %` : meanAndDeviation(summary, 1, 4);
}

function meanAndDeviation({ mean, sd }: Summary, scale: number, places: number): string {
  // A run that grew very large may still be finite.
  const shown = (value: number) => (Math.abs(value) < 1e6 ? value.toFixed(places) : value.toExponential(2));
  return sd === undefined ? shown(scale * mean) : `${shown(scale * mean)} ± ${shown(scale * sd)}`;
}

function differenceInWords(measure: "loss" | "accuracy") {
  const [scale, places] = measure === "accuracy" ? [100, 2] : [1, 4];
  const signed = (value: number) => {
    const size = Math.abs(scale * value).toFixed(places);
    return `${Number(size) === 0 ? "" : value < 0 ? "−" : "+"}${size}`;
  };
  return ({ versusUba }: ScheduleResult): string => {
    if (versusUba === undefined) return "–";
    const { verdict, difference } = versusUba;
    if (difference === undefined) return verdict;
    const { mean, low, high } = difference;
    const interval = low === undefined || high === undefined ? "" : ` [${signed(low)}, ${signed(high)}]`;
    return `${signed(mean)}${interval} ${verdict}`;
  };
}

function withoutUba(table: Table): Table {
  return { ...table, rows: table.rows.filter(([name]) => name !== "uba") };
}

function adjustedPInWords({ versusUba }: ScheduleResult): string {
  const p = versusUba?.adjustedP;
  if (p === undefined) return "–";
  // With two digits, 0.0496 would be shown as 0.050, as if it were not significant.
  return p < 1e-4 ? "< 0.0001" : p < 0.1 ? p.toFixed(4) : p.toFixed(2);
}

function choiceInWords({ tuning }: ScheduleResult): string {
  const { best, trials, onEdge } = tuning;
  if (best === undefined) return "–";
  const phi = best.phi === undefined ? "" : `, φ ${digits(best.phi, 3)}`;
  return `${digits(best.maxLr, 3)}${phi} (${trials.length} trials${onEdge ? ", at the edge" : ""})`;
}

/** Formats e to a logarithm, even if the result is too small for a double: 0.0291, 1.3e-18. */
function contraction(logarithm: number): string {
  if (logarithm > Math.log(1e-4)) return Math.exp(logarithm).toPrecision(3);
  if (logarithm === Number.NEGATIVE_INFINITY) return "0";
  // log10(1.005) accounts for rounding: 9.97e-6 is shown as 1.0e-5, not as 10.0e-6.
  const exponent = Math.floor(logarithm / Math.LN10 + Math.log10(1.005));
  return `${Math.exp(logarithm - exponent * Math.LN10).toFixed(1)}e${exponent}`;
}

function digits(value: number, count: number): string {
  return String(Number(value.toPrecision(count)));
}
