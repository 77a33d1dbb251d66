import { type Batch, tokenizerOf } from "../../data/index.js";
import { isNotFound } from "../../errors.js";
import { JsonLinesFile } from "../../files/json-lines-file.js";
import { encodePng } from "../../files/png.js";
import { isInt32Array, isUint8Array } from "../../realms.js";
import { count, object, text } from "../../schema.js";
import { asType, type Tensor } from "../../tensor/index.js";
import { generate } from "../../text/index.js";
import type { RunFolder } from "../run-folder.js";
import type { OpenRun } from "../run-setup.js";

/** Number of predictions that are kept as the worst. */
const worstCount = 16;
/** With more classes there is no confusion matrix, which would take more than 50 kB. */
const maxMatrixClasses = 100;
/** Longest side of a picture. Larger images are reduced. */
const maxPictureSide = 96;
/** Tokens of a sample of text: those before it, and the largest number that is generated. */
const [promptTokens, sampleTokens] = [16, 64];

/** A line of `samples.jsonl`: text that the model generated during the run. */
interface Sample {
  /** Number of finished steps. */
  readonly step: number;
  readonly prompt: string;
  readonly text: string;
}

const sampleSchema = object<Sample>({ step: count, prompt: text, text });

/** What a run shows of its model beside the losses: predictions of a classifier, texts of a language model. */
export class RunOutputs {
  readonly #parts: OpenRun;
  readonly #folder: RunFolder;
  readonly #samples: JsonLinesFile<Sample>;
  #canSample: boolean;
  #prompt: string | undefined;

  /** Removes the samples that were made after the step at which the run is resumed. */
  constructor(parts: OpenRun, folder: RunFolder) {
    this.#parts = parts;
    this.#folder = folder;
    this.#samples = new JsonLinesFile(folder.samples);
    this.#samples.cut(sampleSchema, ({ step }) => step <= parts.trainer.step);
    this.#canSample = parts.card.text !== undefined;
  }

  /** Returns the observer of an evaluation of a classifier; `undefined` for other models. */
  observe(): Predictions | undefined {
    const { classes } = this.#parts.card;
    return classes && classes.length > 1 ? new Predictions(classes) : undefined;
  }

