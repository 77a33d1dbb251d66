import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { invalidArgument, StepsizeError } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import { shown } from "../quoting.js";
import { unreadable } from "../read-file.js";
import type { BatchSource } from "./batch.js";
import { TokenBatches, type TokenBatchOptions, type TokenText } from "./token-batches.js";
import { verifyDigest } from "./token-digest.js";
import { checkLength, TokenFile, type TokenStore } from "./token-file.js";
import {
  checkTokenSplit,
  checkVocabulary,
  infoPath,
  readTokenFolder,
  splitPath,
  type TokenFolder,
  type TokenSplit,
  type TokenType,
  tokenWidth,
} from "./token-folder.js";
import type { TokenizerSpec } from "./tokenizer.js";

/** Options of {@link tokens}. `dtype`, `vocabulary` and `skip` are only for a bare file, which does not contain them. */
export interface TokensOptions {
  /** Number of ids per window, an integer of at least 1. */
  readonly context: number;
  /** The split of a token folder. Default `"train"`. */
  readonly split?: TokenSplit | undefined;
  /** Type of the ids in a bare file, little-endian. Required for a bare file. */
  readonly dtype?: TokenType | undefined;
  /** Number of tokens; all ids of a bare file are below it. Required for a bare file. */
  readonly vocabulary?: number | undefined;
  /** Number of bytes of a bare file before its first id: 1024 for files of llm.c. Default 0. */
  readonly skip?: number | undefined;
}

const names = optionNames<TokensOptions>({ context: true, split: true, dtype: true, vocabulary: true, skip: true });

/**
 * A text of tokens in a file, opened by {@link tokens}. Only windows of it are read into memory.
 *
 * @example
 * ```ts
 * import { writeFile } from "node:fs/promises";
 * import { data } from "stepsize";
 *
 * await writeFile("ids.bin", Uint16Array.from({ length: 1000 }, (_, i) => i % 50));
 * const text = await data.tokens("ids.bin", { context: 16, dtype: "uint16", vocabulary: 50 });
 * console.log(text.length); // 62 windows without overlap
 * const batches = text.batches({ size: 4 });
 * const { inputs, labels } = await batches.at(0); // int32 [4, 16] each
 * await batches.close();
 * ```
 */
export class TokenDataset {
  /** Number of windows that fit into the text without overlap. */
  readonly length: number;
  /** Name of the text in messages and results. */
  readonly name: string;
  /** Number of ids. */
  readonly tokens: number;
  /** Number of ids per window. */
  readonly context: number;
  /** Ids are below this number. */
  readonly vocabulary: number;
  /** The tokenizer that made the ids; `undefined` for a bare file. */
  readonly tokenizer: TokenizerSpec | undefined;
  /** Identifies the contents of the text, independent of its location. */
  readonly digest: string;
  readonly #text: TokenText;

  /** @internal */
  constructor(text: TokenText, tokenizer: TokenizerSpec | undefined) {
    const { store, context, name } = text;
    if (!Number.isSafeInteger(context) || context < 1) {
      invalidArgument("context", "an integer of at least 1", context);
    }
    if (store.tokens <= context) {
      const expected = `at most ${Math.max(0, store.tokens - 1)} for the ${store.tokens} tokens of ${name}`;
      invalidArgument("context", `${expected} (a window has one more)`, context);
    }
    this.#text = text;
    this.tokenizer = tokenizer;
    this.name = name;
    this.digest = text.digest;
    this.context = context;
    this.tokens = store.tokens;
    this.vocabulary = store.vocabulary;
    this.length = Math.floor((store.tokens - 1) / context);
  }

