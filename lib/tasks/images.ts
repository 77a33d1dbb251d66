import { createHash } from "node:crypto";
import { basename, resolve } from "node:path";
import {
  type ArrayDataset,
  type BatchSource,
  cifar10,
  type IdxOptions,
  idx,
  mnist,
  type Split,
} from "../data/index.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import * as models from "../models/index.js";
import { crossEntropy } from "../nn/index.js";
import { isInt32Array } from "../realms.js";
import type { ModelCard } from "../weights/index.js";
import type { SplitLengths, SplitName, Task, TaskKind, TaskOptions, TrainingBatchOptions } from "./task.js";

/** How a kind of image data is read. */
interface ImageKind {
  readonly kind: string;
  readonly place?: string | undefined;
  /** Whether a mirrored image has the same class. */
  readonly mayFlip: boolean;
  /** Names the data in a folder, for messages and for records of a study. */
  nameOf(dir: string): string;
  load(dir: string, split: Split, classes?: IdxOptions["classes"]): Promise<ArrayDataset>;
}

const folderName = (dir: string) => basename(resolve(dir));

const kinds: readonly ImageKind[] = [
  { kind: "mnist", mayFlip: false, nameOf: () => "mnist", load: (_, split) => mnist({ split }) },
  {
    kind: "idx",
    place: "<dir>",
    mayFlip: false,
    nameOf: (dir) => `idx:${folderName(dir)}`,
    // The name has only the last part of the path, so that a run can be resumed after its data were moved.
    load: (dir, split, classes) =>
      idx(dir, { split, name: `${folderName(dir)} (${split})`, ...(classes !== undefined && { classes }) }),
  },
  {
    kind: "cifar10",
    place: "<dir>",
    mayFlip: true,
    nameOf: () => "cifar10",
    load: (dir, split) => cifar10(dir, { split }),
  },
];

/** Classification of images: MNIST, folders in its layout, CIFAR-10. */
export const imageKinds: readonly TaskKind[] = kinds.map((kind) => ({
  kind: kind.kind,
  place: kind.place,
  open: (place, options) => openImages(kind, place, options),
}));

/**
 * Loads one split of image data.
 *
 * @param classes number or names of the classes of an IDX folder; default 10
 * @throws StepsizeError `unsupported` for a source that is not images, and any error of reading the files
 */
export function loadImages(
  { kind, place = "" }: { readonly kind: string; readonly place?: string },
  split: Split,
  classes?: IdxOptions["classes"],
): Promise<ArrayDataset> {
  const imageKind = kinds.find((candidate) => candidate.kind === kind);
  if (!imageKind) throw new StepsizeError("unsupported", `data: expected images, got ${kind}`);
  return imageKind.load(place, split, classes);
}

async function openImages(
  kind: ImageKind,
  place: string,
  { classes, context, validation }: TaskOptions,
): Promise<Task> {
  if (context !== undefined) invalidArgument("context", "none: images are not cut into windows", context);
  const whole = await kind.load(place, "train", classes);
  // The test split is read before the training, so that a missing file is found at once.
  const test = await kind.load(place, "test", classes);
  const parts = validation && whole.split({ validation: validation.share, seed: validation.seed });
  return new ImageTask(kind.nameOf(place), kind.mayFlip, { train: whole, test, ...parts }, [whole, test]);
}

/** Number of items per batch of an evaluation. */
const evaluationSize = 250;

/** Returns `count` indices below `length`, evenly spread. */
function evenlySpread(count: number, length: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.floor((i * length) / count));
}

type Parts = { readonly train: ArrayDataset; readonly test: ArrayDataset; readonly validation?: ArrayDataset };

class ImageTask implements Task {
  readonly name: string;
  readonly unit = "images";
  readonly unitsPerItem = 1;
  readonly lengths: SplitLengths;
  readonly loss = crossEntropy;
  readonly #mayFlip: boolean;
  readonly #parts: Parts;
  readonly #files: readonly ArrayDataset[];

  /** @param files everything that was read, including items held back for validation */
  constructor(name: string, mayFlip: boolean, parts: Parts, files: readonly ArrayDataset[]) {
    this.name = name;
    this.#mayFlip = mayFlip;
    this.#parts = parts;
    this.#files = files;
    const { train, test, validation } = parts;
    this.lengths = { train: train.length, test: test.length, ...(validation && { validation: validation.length }) };
  }

  modelConfig(model: string): models.ModelConfig {
    return models.configOf(model, this.#parts.train.inputs.shape, this.#classes.length);
  }

  card(config: models.ModelConfig): ModelCard {
    return { config, classes: this.#classes, preprocessing: this.#parts.train.preprocessing() };
  }

  trainingBatches({ size, seed, augment, augmentOn = "host" }: TrainingBatchOptions): BatchSource {
    const changes = { pad: 4, crop: true, flip: this.#mayFlip };
    return this.#parts.train.batches({ size, seed, ...(augment && { augment: { ...changes, on: augmentOn } }) });
  }

  evaluationBatches(split: SplitName, maxItems = Number.POSITIVE_INFINITY): BatchSource {
    const whole = this.#parts[split];
    if (!whole) throw new StepsizeError("invalid-state", `${this.name}: there is no ${split} split`);
    const part = maxItems < whole.length ? whole.subset(evenlySpread(maxItems, whole.length)) : whole;
    return part.batches({ size: Math.min(evaluationSize, part.length), shuffle: false });
  }

  async fingerprint(): Promise<string> {
    const hash = createHash("sha256");
    for (const { inputs, labels } of this.#files) {
      hash.update(JSON.stringify([inputs.shape, inputs.dtype]));
      hash.update(inputs.data);
      hash.update(isInt32Array(labels) ? labels : labels.data);
    }
    return hash.digest("hex").slice(0, 12);
  }

  get #classes(): readonly string[] {
    return this.#parts.train.classes ?? [];
  }
}
