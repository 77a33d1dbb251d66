import { decodeOutputs, type RowPrediction } from "../../data/index.js";
import { type Cell, textOf } from "../../data/table.js";
import { RowEncoder } from "../../data/table-encoder.js";
import { replaceFile } from "../../files/atomic-file.js";
import { printable } from "../../quoting.js";
import { UsageError } from "../failure.js";
import { printJson, tell } from "../output/terminal.js";
import { some } from "../output/text.js";
import { asTableModel, type SavedModel } from "../saved.js";
import { openRows, outputsForRows, unseenInWords } from "./table-rows.js";

/** What `predict` was asked for. */
export interface TableRequest {
  readonly paths: readonly string[];
  /** The file to write; standard output if it is absent. */
  readonly output: string | undefined;
  readonly json: boolean;
  readonly signal: AbortSignal;
}

/**
 * Predicts the target of the rows of a table. Prints or writes the table with the columns of the prediction added, row by
 * row, so that files of any length can be predicted.
 *
 * @throws UsageError for another number of files than one
 * @throws StepsizeError `invalid-file` for a row that does not fit the model, and any error of reading and writing
 */
export async function predictTable(saved: SavedModel, { paths, output, json, signal }: TableRequest): Promise<void> {
  const model = asTableModel(saved);
  const [path, ...more] = paths;
  if (path === undefined || more.length > 0)
    throw new UsageError(`file: expected one table for ${saved.path}, got ${paths.length}`);
  const source = await openRows(model, path);
  const encoder = new RowEncoder(source, model.table);
  const { separator, columns } = source;
  const isClass = model.table.target.kind === "class";
  const added = ["prediction", ...(isClass ? ["probability"] : [])].map((name) => freeName(name, columns));
  const predictions: object[] = [];
  let done = 0;
  const write = async (append: (text: string) => Promise<void>) => {
    await append(lineOf([...columns, ...added], separator));
    for await (const { rows, outputs } of outputsForRows(model, source, encoder, { signal })) {
      const predicted = decodeOutputs(model.table, outputs);
      const lines = rows.map(({ cells, at }, i) => {
        const { value, probability } = rounded(predicted[i]);
        if (json) predictions.push({ [source.rowWord]: at, prediction: value, ...(isClass && { probability }) });
        return lineOf([...cells, value, ...(isClass ? [probability] : [])], separator);
      });
      done += rows.length;
      await append(lines.join(""));
    }
  };
  if (output !== undefined) {
    await replaceFile(output, 0, (file) => write((text) => file.append(Buffer.from(text))));
    tell(`${output}: ${some(done, "row")}`);
  } else await write(json ? async () => {} : toStandardOutput);
  for (const note of unseenInWords(encoder)) tell(note);
  if (json) printJson({ checkpoint: saved.path, ...(output !== undefined && { output }), predictions });
}

/** Returns a name that no column has. */
function freeName(name: string, columns: readonly string[]): string {
  let free = name;
  for (let i = 2; columns.includes(free); i++) free = `${name} ${i}`;
  return free;
}

/** Digits of a float32 number. */
const digits = 7;

function rounded({ value, probability = 0 }: RowPrediction = { value: "" }) {
  const round = (number: number) => Number(number.toPrecision(digits));
  return { value: typeof value === "number" ? round(value) : value, probability: round(probability) };
}

function lineOf(cells: readonly Cell[], separator: string): string {
  return `${cells.map((cell) => quotedCell(textOf(cell), separator)).join(separator)}\n`;
}

function quotedCell(text: string, separator: string): string {
  const isPlain = !/["\r\n]|^\s|\s$/.test(text) && !text.includes(separator);
  return isPlain ? text : `"${text.replaceAll('"', '""')}"`;
}

/** Writes text to standard output, and waits while a slow reader has not taken it. */
async function toStandardOutput(text: string): Promise<void> {
  // On a terminal, control characters are escaped, except those of a table.
  const shown = process.stdout.isTTY
    ? text
        .split(/([\t\n])/)
        .map((part) => (/^[\t\n]$/.test(part) ? part : printable(part)))
        .join("")
    : text;
  if (process.stdout.write(shown)) return;
  await new Promise<void>((resolve) => process.stdout.once("drain", resolve));
}