  /**
   * Returns batches of windows, for training or evaluation. Their `close` closes the file.
   *
   * @throws StepsizeError `invalid-argument` naming the wrong option
   */
  batches(options: TokenBatchOptions): BatchSource {
    return new TokenBatches(this.#text, options);
  }
}

/**
 * Opens a split of a token folder from `stepsize tokenize`, or a bare file of ids from another program (nanoGPT,
 * llm.c). Memory does not grow with the file, because only windows are read. The SHA-256 of a split is compared with
 * the one in `tokens.json`. A successful check is recorded in `<split>.tokens.verified` and not repeated while the
 * file's size, time and inode stay the same.
 *
 * @throws StepsizeError `not-found` if the folder, its `tokens.json` or the split is missing; `invalid-file` if a file
 * is damaged, even in a single bit; `invalid-argument` for a wrong option, or if the text is shorter than one window.
 * Ids beyond the vocabulary are found when they are read.
 *
 * @example
 * ```ts
 * import { mkdir, writeFile } from "node:fs/promises";
 * import { data } from "stepsize";
 *
 * await mkdir("notes", { recursive: true });
 * for (let i = 0; i < 20; i++) await writeFile(`notes/${i}.txt`, `This is note ${i}.`);
 * await data.tokenize(["notes"], { out: "note-tokens" });
 * const text = await data.tokens("note-tokens", { context: 8, split: "train" });
 * const batches = text.batches({ size: 4 });
 * await batches.close();
 * ```
 */
export async function tokens(path: string, options: TokensOptions): Promise<TokenDataset> {
  if (typeof path !== "string" || path === "") invalidArgument("path", "a token folder or a file of tokens", path);
  expectOptions("tokens", names, options);
  const { context } = options;
  const found = await stat(path).catch((cause: Error) => {
    throw new StepsizeError("not-found", `${path}: expected a token folder or a file of tokens (${cause.message})`, {
      cause,
    });
  });
  if (!found.isDirectory()) return new TokenDataset(await bareText(path, found.size, options), undefined);
  for (const name of ["dtype", "vocabulary", "skip"] as const) {
    if (options[name] === undefined) continue;
    invalidArgument(name, `none for the token folder ${path}, whose tokens.json has it`, options[name]);
  }
  const folder = await readTokenFolder(path);
  const text = { ...folderText(path, folder, checkTokenSplit(options.split)), context };
  const { store } = text;
  const file = await stat(store.path).catch((error: unknown) => {
    throw unreadable(store.path, error);
  });
  checkLength(store.path, file.size, store.dtype, 0, store.tokens);
  await verifyDigest(store.path, text.digest);
  return new TokenDataset(text, folder.tokenizer);
}

function folderText(path: string, folder: TokenFolder, split: TokenSplit): Omit<TokenText, "context"> {
  const { name, dtype, vocabulary, splits } = folder;
  const part = splits[split];
  if (part === undefined) {
    const present = shown(Object.keys(splits).join(", ")) || "none";
    throw new StepsizeError("not-found", `${infoPath(path)}: expected a ${split} split, found ${present}`);
  }
  const store = { path: splitPath(path, split), dtype, vocabulary, tokens: part.tokens, skip: 0 };
  return { store, name: `${name} (${split})`, digest: part.digest };
}

async function bareText(path: string, size: number, options: TokensOptions): Promise<TokenText> {
  const { dtype, skip = 0, context } = options;
  if (dtype === undefined || !Object.hasOwn(tokenWidth, dtype)) {
    invalidArgument("dtype", `"uint16" or "uint32", which the bare file ${path} does not contain`, dtype);
  }
  const vocabulary = checkVocabulary("vocabulary", options.vocabulary);
  if (!Number.isSafeInteger(skip) || skip < 0) invalidArgument("skip", "an integer of at least 0", skip);
  if (options.split !== undefined) invalidArgument("split", `none for the bare file ${path}`, options.split);
  const store: TokenStore = { path, dtype, vocabulary, skip, tokens: checkLength(path, size, dtype, skip) };
  const file = new TokenFile(store);
  try {
    return { store, context, name: basename(path), digest: await file.sampleDigest() };
  } finally {
    await file.close();
  }
}
