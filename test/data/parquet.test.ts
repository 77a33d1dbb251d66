// Tables from Parquet files, which hyparquet-writer makes. The same rows in CSV are the reference.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { type ColumnSource, parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, it } from "vitest";
import { data } from "#lib/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const folder = temporaryFolders()();
let files = 0;

function file(content: string | Uint8Array, ending: string): string {
  const path = join(folder, `table-${files++}.${ending}`);
  writeFileSync(path, content);
  return path;
}

type WriteOptions = Omit<Parameters<typeof parquetWriteBuffer>[0], "columnData">;
const parquetFile = (columnData: ColumnSource[], options: WriteOptions = {}) =>
  file(new Uint8Array(parquetWriteBuffer({ columnData, ...options })), "parquet");

const rows = 700;
const all = <T>(value: (i: number) => T) => Array.from({ length: rows }, (_, i) => value(i));
const columns = {
  float: all((i) => (i % 7 === 0 ? null : i / 8)),
  integer: all((i) => i % 50),
  long: all((i) => BigInt(i) * 1000n),
  text: all((i) => (i % 5 === 0 ? null : ["north", "south, east"][i % 2]!)),
  flag: all((i) => i % 3 === 0),
  day: all((i) => new Date(Date.UTC(2026, 0, 1 + (i % 4)))),
  y: all((i) => i * 1.5 + (i % 13)),
};
const sources: ColumnSource[] = [
  { name: "float", data: columns.float, type: "DOUBLE" },
  { name: "integer", data: columns.integer, type: "INT32" },
  { name: "long", data: columns.long, type: "INT64" },
  { name: "text", data: columns.text, type: "STRING" },
  { name: "flag", data: columns.flag, type: "BOOLEAN" },
  { name: "day", data: columns.day, type: "TIMESTAMP" },
  { name: "y", data: columns.y, type: "DOUBLE" },
];

const quotedCell = (value: unknown) =>
  value === null ? "" : value instanceof Date ? value.toISOString() : `"${String(value)}"`;
const csvFile = file(
  [
    Object.keys(columns).join(","),
    ...all((i) =>
      Object.values(columns)
        .map((column) => quotedCell(column[i]))
        .join(","),
    ),
  ].join("\n"),
  "csv",
);
const options = { target: "y" };

describe("parquet", () => {
  it.each<{ what: string; options: WriteOptions }>([
    { what: "as Snappy", options: {} },
    { what: "uncompressed", options: { codec: "UNCOMPRESSED" } },
    {
      what: "as Brotli",
      options: { codec: "BROTLI", compressors: { BROTLI: (bytes) => new Uint8Array(brotliCompressSync(bytes)) } },
    },
    {
      what: "as Gzip, in several groups of rows",
      options: { codec: "GZIP", compressors: { GZIP: (bytes) => new Uint8Array(gzipSync(bytes)) }, rowGroupSize: 150 },
    },
  ])("gives the rows, parts and encodings that the same table gives as CSV, $what", async (given) => {
    const [fromParquet, fromCsv] = [
      await data.parquet(parquetFile(sources, given.options), options),
      await data.csv(csvFile, options),
    ];
    expect(fromParquet.table).toEqual(fromCsv.table);
    expect(fromParquet.inputs).toBe(1 + 1 + 1 + 1 + 3 + 2 + 4);
    for (const part of ["train", "test"] as const) {
      expect(fromParquet[part].inputs.data).toEqual(fromCsv[part].inputs.data);
      expect(fromParquet[part].labels).toEqual(fromCsv[part].labels);
    }
  });

  it("refuses files that it cannot read, and columns of lists, with the row and the column", async () => {
    const good = new Uint8Array(parquetWriteBuffer({ columnData: sources }));
    const words = "expected a Parquet file that can be read";
    for (const bytes of [Buffer.from("x,y\n1,2\n"), good.subarray(0, 500), Buffer.alloc(0)])
      await expectError(() => data.parquet(file(bytes, "parquet"), options), "invalid-file", words);
    await expectError(() => data.parquet(join(folder, "none.parquet"), options), "not-found", "none.parquet");
    const lists = parquetFile([
      { name: "x", data: [{ a: 1 }, { a: 2 }], type: "JSON" },
      { name: "y", data: [1, 2], type: "DOUBLE" },
    ]);
    const place = 'row 1, column "x": expected a number, a text, a date or true or false, found a list, an object';
    await expectError(() => data.parquet(lists, options), "invalid-file", place);
    const compressed = parquetFile(sources, { codec: "LZ4", compressors: { LZ4: (bytes) => bytes } });
    await expectError(() => data.parquet(compressed, options), "unsupported", "LZ4");
    const extra = { ...options, separator: ";" } as data.TableOptions;
    await expectError(() => data.parquet(compressed, extra), "invalid-argument", "parquet: expected only the options");
  });
});
