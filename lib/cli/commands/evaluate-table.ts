import { basename } from "node:path";
import { defaultTestShare } from "../../data/csv.js";
import type { TableRow } from "../../data/table.js";
import { outputsOf, RowEncoder } from "../../data/table-encoder.js";
import { divider } from "../../data/table-scan.js";
import { StepsizeError } from "../../errors.js";
import { isTableKind, parseSource, type TableReadOptions } from "../../tasks/index.js";
import { UsageError } from "../failure.js";
import { tell } from "../output/terminal.js";
import { percent, short, some } from "../output/text.js";
import { asTableModel, type SavedModel } from "../saved.js";
import { classResults, classTable } from "./class-results.js";
import type { EvaluationRequest, SavedEvaluation } from "./evaluate-text.js";
import { openRows, outputsForRows, unseenInWords } from "./table-rows.js";

/** The settings of a run that divide its table into splits. */
export type TableSplits = Pick<TableReadOptions, "test" | "testData"> & { readonly validation?: number | undefined };

/**
 * Evaluates a model of a table on the rows of a file.
 *
 * @param splits the settings of the run that divided its rows
 * @throws UsageError if the source is no table
 * @throws StepsizeError any error of reading the file, and `invalid-file` if no row has a target
 */
export async function evaluateTable(
  saved: SavedModel,
  { source: given, split, batch, signal }: EvaluationRequest,
  splits: TableSplits = {},
): Promise<SavedEvaluation> {
  const model = asTableModel(saved);
  const { target } = model.table;
  const { kind, place = "" } = parseSource(given);
  if (!isTableKind(kind)) throw new UsageError(`--data: expected csv:<file> or parquet:<file>, got ${given}`);
  const { file, isWanted } = rowsOf(place, split, splits);
  const source = await openRows(model, file, kind);
  const encoder = new RowEncoder(source, model.table, { needsTarget: true });
  const score = target.kind === "number" ? new NumberScore(target.std, target.mean) : new ClassScore(target.classes);
  const hasTarget = (row: TableRow) => encoder.targetOf(row) !== undefined;
  const select = { isWanted: (row: TableRow) => isWanted(row) && hasTarget(row), size: batch, signal };
  const width = outputsOf(model.table);
  for await (const { rows, outputs } of outputsForRows(model, source, encoder, select))
    rows.forEach((row, i) => {
      score.add(outputs.subarray(i * width, (i + 1) * width), encoder.targetOf(row) ?? Number.NaN);
    });
  for (const note of unseenInWords(encoder)) tell(note);
  const { items, words, result } = score.end();
  if (items === 0)
    throw new StepsizeError("invalid-file", `${file}: expected rows with ${target.name} (${split}), found none`);
  return { name: `${basename(file)} (${split})`, items: some(items, "row"), words: words(target.name), result };
}

/** Returns the file of a split, and which of its rows belong to the split. */
function rowsOf(
  file: string,
  split: EvaluationRequest["split"],
  { test, testData, validation = 0 }: TableSplits,
): { readonly file: string; readonly isWanted: (row: TableRow) => boolean } {
  const all = () => true;
  if (split === "all") return { file, isWanted: all };
  if (split === "test" && testData !== undefined) return { file: testData, isWanted: all };
  if (split === "validation" && validation === 0)
    throw new UsageError("--split: expected test or train, got validation, which the run does not have");
  const share = testData === undefined ? (test ?? defaultTestShare) : 0;
  const partOf = divider({ test: share, validation, seed: 0 });
  return { file, isWanted: (row) => partOf(row) === split };
}

interface Score {
  readonly items: number;
  readonly words: (target: string) => string;
  readonly result: object;
}

/** Errors of numbers in the unit of the target, summed in float64. */
class NumberScore {
  readonly #std: number;
  readonly #mean: number;
  #items = 0;
  #absolute = 0;
  #squared = 0;
  #targetMean = 0;
  #targetSquares = 0;

  constructor(std: number, mean: number) {
    this.#std = std;
    this.#mean = mean;
  }

  add(outputs: Float32Array, target: number): void {
    const error = (outputs[0] ?? Number.NaN) * this.#std + this.#mean - target;
    this.#items += 1;
    this.#absolute += Math.abs(error);
    this.#squared += error * error;
    const distance = target - this.#targetMean;
    this.#targetMean += distance / this.#items;
    this.#targetSquares += distance * (target - this.#targetMean);
  }

  end(): Score {
    const items = this.#items;
    const mse = this.#squared / items;
    const [rmse, mae, r2] = [Math.sqrt(mse), this.#absolute / items, 1 - this.#squared / this.#targetSquares];
    return {
      items,
      words: (target) => `RMSE ${short(rmse)}, MAE ${short(mae)} in the unit of ${target}, R² ${short(r2)}`,
      // JSON has no number for the R² of targets that are all equal.
      result: { items, loss: mse / this.#std ** 2, rmse, mae, r2: Number.isFinite(r2) ? r2 : null },
    };
  }
}

/** Cross entropy and confusion of classes. */
class ClassScore {
  readonly #classes: readonly string[];
  readonly #confusion: Uint32Array;
  #items = 0;
  #loss = 0;

  constructor(classes: readonly string[]) {
    this.#classes = classes;
    this.#confusion = new Uint32Array(classes.length ** 2);
  }

  add(outputs: Float32Array, target: number): void {
    const largest = outputs.reduce((max, logit) => Math.max(max, logit), Number.NEGATIVE_INFINITY);
    const sum = outputs.reduce((total, logit) => total + Math.exp(logit - largest), 0);
    this.#items += 1;
    this.#loss += Math.log(sum) + largest - (outputs[target] ?? Number.NaN);
    const cell = target * this.#classes.length + outputs.indexOf(largest);
    this.#confusion[cell] = (this.#confusion[cell] ?? 0) + 1;
  }

  end(): Score {
    const items = this.#items;
    const classes = classResults(this.#classes, this.#confusion);
    const accuracy = classes.reduce((total, { correct }) => total + correct, 0) / items;
    const loss = this.#loss / items;
    return {
      items,
      words: () => `accuracy ${percent(accuracy)}, loss ${short(loss)}\n\n${classTable(classes)}`,
      result: { items, loss, accuracy, classes },
    };
  }
}
