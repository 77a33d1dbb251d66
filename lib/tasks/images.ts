import { createHash } from "node:crypto";
import { basename, resolve } from "node:path";
import { cifar10Origin } from "../data/cifar10.js";
import { readImages } from "../data/images.js";
import {
  type ArrayDataset,
  type BatchSource,
  cifar10,
  fashionMnist,
  type ImageFit,
  idx,
  mnist,
  type Split,
} from "../data/index.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import * as models from "../models/index.js";
import { crossEntropy } from "../nn/index.js";
import { isInt32Array } from "../realms.js";
import type { ModelCard } from "../weights/index.js";
import { evaluationBatches } from "./evaluation-batches.js";
import type {
  GivenReadOptions,
  ReadOption,
  SplitLengths,
  SplitName,
  Task,
  TaskKind,
  TaskOptions,
  TrainingBatchOptions,
} from "./task.js";

/** The splits of image data. There is no validation part unless the data have one. */
type Parts = { readonly train: ArrayDataset; readonly test: ArrayDataset; readonly validation?: ArrayDataset };

/** The splits that can be read; `"all"` only of folders of image files. */
type ReadSplit = SplitName | "all";

type ReadParts = { readonly [Split in ReadSplit]?: ArrayDataset };

/** How a kind of image data is read. */
interface ImageKind {
  readonly kind: string;
  readonly place?: string | undefined;
  readonly withoutPlace?: TaskKind["withoutPlace"];
  readonly takes?: readonly ReadOption[] | undefined;
  /** Whether a mirrored image has the same class. */
  readonly mayFlip: boolean;
  /** Names the data in a folder, for messages and for records of a study. */
  nameOf(dir: string): string;
  /** Reads some of the splits. One that the data do not have is left out. */
  read(dir: string, splits: readonly ReadSplit[], options: ImageReadOptions): Promise<ReadParts>;
}

/** The options of {@link ImageKind.read}: those of a task, and names of the classes that are known. */
type ImageReadOptions = Omit<TaskOptions, "classes" | "validation"> & {
  readonly classes?: number | readonly string[] | undefined;
};

const folderName = (dir: string) => basename(resolve(dir));

/** Reads the splits of data whose loader reads one split. */
async function readEach(
  splits: readonly ReadSplit[],
  load: (split: Split) => Promise<ArrayDataset>,
): Promise<ReadParts> {
  const parts: { train?: ArrayDataset; test?: ArrayDataset } = {};
  for (const split of splits) if (split === "train" || split === "test") parts[split] = await load(split);
  return parts;
}

const kinds: readonly ImageKind[] = [
  {
    kind: "mnist",
    place: "<dir>",
    withoutPlace: "package",
    mayFlip: false,
    nameOf: () => "mnist",
    read: (dir, splits) => readEach(splits, (split) => mnist({ split, dir: dir === "" ? undefined : dir })),
  },
  {
    kind: "fashion-mnist",
    place: "<dir>",
    withoutPlace: "package",
    mayFlip: false,
    nameOf: () => "fashion-mnist",
    read: (dir, splits) => readEach(splits, (split) => fashionMnist({ split, dir: dir === "" ? undefined : dir })),
  },
  {
    kind: "idx",
    place: "<dir>",
    takes: ["classes"],
    mayFlip: false,
    nameOf: (dir) => `idx:${folderName(dir)}`,
    // The name has only the last part of the path, so that a run can be resumed after its data were moved.
    read: (dir, splits, { classes }) =>
      readEach(splits, (split) => idx(dir, { split, classes, name: `${folderName(dir)} (${split})` })),
  },
  {
    kind: "cifar10",
    place: "<path>",
    withoutPlace: "error",
    mayFlip: true,
    nameOf: () => "cifar10",
    read: (path, splits) => {
      if (path === "") invalidArgument("data", `cifar10:<path>, a folder or archive: ${cifar10Origin}`, "cifar10");
      return readEach(splits, (split) => cifar10(path, { split }));
    },
  },
  {
    kind: "images",
    place: "<dir>",
    takes: ["size", "fit", "channels", "onError"],
    mayFlip: true,
    nameOf: (dir) => `images:${folderName(dir)}`,
    read: readImageFolder,
  },
];

async function readImageFolder(
  dir: string,
  splits: readonly ReadSplit[],
  { size, fit, channels, classes, onError, onProgress, note, signal }: ImageReadOptions,
): Promise<ReadParts> {
  const [width, height = width] = size?.split("x").map(Number) ?? [];
  const skipped: string[] = [];
  const read = await readImages(dir, {
    splits,
    size: width === undefined || height === undefined ? undefined : { width, height },
    fit,
    channels,
    classes: typeof classes === "object" ? classes : undefined,
    onError,
    onSkip: (path, why) => skipped.push(`${path}: ${why}`),
    onProgress,
    signal,
  });
  if (skipped.length > 0) note?.(`left out ${skipped.length} unreadable files:\n  ${skipped.join("\n  ")}`);
  return Object.fromEntries(read.splits);
}

