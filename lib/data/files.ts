import { readdir } from "node:fs/promises";
import { dirname } from "node:path";
import { invalidArgument, isNotFound, StepsizeError } from "../errors.js";
import { checkedOptions, optionNames } from "../options.js";
import { shown } from "../quoting.js";
import { type OpenFile, openFile, readFile } from "../read-file.js";
import { messageOf } from "../realms.js";

/** The split of a dataset to load. */
export type Split = "train" | "test";

/** The split to load, an option of {@link mnist} and {@link cifar10}. */
export interface SplitChoice {
  /** The split to load. Default `"train"`. */
  readonly split?: Split | undefined;
}

const splitChoice = optionNames<SplitChoice>({ split: true });

/**
 * Checks the options of a loader and returns the split.
 *
 * @throws StepsizeError `invalid-argument`
 */
export function chosenSplit(loader: string, options: SplitChoice): Split {
  return checkSplit(checkedOptions(loader, splitChoice, options).split);
}

/** Throws an `invalid-file` error with the file, the byte offset, what was expected and what was found. */
export function invalidFile(
  file: string,
  offset: number,
  expected: string,
  found: string,
  options?: ErrorOptions,
): never {
  throw new StepsizeError("invalid-file", `${file}: byte ${offset}: expected ${expected}, found ${found}`, options);
}

/** Throws a `not-found` error that lists the missing names and the names that the folder has. */
export function notFound(folder: string, lookedFor: readonly string[], present: readonly string[]): never {
  const names = present.slice(0, 20).map((name) => shown(name));
  const more = present.length > 20 ? ` and ${present.length - 20} more` : "";
  const has = present.length === 0 ? "is empty" : `has ${names.join(", ")}${more}`;
  throw new StepsizeError("not-found", `${folder}: looked for ${lookedFor.join(" or ")}; the folder ${has}`);
}

/**
 * Lists the names in a folder, sorted.
 *
 * @param lookedFor names for the error message
 * @throws StepsizeError `not-found` if the folder cannot be read; `invalid-argument` if `folder` is not a path
 */
export async function listFolder(folder: string, lookedFor: readonly string[]): Promise<string[]> {
  if (typeof folder !== "string" || folder === "") invalidArgument("dir", "the path of a folder", folder);
  try {
    return (await readdir(folder)).sort();
  } catch (cause) {
    const why = messageOf(cause);
    const message = `${folder}: looked for ${lookedFor.join(" or ")}, but the folder cannot be read (${why})`;
    throw new StepsizeError("not-found", message, { cause });
  }
}

/** Largest size in bytes of a file that is read as a whole: 1 GiB. */
const defaultMaxBytes = 2 ** 30;

/**
 * Reads all bytes of a file.
 *
 * @param maxBytes largest size; default 1 GiB
 * @throws StepsizeError `not-found`, with the names in the folder, if the file does not exist; `invalid-file` if it is
 * larger or cannot be read; `out-of-memory`
 */
export async function readBytes(path: string, maxBytes = defaultMaxBytes): Promise<Uint8Array> {
  return readFile(path, maxBytes).catch((error: unknown) => withNeighbors(path, error));
}

/**
 * @internal Opens a file.
 *
 * @throws StepsizeError `not-found`, with the names in the folder, if the file does not exist; `invalid-file` if it
 * cannot be read
 */
export async function openData(path: string): Promise<OpenFile> {
  return openFile(path).catch((error: unknown) => withNeighbors(path, error));
}

async function withNeighbors(path: string, error: unknown): Promise<never> {
  if (!isNotFound(error)) throw error;
  const folder = dirname(path);
  return notFound(folder, [path], await listFolder(folder, [path]));
}

/**
 * Checks a split and returns it; default `"train"`.
 *
 * @throws StepsizeError `invalid-argument`
 */
export function checkSplit(split: unknown = "train"): Split {
  if (split === "train" || split === "test") return split;
  invalidArgument("split", '"train" or "test"', split);
}
