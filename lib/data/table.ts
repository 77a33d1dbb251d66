import { quoted } from "../quoting.js";

/** A cell of a table: a number, or a text as a CSV file has it. A missing value is an empty text. */
export type Cell = string | number;

/** A row of a table. */
export interface TableRow {
  readonly cells: readonly Cell[];
  /** Position in the file, for messages: the line of a CSV file, or the row of a Parquet file, from 1. */
  readonly at: number;
}

/** A table in a file, which is read from the start as often as necessary. */
export interface TableSource {
  readonly path: string;
  /** Names of the columns, in the order of the cells. */
  readonly columns: readonly string[];
  /** The word for {@link TableRow.at}. */
  readonly rowWord: "line" | "row";
  /** The text between two cells; `,` for a file that has none. */
  readonly separator: string;
  /**
   * Reads all rows, in blocks.
   * @throws StepsizeError `invalid-file` if the file is damaged
   */
  read(): AsyncIterable<readonly TableRow[]>;
}

/** How the texts of a file are read as numbers and as missing values. */
export interface TableFormat {
  /** The text between two cells; absent if it is found from the first line. */
  readonly separator?: string | undefined;
  /** The decimal mark. */
  readonly decimal: "." | ",";
  /** The mark between groups of three digits; absent if numbers have none. */
  readonly thousands?: string | undefined;
  /** Words that mark a missing value, besides {@link missingWords}. */
  readonly missing: readonly string[];
}

/** A column of numbers: (value − mean) / std, and 0 for a missing value. */
export interface NumberColumn {
  readonly kind: "number";
  readonly name: string;
  /** Mean of the training rows. */
  readonly mean: number;
  /** Population standard deviation of the training rows; 1 if all are equal. */
  readonly std: number;
  /** Whether a second input is 1 for a missing value and 0 for others. */
  readonly indicator: boolean;
}

/** A column of categories: an input per category, which is 1 for that category and 0 for others. */
export interface CategoryColumn {
  readonly kind: "category";
  readonly name: string;
  /** The texts of the training rows, in ascending order. All inputs are 0 for another text. */
  readonly categories: readonly string[];
  /** Whether a last input stands for a missing value. */
  readonly missing: boolean;
}

/** A target of numbers, for regression. The model's output is (value − mean) / std. */
export interface NumberTarget {
  readonly kind: "number";
  readonly name: string;
  /** Mean of the training rows. */
  readonly mean: number;
  /** Population standard deviation of the training rows. */
  readonly std: number;
}

/** A target of classes, for classification. */
export interface ClassTarget {
  readonly kind: "class";
  readonly name: string;
  /** Names of the classes, in the order of the model's outputs. */
  readonly classes: readonly string[];
}

/**
 * How the rows of a table become the inputs and the target of a model, as plain JSON. Its statistics and categories are
 * those of the training rows. A model's card has it as `table`.
 */
export interface TableEncoding {
  /** The columns that are inputs, in the order of the inputs. */
  readonly columns: readonly (NumberColumn | CategoryColumn)[];
  readonly target: NumberTarget | ClassTarget;
  readonly format: TableFormat;
}

/** Words that mark a missing value in every table, in lower case, besides an empty cell. */
export const missingWords: readonly string[] = ["na", "n/a", "#n/a", "<na>", "nan", "null"];

/** Reads cells as numbers and as missing values. */
export class CellReader {
  readonly #missing: ReadonlySet<string>;
  readonly #decimal: string;
  readonly #grouped: RegExp | undefined;
  readonly #thousands: string;

  constructor({ decimal, thousands = "", missing }: TableFormat) {
    this.#missing = new Set(missing);
    this.#decimal = decimal;
    this.#thousands = thousands;
    this.#grouped = thousands === "" ? undefined : groupedNumber(thousands, decimal);
  }

  isMissing(cell: Cell): boolean {
    if (typeof cell === "number") return Number.isNaN(cell);
    return cell === "" || this.#missing.has(cell) || (cell.length <= 4 && missingWords.includes(cell.toLowerCase()));
  }

  /** Returns the finite number that a cell has; `undefined` for any other text. */
  numberIn(cell: Cell): number | undefined {
    if (typeof cell === "number") return Number.isFinite(cell) ? cell : undefined;
    let text = cell;
    if (this.#grouped?.test(text)) text = text.replaceAll(this.#thousands, "");
    if (this.#decimal === ",") text = text.includes(".") ? "" : text.replace(",", ".");
    if (!plainNumber.test(text)) return undefined;
    const number = Number(text);
    return Number.isFinite(number) ? number : undefined;
  }
}

const plainNumber = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

function groupedNumber(thousands: string, decimal: string): RegExp {
  const [group, mark] = [thousands, decimal].map((text) => text.replace(/[.\\+*?^$()[\]{}|/-]/g, "\\$&"));
  return new RegExp(`^[+-]?\\d{1,3}(?:${group}\\d{3})+(?:${mark}\\d*)?$`);
}

/** Returns advice about a text that may be meant as a number; empty if there is none. */
export function adviceOn(cell: Cell, { decimal }: TableFormat): string {
  if (typeof cell === "number") return "";
  const other = decimal === "." ? "," : ".";
  for (const thousands of [other, "'", " ", "\u00a0", "_"])
    if (groupedNumber(thousands, decimal).test(cell))
      return ` If ${JSON.stringify(thousands)} separates thousands, give it as thousands.`;
  if (decimal === "." && /^[+-]?\d+,\d+$/.test(cell)) return ' If "," is the decimal mark, give it as decimal.';
  return "";
}

/** Returns the text of a cell, as it names a category or a class. */
export function textOf(cell: Cell): string {
  return typeof cell === "number" ? String(cell) : cell;
}

/** Lists names of columns or classes for a message, at most 20 of them. */
export function namesInWords(names: readonly string[]): string {
  const rest = names.length - 20;
  const listed = names.slice(0, 20).map(quoted).join(", ");
  return rest > 0 ? `${listed} and ${rest} more` : listed;
}
