import { join } from "node:path";
import { expectText } from "../arguments.js";
import { describe, invalidArgument, StepsizeError } from "../errors.js";
import { invalidFile, readBytes } from "./files.js";
import type { TokenizerSpec } from "./tokenizer.js";

/** How an id is stored: little-endian. */
export type TokenType = "uint16" | "uint32";

/** The parts that a corpus is divided into. */
export type TokenSplit = "train" | "validation" | "test";

export const tokenSplits: readonly TokenSplit[] = ["train", "validation", "test"];

export const tokenWidth: Readonly<Record<TokenType, number>> = { uint16: 2, uint32: 4 };

/** What is known of one file of a token folder. */
export interface SplitInfo {
  readonly documents: number;
  readonly tokens: number;
  /** Of text, in UTF-8, that the tokens were made from. */
  readonly bytes: number;
  /** SHA-256 of the file, in hexadecimal: tells two corpora apart without reading them. */
  readonly digest: string;
}

/** The `tokens.json` of a token folder. A split without documents has neither an entry nor a file. */
export interface TokenFolder {
  readonly format: typeof tokenFormat;
  /** What the corpus is called in messages and in a run's record, wherever the folder lies. */
  readonly name: string;
  readonly tokenizer: TokenizerSpec;
  /** Ids are below this number. */
  readonly vocabulary: number;
  readonly dtype: TokenType;
  /** The id after every document. */
  readonly endOfText: number;
  readonly splits: Readonly<Partial<Record<TokenSplit, SplitInfo>>>;
}

export const tokenFormat = "stepsize-tokens-1";

/** The narrowest type for ids below `vocabulary`. */
export function tokenTypeFor(vocabulary: number): TokenType {
  return vocabulary <= 2 ** 16 ? "uint16" : "uint32";
}

/** The path of what describes a token folder. */
export function infoPath(folder: string): string {
  return join(folder, "tokens.json");
}

/** The path of a split's ids. */
export function splitPath(folder: string, split: TokenSplit): string {
  return join(folder, `${split}.tokens`);
}

/** The split asked for, "train" by default. */
export function checkTokenSplit(split: unknown = "train"): TokenSplit {
  if (tokenSplits.includes(split as TokenSplit)) return split as TokenSplit;
  invalidArgument("split", '"train", "validation" or "test"', split);
}

/** The number of ids, or an error where it cannot be one. They are int32 in a batch. */
export function checkVocabulary(name: string, vocabulary: unknown): number {
  if (isCount(vocabulary) && vocabulary >= 1 && vocabulary <= 2 ** 31) return vocabulary;
  invalidArgument(name, "an integer from 1 to 2^31", vocabulary);
}

/**
 * Reads and checks the `tokens.json` of a folder.
 *
 * @throws `not-found` where there is none; `invalid-file` naming the first field that is wrong
 */
export async function readTokenFolder(folder: string): Promise<TokenFolder> {
  expectText("folder", folder, "the path of a token folder");
  const path = infoPath(folder);
  const text = Buffer.from(await readBytes(path)).toString("utf8");
  let info: TokenFolder;
  try {
    info = JSON.parse(text) as TokenFolder;
  } catch (cause) {
    invalidFile(path, 0, "JSON", (cause as Error).message, { cause });
  }
  const expect = (holds: boolean, field: string, expected: string, value: unknown) => {
    if (holds) return;
    throw new StepsizeError("invalid-file", `${path}: ${field}: expected ${expected}, found ${describe(value)}`);
  };
  expect(info?.format === tokenFormat, "format", `"${tokenFormat}"`, info?.format);
  const { name, tokenizer, vocabulary, dtype, endOfText, splits } = info;
  expect(typeof name === "string" && name !== "", "name", "a text", name);
  expect(typeof tokenizer?.kind === "string", "tokenizer", "an object with a kind", tokenizer);
  expect(isCount(vocabulary) && vocabulary >= 1 && vocabulary <= 2 ** 31, "vocabulary", "a number of ids", vocabulary);
  expect(Object.hasOwn(tokenWidth, dtype), "dtype", '"uint16" or "uint32"', dtype);
  const fits = dtype === "uint32" || vocabulary <= 2 ** 16;
  expect(fits, "dtype", `"uint32", for a vocabulary of ${vocabulary}`, dtype);
  expect(isCount(endOfText) && endOfText < vocabulary, "endOfText", `an id below ${vocabulary}`, endOfText);
  expect(typeof splits === "object" && splits !== null, "splits", "an object", splits);
  for (const [split, part] of Object.entries(splits)) {
    for (const field of ["documents", "tokens", "bytes"] as const) {
      expect(isCount(part?.[field]), `splits.${split}.${field}`, "an integer of at least 0", part?.[field]);
    }
    expect(typeof part.digest === "string", `splits.${split}.digest`, "a text", part.digest);
  }
  return info;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
