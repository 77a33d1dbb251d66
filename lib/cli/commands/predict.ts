import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { readAhead } from "../../data/read-ahead.js";
import { StepsizeError } from "../../errors.js";
import { itemAt, zip } from "../../lookup.js";
import { shown } from "../../quoting.js";
import { elementCount } from "../../shapes.js";
import { addFlags, addJson, type Fields, fromFlags, numberField } from "../config/fields.js";
import { UsageError } from "../failure.js";
import { Interrupts } from "../interrupts.js";
import { CountProgress } from "../output/count-progress.js";
import { print, printJson, tell } from "../output/terminal.js";
import { some, table } from "../output/text.js";
import {
  asClassifier,
  checkSaved,
  expectOutputs,
  openSaved,
  type SavedClassifier,
  savedFields,
  withRun,
} from "../saved.js";
import { filesOf, ImageReader, type NamedImage, parseIndices } from "./predict-images.js";
import { predictTable } from "./predict-table.js";

/** Number of images per forward pass. */
const batchSize = 250;
const defaultTop = 3;

const fields = {
  ...savedFields,
  top: numberField(z.int().min(1), "a whole number of at least 1", "number of classes to print for an image", {
    fallback: String(defaultTop),
  }),
} satisfies Fields;

interface Prediction {
  readonly image: string;
  /** The most likely first. */
  readonly classes: readonly { readonly name: string; readonly probability: number }[];
}

type PredictFlags = {
  readonly checkpoint?: string;
  readonly index?: string;
  readonly output?: string;
  readonly json?: boolean;
};

/** Adds the options and the action of `predict`. */
export function definePredict(command: Command): void {
  addFlags(command, fields);
  command
    .option("--index <list>", "indices of images of an IDX file: 3, 0-9 or 0,2,7-9")
    .option("--output <file>", "file for a table with its predictions; an existing file is replaced");
  addJson(command)
    .addHelpText(
      "after",
      `
An image is a JPEG, PNG or WebP file or another one that the package sharp
reads, which is resized for the model (npm install sharp). Without sharp, it is
a PGM or PPM file, an IDX file with --index, or raw bytes in a file named .raw
or .bin, of the size that the model was trained on. Raw bytes have the shape
[height, width, channels], with rows from the top. A folder stands for all files
in it. The first argument may be a run's folder, in place of --checkpoint.

For a model of a table, the argument is a CSV file or a .parquet file. It is
printed as CSV with the columns prediction and, for classes, probability.

Examples:
  stepsize predict runs/1 photo.jpg
  stepsize predict runs/1 --top 1 --json path/to/photos
  stepsize predict --checkpoint runs/1 digit.pgm
  stepsize predict --checkpoint runs/1 \\
    --index 0-9 path/to/t10k-images-idx3-ubyte
  stepsize predict runs/2 customers.csv --output with-predictions.csv`,
    )
    .action(predict);
}

async function predict(args: readonly string[], flags: PredictFlags): Promise<void> {
  const { run, paths } = flags.checkpoint === undefined ? withoutRun(args) : { run: undefined, paths: args };
  const values = checkSaved(fields, fromFlags(fields, withRun(run, flags)));
  if (paths.length === 0) throw new UsageError("file: expected at least one file or folder, got none");
  const indices = flags.index === undefined ? undefined : parseIndices(flags.index);
  const opened = await openSaved(values);
  const interrupts = new Interrupts();
  try {
    if (opened.card.table) {
      if (indices) throw new UsageError("--index: expected only with an IDX file, got a model of a table");
      if (values.top !== undefined) throw new UsageError("--top: expected only with images, got a model of a table");
      const { signal } = interrupts;
      await predictTable(opened, { paths, output: flags.output, json: flags.json ?? false, signal });
      interrupts.checkStray();
      return;
    }
    if (flags.output !== undefined) throw new UsageError("--output: expected only with a model of a table");
    const saved = asClassifier(opened);
    const { top = defaultTop } = values;
    const { predictions, unreadable, files } = await predictImages(saved, { paths, indices, top, interrupts });
    if (flags.json) printJson({ checkpoint: saved.path, predictions, ...(unreadable.length > 0 && { unreadable }) });
    else if (predictions.length > 0) print(predictionTable(predictions));
    interrupts.checkStray();
    refuseUnreadable(unreadable, files);
  } finally {
    interrupts.close();
    await opened.device.close();
  }
}

