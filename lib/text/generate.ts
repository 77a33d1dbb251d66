import { expectFunction, expectModule, expectSignal, expectText } from "../arguments.js";
import { type Tokenizer, tokenizerOf } from "../data/index.js";
import { invalidArgument } from "../errors.js";
import { itemAt } from "../lookup.js";
import { checkedOptions, optionNames } from "../options.js";
import type { LoadedModel } from "../weights/index.js";
import { generateTokens, type TextModel } from "./generate-tokens.js";
import { sampler } from "./sampler.js";

/** Options of {@link generate}. */
export interface GenerateOptions {
  /** Beginning of the text. Default: empty, so that the model starts a new document. */
  readonly prompt?: string | undefined;
  /** Largest number of tokens to generate. Default 200. */
  readonly tokens?: number | undefined;
  /** Divisor of the logits before the softmax, ≥ 0. 0 always takes the most likely token. Default 0.8. */
  readonly temperature?: number | undefined;
  /** Number of the most likely tokens to draw from, at least 1. Default 40. */
  readonly topK?: number | undefined;
  /** Seed of the random numbers: a safe integer ≥ 0. Default 0. */
  readonly seed?: number | undefined;
  /** Ends the text before the next token if it is aborted. Nothing is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/** The defaults of {@link generate} and of the command. */
export const generateDefaults = { prompt: "", tokens: 200, temperature: 0.8, topK: 40, seed: 0 } as const;

const names = optionNames<GenerateOptions>({
  prompt: true,
  tokens: true,
  temperature: true,
  topK: true,
  seed: true,
  signal: true,
});

/**
 * Generates text with a model, piece by piece, after a prompt. It ends when the model ends the document, or after
 * `tokens` tokens. The same model, options and device give the same text.
 *
 * The model sees only the last tokens, up to the context length of its training. There is no cache of keys and values:
 * each token costs a forward pass over this context.
 *
 * @param loaded a text model, as {@link loadModel} returns it
 * @returns the pieces of text after the prompt, as soon as their characters are complete
 * @throws StepsizeError `invalid-argument` if `loaded` is no text model or an option is invalid; `non-finite` if the
 * outputs of the model are not finite; `not-found` if its tokenizer needs the package `gpt-tokenizer` and that is not
 * installed
 *
 * @example
 * ```ts
 * import { generate, loadModel, openDevice } from "stepsize";
 *
 * const device = await openDevice("auto");
 * const loaded = await loadModel("runs/2/checkpoints/step-1000.safetensors", { device });
 * for await (const piece of generate(loaded, { prompt: "My fellow citizens" })) process.stdout.write(piece);
 * ```
 */
export function generate(
  loaded: Pick<LoadedModel, "model" | "prepare" | "card">,
  options: GenerateOptions = {},
): AsyncGenerator<string, undefined> {
  const given = checkedOptions("generate", names, options);
  const {
    prompt = generateDefaults.prompt,
    tokens = generateDefaults.tokens,
    temperature = generateDefaults.temperature,
    topK = generateDefaults.topK,
    seed = generateDefaults.seed,
    signal,
  } = given;
  const { text } = loaded?.card ?? {};
  if (text === undefined) invalidArgument("loaded", "a text model, such as loadModel returns it", loaded);
  expectModule("loaded.model", loaded.model);
  expectFunction("loaded.prepare", loaded.prepare, "the function that loadModel returns");
  if (prompt !== "") expectText("prompt", prompt, "the beginning of the text");
  for (const [name, value, min] of [
    ["tokens", tokens, 1],
    ["topK", topK, 1],
    ["seed", seed, 0],
  ] as const)
    if (!Number.isSafeInteger(value) || value < min) invalidArgument(name, `a whole number of at least ${min}`, value);
  if (!Number.isFinite(temperature) || temperature < 0)
    invalidArgument("temperature", "a number of at least 0", temperature);
  expectSignal("signal", signal);
  const tokenizer = tokenizerOf(text.tokenizer);
  const { device } = itemAt(loaded.model.parameters(), 0);
  const model = { model: loaded.model, prepare: loaded.prepare, device, context: text.context };
  return pieces(continueText(model, tokenizer, { prompt, tokens, temperature, topK, seed, signal }).ids, tokenizer);
}

/**
 * @internal Continues a text.
 *
 * @param options checked and complete; only `signal` may be `undefined`
 * @returns the ids that follow the prompt, one at a time, and the number of ids that the model gets before them
 */
export function continueText(
  model: TextModel,
  tokenizer: Tokenizer,
  { prompt, tokens, temperature, topK, seed, signal }: ContinueOptions,
): { readonly ids: AsyncGenerator<number, undefined>; readonly given: number } {
  const { endOfText, vocabulary } = tokenizer;
  const sample = sampler({ temperature, topK, seed });
  // In the training data, too, every document is preceded by an end-of-text token.
  const given = [endOfText, ...tokenizer.encode(prompt)];
  const ids = generateTokens({ model, prompt: given, tokens, endOfText, vocabulary, sample, signal });
  return { ids, given: given.length };
}

/** Options of {@link continueText}. */
type ContinueOptions = {
  readonly [K in Exclude<keyof GenerateOptions, "signal">]-?: NonNullable<GenerateOptions[K]>;
} & {
  readonly signal: AbortSignal | undefined;
};

/** Decodes ids to pieces of text. */
async function* pieces(ids: AsyncIterable<number>, tokenizer: Tokenizer): AsyncGenerator<string, undefined> {
  const decoder = tokenizer.decoder();
  for await (const id of ids) {
    const piece = decoder.add(id);
    if (piece !== "") yield piece;
  }
  const rest = decoder.end();
  if (rest !== "") yield rest;
}
