import { createHash } from "node:crypto";
import { basename } from "node:path";
import { openTable } from "../data/csv.js";
import { type ArrayDataset, type BatchSource, csv, parquet, type TableData, type TableKind } from "../data/index.js";
import { namesInWords } from "../data/table.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import type * as models from "../models/index.js";
import { crossEntropy, type Loss, meanSquaredError } from "../nn/index.js";
import { isInt32Array } from "../realms.js";
import type { ModelCard } from "../weights/index.js";
import { evaluationBatches } from "./evaluation-batches.js";
import {
  type ReadOption,
  type SplitLengths,
  type SplitName,
  type Task,
  type TaskKind,
  type TaskOptions,
  type TrainingBatchOptions,
  tableOptionNames,
} from "./task.js";

/** The settings that only text has. */
const csvOnly: readonly ReadOption[] = ["separator", "decimal", "thousands"];

/** Regression and classification of rows in CSV and Parquet files. */
export const tableKinds: readonly TaskKind[] = (["csv", "parquet"] as const).map((kind) => ({
  kind,
  place: "<file>",
  takes: tableOptionNames.filter((name) => kind === "csv" || !csvOnly.includes(name)),
  open: (place, options) => openRows(kind, place, options),
}));

/** Returns whether a kind of source is one of tables. */
export function isTableKind(kind: string): kind is TableKind {
  return tableKinds.some((known) => known.kind === kind);
}

/** Number of items per batch of an evaluation. */
const evaluationSize = 1024;

async function openRows(kind: TableKind, file: string, options: TaskOptions): Promise<Task> {
  const { target, task, categories, ignore, missing, test, testData: testFile, validation, note, signal } = options;
  const { decimal, thousands } = options;
  // A shell passes the two characters of "\t" on.
  const separator = ["tab", "\\t"].includes(options.separator ?? "") ? "\t" : options.separator;
  if (target === undefined) {
    const { columns } = await openTable(kind, file, separator);
    const expected = `the name of the column to predict (${namesInWords(columns)})`;
    throw new StepsizeError("invalid-argument", `target: expected ${expected}, got none`);
  }
  const given = { target, task, categories, ignore, missing, test, testFile, validation: validation?.share, signal };
  const data =
    kind === "csv" ? await csv(file, { ...given, separator, decimal, thousands }) : await parquet(file, given);
  const { table, inputs, notes } = data;
  for (const text of notes.slice(0, notesShown)) note?.(text);
  if (notes.length > notesShown) note?.(`and ${notes.length - notesShown} more`);
  note?.(`columns of the table: ${table.columns.length}, which are ${inputs} inputs of the model`);
  return new TableTask(`${kind}:${basename(file)}`, data);
}

/** Largest number of notes about a table that are shown. */
const notesShown = 12;

class TableTask implements Task {
  readonly name: string;
  readonly unit = "rows";
  readonly unitsPerItem = 1;
  readonly lengths: SplitLengths;
  readonly loss: Loss;
  readonly regression: Task["regression"];
  readonly #data: TableData;

  constructor(name: string, data: TableData) {
    this.name = name;
    this.#data = data;
    const { train, validation, test, table } = data;
    this.lengths = { train: train.length, test: test.length, ...(validation && { validation: validation.length }) };
    this.loss = table.target.kind === "number" ? meanSquaredError : crossEntropy;
    if (table.target.kind === "number")
      this.regression = { std: table.target.std, variance: (split) => varianceOf(this.#part(split)) };
  }

  modelConfig(model: string): models.ModelConfig {
    if (model !== "mlp") invalidArgument("model", "mlp for a table", model);
    const { inputs, outputs } = this.#data;
    return { kind: "mlp", inputs, hidden, classes: outputs };
  }

  card(config: models.ModelConfig): ModelCard {
    const { table } = this.#data;
    return { config, table, ...(table.target.kind === "class" && { classes: table.target.classes }) };
  }

  trainingBatches({ size, seed, augment }: TrainingBatchOptions): BatchSource {
    if (augment) invalidArgument("augment", "false for a table", augment);
    return this.#data.train.batches({ size, seed });
  }

  evaluationBatches(split: SplitName, maxItems = Number.POSITIVE_INFINITY): BatchSource {
    return evaluationBatches(this.#part(split), maxItems, evaluationSize);
  }

  async fingerprint(): Promise<string> {
    const { train, validation, test, table } = this.#data;
    const hash = createHash("sha256").update(JSON.stringify(table));
    for (const { inputs, labels } of [train, test, ...(validation ? [validation] : [])]) {
      hash.update(inputs.data);
      hash.update(isInt32Array(labels) ? labels : labels.data);
    }
    return hash.digest("hex").slice(0, 12);
  }

  #part(split: SplitName): ArrayDataset {
    const part = this.#data[split];
    if (!part) throw new StepsizeError("invalid-state", `${this.name}: there is no ${split} split`);
    return part;
  }
}

/** Sizes of the hidden layers of a model of a table. */
const hidden: readonly number[] = [128, 128];

/** Returns the population variance of the targets of a dataset. */
function varianceOf({ labels }: ArrayDataset): number {
  const { data } = isInt32Array(labels) ? { data: labels } : labels;
  let [count, mean, squares] = [0, 0, 0];
  for (const value of data) {
    count += 1;
    const distance = value - mean;
    mean += distance / count;
    squares += distance * (value - mean);
  }
  return squares / count;
}
