import { basename } from "node:path";
import { expectSignal, expectText, isListOf } from "../arguments.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import { checkedOptions, optionNames } from "../options.js";
import { quoted } from "../quoting.js";
import { checkSeed } from "../random.js";
import { isInt32Array } from "../realms.js";
import { ArrayDataset } from "./dataset.js";
import { sharedArray } from "./items.js";
import type { TableEncoding, TableFormat, TableRow, TableSource } from "./table.js";
import { inputsOf, outputsOf, RowEncoder } from "./table-encoder.js";
import { divider, scanTable, type TablePart, type TableScan } from "./table-scan.js";

/** Options of a table in any kind of file. */
export interface TableOptions {
  /** Name of the column to predict. */
  readonly target: string;
  /**
   * The kind of the target. Default: `"classification"` for texts, and for whole numbers with at most 10 different values
   * that occur five times or more on average; `"regression"` for other numbers.
   */
  readonly task?: "regression" | "classification" | undefined;
  /** Columns of numbers that name categories, such as postal codes. Default none: only columns of texts do. */
  readonly categories?: readonly string[] | undefined;
  /** Columns that are no inputs, such as the number of a row. Default none. */
  readonly ignore?: readonly string[] | undefined;
  /** Words that mark a missing value, besides an empty cell, `NA`, `N/A`, `NaN` and `null`. Default none. */
  readonly missing?: readonly string[] | undefined;
  /** Share of the rows in the test part, above 0 and below 1. Default 0.2, or none with `testFile`. */
  readonly test?: number | undefined;
  /** File whose rows are the test part. Default none: the test part is divided from the rows of the file. */
  readonly testFile?: string | undefined;
  /** Share of the rows that are not in the test part, above 0 and below 1, for a validation part. Default: there is none. */
  readonly validation?: number | undefined;
  /** Seed of the division into parts, a safe integer of at least 0. Default 0. */
  readonly seed?: number | undefined;
  /** Aborts the reading. Default none. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of {@link csv}. */
export interface CsvOptions extends TableOptions {
  /** Text between two cells. Default: the one of comma, semicolon, tab and `|` that is most frequent in the first line. */
  readonly separator?: string | undefined;
  /** Decimal mark. Default `"."`. */
  readonly decimal?: "." | "," | undefined;
  /** Mark between groups of three digits, such as `","` in 1,234.5. Default: numbers have none. */
  readonly thousands?: string | undefined;
}

/** The parts of a table as datasets, and how their rows were encoded. */
export interface TableData {
  /** The rows for training. Inputs are float32 of shape `[inputs]`. Targets are class indices, or float32 of shape `[1]`. */
  readonly train: ArrayDataset;
  /** The rows for validation, if there is such a part. */
  readonly validation?: ArrayDataset;
  readonly test: ArrayDataset;
  /** How rows become inputs and targets. Save it with the model, as the card's `table`. */
  readonly table: TableEncoding;
  /** Number of inputs of a model. */
  readonly inputs: number;
  /** Number of outputs of a model: 1 for regression, or one for each class. */
  readonly outputs: number;
  /** What was found and left out, as sentences. */
  readonly notes: readonly string[];
}

const tableNames = optionNames<TableOptions>({
  target: true,
  task: true,
  categories: true,
  ignore: true,
  missing: true,
  test: true,
  testFile: true,
  validation: true,
  seed: true,
  signal: true,
});
const csvNames = optionNames<CsvOptions>({ ...tableNames, separator: true, decimal: true, thousands: true });

/**
 * Reads a table from a CSV file, for regression or classification. The first line has the names of the columns.
 *
 * A column of numbers becomes one input with mean 0 and standard deviation 1 in the training rows. A missing number
 * becomes 0, the mean, and then a second input of the column is 1. A column of texts becomes one input for each of at
 * most 1000 categories, and one for a missing value. Statistics and categories are those of the training rows. A target
 * of numbers has mean 0 and standard deviation 1 too. Columns that are constant, and rows without a target, are left out.
 *
 * The content of a row determines its part, so that equal rows are in the same part. The file is read twice, row by row.
 * The inputs of all rows are in memory, with 4 bytes each.
 *
 * @param file path of a file in UTF-8, or UTF-16 with a byte order mark
 * @throws StepsizeError `not-found` if there is no file; `invalid-file` naming the line and the column of a cell that does
 * not fit, or if a part has no rows; `invalid-argument` for a wrong option or an unknown column; `out-of-memory`; the
 * reason of `signal`
 *
 * @example
 * ```ts
 * import { writeFile } from "node:fs/promises";
 * import { AdamW, data, models, nn, openDevice, schedule, Trainer } from "stepsize";
 *
 * const rows = Array.from({ length: 200 }, (_, i) => `${i},${i % 3 ? "Bern" : "Basel"},${2 * i + 5}`);
 * await writeFile("prices.csv", ["area,city,price", ...rows].join("\n"));
 * const { train, test, table, inputs, outputs } = await data.csv("prices.csv", { target: "price" });
 *
 * const device = await openDevice("cpu");
 * const config = { kind: "mlp", inputs, hidden: [16], classes: outputs } as const;
 * const model = models.create(config, { device, seed: 0 });
 * const optimizer = new AdamW(model.parameters(), { lr: schedule.uba({ budget: 20, maxLr: 1e-2, phi: 2 }) });
 * const batches = train.batches({ size: 32 });
 * const trainer = new Trainer({ model, optimizer, loss: nn.meanSquaredError, data: batches, card: { config, table } });
 * for await (const { step, loss } of trainer.run()) if (step % 10 === 9) console.log(step + 1, loss);
 *
 * const { data: values, shape } = data.encodeRows(table, [{ area: 120, city: "Bern" }]);
 * const { data: predicted } = await model.predict(values, { shape: shape.slice(1) });
 * console.log(data.decodeOutputs(table, predicted)); // [{ value: … }], a price
 * ```
 */
export async function csv(file: string, options: CsvOptions): Promise<TableData> {
  const { separator, decimal = ".", thousands, ...choice } = checkedOptions("csv", csvNames, options);
  checkMarks({ separator, decimal, thousands });
  const format = {
    decimal,
    ...(separator !== undefined && { separator }),
    ...(thousands !== undefined && { thousands }),
  };
  return readTable("csv", file, choice, format);
}

/**
 * Reads a table from a Parquet file, as {@link csv} does. Numbers, texts, booleans and dates are read. Compression may be
 * Snappy, Gzip or Brotli, and Zstandard where Node has it (22.15 or newer; not tried).
 *
 * @throws StepsizeError as {@link csv}; `unsupported` for another compression
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * async function read() {
 *   const { train, inputs } = await data.parquet("path/to/prices.parquet", { target: "price" });
 *   console.log(train.length, inputs);
 * }
 * ```
 */
export async function parquet(file: string, options: TableOptions): Promise<TableData> {
  return readTable("parquet", file, checkedOptions("parquet", tableNames, options), { decimal: "." });
}

/** The kinds of files that have tables. */
export type TableKind = "csv" | "parquet";

/** @internal Opens a file of a kind. The code that reads it, with its library, is loaded by the first call. */
export async function openTable(kind: TableKind, file: string, separator?: string): Promise<TableSource> {
  expectText("file", file, `the path of a ${kind === "csv" ? "CSV" : "Parquet"} file`);
  if (kind === "csv") return (await import("./csv-file.js")).openCsv(file, separator);
  return (await import("./parquet-file.js")).openParquet(file);
}

async function readTable(
  kind: TableKind,
  file: string,
  options: TableOptions,
  marks: Omit<TableFormat, "missing">,
): Promise<TableData> {
  const { target, task, categories = [], ignore = [], missing = [], testFile, validation, seed = 0, signal } = options;
  expectText(`${kind}.target`, target, "the name of a column");
  if (task !== undefined && task !== "regression" && task !== "classification")
    invalidArgument(`${kind}.task`, '"regression" or "classification"', task);
  for (const [name, list] of Object.entries({ categories, ignore, missing }))
    if (!isListOf(list, (item) => typeof item === "string"))
      invalidArgument(`${kind}.${name}`, "a list of texts", list);
  checkSeed(seed, `${kind}.seed`);
  expectSignal(`${kind}.signal`, signal);
  checkShare(`${kind}.test`, options.test);
  checkShare(`${kind}.validation`, validation);
  if (testFile !== undefined && options.test !== undefined)
    invalidArgument(`${kind}.test`, "none with testFile, whose rows are the test part", options.test);
  const test = testFile === undefined ? (options.test ?? defaultTestShare) : 0;
  const format = { ...marks, missing };
  const open = async (path: string) => abortable(await openTable(kind, path, marks.separator), signal);
  const source = await open(file);
  const testSource = testFile === undefined ? undefined : await open(testFile);
  const partOf = divider({ test, validation: validation ?? 0, seed });
  const scan = await scanTable(source, { target, task, categories, ignore }, format, partOf);
  const { encoding } = scan;
  const train = new PartStore(encoding, scan.rows.train);
  const held = {
    validation: new PartStore(encoding, scan.rows.validation),
    test: new PartStore(encoding, testSource ? await countRows(testSource, encoding) : scan.rows.test),
  };
  const wanted = { test: true, validation: validation !== undefined };
  for (const name of ["test", "validation"] as const)
    if (wanted[name] && held[name].rows === 0) refuseEmpty(name, testSource ?? source, scan);
  const notes = [...scan.notes];
  const parts = { train, ...held };
  await fill(source, encoding, (row) => parts[partOf(row)], notes);
  if (testSource) await fill(testSource, encoding, () => held.test, notes);
  const datasetOf = (part: TablePart) => parts[part].dataset(`${basename(file)} (${part})`);
  return {
    train: datasetOf("train"),
    ...(wanted.validation && { validation: datasetOf("validation") }),
    test: datasetOf("test"),
    table: encoding,
    inputs: inputsOf(encoding),
    outputs: outputsOf(encoding),
    notes,
  };
}

/** Returns the table with a check of the signal before each block of rows. */
function abortable(source: TableSource, signal: AbortSignal | undefined): TableSource {
  if (signal === undefined) return source;
  return {
    ...source,
    async *read() {
      for await (const block of source.read()) {
        signal.throwIfAborted();
        yield block;
      }
    },
  };
}

function refuseEmpty(part: "test" | "validation", { path }: TableSource, { rows }: TableScan): never {
  const total = rows.train + rows.validation + rows.test;
  const message = `${path}: expected rows in the ${part} part, found none of ${total} with a target; give a larger share as ${part}`;
  throw new StepsizeError("invalid-file", message);
}

/** Returns the number of rows with a target. */
async function countRows(source: TableSource, encoding: TableEncoding): Promise<number> {
  const encoder = new RowEncoder(source, encoding, { needsTarget: true });
  let rows = 0;
  for await (const block of source.read()) for (const row of block) if (encoder.targetOf(row) !== undefined) rows += 1;
  return rows;
}

/** Writes all rows with a target into the stores that `storeOf` returns. */
async function fill(
  source: TableSource,
  encoding: TableEncoding,
  storeOf: (row: TableRow) => PartStore,
  notes: string[],
): Promise<void> {
  const encoder = new RowEncoder(source, encoding, { needsTarget: true });
  const stores = new Set<PartStore>();
  for await (const block of source.read())
    for (const row of block) {
      const target = encoder.targetOf(row);
      if (target === undefined) continue;
      const store = storeOf(row);
      stores.add(store);
      if (!store.add(encoder, row, target)) refuseChanged(source);
    }
  for (const store of stores) if (!store.isFull) refuseChanged(source);
  for (const [column, cells] of encoder.unseen)
    notes.push(`column ${quoted(column)} has ${cells} cells with categories that the training rows do not have`);
}

function refuseChanged({ path }: TableSource): never {
  throw new StepsizeError(
    "invalid-file",
    `${path}: expected the same rows twice, but the file changed while it was read`,
  );
}

/** The encoded rows of a part. Their number is known before. */
class PartStore {
  readonly rows: number;
  readonly #encoding: TableEncoding;
  readonly #size: number;
  readonly #inputs: Float32Array;
  readonly #labels: Int32Array | Float32Array;
  #filled = 0;

