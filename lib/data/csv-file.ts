import { pipeline } from "node:stream";
import { type CsvError, parse } from "csv-parse";
import { StepsizeError } from "../errors.js";
import { shown } from "../quoting.js";
import { readInto } from "../read-file.js";
import { isError } from "../realms.js";
import { openData } from "./files.js";
import type { TableRow, TableSource } from "./table.js";

/** Number of bytes at the beginning of a file that its encoding and its separator are found from. */
const beginningBytes = 65_536;

/** Largest number of characters of a row. A quotation mark that is never closed makes the rest of a file one row. */
const maxRowLength = 2 ** 26;

/** Number of rows that are passed on together. */
const blockRows = 512;

/** The separators that are looked for, by rank if they are equally frequent. */
const separators = [",", ";", "\t", "|"];

/**
 * Opens a CSV file: UTF-8 or UTF-16 with a byte order mark, quotation marks as in RFC 4180, any line ends. Spaces around
 * cells are removed and empty lines are skipped. A column without a name gets its number, such as `column 1`.
 *
 * @param separator the text between two cells. Default: the one of comma, semicolon, tab and `|` that is most frequent in
 * the first line
 * @throws StepsizeError `not-found` if there is no file; `invalid-file` if it is empty or no text
 */
export async function openCsv(path: string, separator?: string): Promise<TableSource> {
  const { file } = await openData(path);
  const head = new Uint8Array(beginningBytes);
  const bytes = await readInto({ file, path }, head, 0).finally(() => file.close());
  const encoding = encodingOf(path, head.subarray(0, bytes));
  const text = new TextDecoder(encoding).decode(head.subarray(0, bytes));
  if (text.trim() === "") return fail(path, "expected a line with the names of the columns, found nothing");
  const delimiter = separator ?? separatorIn(text);
  const layout = { path, encoding, delimiter };
  for await (const [header] of blocksOf(layout, 1))
    if (header)
      return {
        path,
        columns: header.cells.map((cell, i) => (cell === "" ? `column ${i + 1}` : String(cell))),
        rowWord: "line",
        separator: delimiter,
        read: () => rowsOf(layout),
      };
  return fail(path, "expected a line with the names of the columns, found none");
}

interface Layout {
  readonly path: string;
  readonly encoding: "utf-8" | "utf-16le";
  readonly delimiter: string;
}

/** Yields the rows after the header. */
async function* rowsOf(layout: Layout): AsyncGenerator<readonly TableRow[], void, undefined> {
  let isFirst = true;
  for await (const block of blocksOf(layout, blockRows)) {
    const rows = isFirst ? block.slice(1) : block;
    isFirst = false;
    if (rows.length > 0) yield rows;
  }
}

/** Yields all rows that are not empty, the header included, with the number of the line on which each begins. */
async function* blocksOf(
  { path, encoding, delimiter }: Layout,
  size: number,
): AsyncGenerator<readonly TableRow[], void, undefined> {
  const parser = pipeline(
    textOf(path, encoding),
    parse({
      delimiter,
      // If they were not given, the parser would look for them at every byte of the first line, which is slow.
      record_delimiter: ["\r\n", "\n", "\r"],
      trim: true,
      relax_column_count: true,
      max_record_size: maxRowLength,
    }),
    () => {},
  );
  try {
    let block: TableRow[] = [];
    let line = 1;
    for await (const record of parser) {
      const cells: readonly string[] = record;
      const first = line;
      line += 1;
      for (const cell of cells) if (cell.includes("\n") || cell.includes("\r")) line += breaksIn(cell);
      if (cells.length === 1 && cells[0] === "") continue;
      block.push({ cells, at: first });
      if (block.length < size) continue;
      yield block;
      block = [];
    }
    if (block.length > 0) yield block;
  } catch (error) {
    if (isCsvError(error)) fail(path, inWords(error), { cause: error });
    throw error;
  } finally {
    parser.destroy();
  }
}

/** Number of bytes that are read at once. */
const chunkBytes = 2 ** 18;

/** Yields the text of a file, and fails at the first bytes that are not text in this encoding. */
async function* textOf(path: string, encoding: Layout["encoding"]): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder(encoding, { fatal: true });
  const { file } = await openData(path);
  try {
    let length = 0;
    for (let position = 0; position === 0 || length > 0; position += length) {
      const chunk = new Uint8Array(chunkBytes);
      length = await readInto({ file, path }, chunk, position);
      yield decode(path, position, () => decoder.decode(chunk.subarray(0, length), { stream: length > 0 }));
    }
  } finally {
    await file.close();
  }
}

function decode(path: string, position: number, decoded: () => string): string {
  try {
    return decoded();
  } catch (cause) {
    const advice = "found other bytes; convert it, such as with iconv -t utf-8";
    return fail(path, `expected text in UTF-8 after byte ${position}, ${advice}`, { cause });
  }
}

function breaksIn(cell: string): number {
  return cell.split(/\r\n|\n|\r/).length - 1;
}

function encodingOf(path: string, head: Uint8Array): Layout["encoding"] {
  const begins = (...bytes: number[]) => bytes.every((byte, i) => head[i] === byte);
  if (begins(0xff, 0xfe)) return "utf-16le";
  const found = begins(0x50, 0x4b)
    ? "a ZIP archive, such as an Excel file; save the sheet as CSV"
    : begins(0x1f, 0x8b)
      ? "a gzip archive; unpack it first"
      : begins(0x50, 0x41, 0x52, 0x31)
        ? "a Parquet file; name it as parquet:<file>"
        : head.includes(0)
          ? "bytes that are no text"
          : undefined;
  if (found === undefined) return "utf-8";
  return fail(path, `expected a CSV file, found ${found}`);
}

/** Returns the separator that is most frequent in the first line, outside of quotation marks. */
function separatorIn(text: string): string {
  const [line = ""] = text.trimStart().split(/[\r\n]/, 1);
  const bare = line.replace(/"[^"]*"/g, "");
  const counts = separators.map((separator) => bare.split(separator).length - 1);
  return separators[counts.indexOf(Math.max(...counts))] ?? ",";
}

function isCsvError(error: unknown): error is CsvError {
  return isError(error) && "code" in error && /^(CSV|INVALID)_/.test(String(error.code));
}

function inWords(error: CsvError): string {
  const code = String(error.code);
  const line = /at line (\d+)/.exec(error.message)?.[1];
  const place = line === undefined ? "" : `line ${line}: `;
  if (code === "CSV_QUOTE_NOT_CLOSED" || code === "CSV_MAX_RECORD_SIZE")
    return `${place}expected a quotation mark (") at the end of a quoted cell, found none`;
  if (code === "INVALID_OPENING_QUOTE" || code === "CSV_INVALID_CLOSING_QUOTE")
    return `${place}expected quotation marks only around a whole cell, with those inside doubled ("")`;
  return `${place}${shown(error.message, 200)}`;
}

function fail(path: string, message: string, options?: ErrorOptions): never {
  throw new StepsizeError("invalid-file", `${path}: ${message}`, options);
}
