import { isDeepStrictEqual } from "node:util";
import { type TokenSplit, tokenizerName, tokens } from "../data/index.js";
import { StepsizeError } from "../errors.js";
import { crossEntropy } from "../nn/index.js";
import { evaluationWindows, parseSource } from "../tasks/index.js";
import { evaluate } from "../train/index.js";
import { CountProgress } from "./count-progress.js";
import { UsageError } from "./failure.js";
import { asTextModel, type SavedModel } from "./saved.js";
import { perplexity, scoreInWords } from "./score.js";
import { count } from "./text.js";

/** What a trained model is to be evaluated on. */
export interface EvaluationRequest {
  /** Where the data are: `mnist`, `tokens:path`, … */
  readonly source: string;
  readonly split: TokenSplit;
  readonly batch: number | undefined;
  /** Ends the evaluation, which rejects with its reason. */
  readonly signal: AbortSignal;
}

/** What came out, for people and for programs. */
export interface SavedEvaluation {
  /** Of the data. */
  readonly name: string;
  /** How many of them, in words. */
  readonly items: string;
  readonly words: string;
  readonly result: object;
}

/** Evaluates a model of text on windows side by side. */
export async function evaluateText(
  saved: SavedModel,
  { source, split, batch, signal }: EvaluationRequest,
): Promise<SavedEvaluation> {
  const { path, model, device, prepare, context, tokenizer } = asTextModel(saved);
  const { kind, place = "" } = parseSource(source);
  if (kind !== "tokens") throw new UsageError(`--data: expected tokens:<dir> for the model of text, got ${source}`);
  const text = await tokens(place, { split, context });
  if (!isDeepStrictEqual(text.tokenizer, tokenizer)) {
    const given = text.tokenizer ? tokenizerName(text.tokenizer) : "others";
    const expected = `tokens that ${path} was trained on, ${tokenizerName(tokenizer)}`;
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
      words: scoreInWords(score, "tokens"),
      result: { tokens: evaluated, ...score, perplexity: perplexity(score.loss) },
    };
  } finally {
    progress.close();
    await batches.close();
  }
}