  /** Writes the predictions of an evaluation. */
  async write(split: "test" | "validation", predictions: Predictions | undefined): Promise<void> {
    if (predictions === undefined || predictions.items === 0) return;
    const content = { step: this.#parts.trainer.step, split, ...predictions.toJSON() };
    await this.#folder.writeText(this.#folder.predictions(split), `${JSON.stringify(content)}\n`);
  }

  /**
   * Continues the beginning of the first item for evaluation, and appends the text to `samples.jsonl`. The same weights
   * give the same text.
   */
  async sample(signal: AbortSignal): Promise<void> {
    const { model, card, trainer } = this.#parts;
    if (!this.#canSample) return;
    const wasTraining = model.training;
    model.eval();
    try {
      this.#prompt ??= await this.#firstWords();
      let made = "";
      const loaded = { model, card, prepare: (ids: Tensor) => ids };
      for await (const piece of generate(loaded, { prompt: this.#prompt, tokens: sampleTokens, signal })) made += piece;
      if (!signal.aborted) this.#samples.add({ step: trainer.step, prompt: this.#prompt, text: made });
    } catch (error) {
      // The tokenizer is in a package that is optional.
      if (!isNotFound(error)) throw error;
      this.#canSample = false;
    } finally {
      model.train(wasTraining);
    }
  }

  /** The first tokens of the validation split, or without one of the test split, as text. */
  async #firstWords(): Promise<string> {
    const { task, card } = this.#parts;
    if (card.text === undefined) return "";
    const tokenizer = tokenizerOf(card.text.tokenizer);
    const batches = task.evaluationBatches(task.lengths.validation ? "validation" : "test", 1);
    const decoder = tokenizer.decoder();
    let words = "";
    try {
      for await (const { inputs } of batches.once())
        for (const id of inputs.data.slice(0, promptTokens)) if (id !== tokenizer.endOfText) words += decoder.add(id);
    } finally {
      await batches.close();
    }
    return words;
  }

  close(): void {
    this.#samples.close();
  }
}

interface Prediction {
  readonly item: number;
  readonly label: number;
  readonly predicted: number;
  /** Probability that the model gives the label. */
  readonly probability: number;
  /** The image as a data URL; absent if the items are no images of bytes. */
  readonly image?: string | undefined;
}

/** Collects the predictions of an evaluation: a confusion matrix, and those with the least probability of the label. */
export class Predictions {
  readonly #classes: readonly string[];
  readonly #confusion: Uint32Array | undefined;
  #worst: Prediction[] = [];
  /** Number of items so far. */
  items = 0;

  constructor(classes: readonly string[]) {
    this.#classes = classes;
    if (classes.length <= maxMatrixClasses) this.#confusion = new Uint32Array(classes.length ** 2);
  }

  /** Adds the outputs for a batch. Outputs that are not one number per class are left out. */
  async add(outputs: Tensor, { inputs, labels, size }: Batch): Promise<void> {
    const { length } = this.#classes;
    if (!isInt32Array(labels) || outputs.size !== size * length) return;
    const first = this.items;
    this.items += size;
    const logits = await asType(outputs, "float32").read();
    for (let i = 0; i < size; i++) {
      const label = labels[i] ?? -1;
      if (label < 0 || label >= length) continue;
      const row = logits.subarray(i * length, (i + 1) * length);
      const predicted = largestAt(row);
      if (this.#confusion) {
        const cell = label * length + predicted;
        this.#confusion[cell] = (this.#confusion[cell] ?? 0) + 1;
      }
      if (predicted === label) continue;
      const probability = softmaxAt(row, label);
      const threshold = this.#worst.length < worstCount ? 1 : (this.#worst.at(-1)?.probability ?? 1);
      if (!(probability < threshold)) continue;
      this.#insert({ item: first + i, label, predicted, probability, image: pictureOf(inputs, i) });
    }
  }

  #insert(prediction: Prediction): void {
    const at = this.#worst.findIndex(({ probability }) => probability > prediction.probability);
    this.#worst.splice(at < 0 ? this.#worst.length : at, 0, prediction);
    this.#worst = this.#worst.slice(0, worstCount);
  }

  toJSON(): object {
    const { length } = this.#classes;
    const confusion = this.#confusion;
    return {
      items: this.items,
      classes: this.#classes,
      ...(confusion && {
        confusion: this.#classes.map((_, truth) => [...confusion.subarray(truth * length, (truth + 1) * length)]),
      }),
      worst: this.#worst,
    };
  }
}

function largestAt(values: Float32Array): number {
  let at = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] ?? 0) > (values[at] ?? 0)) at = i;
  return at;
}

/** The softmax of some values at an index, rounded to six digits. */
function softmaxAt(values: Float32Array, index: number): number {
  const highest = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const sum = values.reduce((total, value) => total + Math.exp(value - highest), 0);
  return Number((Math.exp((values[index] ?? Number.NaN) - highest) / sum).toPrecision(6));
}

/** Returns an item of a batch as a PNG image; `undefined` if it is no image of bytes. */
function pictureOf({ data, shape }: Batch["inputs"], index: number): string | undefined {
  const [, height, width, channels] = shape;
  if (!isUint8Array(data) || shape.length !== 4 || height === undefined || width === undefined) return undefined;
  if (channels !== 1 && channels !== 3) return undefined;
  const bytes = height * width * channels;
  const image = { width, height, channels, pixels: data.subarray(index * bytes, (index + 1) * bytes) } as const;
  return `data:image/png;base64,${encodePng(reduced(image)).toString("base64")}`;
}

/** Leaves out rows and columns of an image whose sides are too long for a picture. */
function reduced(image: Parameters<typeof encodePng>[0]): Parameters<typeof encodePng>[0] {
  const { channels, pixels } = image;
  const every = Math.ceil(Math.max(image.width, image.height) / maxPictureSide);
  if (every === 1) return image;
  const [width, height] = [Math.floor(image.width / every), Math.floor(image.height / every)];
  const kept = new Uint8Array(width * height * channels);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const from = (row * every * image.width + column * every) * channels;
      kept.set(pixels.subarray(from, from + channels), (row * width + column) * channels);
    }
  return { width, height, channels, pixels: kept };
}
