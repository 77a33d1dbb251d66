import type { BatchSource } from "../data/index.js";
import type { ModelConfig } from "../models/index.js";
import type { Loss } from "../nn/index.js";
import type { ModelCard } from "../train/index.js";

/** The parts of a task's data. */
export type SplitName = "train" | "validation" | "test";

/** How many items each split has; `validation` is absent where nothing was held back. */
export type SplitLengths = { readonly train: number; readonly test: number; readonly validation?: number };

/** What training batches are made with. */
export interface TrainingBatchOptions {
  /** Items per batch. */
  readonly size: number;
  /** Of the order and the augmentation. */
  readonly seed: number;
  /** Whether items are changed at random in the ways that suit the data; default false. */
  readonly augment?: boolean | undefined;
  /** Where; the values are the same. Default `host`. */
  readonly augmentOn?: "host" | "device" | undefined;
}

/**
 * Data together with what follows from them: which models fit, what a checkpoint must know about its inputs, the loss.
 * What differs between images and text is behind this interface.
 */
export interface Task {
  /** What the data are, without where they lie: `mnist`, `cifar10`, or the kind with the folder's own name. */
  readonly name: string;
  /** What is counted where speed is told, and how many of them an item is. */
  readonly unit: "images" | "tokens";
  readonly unitsPerItem: number;
  readonly lengths: SplitLengths;
  readonly loss: Loss;
  /**
   * The configuration of a model of this name for these data.
   * @throws StepsizeError `invalid-argument` for a name that is unknown or does not fit
   */
  modelConfig(model: string): ModelConfig;
  /** What is saved with a model of this configuration, so that it can be used on raw data. */
  card(config: ModelConfig): ModelCard;
  /** Shuffled batches of the training split, a pure function of the options and the step. */
  trainingBatches(options: TrainingBatchOptions): BatchSource;
  /**
   * The items of a split in their own order, for `Trainer.evaluate`.
   * @param most at most so many items, evenly spread over the split; default all
   * @throws StepsizeError `invalid-state` for a validation split that is not there
   */
  evaluationBatches(split: SplitName, most?: number): BatchSource;
  /** A short hash of the data themselves: equal for equal data, wherever they lie. */
  fingerprint(): Promise<string>;
}

/** Tokens in one item of text where nothing else is said. */
export const defaultContext = 128;

/** What a task is opened with, besides its source. */
export interface TaskOptions {
  /** Number of classes, for sources that do not say. */
  readonly classes?: number | undefined;
  /** Tokens in one item of text; default {@link defaultContext}. */
  readonly context?: number | undefined;
  /** Share of the training items that is held back, and the seed of which ones; default none. */
  readonly validation?: { readonly share: number; readonly seed: number } | undefined;
}

/** One kind of source: the word before the colon and what opens it. */
export interface TaskKind {
  readonly kind: string;
  /** What stands after the colon, such as `<dir>`; absent where nothing does. */
  readonly place?: string;
  /** Whether the data come with a validation split, so that nothing is held back. */
  readonly ownValidation?: boolean;
  open(place: string, options: TaskOptions): Promise<Task>;
}
