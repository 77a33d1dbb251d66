import { isDeepStrictEqual } from "node:util";
import { type TokenSplit, tokenizerName, tokenSplits, tokens } from "../../data/index.js";
import { StepsizeError } from "../../errors.js";
import { crossEntropy } from "../../nn/index.js";
import { evaluationWindows, parseSource } from "../../tasks/index.js";
import { evaluate } from "../../train/index.js";
import { UsageError } from "../failure.js";
import { CountProgress } from "../output/count-progress.js";
import { count, perplexity, scoreInWords } from "../output/text.js";
import { asTextModel, type SavedModel } from "../saved.js";

/** The data that a trained model is evaluated on. */
export interface EvaluationRequest {
  /** The source of the data: `mnist`, `tokens:path`, … */
  readonly source: string;
  /** The split; "all" for all items of images and tables. */
  readonly split: TokenSplit | "all";
  readonly batch: number | undefined;
  /** Tokens per window of text; by default the context of the model. */
  readonly context: number | undefined;
  /** What to do with files that are no readable image; only for images. */
  readonly onError: "stop" | "skip" | undefined;
  /** Aborts the evaluation, which then rejects with the signal's reason. */
  readonly signal: AbortSignal;
}

/** The result of an evaluation, as text and as an object for JSON. */
export interface SavedEvaluation {
  /** Name of the data. */
  readonly name: string;
  /** Number of items in words, such as `10,000 items`. */
  readonly items: string;
  readonly words: string;
  readonly result: object;
}

/**
 * Evaluates a text model on consecutive windows of a split that do not overlap.
 *
 * @throws UsageError if the source is not `tokens:<dir>`
 * @throws StepsizeError `invalid-argument` if the data were made with another tokenizer than the model's, `unsupported`
 * if the model is no text model, and any error of reading the data
 */
export async function evaluateText(
  saved: SavedModel,
  { source, split, batch, context: window, signal }: EvaluationRequest,
): Promise<SavedEvaluation> {
  const { path, model, device, prepare, context: trained, tokenizer } = asTextModel(saved);
  const context = window ?? trained;
  const { kind, place = "" } = parseSource(source);
  if (kind !== "tokens") throw new UsageError(`--data: expected tokens:<dir> for a text model, got ${source}`);
  if (split === "all") throw new UsageError(`--split: expected ${tokenSplits.join(", ")} for text, got all`);
  const text = await tokens(place, { split, context });
  if (!isDeepStrictEqual(text.tokenizer, tokenizer)) {
    const [own, name] = [tokenizerName(tokenizer), text.tokenizer && tokenizerName(text.tokenizer)];
    const given = name === undefined || name === own ? "another" : name;
    const expected = `the tokenizer of ${path}, ${own}`;
    throw new StepsizeError("invalid-argument", `--data: expected ${expected}, got ${given} in ${text.name}`);
  }
  const batches = text.batches({ size: batch ?? evaluationWindows(text) });
  const progress = await CountProgress.start(`${split} window`);
  try {
    const onProgress = (done: number, all: number) => progress.at(done, all, done / all);
    const score = await evaluate(batches, { model, device, loss: crossEntropy, prepare, onProgress, signal });
    const evaluated = text.length * context;
    return {
      name: text.name,
      items: `${count(evaluated)} tokens`,
      words: scoreInWords(score, { unit: "tokens" }),
      result: { tokens: evaluated, ...score, perplexity: perplexity(score.loss) },
    };
  } finally {
    progress.close();
    await batches.close();
  }
}
