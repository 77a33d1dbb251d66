import { join } from "node:path";
import { expectText, isSafeInteger } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { jsonIn, maxJsonBytes } from "../read-file.js";
import { count, name, numberThat, object, oneOf, optional, Place, type Schema, text } from "../schema.js";
import { readBytes } from "./files.js";
import type { TokenizerSpec } from "./tokenizer.js";

/** Storage type of ids, little-endian. */
export type TokenType = "uint16" | "uint32";

/** The splits of a corpus. */
export type TokenSplit = "train" | "validation" | "test";

/** The names of the splits. */
export const tokenSplits: readonly TokenSplit[] = ["train", "validation", "test"];

/** Number of bytes per id of each storage type. */
export const tokenWidth: Readonly<Record<TokenType, number>> = { uint16: 2, uint32: 4 };

/** Name and version of the format of `tokens.json`. */
export const tokenFormat = "stepsize-tokens-1";

/** Facts about the file of a split. */
export interface SplitInfo {
  /** Number of documents. */
  readonly documents: number;
  /** Number of ids, with an end of text after each document. */
  readonly tokens: number;
  /** Number of bytes of the UTF-8 text that the tokens were made from. */
  readonly bytes: number;
  /** SHA-256 of the file, in hexadecimal. */
  readonly digest: string;
}

/** The contents of `tokens.json`. A split without documents has neither an entry nor a file. */
export interface TokenFolder {
  /** Name and version of the format. */
  readonly format: typeof tokenFormat;
  /** Name of the corpus in messages and results, independent of the folder's location. */
  readonly name: string;
  /** The tokenizer that made the ids. */
  readonly tokenizer: TokenizerSpec;
  /** Ids are below this number. */
  readonly vocabulary: number;
  /** Storage type of the ids. */
  readonly dtype: TokenType;
  /** The id after every document. */
  readonly endOfText: number;
  /** The splits that have documents, by name. */
  readonly splits: Readonly<Partial<Record<TokenSplit, SplitInfo>>>;
}

/** Returns the narrowest type for ids below `vocabulary`. */
export function tokenTypeFor(vocabulary: number): TokenType {
  return vocabulary <= 2 ** 16 ? "uint16" : "uint32";
}

/** Returns the path of a folder's `tokens.json`. */
export function infoPath(folder: string): string {
  return join(folder, "tokens.json");
}

/** Returns the path of the file with a split's ids. */
export function splitPath(folder: string, split: TokenSplit): string {
  return join(folder, `${split}.tokens`);
}

/**
 * Checks a split and returns it; default `"train"`.
 *
 * @throws StepsizeError `invalid-argument`
 */
export function checkTokenSplit(split: unknown = "train"): TokenSplit {
  const known = tokenSplits.find((name) => name === split);
  if (known !== undefined) return known;
  invalidArgument("split", '"train", "validation" or "test"', split);
}

/**
 * Checks the size of a vocabulary and returns it. Ids are int32 in a batch.
 *
 * @throws StepsizeError `invalid-argument` if it is not an integer from 1 to 2^31
 */
export function checkVocabulary(name: string, vocabulary: unknown): number {
  if (isCount(vocabulary) && vocabulary >= 1 && vocabulary <= 2 ** 31) return vocabulary;
  invalidArgument(name, "an integer from 1 to 2^31", vocabulary);
}

/**
 * Reads and checks the `tokens.json` of a folder.
 *
 * @param folder path of a token folder
 * @throws StepsizeError `invalid-argument` if `folder` is not a text; `not-found` if there is no such file;
 * `invalid-file` naming the first wrong field
 */
export async function readTokenFolder(folder: string): Promise<TokenFolder> {
  expectText("folder", folder, "the path of a token folder");
  const path = infoPath(folder);
  const text = Buffer.from(await readBytes(path, maxJsonBytes)).toString("utf8");
  return folderSchema(jsonIn(path, text), new Place(path));
}

const split = object<SplitInfo>({ documents: count, tokens: count, bytes: count, digest: text });

const fields = object<TokenFolder>({
  format: oneOf<typeof tokenFormat>([tokenFormat]),
  name,
  // The text can be used without its tokenizer, so an unknown kind is refused only by `tokenizerOf`.
  tokenizer: object<{ readonly kind: string }>({ kind: text }, "an object with a kind") as Schema<TokenizerSpec>,
  vocabulary: numberThat("a number of ids, from 1 to 2^31", (ids) => isCount(ids) && ids >= 1 && ids <= 2 ** 31),
  dtype: oneOf(["uint16", "uint32"]),
  endOfText: count,
  splits: object<TokenFolder["splits"]>({
    train: optional(split),
    validation: optional(split),
    test: optional(split),
  }),
});

/** Checks the fields of `tokens.json`, also against each other. */
const folderSchema: Schema<TokenFolder> = (value, place) => {
  const folder = fields(value, place);
  const { vocabulary, dtype, endOfText } = folder;
  if (dtype !== tokenTypeFor(vocabulary) && dtype === "uint16")
    place.at("dtype").refuse(`"uint32", for a vocabulary of ${vocabulary}`, dtype);
  if (endOfText >= vocabulary) place.at("endOfText").refuse(`an id below ${vocabulary}`, endOfText);
  return folder;
};

function isCount(value: unknown): value is number {
  return isSafeInteger(value) && value >= 0;
}
