import { readdir } from "node:fs/promises";
import { dirname } from "node:path";
import { invalidArgument, isNotFound, StepsizeError } from "../errors.js";
import { checkedOptions, optionNames } from "../options.js";
import { shown } from "../quoting.js";
import { type OpenFile, openFile, readFile } from "../read-file.js";

/** Which part of a dataset to load. */
export type Split = "train" | "test";

/** Options of loaders that have nothing else to choose. */
export interface SplitChoice {
  /** Default `"train"`. */
  readonly split?: Split;
}

const splitChoice = optionNames<SplitChoice>({ split: true });

/** The split that a loader was asked for. */
export function chosenSplit(loader: string, options: SplitChoice): Split {
  return checkSplit(checkedOptions(loader, splitChoice, options).split);
}

/** An `invalid-file` error that says where in which file something else was expected. */
export function invalidFile(
  file: string,
  offset: number,
  expected: string,
  found: string,
  options?: ErrorOptions,
): never {
  throw new StepsizeError("invalid-file", `${file}: byte ${offset}: expected ${expected}, found ${found}`, options);
}

/** A `not-found` error that lists what was looked for and what the folder has instead. */
export function notFound(folder: string, lookedFor: readonly string[], there: readonly string[]): never {
  const names = there.slice(0, 20).map((name) => shown(name));
  const more = there.length > 20 ? ` and ${there.length - 20} more` : "";
  const has = there.length === 0 ? "is empty" : `has ${names.join(", ")}${more}`;
  throw new StepsizeError("not-found", `${folder}: looked for ${lookedFor.join(" or ")}; the folder ${has}`);
}

/** The names in a folder, sorted; `lookedFor` goes into the error where there is no such folder. */
export async function listFolder(folder: string, lookedFor: readonly string[]): Promise<string[]> {
  if (typeof folder !== "string" || folder === "") invalidArgument("dir", "the path of a folder", folder);
  try {
    return (await readdir(folder)).sort();
  } catch (cause) {
    const why = (cause as Error).message;
    const message = `${folder}: looked for ${lookedFor.join(" or ")}, but the folder cannot be read (${why})`;
    throw new StepsizeError("not-found", message, { cause });
  }
}

/** The most bytes of a file that is in memory as a whole. */
const mostBytes = 2 ** 30;

/** All bytes of a file, at most 1 GiB; a missing one is an error that lists its neighbours. */
export async function readBytes(path: string, most = mostBytes): Promise<Uint8Array> {
  return readFile(path, most).catch((error: unknown) => withNeighbours(path, error));
}

/** Opens a file; a missing one is an error that lists its neighbours. */
export async function openData(path: string): Promise<OpenFile> {
  return openFile(path).catch((error: unknown) => withNeighbours(path, error));
}

async function withNeighbours(path: string, error: unknown): Promise<never> {
  if (!isNotFound(error)) throw error;
  const folder = dirname(path);
  return notFound(folder, [path], await listFolder(folder, [path]));
}

/** The split asked for, "train" by default. */
export function checkSplit(split: unknown = "train"): Split {
  if (split === "train" || split === "test") return split;
  invalidArgument("split", '"train" or "test"', split);
}
