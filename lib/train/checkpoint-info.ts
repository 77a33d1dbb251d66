import type { TokenizerSpec } from "../data/index.js";
import { StepsizeError } from "../errors.js";
import { JsonFault, parseJson } from "../json.js";
import type { ModelConfig } from "../models/index.js";
import type { PreprocessingOptions } from "../nn/index.js";
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
import type { BestEvaluation } from "./best-evaluation.js";
import type { CheckpointInfo, ModelCard } from "./saved-model.js";

const format = "stepsize-checkpoint-1";

/** An object with a `kind`. The code that uses the object checks its other fields. */
const withKind = object<{ readonly kind: string }>({ kind: text }, "an object with a kind");

const numbers = list(finite, { words: "a list of numbers" });

const card: { readonly [Field in keyof ModelCard]-?: Schema<ModelCard[Field]> } = {
  config: optional(withKind as Schema<unknown> as Schema<ModelConfig>),
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
  text: optional(
    object<NonNullable<ModelCard["text"]>>({
      tokenizer: withKind as Schema<unknown> as Schema<TokenizerSpec>,
      context: atLeastOne,
    }),
  ),
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
  const isOne = typeof value === "object" && value !== null && (value as { format?: unknown }).format === format;
  if (isOne) return schema(value, new Place(`${path}: the metadata's "stepsize"`));
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
