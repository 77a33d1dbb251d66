import { mkdir, open, readdir, realpath, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { expectFunction, expectText } from "../arguments.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import { itemAt, valueAt } from "../lookup.js";
import { expectOptions, optionNames } from "../options.js";
import { shown } from "../quoting.js";
import { checkSeed, permutation } from "../random.js";
import { codeOf, isError } from "../realms.js";
import { findTextFiles, readText } from "./token-documents.js";
import {
  infoPath,
  type SplitInfo,
  splitPath,
  type TokenFolder,
  type TokenSplit,
  tokenFormat,
  tokenSplits,
  tokenTypeFor,
} from "./token-folder.js";
import { TokenWriter } from "./token-writer.js";
import { type TokenizerSpec, tokenizerOf } from "./tokenizer.js";

/** Options of {@link tokenize}. */
export interface TokenizeOptions {
  /** The folder to create. It must not exist or must be empty. */
  readonly out: string;
  /** The tokenizer. Default `{ kind: "bytes" }`. */
  readonly tokenizer?: TokenizerSpec | undefined;
  /** Share of the documents, or of each document, in the validation split, from 0 to below 1. Default 0.05. */
  readonly validation?: number | undefined;
  /** Share of the documents, or of each document, in the test split; both together below 1. Default 0.05. */
  readonly test?: number | undefined;
  /** Seed of the assignment of documents to splits, a safe integer of at least 0. Default 0. */
  readonly seed?: number | undefined;
  /** Name of the corpus. Default: the last part of `out`. */
  readonly name?: string | undefined;
  /** Called after each document. */
  readonly onProgress?: ((progress: TokenizeProgress) => void) | undefined;
  /**
   * Called with the path and the reason for each broken link in a folder, which is left out. Default: a warning of the
   * process.
   */
  readonly onSkip?: ((path: string, why: string) => void) | undefined;
  /** Aborts the work. Unfinished files are then removed. */
  readonly signal?: AbortSignal | undefined;
}

const names = optionNames<TokenizeOptions>({
  out: true,
  tokenizer: true,
  validation: true,
  test: true,
  seed: true,
  name: true,
  onProgress: true,
  onSkip: true,
  signal: true,
});

/** Progress of {@link tokenize}: finished documents, their bytes of text and their tokens, and the totals. */
export interface TokenizeProgress {
  /** Number of finished documents. */
  readonly documents: number;
  /** Number of all documents. */
  readonly allDocuments: number;
  /** Bytes of text of the finished documents. */
  readonly bytes: number;
  /** Bytes of text of all documents. */
  readonly allBytes: number;
  /** Number of ids of the finished documents. */
  readonly tokens: number;
}

/**
 * Tokenizes text files and writes a token folder: a file of ids for each split, and `tokens.json`. Every file is a
 * document. The seed assigns it to a split, and an end-of-text id follows it. If there are fewer documents than splits,
 * such as a single book, each document is cut instead: its beginning is for training, the next part for validation, the
 * end for testing. It is cut after a line or a word. Documents are processed one by one, in the order of
 * {@link findTextFiles}, so memory is bounded by the largest document. The folder appears when it is complete.
 *
 * @param paths text files, and folders of `.txt` and `.md` files
 * @throws StepsizeError `invalid-file` if a text is not UTF-8 or the folder cannot be written; `not-found` if a path
 * does not exist, a folder has no text, or a package is not installed; `invalid-argument` for a wrong option, if `out`
 * is not empty, or if there is too little text for the splits; the reason of `signal`
 *
 * @example
 * ```ts
 * import { mkdir, writeFile } from "node:fs/promises";
 * import { data } from "stepsize";
 *
 * await mkdir("texts", { recursive: true });
 * for (let i = 0; i < 20; i++) await writeFile(`texts/${i}.txt`, `This is document ${i}.`);
 * const { vocabulary, splits } = await data.tokenize(["texts"], { out: "tokens" });
 * console.log(vocabulary, splits.train?.documents); // 257 18
 * ```
 */
export async function tokenize(paths: readonly string[], options: TokenizeOptions): Promise<TokenFolder> {
  expectOptions("tokenize", names, options);
  const { tokenizer: spec = { kind: "bytes" }, seed = 0, signal, onProgress, onSkip = warn } = options;
  expectText("out", options.out, "the path of a folder to create");
  // If `out` is a symbolic link, its target is replaced and the link stays.
  const out = await realpath(options.out).catch(() => resolve(options.out));
  const { name = basename(resolve(options.out)) } = options;
  expectText("name", name, "a name");
  if (onProgress !== undefined) expectFunction("onProgress", onProgress);
  expectFunction("onSkip", onSkip);
  if (signal !== undefined && !(typeof signal?.throwIfAborted === "function"))
    invalidArgument("signal", "an AbortSignal", signal);
  const tokenizer = tokenizerOf(spec);
  await expectEmpty(options.out, out);
  const files = await findTextFiles(paths, onSkip);
  const shares = checkShares(options);
  const wanted: readonly TokenSplit[] = ["train", ...shares.keys()];
  checkSeed(seed);
  const splitOf = files.length < wanted.length ? undefined : assign(files.length, shares, seed);
  const { vocabulary, endOfText } = tokenizer;
  const dtype = tokenTypeFor(vocabulary);
  const allBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);

  await removeAbandoned(out);
  const partial = `${out}.${process.pid}.partial`;
  const writers = new Map<TokenSplit, TokenWriter>();
  try {
    await mkdir(partial, { recursive: true });
    for (const split of new Set(splitOf ?? wanted)) {
      writers.set(split, await TokenWriter.create(splitPath(partial, split), dtype));
    }
    let [documents, bytes, tokens] = [0, 0, 0];
    for (const [i, file] of files.entries()) {
      signal?.throwIfAborted();
      const text = await readText(file);
      const parts = splitOf === undefined ? cut(text, shares) : new Map([[itemAt(splitOf, i), text]]);
      for (const [split, part] of parts) {
        const ids = tokenizer.encode(part);
        const size = parts.size === 1 ? file.bytes : Buffer.byteLength(part);
        await valueAt(writers, split).add(ids, endOfText, size);
        tokens += ids.length + 1;
      }
      documents += 1;
      bytes += file.bytes;
      options.onProgress?.({ documents, allDocuments: files.length, bytes, allBytes, tokens });
    }
    const splits: Partial<Record<TokenSplit, SplitInfo>> = {};
    for (const split of tokenSplits) {
      const writer = writers.get(split);
      if (writer !== undefined) splits[split] = await writer.finish();
    }
    const folder: TokenFolder = { format: tokenFormat, name, tokenizer: spec, vocabulary, dtype, endOfText, splits };
    await writeSynced(infoPath(partial), `${JSON.stringify(folder, undefined, 2)}\n`);
    // The rename replaces an empty folder and fails for others, so files that were added since are not lost.
    await rename(partial, out);
    return folder;
  } catch (error) {
    for (const writer of writers.values()) await writer.abandon();
    await rm(partial, { recursive: true, force: true });
    if (error instanceof StepsizeError || !(isError(error) && "syscall" in error)) throw error;
    throw new StepsizeError("invalid-file", `${options.out}: could not be written (${error.message})`, {
      cause: error,
    });
  }
}

