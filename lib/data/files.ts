import { readdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { invalidArgument, StepsizeError } from "../errors.js";
import { checkedOptions, optionNames } from "../options.js";

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
  const shown = there.slice(0, 20).join(", ");
  const more = there.length > 20 ? ` and ${there.length - 20} more` : "";
  const has = there.length === 0 ? "is empty" : `has ${shown}${more}`;
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

/** All bytes of a file; a missing one is an error that lists its neighbours. */
export async function readBytes(file: string): Promise<Uint8Array> {
  if (typeof file !== "string" || file === "") invalidArgument("path", "the path of a file", file);
  try {
    return await readFile(file);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") {
      const folder = dirname(file);
      notFound(folder, [file], await listFolder(folder, [file]));
    }
    throw new StepsizeError("not-found", `${file}: cannot be read (${(cause as Error).message})`, { cause });
  }
}

/** The split asked for, "train" by default. */
export function checkSplit(split: unknown = "train"): Split {
  if (split === "train" || split === "test") return split;
  invalidArgument("split", '"train" or "test"', split);
}
