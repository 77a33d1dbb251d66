import type { BatchSource, CsvOptions, ImageFit, TokenizerSpec } from "../data/index.js";
import type { ModelConfig } from "../models/index.js";
import type { Loss } from "../nn/index.js";
import type { ModelCard } from "../weights/index.js";

/** The splits of a task's data. */
export type SplitName = "train" | "validation" | "test";

/** A language model that is to be trained further, without its weights. */
export interface Pretrained {
  readonly config: ModelConfig & { readonly kind: "olmo" };
  /** The tokenizer that the model was trained with; `undefined` if it is not known. */
  readonly tokenizer: TokenizerSpec | undefined;
}

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

/** Errors of a target of numbers, whose loss is in units of its variance in the training rows. */
export interface RegressionUnit {
  /** Standard deviation of the target in the training rows: a loss of 1 is an error of this size. */
  readonly std: number;
  /** Returns the loss of the best constant prediction on a split, which has an R² of 0. */
  variance(split: SplitName): number;
}

/**
 * Data with their loss, the models that fit, and the card that is saved with a model. This interface hides the difference
 * between images, text and tables.
 */
export interface Task {
  /** Name of the data without their path: `mnist`, `cifar10`, or the kind with the folder's name. */
  readonly name: string;
  /** Unit of speed. */
  readonly unit: "images" | "tokens" | "rows";
  /** Number of units per item. */
  readonly unitsPerItem: number;
  readonly lengths: SplitLengths;
  readonly loss: Loss;
  /** Units of the errors; absent unless the target is a number. */
  readonly regression?: RegressionUnit | undefined;
  /**
   * Returns the configuration of a named model for these data.
   *
   * @param pretrained the model that is to be trained further, if the name is that of its folder
   * @throws StepsizeError `invalid-argument` for a name that is unknown, or a model that does not fit
   */
  modelConfig(model: string, pretrained?: Pretrained): ModelConfig;
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

/** Settings of how a table is read; see `data.csv`. A table requires the target. */
export type TableReadOptions = Omit<CsvOptions, "target" | "testFile" | "validation" | "seed" | "signal"> & {
  readonly target?: string | undefined;
  /** File whose rows are the test split, of the same kind as the table. */
  readonly testData?: string | undefined;
};

/** The names of {@link TableReadOptions}. */
export const tableOptionNames = [
  "target",
  "task",
  "categories",
  "ignore",
  "missing",
  "test",
  "testData",
  "separator",
  "decimal",
  "thousands",
] as const satisfies readonly (keyof TableReadOptions)[];

/** Settings of how data are read, as texts and numbers of a configuration. Each kind of source takes some of them. */
export interface ReadOptions extends TableReadOptions {
  /** Number of classes, for sources that do not define it (`idx:<dir>`); default 10. */
  readonly classes?: number | undefined;
  /** Tokens in one item of text; default {@link defaultContext}. */
  readonly context?: number | undefined;
  /** Size of decoded images in pixels, as `64` or `width x height`, such as `96x128`; default 64. */
  readonly size?: string | undefined;
  /** How images of other proportions are fitted to the size; default `crop`. */
  readonly fit?: ImageFit | undefined;
  /** Channels of decoded images, 1 or 3; default 3. */
  readonly channels?: number | undefined;
  /** Whether files that are no readable image end the reading or are left out; default `stop`. */
  readonly onError?: "stop" | "skip" | undefined;
}

/** The settings of how the data of a study are read. They do not depend on the machine. */
export type StudyReadOptions = Omit<ReadOptions, "onError" | "testData">;

/** The name of a setting of {@link ReadOptions}. */
export type ReadOption = keyof ReadOptions;

/** The names of {@link ReadOptions}. */
export const readOptionNames: readonly ReadOption[] = [
  "classes",
  "context",
  "size",
  "fit",
  "channels",
  "onError",
  ...tableOptionNames,
];

/** {@link ReadOptions} of which none is `undefined`. */
export type GivenReadOptions = { readonly [Name in ReadOption]?: Exclude<ReadOptions[Name], undefined> };

/** Returns the settings among some values that say how data are read, without those that are `undefined`. */
export function readOptionsOf(values: ReadOptions): GivenReadOptions {
  return Object.fromEntries(
    readOptionNames.filter((name) => values[name] !== undefined).map((name) => [name, values[name]]),
  );
}

/** Options of {@link openTask}. */
export interface TaskOptions extends ReadOptions {
  /** Share of the training items that is held back, and the seed that selects them; default none. */
  readonly validation?: { readonly share: number; readonly seed: number } | undefined;
  /** Called while data are converted, such as images that are decoded, with the number of finished and of all items. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Called with a text for the user, such as the files that were left out. */
  readonly note?: ((text: string) => void) | undefined;
  /** Aborts the reading, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A kind of source. */
export interface TaskKind {
  /** The word before the colon. */
  readonly kind: string;
  /** Placeholder for the part after the colon, such as `<dir>`; absent if there is none. */
  readonly place?: string | undefined;
  /**
   * What a source without the part after the colon is: the data of an installed package, or accepted only for an error
   * that says where the files come from. `open` then gets an empty text. Default: no source.
   */
  readonly withoutPlace?: "package" | "error" | undefined;
  /** The settings of {@link ReadOptions} that it takes; default none. */
  readonly takes?: readonly ReadOption[] | undefined;
  /** Whether the data have a validation split, so that nothing is held back; default false. */
  readonly hasValidation?: boolean | undefined;
  open(place: string, options: TaskOptions): Promise<Task>;
}
