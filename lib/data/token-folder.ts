import { join } from "node:path";
import { expectText } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { jsonIn, mostJsonBytes } from "../read-file.js";
import { count, name, numberThat, object, oneOf, optional, Place, type Schema, text } from "../schema.js";
import { readBytes } from "./files.js";
import type { TokenizerSpec } from "./tokenizer.js";

/** How an id is stored: little-endian. */
export type TokenType = "uint16" | "uint32";

/** The parts that a corpus is divided into. */
export type TokenSplit = "train" | "validation" | "test";

export const tokenSplits: readonly TokenSplit[] = ["train", "validation", "test"];

export const tokenWidth: Readonly<Record<TokenType, number>> = { uint16: 2, uint32: 4 };

export const tokenFormat = "stepsize-tokens-1";

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
  const text = Buffer.from(await readBytes(path, mostJsonBytes)).toString("utf8");
  return folderSchema(jsonIn(path, text), new Place(path));
}

const split = object<SplitInfo>({ documents: count, tokens: count, bytes: count, digest: text });

const fields = object<TokenFolder>({
  format: oneOf<typeof tokenFormat>([tokenFormat]),
  name,
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

/** The fields, and what one says of another. */
const folderSchema: Schema<TokenFolder> = (value, place) => {
  const folder = fields(value, place);
  const { vocabulary, dtype, endOfText } = folder;
  if (dtype !== tokenTypeFor(vocabulary) && dtype === "uint16")
    place.at("dtype").refuse(`"uint32", for a vocabulary of ${vocabulary}`, dtype);
  if (endOfText >= vocabulary) place.at("endOfText").refuse(`an id below ${vocabulary}`, endOfText);
  return folder;
};

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
