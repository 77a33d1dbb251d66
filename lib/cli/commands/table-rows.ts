import { extname } from "node:path";
import { openTable, type TableKind } from "../../data/csv.js";
import type { TableRow, TableSource } from "../../data/table.js";
import type { RowEncoder } from "../../data/table-encoder.js";
import type { SavedTableModel } from "../saved.js";

/** Number of rows per forward pass. */
const batchRows = 1024;

/** Rows of a table with the outputs of a model for them. */
export interface RowsWithOutputs {
  readonly rows: readonly TableRow[];
  /** Values of shape [rows, outputs], row after row. */
  readonly outputs: Float32Array;
}

/** Opens a file for a model that was trained on a table, with the separator of that table if one was given. */
export function openRows(saved: SavedTableModel, file: string, kind: TableKind = kindOf(file)): Promise<TableSource> {
  return openTable(kind, file, saved.table.format.separator);
}

/** Returns the kind of a table file by its name. */
function kindOf(file: string): TableKind {
  return [".parquet", ".pq"].includes(extname(file).toLowerCase()) ? "parquet" : "csv";
}

/**
 * Computes the outputs of a model for the rows of a table, batch after batch.
 *
 * @param encoder the encoder of the table for the model
 * @param options.isWanted selects rows; default all
 * @throws StepsizeError `invalid-file` for a row that does not fit the model
 */
export async function* outputsForRows(
  { model }: SavedTableModel,
  source: TableSource,
  encoder: RowEncoder,
  {
    isWanted = () => true,
    size = batchRows,
    signal,
  }: {
    readonly isWanted?: (row: TableRow) => boolean;
    readonly size?: number | undefined;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<RowsWithOutputs, void, undefined> {
  const { inputs } = encoder;
  let rows: TableRow[] = [];
  const compute = async (): Promise<RowsWithOutputs> => {
    const values = new Float32Array(rows.length * inputs);
    rows.forEach((row, i) => {
      encoder.encode(row, values, i * inputs);
    });
    const { data } = await model.predict(values, { shape: [inputs], size, signal });
    return { rows, outputs: data };
  };
  for await (const block of source.read()) {
    signal.throwIfAborted();
    for (const row of block) if (isWanted(row)) rows.push(row);
    if (rows.length < size) continue;
    yield await compute();
    rows = [];
  }
  if (rows.length > 0) yield await compute();
}

/** Says which columns had texts that the training rows did not have. */
export function unseenInWords(encoder: RowEncoder): string[] {
  return [...encoder.unseen].map(
    ([column, cells]) =>
      `column ${JSON.stringify(column)}: ${cells} cells have a category that the training rows did not have`,
  );
}