function warn(path: string, why: string): void {
  process.emitWarning(`tokenize: ${shown(path, 4096)} was skipped: ${why}`);
}

function checkShares(options: TokenizeOptions): ReadonlyMap<TokenSplit, number> {
  const shares = new Map<TokenSplit, number>();
  for (const split of ["validation", "test"] as const) {
    const share = options[split] ?? 0.05;
    if (!(typeof share === "number" && share >= 0 && share < 1)) {
      invalidArgument(split, "a share from 0 to below 1", share);
    }
    if (share > 0) shares.set(split, share);
  }
  const total = [...shares.values()].reduce((sum, share) => sum + share, 0);
  if (total >= 1) invalidArgument("validation and test", "shares that together leave some for training", total);
  return shares;
}

/** Largest number of characters between the place of a share in a text and the end of a line or word after it. */
const cutRange = 2000;

/**
 * Cuts a text into its splits, in the order train, validation, test.
 * @throws StepsizeError `invalid-argument` if a part would be empty
 */
function cut(text: string, shares: ReadonlyMap<TokenSplit, number>): Map<TokenSplit, string> {
  const parts = new Map<TokenSplit, string>();
  let [start, held] = [0, [...shares.values()].reduce((sum, share) => sum + share, 0)];
  for (const split of ["train", ...shares.keys()] as const) {
    held -= shares.get(split) ?? 0;
    // The last share may leave a rest by rounding.
    const end = parts.size === shares.size ? text.length : cutAfter(text, Math.floor((1 - held) * text.length));
    if (end <= start) {
      const splits = ["train", ...shares.keys()].join(", ");
      invalidArgument("paths", `text that is long enough to be cut into ${splits}`, `${text.length} characters`);
    }
    parts.set(split, text.slice(start, end));
    start = end;
  }
  return parts;
}