/** Classification of images: MNIST, Fashion-MNIST, folders in their layout, CIFAR-10, folders of image files. */
export const imageKinds: readonly TaskKind[] = kinds.map((kind) => ({
  kind: kind.kind,
  place: kind.place,
  withoutPlace: kind.withoutPlace,
  takes: kind.takes,
  open: (place, options) => openImages(kind, place, options),
}));

/** Options of {@link loadImages}. */
export interface LoadImagesOptions extends Pick<TaskOptions, "onError" | "onProgress" | "note" | "signal"> {
  /** The card of the model that is used on the images. It has the classes, the size and the fit. */
  readonly card: ModelCard;
}

/**
 * Loads one split of image data, in the form that a model takes.
 *
 * @throws StepsizeError `unsupported` for a source that is not images, `invalid-argument` for a split that it does not
 * have, and any error of reading the files
 */
export async function loadImages(
  { kind, place = "" }: { readonly kind: string; readonly place?: string },
  split: ReadSplit,
  { card, ...options }: LoadImagesOptions,
): Promise<ArrayDataset> {
  const imageKind = kinds.find((candidate) => candidate.kind === kind);
  if (!imageKind) throw new StepsizeError("unsupported", `data: expected images, got ${kind}`);
  const { classes } = card;
  const part = (await imageKind.read(place, [split], { ...options, ...formOfCard(card), classes }))[split];
  if (part) return part;
  const has = kind === "images" ? "validation is a folder val/ beside train/ and test/" : "train or test";
  return invalidArgument("split", `one that ${imageKind.nameOf(place)} has (${has})`, split);
}

/** The settings with which `images:<dir>` has the form that a model takes. */
export function formOfCard({ preprocessing, fit }: ModelCard): GivenReadOptions {
  const [height, width, channels] = preprocessing?.shape ?? [];
  if (height === undefined || width === undefined || channels === undefined) return {};
  return { size: `${width}x${height}`, channels, ...(fit && { fit }) };
}

async function openImages(kind: ImageKind, place: string, options: TaskOptions): Promise<Task> {
  const { validation } = options;
  // The test split is read before the training, so that a missing file is found at once.
  const { train, test, ...given } = await kind.read(place, ["train", "validation", "test"], options);
  if (!train || !test) throw new Error(`${kind.kind}: expected a train and a test split`);
  const files = [train, test, ...(given.validation ? [given.validation] : [])];
  // Data with a validation split of their own need none that is held back.
  const parts =
    given.validation || !validation ? given : train.split({ validation: validation.share, seed: validation.seed });
  const fit = kind.kind === "images" ? (options.fit ?? "crop") : undefined;
  return new ImageTask({
    name: kind.nameOf(place),
    mayFlip: kind.mayFlip,
    fit,
    parts: { train, test, ...parts },
    files,
  });
}

/** Number of items per batch of an evaluation. */
const evaluationSize = 250;

class ImageTask implements Task {
  readonly name: string;
  readonly unit = "images";
  readonly unitsPerItem = 1;
  readonly lengths: SplitLengths;
  readonly loss = crossEntropy;
  readonly #mayFlip: boolean;
  readonly #fit: ImageFit | undefined;
  readonly #parts: Parts;
  readonly #files: readonly ArrayDataset[];

  constructor({
    name,
    mayFlip,
    fit,
    parts,
    files,
  }: {
    readonly name: string;
    readonly mayFlip: boolean;
    /** How image files are fitted to the input of a model; absent if the data are no image files. */
    readonly fit: ImageFit | undefined;
    readonly parts: Parts;
    /** Everything that was read, including items held back for validation. */
    readonly files: readonly ArrayDataset[];
  }) {
    this.name = name;
    this.#mayFlip = mayFlip;
    this.#fit = fit;
    this.#parts = parts;
    this.#files = files;
    const { train, test, validation } = parts;
    this.lengths = { train: train.length, test: test.length, ...(validation && { validation: validation.length }) };
  }

  modelConfig(model: string): models.ModelConfig {
    return models.configOf(model, this.#parts.train.inputs.shape, this.#classes.length);
  }

  card(config: models.ModelConfig): ModelCard {
    const preprocessing = this.#parts.train.preprocessing();
    return { config, classes: this.#classes, preprocessing, ...(this.#fit && { fit: this.#fit }) };
  }

  trainingBatches({ size, seed, augment, augmentOn = "host" }: TrainingBatchOptions): BatchSource {
    const changes = { pad: 4, crop: true, flip: this.#mayFlip };
    return this.#parts.train.batches({ size, seed, ...(augment && { augment: { ...changes, on: augmentOn } }) });
  }

  evaluationBatches(split: SplitName, maxItems = Number.POSITIVE_INFINITY): BatchSource {
    const whole = this.#parts[split];
    if (!whole) throw new StepsizeError("invalid-state", `${this.name}: there is no ${split} split`);
    return evaluationBatches(whole, maxItems, evaluationSize);
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
