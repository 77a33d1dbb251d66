import { StepsizeError } from "../errors.js";
import { itemAt } from "../lookup.js";
import { suggestionInside } from "../nearest.js";
import { quoted } from "../quoting.js";
import {
  adviceOn,
  type CategoryColumn,
  type Cell,
  CellReader,
  type NumberColumn,
  namesInWords,
  type TableEncoding,
  type TableRow,
  type TableSource,
  textOf,
} from "./table.js";

/** Returns the number of a model's inputs for the rows of a table. */
export function inputsOf({ columns }: Pick<TableEncoding, "columns">): number {
  return columns.reduce((sum, column) => sum + widthOf(column), 0);
}

/** Returns the number of a model's outputs: one for a number, or one for each class. */
export function outputsOf({ target }: Pick<TableEncoding, "target">): number {
  return target.kind === "number" ? 1 : target.classes.length;
}

function widthOf(column: NumberColumn | CategoryColumn): number {
  if (column.kind === "number") return column.indicator ? 2 : 1;
  return column.categories.length + (column.missing ? 1 : 0);
}

/** Names a cell in a message: file, line and column. */
export function placeOf({ path, rowWord }: TableSource, { at }: TableRow, column: string): string {
  return `${path}: ${rowWord} ${at}, column ${quoted(column)}`;
}

/**
 * Checks that a row has a cell for every column.
 * @throws StepsizeError `invalid-file`
 */
export function expectWhole({ path, columns, rowWord }: TableSource, { cells, at }: TableRow): void {
  if (cells.length === columns.length) return;
  const expected = `${columns.length} cells, one for each name in the first line`;
  throw new StepsizeError("invalid-file", `${path}: ${rowWord} ${at}: expected ${expected}, found ${cells.length}`);
}

/** Converts rows of a table to the inputs and the target of a model. */
export class RowEncoder {
  /** Number of inputs of a row. */
  readonly inputs: number;
  readonly #source: TableSource;
  readonly #encoding: TableEncoding;
  readonly #reader: CellReader;
  readonly #columns: readonly ColumnEncoder[];
  readonly #target: number;
  readonly #classes: ReadonlyMap<string, number>;

  /**
   * @param needsTarget whether the table must have the target; default false
   * @throws StepsizeError `invalid-file` if the table lacks a column of the encoding
   */
  constructor(source: TableSource, encoding: TableEncoding, { needsTarget = false } = {}) {
    this.#source = source;
    this.#encoding = encoding;
    this.#reader = new CellReader(encoding.format);
    const positions = new Map(source.columns.map((name, i) => [name, i]));
    let first = 0;
    this.#columns = encoding.columns.map((column) => {
      const position = positions.get(column.name) ?? missingColumn(source, column.name);
      const encoder = new ColumnEncoder(column, position, first);
      first += widthOf(column);
      return encoder;
    });
    this.inputs = first;
    const target = positions.get(encoding.target.name);
    this.#target = target ?? (needsTarget ? missingColumn(source, encoding.target.name) : -1);
    const classes = encoding.target.kind === "class" ? encoding.target.classes : [];
    this.#classes = new Map(classes.map((name, i) => [name, i]));
  }

  /** Columns with texts that the training rows did not have, with the number of such cells. */
  get unseen(): ReadonlyMap<string, number> {
    return new Map(this.#columns.flatMap(({ column, unseen }) => (unseen > 0 ? [[column.name, unseen]] : [])));
  }

  /**
   * Writes the inputs of a row into `out` from index `at` on. `out` must be 0 there.
   * @throws StepsizeError `invalid-file` naming the line and the column of a text in place of a number
   */
  encode(row: TableRow, out: Float32Array, at: number): void {
    expectWhole(this.#source, row);
    for (const column of this.#columns) {
      const cell = itemAt(row.cells, column.position);
      if (column.encode(cell, this.#reader, out, at)) continue;
      this.#refuse(row, column.column.name, "a number", cell);
    }
  }

  /**
   * Returns the target of a row as the table has it: a number, or the index of a class.
   *
   * @returns `undefined` if it is missing
   * @throws StepsizeError `invalid-file` for another text than a number or a class
   */
  targetOf(row: TableRow): number | undefined {
    const { target } = this.#encoding;
    const cell = row.cells[this.#target];
    if (cell === undefined || this.#reader.isMissing(cell)) return undefined;
    const value = target.kind === "number" ? this.#reader.numberIn(cell) : this.#classes.get(textOf(cell));
    if (value !== undefined) return value;
    const expected = target.kind === "number" ? "a number" : `one of the classes ${namesInWords(target.classes)}`;
    return this.#refuse(row, target.name, expected, cell);
  }

  #refuse(row: TableRow, column: string, expected: string, cell: Cell): never {
    const place = placeOf(this.#source, row, column);
    const advice = adviceOn(cell, this.#encoding.format);
    throw new StepsizeError("invalid-file", `${place}: expected ${expected}, found ${quoted(textOf(cell))}.${advice}`);
  }
}

/** Converts the cells of a column. */
class ColumnEncoder {
  readonly column: NumberColumn | CategoryColumn;
  readonly position: number;
  readonly #first: number;
  readonly #categories: ReadonlyMap<string, number>;
  /** Number of cells with a text that the training rows did not have. */
  unseen = 0;

  /** @param first index of the column's first input */
  constructor(column: NumberColumn | CategoryColumn, position: number, first: number) {
    this.column = column;
    this.position = position;
    this.#first = first;
    const categories = column.kind === "category" ? column.categories : [];
    this.#categories = new Map(categories.map((name, i) => [name, i]));
  }

  /** Returns whether the cell fits the column. */
  encode(cell: Cell, reader: CellReader, out: Float32Array, start: number): boolean {
    const { column } = this;
    const at = start + this.#first;
    const isMissing = reader.isMissing(cell);
    if (column.kind === "category") {
      const index = isMissing
        ? column.missing
          ? this.#categories.size
          : undefined
        : this.#categories.get(textOf(cell));
      if (index !== undefined) out[at + index] = 1;
      else if (!isMissing) this.unseen += 1;
      return true;
    }
    if (isMissing) {
      if (column.indicator) out[at + 1] = 1;
      return true;
    }
    const value = reader.numberIn(cell);
    if (value === undefined) return false;
    out[at] = (value - column.mean) / column.std;
    return true;
  }
}

function missingColumn({ path, columns }: TableSource, name: string): never {
  const has = `has ${namesInWords(columns)}${suggestionInside(name, columns)}`;
  throw new StepsizeError(
    "invalid-file",
    `${path}: expected the column ${quoted(name)}, which the model needs; the file ${has}`,
  );
}
