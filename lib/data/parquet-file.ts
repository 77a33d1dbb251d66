import { types } from "node:util";
import * as zlib from "node:zlib";
import { type AsyncBuffer, type Compressors, type ParquetScan, parquetScan, parquetSchema } from "hyparquet";
import { allocate } from "../allocate.js";
import { StepsizeError } from "../errors.js";
import { quoted, shown } from "../quoting.js";
import { readInto } from "../read-file.js";
import { isError, messageOf } from "../realms.js";
import { openData } from "./files.js";
import type { Cell, TableRow, TableSource } from "./table.js";

/** Number of rows that are passed on together. */
const blockRows = 512;

/**
 * Opens a Parquet file. A group of rows of the file is in memory at a time, column by column.
 *
 * @throws StepsizeError `not-found` if there is no file; `invalid-file` if it is damaged or has columns of lists or
 * objects, when they are read; `unsupported` for a compression that this version of Node lacks
 */
export async function openParquet(path: string): Promise<TableSource> {
  const columns = await withScan(path, async ({ metadata }) =>
    parquetSchema(metadata).children.map(({ element }) => element.name),
  );
  return { path, columns, rowWord: "row", separator: ",", read: () => rowsOf(path, columns) };
}

async function* rowsOf(path: string, columns: readonly string[]): AsyncGenerator<readonly TableRow[], void, undefined> {
  const { ranges, metadata } = await withScan(path, async (scan) => scan);
  for (const { rowStart, rowEnd } of ranges) {
    const values = await withScan(
      path,
      (scan) => Promise.all(columns.map((column) => scan.readColumn({ column, rowStart, rowEnd }))),
      metadata,
    );
    for (let first = rowStart; first < rowEnd; first += blockRows) {
      const length = Math.min(blockRows, rowEnd - first);
      yield Array.from({ length }, (_, i): TableRow => {
        const at = first + i + 1;
        const cells = values.map((column, k) => cellOf(column[first + i - rowStart]) ?? refuse(path, at, columns[k]));
        return { cells, at };
      });
    }
  }
}

function refuse(path: string, at: number, column = ""): never {
  const expected = "a number, a text, a date or true or false, found a list, an object or bytes";
  throw new StepsizeError("invalid-file", `${path}: row ${at}, column ${quoted(column)}: expected ${expected}`);
}

/** Returns a value as a cell; `undefined` if it cannot be one. */
function cellOf(value: unknown): Cell | undefined {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" || typeof value === "string") return value;
  if (typeof value === "boolean") return String(value);
  if (typeof value === "bigint") return BigInt(Number(value)) === value ? Number(value) : String(value);
  if (types.isDate(value)) return Number.isNaN(value.getTime()) ? "" : value.toISOString();
  return undefined;
}

/**
 * Opens a file for one use, so that no file stays open while the caller does other work. `metadata` is that of an earlier
 * use; without it the end of the file is parsed.
 */
async function withScan<T>(
  path: string,
  use: (scan: ParquetScan) => Promise<T>,
  metadata?: ParquetScan["metadata"],
): Promise<T> {
  const { file, size } = await openData(path);
  try {
    const buffer: AsyncBuffer = {
      byteLength: size,
      async slice(start, end = size) {
        const bytes = allocate(path, () => new ArrayBuffer(end - start));
        await readInto({ file, path }, new Uint8Array(bytes), start);
        return bytes;
      },
    };
    return await use(await parquetScan({ file: buffer, compressors, ...(metadata && { metadata }) }));
  } catch (cause) {
    if (isError(cause) && cause.name === "StepsizeError") throw cause;
    const reason = shown(messageOf(cause), 200);
    const code = reason.includes("unsupported compression") ? "unsupported" : "invalid-file";
    throw new StepsizeError(code, `${path}: expected a Parquet file that can be read (${reason})`, { cause });
  } finally {
    await file.close();
  }
}

/** Decompression by Node. hyparquet has Snappy itself. */
const compressors: Compressors = {
  GZIP: (bytes) => zlib.gunzipSync(bytes),
  BROTLI: (bytes) => zlib.brotliDecompressSync(bytes),
  ...zstandard(),
};

function zstandard(): Compressors {
  // Node has it from 22.15 on, and the types are those of Node 20.
  const decompress: unknown = "zstdDecompressSync" in zlib ? zlib.zstdDecompressSync : undefined;
  return typeof decompress === "function" ? { ZSTD: (bytes) => decompress(bytes) } : {};
}
