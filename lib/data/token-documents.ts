import { isUtf8 } from "node:buffer";
import type { Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { expectText } from "../arguments.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import { someOf } from "../quoting.js";
import { readFile } from "../read-file.js";
import { codeOf, messageOf } from "../realms.js";
import { invalidFile, notFound } from "./files.js";

/** A text file, which is one document. */
export interface TextFile {
  readonly path: string;
  readonly bytes: number;
}

const textEndings = [".txt", ".md"];

/** Largest size of a document in bytes. It is in memory as bytes, as a string and as ids. */
const maxDocumentBytes = 256 * 2 ** 20;

/**
 * Finds the text files at these paths. From a folder it takes all `.txt` and `.md` files, sorted by path, including
 * those of subfolders. A file that is given itself may have any ending. Empty files, duplicates, hidden files, and
 * links to folders are left out.
 *
 * @param onSkip called with the path and the reason if a link in a folder is broken and left out
 * @throws StepsizeError `not-found` if a path does not exist or there is no text at all; `invalid-file` if a file is
 * too large, or if a path is neither a file nor a folder; `invalid-argument` for an empty list
 */
export async function findTextFiles(
  paths: readonly string[],
  onSkip: (path: string, why: string) => void,
): Promise<TextFile[]> {
  if (!Array.isArray(paths) || paths.length === 0) invalidArgument("paths", "at least one folder or text file", paths);
  for (const [i, path] of paths.entries()) expectText(`paths[${i}]`, path, "the path of a folder or a text file");
  const found = new Map<string, TextFile>();
  for (const path of paths) {
    const given = await statOf(path);
    if (!given.isDirectory() && !given.isFile())
      throw new StepsizeError("invalid-file", `${path}: expected a folder or a text file, found a pipe or a device`);
    for (const file of given.isDirectory() ? await filesBelow(path, onSkip) : [path]) {
      const { size } = await statOf(file);
      if (size > maxDocumentBytes) {
        const limit = `a document of at most ${maxDocumentBytes} bytes`;
        invalidFile(file, maxDocumentBytes, limit, `one of ${size}; divide it into several files`);
      }
      // The full path is the key. A document that occurs twice could be in both the training and the test split.
      if (size > 0) found.set(resolve(file), { path: file, bytes: size });
    }
  }
  if (found.size === 0) await noText(paths);
  return [...found.values()];
}

/**
 * Reads the text of a file, without a byte order mark.
 *
 * @throws StepsizeError `invalid-file` naming the first byte that is not UTF-8, and any error of reading the file
 */
export async function readText({ path }: TextFile): Promise<string> {
  const bytes = await readFile(path, maxDocumentBytes);
  if (isUtf8(bytes)) return new TextDecoder().decode(bytes);
  const at = validPrefix(bytes);
  const found = Array.from(bytes.subarray(at, at + 4), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  invalidFile(path, at, "text in UTF-8", `the bytes ${found}; convert it, such as with iconv -t utf-8`);
}

/** Returns the number of bytes of whole characters before the first byte that is not UTF-8. */
function validPrefix(bytes: Uint8Array): number {
  // The last character of a part may be cut, with at most three bytes of it.
  const wholeUpTo = (end: number) => {
    for (let cut = end; cut > end - 4 && cut >= 0; cut--) if (isUtf8(bytes.subarray(0, cut))) return cut;
    return undefined;
  };
  let [good, bad] = [0, bytes.length + 1];
  while (bad - good > 1) {
    const middle = (good + bad) >>> 1;
    if (wholeUpTo(middle) === undefined) bad = middle;
    else good = middle;
  }
  return wholeUpTo(good) ?? 0;
}

async function filesBelow(folder: string, onSkip: (path: string, why: string) => void): Promise<string[]> {
  const files: string[] = [];
  const folders = [folder];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    const inside = next;
    const entries = await readdir(inside, { withFileTypes: true }).catch((cause) => unreadable(inside, cause));
    for (const entry of entries) {
      if (entry.name.startsWith(".")) continue;
      const path = join(inside, entry.name);
      if (entry.isDirectory()) folders.push(path);
      else if (textEndings.includes(extname(entry.name).toLowerCase()) && (await isFile(path, entry, onSkip)))
        files.push(path);
    }
  }
  // Sorting by code units gives the same order on all systems.
  return files.sort();
}

/** Error codes of links that are broken or circular. */
const brokenLinkCodes = ["ENOENT", "ELOOP", "ENOTDIR"];

/** Whether an entry of a folder is a file. A broken link is skipped, so that the rest of the folder is read. */
async function isFile(path: string, entry: Dirent, onSkip: (path: string, why: string) => void): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (cause) {
    if (!entry.isSymbolicLink() || !brokenLinkCodes.includes(codeOf(cause) ?? "")) return unreadable(path, cause);
    onSkip(path, `broken link (${messageOf(cause)})`);
    return false;
  }
}

async function noText(paths: readonly string[]): Promise<never> {
  const [path = ""] = paths;
  if (paths.length === 1 && (await statOf(path)).isDirectory()) {
    notFound(path, ["text files named *.txt or *.md that are not empty"], (await readdir(path)).sort());
  }
  throw new StepsizeError("not-found", `${someOf(paths)}: expected text, found only empty files`);
}

async function statOf(path: string) {
  return stat(path).catch((cause) => unreadable(path, cause));
}

function unreadable(path: string, cause: unknown): never {
  throw new StepsizeError("not-found", `${path}: cannot be read (${messageOf(cause)})`, { cause });
}
