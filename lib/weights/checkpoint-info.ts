import type { ImageFit, TableEncoding, TokenizerSpec } from "../data/index.js";
import { tableSchema } from "../data/table-schema.js";
import { StepsizeError } from "../errors.js";
import { JsonFault, parseJson } from "../json.js";
import type { ModelConfig } from "../models/index.js";
import type { Precision, PreprocessingOptions } from "../nn/index.js";
import { expectOptions, optionNames } from "../options.js";
import { quoted } from "../quoting.js";
import {
  anything,
  atLeastOne,
  count,
  dictionary,
  finite,
  list,
  object,
  oneOf,
  optional,
  Place,
  type Schema,
  text,
} from "../schema.js";

/** What a model needs to be used on raw data. It is saved with the weights. */
export interface ModelCard {
  /**
   * Configuration from which `models.create` builds the model. Absent for a custom module, which only its own code can
   * build.
   */
  readonly config?: ModelConfig | undefined;
  /** Preprocessing of raw inputs. Default: none. */
  readonly preprocessing?: PreprocessingOptions | undefined;
  /** Names of the classes, in the order of the outputs. Default: none. */
  readonly classes?: readonly string[] | undefined;
  /** For a model of image files: how an image of other proportions is fitted to the input. Default `"crop"`. */
  readonly fit?: ImageFit | undefined;
  /** For a model of text: the tokenizer, and the number of tokens per window in training. */
  readonly text?: { readonly tokenizer: TokenizerSpec; readonly context: number } | undefined;
  /** For a model of a table: how rows become inputs and outputs become predictions. */
  readonly table?: TableEncoding | undefined;
}

/** The metric by which evaluations are compared. */
export type BestMetric = "loss" | "accuracy";

/** The best evaluation of a run so far. Checkpoints contain it, so that a resumed run compares with it. */
export interface BestEvaluation {
  /** Number of steps that had been made at this evaluation. */
  readonly step: number;
  /** The metric by which evaluations were compared. */
  readonly metric: BestMetric;
  /** Value of the metric. */
  readonly value: number;
  /** Number of evaluations since then. None of them was better. */
  readonly since: number;
}

/** The JSON object in the metadata of a checkpoint. */
export interface CheckpointInfo extends ModelCard {
  /** Name and version of the format. */
  readonly format: "stepsize-checkpoint-1";
  /** Number of steps so far, which is the index of the next step. */
  readonly step: number;
  /** Number of steps that the optimizer has counted. Default: `step`. */
  readonly iteration?: number;
  /** Counters of the modules that use random numbers, by path; see `Module.counters`. */
  readonly counters: Readonly<Record<string, number>>;
  /** Storage precision of the model. Default `"float32"`. */
  readonly precision?: Precision;
  /** The best evaluation so far. Absent if there is none. */
  readonly best?: BestEvaluation;
  /** What determines the rest of the run, such as the schedule and the data. A resumed run must agree with it. */
  readonly run: Readonly<Record<string, unknown>>;
}

const format = "stepsize-checkpoint-1";

const cardNames = optionNames<ModelCard>({
  config: true,
  preprocessing: true,
  classes: true,
  fit: true,
  text: true,
  table: true,
});
const textNames = optionNames<NonNullable<ModelCard["text"]>>({ tokenizer: true, context: true });

/** @internal Throws `invalid-argument` for unknown fields of a card. */
export function expectCard(card: ModelCard): void {
  expectOptions("card", cardNames, card);
  if (card.text !== undefined) expectOptions("card.text", textNames, card.text);
}

/** Returns a schema of objects with a `kind`. The code that uses the object checks the kind and the other fields. */
function withKind<T extends { readonly kind: string }>(): Schema<T> {
  return object<{ readonly kind: string }>({ kind: text }, "an object with a kind") as Schema<T>;
}

const numbers = list(finite, { words: "a list of numbers" });

const card: { readonly [Field in keyof ModelCard]-?: Schema<ModelCard[Field]> } = {
  config: optional(withKind<ModelConfig>()),
  preprocessing: optional(
    object<PreprocessingOptions>({
      shape: list(atLeastOne, { words: "a list of sizes" }),
      dtype: oneOf(["float32", "float64", "int32", "uint8", "bfloat16"]),
      scale: finite,
      mean: numbers,
      std: numbers,
    }),
  ),
  classes: optional(list(text, { words: "a list of names, at most 65536 of them", min: 1, max: 65_536 })),
  fit: optional(oneOf<ImageFit>(["crop", "letterbox"])),
  text: optional(
    object<NonNullable<ModelCard["text"]>>({
      tokenizer: withKind<TokenizerSpec>(),
      context: atLeastOne,
    }),
  ),
  table: optional(tableSchema),
};

const schema = object<CheckpointInfo>({
  ...card,
  format: oneOf<typeof format>([format]),
  step: count,
  iteration: optional(count),
  counters: dictionary(count, "an object of counts"),
  precision: optional(oneOf(["float32", "bf16"])),
  best: optional(
    object<BestEvaluation>({ step: count, metric: oneOf(["loss", "accuracy"]), value: finite, since: count }),
  ),
  run: dictionary(anything),
});

/**
 * Parses and checks the JSON object in the metadata of a checkpoint.
 *
 * @param path path of the file, for errors
 * @param text the metadata's `stepsize`; `undefined` if there is none
 * @throws StepsizeError `invalid-file` if the file is not a checkpoint of this version, or naming the first wrong field
 */
export function readCheckpointInfo(path: string, text: string | undefined): CheckpointInfo {
  const value = parsed(text);
  const isInfo = typeof value === "object" && value !== null && "format" in value && value.format === format;
  if (isInfo) return schema(value, new Place(`${path}: the metadata's "stepsize"`));
  throw new StepsizeError(
    "invalid-file",
    `${path}: expected "stepsize" with format ${format} in the metadata, found ${text === undefined ? "none" : quoted(text)}; it is not a checkpoint of this version`,
  );
}

function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : parseJson(text);
  } catch (error) {
    if (error instanceof JsonFault) return undefined;
    throw error;
  }
}
