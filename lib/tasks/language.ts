import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import {
  type BatchSource,
  readTokenFolder,
  type TokenDataset,
  type TokenizerSpec,
  tokenizerName,
  tokens,
} from "../data/index.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import * as models from "../models/index.js";
import { crossEntropy } from "../nn/index.js";
import type { ModelCard } from "../weights/index.js";
import {
  defaultContext,
  type Pretrained,
  type SplitLengths,
  type SplitName,
  type Task,
  type TaskKind,
  type TaskOptions,
  type TrainingBatchOptions,
} from "./task.js";

/** Language modeling: predicts the next token at every position of a window, from a folder of `stepsize tokenize`. */
export const languageKind: TaskKind = {
  kind: "tokens",
  place: "<dir>",
  takes: ["context"],
  hasValidation: true,
  open: openLanguage,
};

/** Largest number of logits of one batch of an evaluation: 64 MiB as float32. */
const evaluationLogits = 2 ** 24;

/** Returns the number of windows per batch of an evaluation, from 1 to 64, such that the logits fit into memory. */
export function evaluationWindows({ context, vocabulary }: TokenDataset): number {
  return Math.max(1, Math.min(64, Math.floor(evaluationLogits / (context * vocabulary))));
}

async function openLanguage(place: string, options: TaskOptions): Promise<Task> {
  const { context = defaultContext, validation } = options;
  if (validation !== undefined) {
    const expected = "none for tokens:<dir>, whose validation split was made by stepsize tokenize";
    invalidArgument("validation", expected, validation.share);
  }
  const { name, tokenizer, splits } = await readTokenFolder(place);
  const open = (split: SplitName) => tokens(place, { split, context });
  // All splits are opened before the training, so that a missing file is found at once.
  const parts = {
    train: await open("train"),
    test: await open("test"),
    ...(splits.validation !== undefined && { validation: await open("validation") }),
  };
  return new LanguageTask(`tokens:${name}`, tokenizer, parts);
}

type Parts = { readonly train: TokenDataset; readonly test: TokenDataset; readonly validation?: TokenDataset };

class LanguageTask implements Task {
  readonly name: string;
  readonly unit = "tokens";
  readonly unitsPerItem: number;
  readonly lengths: SplitLengths;
  /** Cross entropy of logits `[N, T, vocabulary]` with labels `[N, T]`, in nats per token. */
  readonly loss = crossEntropy;
  readonly #tokenizer: TokenizerSpec;
  readonly #parts: Parts;

  constructor(name: string, tokenizer: TokenizerSpec, parts: Parts) {
    this.name = name;
    this.#tokenizer = tokenizer;
    this.#parts = parts;
    const { train, test, validation } = parts;
    this.unitsPerItem = train.context;
    this.lengths = { train: train.length, test: test.length, ...(validation && { validation: validation.length }) };
  }

  modelConfig(model: string, pretrained?: Pretrained): models.ModelConfig {
    const { context, vocabulary } = this.#parts.train;
    if (pretrained !== undefined) return this.#furtherTrained(model, pretrained);
    const config = models.configOf(model, [context], vocabulary);
    if (config.kind === "olmo") return config;
    return invalidArgument("model", `one for text (${Object.keys(models.olmoShapes).join(", ")})`, model);
  }

  /** Checks that a model fits the tokens, and returns its configuration for their windows. */
  #furtherTrained(model: string, { config, tokenizer }: Pretrained): models.ModelConfig {
    const { context, vocabulary } = this.#parts.train;
    if (tokenizer !== undefined && !isDeepStrictEqual(tokenizer, this.#tokenizer))
      throw new StepsizeError(
        "invalid-argument",
        `data: expected tokens of the tokenizer of ${model}, got those of another one (${tokenizerName(this.#tokenizer)}) in ${this.name}; make them with: stepsize tokenize --tokenizer ${model}`,
      );
    if (vocabulary > config.vocabulary)
      invalidArgument("data", `at most ${config.vocabulary} ids, those of ${model}`, vocabulary);
    if (context > config.context)
      invalidArgument("context", `at most ${config.context} tokens, the context of ${model}`, context);
    return { ...config, context };
  }

  card(config: models.ModelConfig): ModelCard {
    return { config, text: { tokenizer: this.#tokenizer, context: this.unitsPerItem } };
  }

  trainingBatches({ size, seed, augment }: TrainingBatchOptions): BatchSource {
    if (augment) invalidArgument("augment", "false for text", augment);
    return this.#parts.train.batches({ size, seed });
  }

  evaluationBatches(split: SplitName, maxItems?: number): BatchSource {
    const part = this.#parts[split];
    if (!part) throw new StepsizeError("invalid-state", `${this.name}: there is no ${split} split`);
    return part.batches({ size: evaluationWindows(part), maxItems });
  }

  async fingerprint(): Promise<string> {
    const { train, test, validation } = this.#parts;
    const identity = [this.#tokenizer, train.digest, test.digest, validation?.digest ?? null];
    return createHash("sha256").update(JSON.stringify(identity)).digest("hex").slice(0, 12);
  }
}
