import type { Section } from "../report/page.js";
import type { TrainingStudy } from "./config.js";
import type { QuadraticCell } from "./quadratics.js";
import type { CellResult, ScheduleResult, TrainingResults } from "./results.js";
import type { Summary } from "./statistics.js";

/** A table of a report, on the page and in Markdown. */
export type Table = Extract<Section, { readonly rows: unknown }>;

/** Cells that differ in their budget alone: the columns of one table. */
export interface Group {
  readonly heading: string;
  readonly cells: readonly CellResult[];
}

/** The cells by model, data and optimizer. */
export function groupsOf({ cells }: TrainingResults): Group[] {
  const groups = new Map<string, CellResult[]>();
  for (const cell of cells) {
    const heading = `${cell.model} on ${cell.data} with ${cell.optimizer}`;
    groups.set(heading, [...(groups.get(heading) ?? []), cell]);
  }
  return [...groups].map(([heading, own]) => ({ heading, cells: own }));
}

/** The tables of a group: what was measured on the test split, the differences to UBA, what tuning chose. */
export function trainingTables({ heading, cells }: Group, study: TrainingStudy): Table[] {
  const table = (title: string, cellOf: (row: ScheduleResult, cell: CellResult) => string): Table => ({
    heading: `${heading}: ${title}`,
    columns: ["schedule", ...cells.map(({ steps }) => `${steps} steps`)],
    rows: study.schedules.map(({ name }) => [
      name,
      ...cells.map((cell) => cellOf(cell.schedules.find(({ schedule }) => schedule === name) as ScheduleResult, cell)),
    ]),
  });
  const { measure } = study;
  const other = measure === "accuracy" ? "loss" : "accuracy";
  const hasOther = cells.some(({ schedules }) => schedules.some((row) => row[other]));
  const perplexity = study.data.some(({ context }) => context !== undefined);
  const versus = table(`difference to UBA in test ${measure}`, differenceInWords(measure));
  return [
    table(
      `test ${measure}`,
      (row) => `${summaryInWords(row, measure)}${row.rank === undefined ? "" : ` (${row.rank})`}`,
    ),
    { ...versus, rows: versus.rows.filter(([name]) => name !== "uba") },
    ...(hasOther ? [table(`test ${other}`, (row) => summaryInWords(row, other))] : []),
    ...(perplexity ? [table("test perplexity", (row) => (row.loss ? Math.exp(row.loss.mean).toFixed(2) : "–"))] : []),
    table("chosen peak learning rate", choiceInWords),
  ];
}

/** The tables of a study of quadratics: one for each floor and condition number. */
export function quadraticTables(cells: readonly QuadraticCell[]): Table[] {
  const groups = new Map<string, QuadraticCell[]>();
  for (const cell of cells) {
    const heading = `κ = ${cell.conditionNumber}, ${floorInWords(cell.floor)}`;
    groups.set(heading, [...(groups.get(heading) ?? []), cell]);
  }
  return [...groups].map(([heading, own]) => {
    const names = own[0]?.schedules.map(({ schedule }) => schedule) ?? [];
    const cellOf = (name: string) => (cell: QuadraticCell) => {
      const { worst, maxLr, phi } = cell.schedules.find(({ schedule }) => schedule === name) ?? {};
      const choice = `${digits(maxLr ?? Number.NaN, 3)}${phi === undefined ? "" : `, φ ${digits(phi, 2)}`}`;
      return `${contraction(worst ?? Number.NaN)} (${choice})`;
    };
    return {
      heading,
      columns: ["schedule", ...own.map(({ budget, stabilityLimit }) => `${budget} steps, c = ${stabilityLimit}`)],
      rows: [
        ...names.map((name) => [name, ...own.map(cellOf(name))] as const),
        ["best steps there are", ...own.map(({ optimum }) => contraction(optimum))],
      ],
    };
  });
}

/** The lowest rate of the schedules in words. */
export function floorInWords(floor: number): string {
  return floor === 0 ? "rates down to 0" : `rates down to ${floor === 1 ? "" : floor}1/λ_u`;
}

/** Tables as Markdown under a heading each. */
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
  return measure === "accuracy" ? `${spread(summary, 100, 2)} %` : spread(summary, 1, 4);
}

function spread({ mean, sd }: Summary, scale: number, places: number): string {
  const own = (scale * mean).toFixed(places);
  return sd === undefined ? own : `${own} ± ${(scale * sd).toFixed(places)}`;
}

function differenceInWords(measure: "loss" | "accuracy") {
  const [scale, places] = measure === "accuracy" ? [100, 2] : [1, 4];
  const signed = (value: number) => `${value < 0 ? "−" : "+"}${Math.abs(scale * value).toFixed(places)}`;
  return ({ versusUba }: ScheduleResult): string => {
    if (versusUba === undefined) return "–";
    const { verdict, difference } = versusUba;
    if (difference === undefined) return verdict;
    const { mean, low, high } = difference;
    const interval = low === undefined || high === undefined ? "" : ` [${signed(low)}, ${signed(high)}]`;
    return `${signed(mean)}${interval} ${verdict}`;
  };
}

function choiceInWords({ tuning }: ScheduleResult): string {
  const { best, trials, onEdge } = tuning;
  if (best === undefined) return "–";
  const phi = best.phi === undefined ? "" : `, φ ${digits(best.phi, 3)}`;
  return `${digits(best.maxLr, 3)}${phi} (${trials.length} trials${onEdge ? ", at the edge" : ""})`;
}

/** From a logarithm that may be far below what a double holds: 0.0291, 1.3e-18. */
function contraction(logarithm: number): string {
  if (logarithm > Math.log(1e-4)) return Math.exp(logarithm).toPrecision(3);
  if (logarithm === Number.NEGATIVE_INFINITY) return "0";
  // Half of the last digit more: 9.97e-6 is 1.0e-5 and not 10.0e-6.
  const exponent = Math.floor(logarithm / Math.LN10 + Math.log10(1.005));
  return `${Math.exp(logarithm - exponent * Math.LN10).toFixed(1)}e${exponent}`;
}

function digits(value: number, count: number): string {
  return String(Number(value.toPrecision(count)));
}