/** Takes a run's folder or a checkpoint off the front of the arguments. */
function withoutRun(args: readonly string[]): { readonly run: string | undefined; readonly paths: readonly string[] } {
  const [first, ...rest] = args;
  const isRun = first !== undefined && (first.endsWith(".safetensors") || existsSync(join(first, "config.json")));
  return isRun ? { run: first, paths: rest } : { run: undefined, paths: args };
}

/** A file that could not be read as an image. */
interface Unreadable {
  readonly image: string;
  readonly error: string;
}

/** Number of files that are read ahead. */
const filesAhead = 8;

async function predictImages(
  saved: SavedClassifier,
  {
    paths,
    indices,
    top,
    interrupts,
  }: {
    readonly paths: readonly string[];
    readonly indices: readonly number[] | undefined;
    readonly top: number;
    readonly interrupts: Interrupts;
  },
): Promise<{
  readonly predictions: readonly Prediction[];
  readonly unreadable: readonly Unreadable[];
  readonly files: number;
}> {
  const { shape, dtype } = saved.preprocessing;
  if (dtype !== "uint8")
    throw new StepsizeError(
      "unsupported",
      `${saved.path}: expected a model of uint8 images, got one of ${dtype} items`,
    );
  const files = await filesOf(paths);
  const reader = new ImageReader({ shape, fit: saved.card.fit ?? "crop" }, indices);
  const predictions: Prediction[] = [];
  const unreadable: Unreadable[] = [];
  let images: NamedImage[] = [];
  const classifyRead = async () => {
    for (const prediction of await classify(saved, images, top)) predictions.push(prediction);
    images = [];
  };
  const read = (i: number) =>
    reader.read(itemAt(files, i)).catch((error: unknown) => unreadableOr(itemAt(files, i), error));
  const progress = files.length > batchSize ? await CountProgress.start("image") : undefined;
  try {
    let done = 0;
    for await (const result of readAhead(0, files.length, filesAhead, read)) {
      interrupts.check(`interrupted after ${some(predictions.length, "image")}`);
      if (Array.isArray(result)) for (const image of result) images.push(image);
      else unreadable.push(result);
      done++;
      progress?.at(done, files.length, done / files.length);
      while (images.length >= batchSize) {
        const rest = images.splice(batchSize);
        await classifyRead();
        images = rest;
      }
    }
    if (images.length > 0) await classifyRead();
  } finally {
    progress?.close();
  }
  return { predictions, unreadable, files: files.length };
}

/** Returns the error of a bad file, so that the others are still classified, and throws any other error. */
function unreadableOr(image: string, error: unknown): Unreadable {
  if (error instanceof StepsizeError && error.code === "invalid-file")
    return { image, error: error.message.replace(`${image}: `, "") };
  throw error;
}

/** Throws an error that names the files that could not be read. */
function refuseUnreadable(unreadable: readonly Unreadable[], files: number): void {
  const words = unreadable.map(({ image, error }) => `${image}: ${error}`);
  const [only] = words;
  if (only === undefined) return;
  if (files === 1) throw new StepsizeError("invalid-file", only);
  for (const text of words) tell(text);
  throw new StepsizeError(
    "invalid-file",
    `${unreadable.length} of ${files} files cannot be read; they are named above`,
  );
}

async function classify(saved: SavedClassifier, images: readonly NamedImage[], top: number): Promise<Prediction[]> {
  const { model, prepare, preprocessing, classes } = saved;
  const { shape } = preprocessing;
  const length = elementCount(shape);
  const pixels = new Uint8Array(images.length * length);
  images.forEach(({ data }, i) => {
    pixels.set(data, i * length);
  });
  const outputs = await model.predict(pixels, { shape, prepare, size: images.length });
  expectOutputs(saved, outputs.shape);
  return images.map(({ name: image }, i) => {
    const probabilities = softmax(outputs.data.subarray(i * classes.length, (i + 1) * classes.length));
    const ranked = [...zip(classes, probabilities)]
      .map(([name, probability]) => ({ name, probability }))
      // The sort is stable, so ties are broken by the order of the classes, as in argmax.
      .sort((a, b) => b.probability - a.probability);
    return { image, classes: ranked.slice(0, top) };
  });
}

function softmax(logits: Float32Array): number[] {
  const largest = logits.reduce((max, logit) => Math.max(max, logit), Number.NEGATIVE_INFINITY);
  // The largest exponent is 0, so none overflows.
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

function predictionTable(predictions: readonly Prediction[]): string {
  return table(
    predictions.map(({ image, classes }) => [
      image,
      ...classes.map(({ name, probability }) => `${shown(name)} ${(100 * probability).toFixed(1)} %`),
    ]),
  );
}
