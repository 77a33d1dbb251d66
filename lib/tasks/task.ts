import type { BatchSource } from "../data/index.js";
import type { ModelConfig } from "../models/index.js";
import type { Loss } from "../nn/index.js";
import type { ModelCard } from "../weights/index.js";

/** The splits of a task's data. */
export type SplitName = "train" | "validation" | "test";

/** Number of items of each split; `validation` is absent if there is none. */
export type SplitLengths = { readonly train: number; readonly test: number; readonly validation?: number };

/** Options of {@link Task.trainingBatches}. */
export interface TrainingBatchOptions {
  /** Items per batch. */
  readonly size: number;
  /** Seed of the shuffling order and of the augmentation. */
  readonly seed: number;
  /** Whether to augment the items, in a way that suits the data; default false. */
  readonly augment?: boolean | undefined;
  /** Where to augment; the values are the same. Default `host`. */
  readonly augmentOn?: "host" | "device" | undefined;
}

/**
 * Data with their loss, the models that fit, and the card that is saved with a model. This interface hides the difference
 * between images and text.
 */
export interface Task {
  /** Name of the data without their path: `mnist`, `cifar10`, or the kind with the folder's name. */
  readonly name: string;
  /** Unit of speed. */
  readonly unit: "images" | "tokens";
  /** Number of units per item. */
  readonly unitsPerItem: number;
  readonly lengths: SplitLengths;
  readonly loss: Loss;
  /**
   * Returns the configuration of a named model for these data.
   * @throws StepsizeError `invalid-argument` for a name that is unknown or does not fit
   */
  modelConfig(model: string): ModelConfig;
  /** Returns the card that is saved with a model, so that it can be used on raw data. */
  card(config: ModelConfig): ModelCard;
  /** Returns shuffled batches of the training split. A batch is a pure function of the options and the step. */
  trainingBatches(options: TrainingBatchOptions): BatchSource;
  /**
   * Returns batches of the items of a split in their original order, for `Trainer.evaluate`.
   *
   * @param maxItems largest number of items, evenly spread over the split; default all
   * @throws StepsizeError `invalid-state` if there is no validation split
   */
  evaluationBatches(split: SplitName, maxItems?: number): BatchSource;
  /** Computes a short hash of the contents of the data, independent of their location. */
  fingerprint(): Promise<string>;
}

/** Default number of tokens of an item of text. */
export const defaultContext = 128;

/** Options of {@link openTask}. */
export interface TaskOptions {
  /** Number of classes, for sources that do not define it (`idx:<dir>`); default 10. */
  readonly classes?: number | undefined;
  /** Tokens in one item of text; default {@link defaultContext}. */
  readonly context?: number | undefined;
  /** Share of the training items that is held back, and the seed that selects them; default none. */
  readonly validation?: { readonly share: number; readonly seed: number } | undefined;
}

/** A kind of source. */
export interface TaskKind {
  /** The word before the colon. */
  readonly kind: string;
  /** Placeholder for the part after the colon, such as `<dir>`; absent if there is none. */
  readonly place?: string | undefined;
  /** Whether the data have a validation split, so that nothing is held back; default false. */
  readonly hasValidation?: boolean | undefined;
  open(place: string, options: TaskOptions): Promise<Task>;
}