/** Returns the next place after a line or a word; for text without them, the next place between two characters. */
function cutAfter(text: string, at: number): number {
  const near = text.slice(at, at + cutRange);
  for (const end of ["\n", " "]) {
    const found = near.indexOf(end);
    if (found >= 0 && at + found + 1 < text.length) return at + found + 1;
  }
  const code = text.charCodeAt(at);
  return code >= 0xdc00 && code < 0xe000 ? at + 1 : at;
}

/** Assigns each document to a split. Every split gets at least one document. */
function assign(documents: number, shares: ReadonlyMap<TokenSplit, number>, seed: number): TokenSplit[] {
  const sizes = [...shares].map(([split, share]) => [split, Math.max(1, Math.round(share * documents))] as const);
  const assigned = sizes.reduce((sum, [, size]) => sum + size, 0);
  if (assigned >= documents) {
    const splits = ["train", ...shares.keys()].join(", ");
    const advice = "divide the text into more files, or set the shares of validation and test to 0";
    invalidArgument("paths", `documents for each of ${splits} (${advice})`, `${documents} in all`);
  }
  const order = permutation(documents, seed, 0);
  const splitOf = new Array<TokenSplit>(documents).fill("train");
  let next = 0;
  for (const [split, size] of sizes) {
    for (const document of order.subarray(next, next + size)) splitOf[document] = split;
    next += size;
  }
  return splitOf;
}

async function expectEmpty(given: string, out: string): Promise<void> {
  if (typeof given !== "string" || given === "") invalidArgument("out", "the path of a folder to create", given);
  const names = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    invalidArgument("out", `a folder that does not exist or is empty (${error.message})`, given);
  });
  if (names.length > 0) invalidArgument("out", "a folder that does not exist or is empty", given);
}

/** Removes unfinished folders that killed processes with the same `out` left behind. */
async function removeAbandoned(out: string): Promise<void> {
  const [prefix, ending] = [`${basename(out)}.`, ".partial"];
  for (const name of await readdir(dirname(out)).catch(() => [])) {
    if (!name.startsWith(prefix) || !name.endsWith(ending)) continue;
    const pid = Number(name.slice(prefix.length, -ending.length));
    // A folder with this process's own id is abandoned too. In a container, process ids are often reused.
    const isAbandoned = pid === process.pid || (Number.isInteger(pid) && pid > 0 && !isRunning(pid));
    if (isAbandoned) await rm(join(dirname(out), name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    // Signal 0 only checks whether the process exists.
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.appendFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
