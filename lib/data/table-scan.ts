import { invalidArgument, StepsizeError } from "../errors.js";
import { itemAt } from "../lookup.js";
import { suggestionInside } from "../nearest.js";
import { quoted, someOf } from "../quoting.js";
import { Purpose, philox4x32, words } from "../random.js";
import {
  adviceOn,
  type CategoryColumn,
  type Cell,
  CellReader,
  type ClassTarget,
  type NumberColumn,
  type NumberTarget,
  namesInWords,
  type TableEncoding,
  type TableFormat,
  type TableRow,
  type TableSource,
  textOf,
} from "./table.js";
import { expectWhole, inputsOf, placeOf } from "./table-encoder.js";

/** Largest number of categories of a column, and of classes. */
const maxCategories = 1000;

/** Largest number of columns of a table, and of a model's inputs. */
const maxInputs = 65_536;

/** A part of a table. */
export type TablePart = "train" | "validation" | "test";

/** How the rows of a table are divided. */
export interface TableShares {
  /** Share of the rows in the test part, from 0 to below 1. */
  readonly test: number;
  /** Share of the other rows in the validation part, from 0 to below 1. */
  readonly validation: number;
  readonly seed: number;
}

/**
 * Returns a function that assigns rows to parts. The part of a row depends on the content of the row and the seed alone:
 * equal rows are in the same part, and a row stays there if the file gets more rows or another order.
 */
export function divider({ test, validation, seed }: TableShares): (row: TableRow) => TablePart {
  const random = new Uint32Array(4);
  return ({ cells }) => {
    const [first, second] = hashOf(cells);
    philox4x32(random, first, Purpose.rows, second, 0, ...words(seed));
    const [forTest = 0, forValidation = 0] = random;
    if (forTest / 2 ** 32 < test) return "test";
    return forValidation / 2 ** 32 < validation ? "validation" : "train";
  };
}

/** Returns two words of FNV-1a over the cells, with different beginnings. */
function hashOf(cells: readonly Cell[]): [number, number] {
  let [first, second] = [0x811c9dc5, 0x9747b28c];
  for (const cell of cells) {
    const text = textOf(cell);
    for (let i = 0; i <= text.length; i++) {
      // Beyond the text, a code that no text has separates the cells.
      const code = i < text.length ? text.charCodeAt(i) : 0x10000;
      first = Math.imul(first ^ code, 0x01000193);
      second = Math.imul(second ^ code, 0x85ebca6b);
      second ^= second >>> 13;
    }
  }
  return [first >>> 0, second >>> 0];
}

/** Which columns are inputs, and of which kind. */
export interface ColumnChoice {
  readonly target: string;
  /** The kind of the target; absent if it is found from the values. */
  readonly task?: "regression" | "classification" | undefined;
  /** Columns that are categories even if all their texts are numbers. */
  readonly categories: readonly string[];
  /** Columns that are no inputs. */
  readonly ignore: readonly string[];
}

/** What {@link scanTable} finds. */
export interface TableScan {
  readonly encoding: TableEncoding;
  /** Number of rows with a target, by part. */
  readonly rows: Readonly<Record<TablePart, number>>;
  /** What a person should know about the choice of columns and rows, as sentences. */
  readonly notes: readonly string[];
}

/**
 * Reads a table once and determines how its rows are encoded. Kinds of columns follow from all rows. Statistics and
 * categories follow from the training rows alone.
 *
 * @throws StepsizeError `invalid-argument` for a column that the table lacks; `invalid-file` if the table is not regular,
 * has no column to learn from, or has a column of numbers and texts
 */
