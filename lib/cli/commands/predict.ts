import type { Command } from "commander";
import { StepsizeError } from "../../errors.js";
import { zip } from "../../lookup.js";
import { shown } from "../../quoting.js";
import { elementCount } from "../../shapes.js";
import { addFlags, fromFlags } from "../config/fields.js";
import { UsageError } from "../failure.js";
import { Interrupts } from "../interrupts.js";
import { print, printJson } from "../output/terminal.js";
import { some, table } from "../output/text.js";
import { asClassifier, checkSaved, expectOutputs, openSaved, type SavedClassifier, savedFields } from "../saved.js";
import { type NamedImage, parseIndices, readImages } from "./predict-images.js";

/** Number of images per forward pass. */
const batchSize = 250;
const classesShown = 3;

interface Prediction {
  readonly image: string;
  /** The most likely first. */
  readonly classes: readonly { readonly name: string; readonly probability: number }[];
}

type PredictFlags = { readonly index?: string; readonly json?: boolean };

/** Adds the options and the action of `predict`. */
export function definePredict(command: Command): void {
  addFlags(command, savedFields);
  command
    .option("--index <list>", "indices of images of an IDX file: 3, 0-9 or 0,2,7-9")
    .option("--json", "print the result as one JSON object on the last line of standard output")
    .addHelpText(
      "after",
      `
An image is a PGM or PPM file, an IDX file with --index, or raw bytes in a file named .raw or .bin. Raw bytes have the
shape [height, width, channels], with rows from the top. An image must have the size that the model was trained on.

Examples:
  stepsize predict --checkpoint runs/1 digit.pgm
  stepsize predict --checkpoint runs/1 --index 0-9 path/to/t10k-images-idx3-ubyte`,
    )
    .action(predict);
}

async function predict(paths: readonly string[], flags: PredictFlags): Promise<void> {
  const values = checkSaved(savedFields, fromFlags(savedFields, flags));
  if (paths.length === 0) throw new UsageError("image: expected at least one file, got none");
  const indices = flags.index === undefined ? undefined : parseIndices(flags.index);
  const opened = await openSaved(values);
  const interrupts = new Interrupts();
  try {
    const saved = asClassifier(opened);
    const { shape, dtype } = saved.preprocessing;
    if (dtype !== "uint8")
      throw new StepsizeError(
        "unsupported",
        `${saved.path}: expected a model of uint8 images, got one of ${dtype} items`,
      );
    const images: NamedImage[] = [];
    for (const path of paths) for (const image of await readImages(path, shape, indices)) images.push(image);
    const predictions: Prediction[] = [];
    for (let at = 0; at < images.length; at += batchSize) {
      interrupts.check(`interrupted after ${some(at, "image")}`);
      for (const prediction of await classify(saved, images.slice(at, at + batchSize))) predictions.push(prediction);
    }
    if (flags.json) printJson({ checkpoint: saved.path, predictions });
    else print(predictionTable(predictions));
    interrupts.checkStray();
  } finally {
    interrupts.close();
    await opened.device.close();
  }
}

async function classify(saved: SavedClassifier, images: readonly NamedImage[]): Promise<Prediction[]> {
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
    return { image, classes: ranked.slice(0, classesShown) };
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
