import { allocate } from "../allocate.js";
import { isListOf } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { isFloat32Array, isObject } from "../realms.js";
import type { Cell, TableEncoding, TableSource } from "./table.js";
import { inputsOf, outputsOf, RowEncoder } from "./table-encoder.js";
import { expectTable } from "./table-schema.js";

/** A row in code: its cells by the names of the columns. `null` and `undefined` are missing values. */
export type TableObject = Readonly<Record<string, string | number | boolean | null | undefined>>;

/**
 * Converts rows to the inputs of a model that was trained on a table, as in its training. Columns that are no inputs are
 * ignored.
 *
 * @param table the encoding, from `data.csv` or from a model's card
 * @returns the inputs, of shape [rows, inputs]
 * @throws StepsizeError `invalid-argument` for an empty list; `invalid-file` naming the row and the column of a text in
 * place of a number, or for a missing column; `out-of-memory`
 *
 * @example
 * ```ts
 * import { data, loadModel, openDevice } from "stepsize";
 *
 * async function prices(checkpoint: string, rows: data.TableObject[]) {
 *   const { model, card } = await loadModel(checkpoint, { device: await openDevice("cpu") });
 *   if (card.table === undefined) throw new Error("expected a model of a table");
 *   const { data: values, shape } = data.encodeRows(card.table, rows);
 *   const outputs = await model.predict(values, { shape: shape.slice(1) });
 *   return data.decodeOutputs(card.table, outputs.data).map(({ value }) => value);
 * }
 * ```
 */
export function encodeRows(
  table: TableEncoding,
  rows: readonly TableObject[],
): { readonly data: Float32Array; readonly shape: readonly [rows: number, inputs: number] } {
  expectTable(table);
  if (!isListOf(rows, isObject) || rows.length === 0) invalidArgument("rows", "at least one object of cells", rows);
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const source: TableSource = { path: "rows", columns, rowWord: "row", separator: ",", read: nothing };
  const encoder = new RowEncoder(source, table);
  const inputs = inputsOf(table);
  const data = allocate("encodeRows", () => new Float32Array(rows.length * inputs));
  rows.forEach((row, i) => {
    encoder.encode({ cells: columns.map((name) => cellOf(row[name])), at: i + 1 }, data, i * inputs);
  });
  return { data, shape: [rows.length, inputs] };
}

async function* nothing(): AsyncGenerator<never, void, undefined> {}

function cellOf(value: TableObject[string]): Cell {
  if (value === null || value === undefined) return "";
  return typeof value === "number" ? value : String(value);
}

/** What a model predicts for a row of a table. */
export interface RowPrediction {
  /** A number in the unit of the target, or the name of the most likely class. */
  readonly value: number | string;
  /** Probability of the class; absent for a number. */
  readonly probability?: number;
}

/**
 * Converts the outputs of a model to predictions for the rows of a table: numbers in the unit of the target, or classes.
 * See {@link encodeRows} for an example.
 *
 * @param outputs the values of the outputs [rows, outputs], row after row
 * @throws StepsizeError `invalid-argument` if there are not as many values for each row as the model has outputs
 */
export function decodeOutputs(table: TableEncoding, outputs: Float32Array): RowPrediction[] {
  expectTable(table);
  const perRow = outputsOf(table);
  if (!isFloat32Array(outputs) || outputs.length % perRow !== 0)
    invalidArgument("outputs", `a Float32Array with ${perRow} values for each row`, outputs);
  const { target } = table;
  if (target.kind === "number") return Array.from(outputs, (value) => ({ value: value * target.std + target.mean }));
  return Array.from({ length: outputs.length / perRow }, (_, row) => {
    const logits = Array.from(outputs.subarray(row * perRow, (row + 1) * perRow));
    const largest = logits.reduce((max, logit) => Math.max(max, logit), Number.NEGATIVE_INFINITY);
    // The largest exponent is 0, so none overflows.
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
    // Of equal logits, the first counts, as in argmax.
    return { value: target.classes[logits.indexOf(largest)] ?? "", probability: 1 / sum };
  });
}