export async function scanTable(
  source: TableSource,
  choice: ColumnChoice,
  format: TableFormat,
  partOf: (row: TableRow) => TablePart,
): Promise<TableScan> {
  expectColumns(source, choice);
  const targetIndex = source.columns.indexOf(choice.target);
  const reader = new CellReader(format);
  const scans = source.columns.map((name) => {
    const isTarget = name === choice.target;
    const isCategory = isTarget ? choice.task === "classification" : choice.categories.includes(name);
    return new ColumnScan(name, { isCategory, isTarget });
  });
  const targetScan = itemAt(scans, targetIndex);
  const rows = { train: 0, validation: 0, test: 0 };
  let withoutTarget = 0;
  for await (const block of source.read())
    for (const row of block) {
      expectWhole(source, row);
      if (reader.isMissing(itemAt(row.cells, targetIndex))) {
        withoutTarget += 1;
        continue;
      }
      const part = partOf(row);
      rows[part] += 1;
      for (let i = 0; i < scans.length; i++) scans[i]?.add(row.cells[i] ?? "", row, reader, part === "train");
    }
  const total = rows.train + rows.validation + rows.test;
  if (total === 0) {
    const found = withoutTarget > 0 ? `${some(withoutTarget, "row")} without a value of it` : "no rows";
    throw new StepsizeError(
      "invalid-file",
      `${source.path}: expected rows with ${quoted(choice.target)}, found ${found}`,
    );
  }
  if (rows.train === 0)
    throw new StepsizeError(
      "invalid-file",
      `${source.path}: expected rows for training, found ${total}, all of them held back`,
    );
  const notes: string[] = [];
  if (withoutTarget > 0) notes.push(`${some(withoutTarget, "row")} without ${quoted(choice.target)} left out`);
  const context = { source, format, total, trainRows: rows.train, notes };
  const target = targetOf(targetScan, choice, context);
  const ignored = new Set([choice.target, ...choice.ignore]);
  const columns = scans.flatMap((scan) => (ignored.has(scan.name) ? [] : (columnOf(scan, context) ?? [])));
  if (columns.length === 0)
    throw new StepsizeError("invalid-file", `${source.path}: expected a column to learn from; ${someOf(notes)}`);
  const inputs = inputsOf({ columns });
  if (inputs > maxInputs)
    throw new StepsizeError(
      "invalid-file",
      `${source.path}: expected at most ${maxInputs} inputs, found ${inputs}: the numbers and the categories of all columns; name columns in ignore`,
    );
  return { encoding: { columns, target, format }, rows, notes };
}

function expectColumns({ path, columns }: TableSource, { target, categories, ignore }: ColumnChoice): void {
  if (columns.length > maxInputs)
    throw new StepsizeError("invalid-file", `${path}: expected at most ${maxInputs} columns, found ${columns.length}`);
  const known = new Set<string>();
  const twice = new Set<string>();
  for (const name of columns) (known.has(name) ? twice : known).add(name);
  if (twice.size > 0) {
    const found = `${namesInWords([...twice])} more than once in the first line`;
    throw new StepsizeError("invalid-file", `${path}: expected a different name for each column, found ${found}`);
  }
  const names = Object.entries({ target: [target], categories, ignore });
  for (const [option, list] of names)
    for (const name of list)
      if (!known.has(name)) {
        const has = namesInWords(columns);
        // A file without names has values in its first line.
        const hint = columns.every((column) => !Number.isNaN(Number(column)))
          ? "; the first line must have their names"
          : "";
        invalidArgument(option, `a column of ${path} (${has})${suggestionInside(name, columns)}${hint}`, name);
      }
  if (ignore.includes(target)) invalidArgument("ignore", "columns other than the target", target);
}

/** What is known about a column after its cells were read. */
class ColumnScan {
  readonly name: string;
  readonly #isCategory: boolean;
  readonly #isTarget: boolean;
  /** Number of numbers and of texts in all rows. */
  numbers = 0;
  texts = 0;
  /** The first text, and its row. */
  firstText: { readonly cell: Cell; readonly row: TableRow } | undefined;
  /** Of the training rows: number of missing values and of numbers, and their mean and sum of squared deviations. */
  missing = 0;
  count = 0;
  mean = 0;
  #squares = 0;
  isWhole = true;
  /** Texts with their number in the training rows, at most one more than {@link maxCategories}. */
  readonly categories = new Map<string, number>();

  constructor(name: string, { isCategory, isTarget }: { readonly isCategory: boolean; readonly isTarget: boolean }) {
    this.name = name;
    this.#isCategory = isCategory;
    this.#isTarget = isTarget;
  }