  constructor(encoding: TableEncoding, rows: number) {
    this.rows = rows;
    this.#encoding = encoding;
    this.#size = inputsOf(encoding);
    this.#inputs = sharedArray("float32", rows * this.#size);
    this.#labels = sharedArray(encoding.target.kind === "class" ? "int32" : "float32", rows);
  }

  get isFull(): boolean {
    return this.#filled === this.rows;
  }

  /** Adds a row; returns whether there was room for it. */
  add(encoder: RowEncoder, row: TableRow, target: number): boolean {
    if (this.isFull) return false;
    const { target: encoding } = this.#encoding;
    encoder.encode(row, this.#inputs, this.#filled * this.#size);
    this.#labels[this.#filled] = encoding.kind === "class" ? target : (target - encoding.mean) / encoding.std;
    this.#filled += 1;
    return true;
  }

  dataset(name: string): ArrayDataset {
    const { target } = this.#encoding;
    const labels = this.#labels;
    return new ArrayDataset({
      inputs: { data: this.#inputs, shape: [this.#size], dtype: "float32" },
      labels: isInt32Array(labels) ? labels : { data: labels, shape: [1] },
      ...(target.kind === "class" && { classes: target.classes }),
      name,
    });
  }
}

/** Default share of the rows in the test part. */
export const defaultTestShare = 0.2;

function checkShare(name: string, share: unknown): void {
  if (share === undefined || (typeof share === "number" && share > 0 && share < 1)) return;
  invalidArgument(name, "a share above 0 and below 1", share);
}

function checkMarks({ separator, decimal, thousands }: Pick<CsvOptions, "separator" | "decimal" | "thousands">): void {
  if (separator !== undefined && (typeof separator !== "string" || !/^[^"\r\n]{1,8}$/.test(separator)))
    invalidArgument("csv.separator", "a text of 1 to 8 characters without quotation marks and line ends", separator);
  if (decimal !== "." && decimal !== ",") invalidArgument("csv.decimal", '"." or ","', decimal);
  if (thousands === undefined) return;
  if (typeof thousands !== "string" || !/^[^\d\s+-]$|^[ \u00a0\u202f]$/.test(thousands))
    invalidArgument("csv.thousands", "one character that is no digit and no sign", thousands);
  if (thousands === decimal)
    invalidArgument("csv.thousands", `another mark than the decimal mark "${decimal}"`, thousands);
}
