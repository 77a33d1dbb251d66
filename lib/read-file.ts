import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { allocate } from "./allocate.js";
import { expectText } from "./arguments.js";
import { StepsizeError } from "./errors.js";
import { JsonFault, parseJson } from "./json.js";
import { codeOf, messageOf } from "./realms.js";
import { Place, type Schema } from "./schema.js";

/** A file that is open for reading. The caller that opened it closes it. */
export interface OpenFile {
  /** Handle of the file. */
  readonly file: FileHandle;
  /** Size in bytes. */
  readonly size: number;
}

/** Largest size of a JSON file, in bytes. Such files are much smaller. */
export const maxJsonBytes = 64 * 2 ** 20;

/**
 * Opens a file for reading. Folders, pipes and devices are rejected, because reading a pipe or a device may never end.
 *
 * @throws StepsizeError `invalid-argument` if `path` is not a text; `not-found` if there is no file; `invalid-file` if
 * it cannot be read or is not a regular file
 */
export async function openFile(path: string): Promise<OpenFile> {
  expectText("path", path, "the path of a file");
  let file: FileHandle | undefined;
  try {
    // Without O_NONBLOCK, opening a pipe would wait for a writer.
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
 * Reads a whole file.
 *
 * @param maxBytes largest size
 * @throws StepsizeError as {@link openFile}; `invalid-file` if the file is larger than `maxBytes`; `out-of-memory`
 */
export async function readFile(path: string, maxBytes: number): Promise<Buffer> {
  const { file, size } = await openFile(path);
  try {
    if (size > maxBytes)
      throw new StepsizeError("invalid-file", `${path}: expected at most ${maxBytes} bytes, found ${size}`);
    const bytes = allocate(path, () => Buffer.allocUnsafeSlow(size));
    return bytes.subarray(0, await readInto({ file, path }, bytes, 0));
  } finally {
    await file.close();
  }
}

/**
 * Fills an array with bytes of a file.
 *
 * @param position index of the first byte in the file
 * @returns the number of bytes that were read, fewer than the array has if the file ends before
 * @throws StepsizeError `invalid-file` if the file cannot be read
 */
export async function readInto(
  { file, path }: { readonly file: FileHandle; readonly path: string },
  bytes: Uint8Array,
  position: number,
): Promise<number> {
  let done = 0;
  // The system reads at most 2 GiB at once.
  const maxLength = 2 ** 26;
  while (done < bytes.length) {
    const length = Math.min(maxLength, bytes.length - done);
    const { bytesRead } = await file.read(bytes, done, length, position + done).catch((error: unknown) => {
      throw unreadable(path, error);
    });
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/**
 * Reads a JSON file and checks it.
 *
 * @throws StepsizeError as {@link readFile}; `invalid-file` if it is not JSON, or with the first field that is wrong
 */
export async function readJsonFile<T>(path: string, schema: Schema<T>): Promise<T> {
  return schema(jsonIn(path, (await readFile(path, maxJsonBytes)).toString("utf8")), new Place(path));
}

/**
 * Parses JSON text.
 *
 * @param place the source of the text, for the error message
 * @throws StepsizeError `invalid-file` with the line of the error
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
  if (codeOf(error) === "ENOENT")
    return new StepsizeError("not-found", `${path}: there is no such file`, { cause: error });
  return new StepsizeError("invalid-file", `${path}: cannot be read (${messageOf(error)})`, { cause: error });
}
