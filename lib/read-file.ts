import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { allocate } from "./allocate.js";
import { expectText } from "./arguments.js";
import { StepsizeError } from "./errors.js";
import { JsonFault, parseJson } from "./json.js";
import { messageOf } from "./realms.js";
import { Place, type Schema } from "./schema.js";

/** A file that is open for reading. Whoever opened it closes it. */
export interface OpenFile {
  readonly file: FileHandle;
  readonly size: number;
}

/** The most bytes of a file of settings or facts: far more than any has, and no burden in memory. */
export const mostJsonBytes = 64 * 2 ** 20;

/**
 * Opens a file for reading. What is no file, such as a folder, a pipe or a device, is refused: reading one may wait or go
 * on without end.
 *
 * @throws StepsizeError `not-found` where there is none, `invalid-file` where it cannot be read or is no file
 */
export async function openFile(path: string): Promise<OpenFile> {
  expectText("path", path, "the path of a file");
  let file: FileHandle | undefined;
  try {
    // Opening a pipe would otherwise wait for who writes to it.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const found = await file.stat();
    if (found.isFile()) return { file, size: found.size };
    throw notFile(path, found);
  } catch (error) {
    await file?.close();
    throw error instanceof StepsizeError ? error : unreadable(path, error);
  }
}

/**
 * Reads a whole file of at most so many bytes.
 * @throws StepsizeError as {@link openFile}, and `invalid-file` for one that is larger, which is not read
 */
export async function readFile(path: string, most: number): Promise<Buffer> {
  const { file, size } = await openFile(path);
  try {
    if (size > most) throw new StepsizeError("invalid-file", `${path}: expected at most ${most} bytes, found ${size}`);
    const bytes = allocate(path, () => Buffer.allocUnsafeSlow(size));
    return bytes.subarray(0, await readInto({ file, path }, bytes, 0));
  } finally {
    await file.close();
  }
}

/**
 * Fills memory with a file's bytes from a position on; of a file that ends before, less.
 * @returns how many bytes were read
 */
export async function readInto(
  { file, path }: { readonly file: FileHandle; readonly path: string },
  bytes: Uint8Array,
  position: number,
): Promise<number> {
  let done = 0;
  // The system reads no more than 2 GiB at once.
  const most = 2 ** 26;
  while (done < bytes.length) {
    const length = Math.min(most, bytes.length - done);
    const { bytesRead } = await file.read(bytes, done, length, position + done).catch((error: unknown) => {
      throw unreadable(path, error);
    });
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/**
 * Reads a file of JSON and checks it.
 * @throws StepsizeError as {@link readFile}, and `invalid-file` with the first field that is wrong
 */
export async function readJsonFile<T>(path: string, schema: Schema<T>): Promise<T> {
  return schema(jsonIn(path, (await readFile(path, mostJsonBytes)).toString("utf8")), new Place(path));
}

/**
 * The value of a text of JSON.
 * @param place where the text stands, for the error
 * @throws StepsizeError `invalid-file`
 */
export function jsonIn(place: string, text: string): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    const line = text.slice(0, error.at).split("\n").length;
    throw new StepsizeError("invalid-file", `${place}: expected JSON: line ${line}: ${error.message}`, {
      cause: error,
    });
  }
}

type Stats = Awaited<ReturnType<FileHandle["stat"]>>;

function notFile(path: string, found: Stats): StepsizeError {
  const what = found.isDirectory() ? "is a folder" : found.isFIFO() ? "is a pipe" : "is a device";
  return new StepsizeError("invalid-file", `${path}: ${what}; expected a file`);
}

/** The error of a file that the system cannot open or read: `not-found` or `invalid-file`. */
export function unreadable(path: string, error: unknown): StepsizeError {
  if ((error as NodeJS.ErrnoException).code === "ENOENT")
    return new StepsizeError("not-found", `${path}: there is no such file`, { cause: error });
  return new StepsizeError("invalid-file", `${path}: cannot be read (${messageOf(error)})`, { cause: error });
}
