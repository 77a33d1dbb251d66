import type { Command } from "commander";
import { z } from "zod";
import { allocate } from "../../allocate.js";
import { type ArrayDataset, tokenSplits } from "../../data/index.js";
import { StepsizeError } from "../../errors.js";
import { zip } from "../../lookup.js";
import { shown } from "../../quoting.js";
import { loadImages, parseSource, resolveSource, sourcesInWords } from "../../tasks/index.js";
import { argmax, crossEntropy, tensor } from "../../tensor/index.js";
import { addFlags, addJson, choiceField, type Fields, fromFlags, numberField, withFallback } from "../config/fields.js";
import { dataField, readFields } from "../config/shared-fields.js";
import { Interrupted, UsageError } from "../failure.js";
import { Interrupts } from "../interrupts.js";
import { CountProgress } from "../output/count-progress.js";
import { print, printJson, tell } from "../output/terminal.js";
import { count, scoreInWords } from "../output/text.js";
import { runSettingsOf } from "../run-folder.js";
import { withReadingProgress } from "../run-setup.js";
import {
  asClassifier,
  checkSaved,
  openSaved,
  outputsOf,
  pretrainedField,
  type SavedClassifier,
  type SavedModel,
  savedFields,
  withRun,
} from "../saved.js";
import { classResults, classTable } from "./class-results.js";
import { evaluateTable } from "./evaluate-table.js";
import { type EvaluationRequest, evaluateText, type SavedEvaluation } from "./evaluate-text.js";

const fields = {
  ...savedFields,
  model: pretrainedField,
  data: withFallback(dataField, "the run's, from its config.json"),
  split: choiceField([...tokenSplits, "all"], "split of the data; validation and all only if the data have it", {
    fallback: "test; all rows of another table than the run's",
  }),
  onError: readFields.onError,
  context: withFallback(readFields.context, "that of the training"),
  batch: numberField(z.int().min(1), "a whole number of at least 1", "items per batch", {
    fallback: "250 images, up to 64 windows of text, or 1024 rows",
  }),
} satisfies Fields;

/** Adds the options and the action of `evaluate`. */
export function defineEvaluate(command: Command): void {
  addFlags(command, fields);
  addJson(command)
    .addHelpText(
      "after",
      `

Examples:
  stepsize evaluate runs/1
  stepsize evaluate runs/1/checkpoints/step-450.safetensors --split train
  stepsize evaluate --checkpoint model.safetensors --data idx:path/to/folder \\
    --json
  stepsize evaluate runs/2 --data tokens:path/to/tokens --split validation
  stepsize evaluate runs/3 --data images:path/to/others --split all`,
    )
    .action(evaluateCommand);
}

async function evaluateCommand(run: string | undefined, flags: Record<string, unknown>): Promise<void> {
  const values = checkSaved(fields, fromFlags(fields, withRun(run, flags)));
  const { split = "test", batch, context, data, onError } = values;
  const saved = await openSaved(values);
  const interrupts = new Interrupts();
  try {
    const { signal } = interrupts;
    const source = await sourceFor(saved, data);
    const request = { source, split, batch, context, onError, signal };
    // Another table than that of the run has no splits, unless one is asked for.
    const part = saved.card.table && data !== undefined ? (values.split ?? "all") : split;
    const { name, items, words, result } = saved.card.table
      ? await evaluateTable(saved, { ...request, split: part }, await runSettingsOf(saved.path))
      : await (saved.card.text ? evaluateText : evaluateImages)(saved, request);
    const write = flags["json"] ? tell : print;
    const steps = saved.step > 0 ? ` (after step ${count(saved.step)})` : "";
    write(`${saved.path}${steps} on ${shown(name)}, ${items}\n${words}`);
    if (flags["json"]) printJson({ checkpoint: saved.path, step: saved.step, data: source, split: part, ...result });
    interrupts.checkStray();
  } catch (error) {
    throw error instanceof Interrupted ? new Interrupted("interrupted while evaluating") : error;
  } finally {
    interrupts.close();
    await saved.device.close();
  }
}

async function evaluateImages(
  saved: SavedModel,
  { source, split, batch = 250, context, onError, signal }: EvaluationRequest,
): Promise<SavedEvaluation> {
  if (context !== undefined) throw new UsageError("--context: expected only for a text model");
  const classifier = asClassifier(saved);
  const { card } = saved;
  const data = await withReadingProgress((progress) =>
    loadImages(parseSource(source), split, { card, onError, signal, ...progress }),
  );
  expectFitting(classifier, data);
  const result = await evaluateByClass(classifier, data, { size: Math.min(batch, data.length), signal });
  const words = `${scoreInWords(result, { unit: "images" })}\n\n${classTable(result.classes)}`;
  return { name: data.name, items: `${count(data.length)} items`, words, result };
}

async function sourceFor({ path }: SavedModel, given: string | undefined): Promise<string> {
  const source = given ?? (await runSettingsOf(path))?.data;
  if (source !== undefined) return resolveSource(source);
  throw new UsageError(`--data: expected ${sourcesInWords}, got none; the checkpoint is not in a run's folder`);
}

function expectFitting({ preprocessing, path }: SavedClassifier, { inputs, name }: ArrayDataset): void {
  const words = (shape: readonly number[], dtype: string) => `${dtype} of ${shape.join(" × ")}`;
  const [expected, given] = [words(preprocessing.shape, preprocessing.dtype), words(inputs.shape, inputs.dtype)];
  if (expected !== given)
    throw new StepsizeError(
      "invalid-argument",
      `--data: expected the input of ${path}, ${expected}, got ${given} in ${name}`,
    );
}

async function evaluateByClass(
  saved: SavedClassifier,
  data: ArrayDataset,
  { size, signal }: { readonly size: number; readonly signal: AbortSignal },
) {
  const { device, classes: names } = saved;
  const classes = names.length;
  // confusion[truth · classes + prediction]
  const confusion = allocate("the table of classes", () => new Uint32Array(classes * classes));
  let [lossSum, done] = [0, 0];
  const progress = await CountProgress.start("item");
  const batches = data.batches({ size, shuffle: false });
  try {
    for await (const { inputs, labels, size: items } of batches.once({ reuse: true })) {
      signal.throwIfAborted();
      const truth = labels as Int32Array;
      const [x, y] = [tensor(device, inputs.data, inputs.shape), tensor(device, truth)];
      const outputs = outputsOf(saved, x);
      const [loss, predicted] = [crossEntropy(outputs, y), argmax(outputs)];
      const [meanLoss, guesses] = await Promise.all([loss.item(), predicted.read()]);
      for (const result of [x, y, outputs, loss, predicted]) result.dispose();
      lossSum += meanLoss * items;
      for (const [label, guess] of zip(truth, guesses)) {
        const cell = label * classes + guess;
        confusion[cell] = (confusion[cell] ?? 0) + 1;
      }
      done += items;
      progress.at(done, data.length, done / data.length);
    }
  } finally {
    progress.close();
    await batches.close();
  }
  const results = classResults(names, confusion);
  const correct = results.reduce((sum, result) => sum + result.correct, 0);
  return { items: data.length, loss: lossSum / data.length, accuracy: correct / data.length, classes: results };
}