  get std(): number {
    return this.count === 0 ? 0 : Math.sqrt(this.#squares / this.count);
  }

  add(cell: Cell, row: TableRow, reader: CellReader, isTraining: boolean): void {
    if (reader.isMissing(cell)) {
      if (isTraining) this.missing += 1;
      return;
    }
    const value = this.#isCategory ? undefined : reader.numberIn(cell);
    if (value === undefined) {
      this.texts += 1;
      this.firstText ??= { cell, row };
    } else {
      this.numbers += 1;
      this.isWhole &&= Number.isInteger(value);
    }
    // A target of few whole numbers is one of classes.
    if ((value === undefined || this.#isTarget) && this.categories.size <= maxCategories) {
      const text = textOf(cell);
      this.categories.set(text, (this.categories.get(text) ?? 0) + (isTraining ? 1 : 0));
    }
    if (value === undefined || !isTraining) return;
    // Welford's update: sums of squares would cancel if the mean is large.
    this.count += 1;
    const distance = value - this.mean;
    this.mean += distance / this.count;
    this.#squares += distance * (value - this.mean);
  }
}

interface Context {
  readonly source: TableSource;
  readonly format: TableFormat;
  readonly total: number;
  readonly trainRows: number;
  readonly notes: string[];
}

/** Returns the encoding of a column, or `undefined` with a note if nothing can be learned from it. */
function columnOf(scan: ColumnScan, context: Context): NumberColumn | CategoryColumn | undefined {
  const { name, missing, count, mean, std } = scan;
  const { trainRows, notes } = context;
  if (scan.numbers > 0 && scan.texts > 0) return refuseMixed(scan, context);
  if (scan.numbers > 0) {
    if (count === 0 || (std === 0 && missing === 0)) {
      notes.push(
        `column ${quoted(name)} is left out: ${count === 0 ? "it has no value" : `it is always ${mean}`} in the training rows`,
      );
      return undefined;
    }
    return { kind: "number", name, mean, std: std === 0 ? 1 : std, indicator: missing > 0 };
  }
  const categories = [...scan.categories].flatMap(([text, rows]) => (rows > 0 ? [text] : [])).sort();
  if (categories.length + (missing > 0 ? 1 : 0) < 2) {
    const what = categories[0] === undefined ? "it has no value" : `it is always ${quoted(categories[0])}`;
    notes.push(`column ${quoted(name)} is left out: ${what} in the training rows`);
    return undefined;
  }
  if (scan.categories.size > maxCategories)
    throw new StepsizeError(
      "invalid-file",
      `${context.source.path}: column ${quoted(name)}: expected at most ${maxCategories} categories, found more; name the column in ignore`,
    );
  if (categories.length > 20 && categories.length > trainRows / 2)
    notes.push(
      `column ${quoted(name)} has ${categories.length} categories in ${trainRows} training rows; if it only names the rows, name it in ignore`,
    );
  return { kind: "category", name, categories, missing: missing > 0 };
}

function refuseMixed({ name, numbers, texts, firstText }: ColumnScan, { source, format }: Context): never {
  if (firstText === undefined) throw new Error("a column with texts has a first one");
  const { cell, row } = firstText;
  const place = placeOf(source, row, name);
  const others =
    texts > 1 ? ` (and ${some(texts - 1, "more text")}; ${some(numbers, "number")})` : ` (${some(numbers, "number")})`;
  const advice = `If ${quoted(textOf(cell))} marks a missing value, name it in missing; if the column has categories, name it in categories; or name it in ignore.`;
  throw new StepsizeError(
    "invalid-file",
    `${place}: expected a number, found ${quoted(textOf(cell))}${others}.${adviceOn(cell, format)} ${advice}`,
  );
}

function targetOf(scan: ColumnScan, { task }: ColumnChoice, context: Context): NumberTarget | ClassTarget {
  const { name, numbers, texts, firstText, isWhole, categories } = scan;
  const { source, format, total, notes } = context;
  const isMixed = numbers > 0 && texts > 0;
  if (firstText && (isMixed || (task === "regression" && texts > 0))) {
    if (isMixed && task === undefined) {
      const { cell, row } = firstText;
      const found = `found ${quoted(textOf(cell))} (${some(texts, "text")}, ${some(numbers, "number")})`;
      throw new StepsizeError(
        "invalid-file",
        `${placeOf(source, row, name)}: expected a number, ${found}.${adviceOn(cell, format)} If it marks a missing value, name it in missing; if the target has classes, give the task classification.`,
      );
    }
    const { cell, row } = firstText;
    throw new StepsizeError(
      "invalid-file",
      `${placeOf(source, row, name)}: expected a number for the task regression, found ${quoted(textOf(cell))}.${adviceOn(cell, format)}`,
    );
  }
  const isFew = isWhole && categories.size <= 10 && 5 * categories.size <= total;
  const isNumber = numbers > 0 && (task === "regression" || (task === undefined && !isFew));
  if (isNumber) {
    if (scan.std === 0)
      throw new StepsizeError(
        "invalid-file",
        `${source.path}: expected different values of ${quoted(name)} in the training rows, found only ${scan.mean}`,
      );
    if (task === undefined) notes.push(`the target ${quoted(name)} has numbers: regression`);
    return { kind: "number", name, mean: scan.mean, std: scan.std };
  }
  if (categories.size > maxCategories)
    throw new StepsizeError(
      "invalid-file",
      `${source.path}: column ${quoted(name)}: expected at most ${maxCategories} classes, found more`,
    );
  const classes = sorted([...categories.keys()]);
  if (classes.length < 2)
    throw new StepsizeError(
      "invalid-file",
      `${source.path}: expected at least two classes of ${quoted(name)}, found only ${namesInWords(classes)}`,
    );
  if (task === undefined) {
    const why = texts > 0 ? "" : "; if they are quantities, give the task regression";
    notes.push(
      `the target ${quoted(name)} has ${classes.length} ${texts > 0 ? "texts" : "whole numbers"}: classification${why}`,
    );
  }
  return { kind: "class", name, classes };
}

function some(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Sorts names as numbers if all are, otherwise by code units. */
function sorted(names: readonly string[]): string[] {
  return names.every((name) => Number.isFinite(Number(name)))
    ? [...names].sort((a, b) => Number(a) - Number(b))
    : [...names].sort();
}
