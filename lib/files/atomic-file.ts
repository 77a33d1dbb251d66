import { type FileHandle, mkdir, open, readlink, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, isAbsolute } from "node:path";
import { StepsizeError } from "../errors.js";
import { codeOf, messageOf } from "../realms.js";

let written = 0;

/** A file that is being written. */
export interface GrowingFile {
  /** Appends bytes. They are written when the promise resolves. */
  append(bytes: Uint8Array): Promise<void>;
  /**
   * Replaces bytes that were written before.
   *
   * @param at offset of the first byte
   */
  replace(at: number, bytes: Uint8Array): Promise<void>;
}

/**
 * Writes a file atomically: at every moment the path has either the complete old or the complete new content.
 *
 * The content is written to a temporary file in the same folder, flushed to disk and renamed. If the path is a symbolic
 * link, the file that it leads to is replaced in its own folder, and the link stays.
 *
 * @throws StepsizeError `invalid-file` if the file cannot be written, for example because of a full disk or missing
 * permissions. The old file is kept then.
 */
export async function writeAtomically(path: string, parts: readonly Uint8Array[]): Promise<void> {
  const bytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
  await replaceFile(path, bytes, async (file) => {
    for (const part of parts) await file.append(part);
  });
}

/**
 * Writes a file atomically, as {@link writeAtomically}, with content that `write` writes step by step.
 *
 * @param bytes expected size, for the error message if there is no space
 * @throws StepsizeError as {@link writeAtomically}. Errors of `write` are passed on unchanged. The old file is kept
 * then.
 */
export async function replaceFile(
  path: string,
  bytes: number,
  write: (file: GrowingFile) => Promise<void>,
): Promise<void> {
  // The error of the file system, in contrast to errors that `write` throws itself.
  let failure: { readonly cause: unknown } | undefined;
  const attempt = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (cause) {
      failure = { cause };
      throw cause;
    }
  };
  let temporary: string | undefined;
  let file: FileHandle | undefined;
  try {
    const target = await attempt(() => targetOf(path));
    // Every call has its own temporary file, so that two writers of one file do not write into each other's.
    const partial = `${target}.${process.pid}-${written++}.partial`;
    await attempt(() => mkdir(dirname(target), { recursive: true }));
    const opened = await attempt(() => open(partial, "w"));
    [temporary, file] = [partial, opened];
    let end = 0;
    await write({
      append: async (part) => {
        const at = end;
        end += part.byteLength;
        await attempt(() => writeAll(opened, part, at));
      },
      replace: (at, part) => attempt(() => writeAll(opened, part, at)),
    });
    await attempt(async () => {
      await opened.sync();
      await opened.close();
      file = undefined;
      await rename(partial, target);
      await syncFolder(dirname(target));
    });
  } catch (error) {
    await file?.close().catch(() => {});
    if (temporary !== undefined) await rm(temporary, { force: true }).catch(() => {});
    if (failure === undefined) throw error;
    const { cause } = failure;
    const room = isForRoom(cause) ? await roomFor(bytes, path) : "";
    throw new StepsizeError(
      "invalid-file",
      `${path}: could not be written (${messageOf(cause)})${room}; what was there before is kept`,
      { cause },
    );
  }
}

// The limit of Linux.
const maxLinks = 40;

/** Returns the path of the file behind symbolic links. The file need not exist. */
async function targetOf(path: string): Promise<string> {
  let target = path;
  for (let links = 0; ; links++) {
    const to = await readlink(target).catch((error: unknown) => {
      // The path is not a link, does not exist, or is wrong in a way that writing will report.
      if (["EINVAL", "ENOENT", "ENOTDIR"].includes(codeOf(error) ?? "")) return undefined;
      throw error;
    });
    if (to === undefined) break;
    if (links === maxLinks) throw new Error(`it is one of over ${maxLinks} symbolic links, or of a ring of them`);
    // The path is not normalized. Folders in it may be links, and ".." then refers to the folder that they lead to.
    target = isAbsolute(to) ? to : `${dirname(target)}/${to}`;
  }
  const found = await stat(target).catch(() => undefined);
  // A rename would remove a device.
  if (found && !found.isFile() && !found.isDirectory())
    throw new Error("it is a pipe, a socket or a device, and no file");
  return target;
}

function isForRoom(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT", "EFBIG"].includes(codeOf(error) ?? "");
}

/** Returns, for an error message, how much space is needed and how much is free. */
async function roomFor(bytes: number, path: string): Promise<string> {
  const free = await targetOf(path)
    .then((target) => statfs(dirname(target)))
    .then(({ bavail, bsize }) => `, ${megabytes(bavail * bsize)} are free there`)
    .catch(() => "");
  return `; it needs ${megabytes(bytes)} beside the file of before${free}`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Writes all bytes of a part. A single write may write fewer, if the disk fills up. */
async function writeAll(file: FileHandle, part: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < part.byteLength; ) {
    // The system writes at most 2 GiB at once.
    const length = Math.min(part.byteLength - done, 2 ** 30);
    const { bytesWritten } = await file.write(part, done, length, at + done);
    if (bytesWritten === 0) throw Object.assign(new Error("the disk took no more bytes"), { code: "ENOSPC" });
    done += bytesWritten;
  }
}

/** Flushes a folder to disk. Without this, a crash of the machine may undo the rename, though not lose the file. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  await folder.sync().catch(() => {});
  await folder.close();
}
