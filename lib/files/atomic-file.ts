import { type FileHandle, mkdir, open, readlink, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, isAbsolute } from "node:path";
import { StepsizeError } from "../errors.js";
import { messageOf } from "../realms.js";

let written = 0;

/** A file that is being written. */
export interface GrowingFile {
  /** Adds bytes at the end. They are written when the promise resolves. */
  append(bytes: Uint8Array): Promise<void>;
  /** Replaces bytes that were written before. */
  replace(at: number, bytes: Uint8Array): Promise<void>;
}

/**
 * Writes a file so that at every moment either the old or the new content is there, whole: beside it, flushed to the
 * disk, then renamed over it. If the path is a symbolic link, the file that it leads to is replaced, in its own folder,
 * and the link stays: see {@link replaceFile}.
 *
 * @throws StepsizeError `invalid-file` where it cannot be written (a full disk, no permission); the old file stays.
 */
export async function writeAtomically(path: string, parts: readonly Uint8Array[]): Promise<void> {
  const bytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
  await replaceFile(path, bytes, async (file) => {
    for (const part of parts) await file.append(part);
  });
}

/**
 * As {@link writeAtomically}, with what `write` writes bit by bit. What it throws comes out as it is, and the old file
 * stays.
 *
 * @param bytes how many it will write: named if there is no room for them
 */
export async function replaceFile(
  path: string,
  bytes: number,
  write: (file: GrowingFile) => Promise<void>,
): Promise<void> {
  // What the system refused, as opposed to what `write` throws of its own.
  let refused: { readonly cause: unknown } | undefined;
  const attempt = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (cause) {
      refused = { cause };
      throw cause;
    }
  };
  let beside: string | undefined;
  let file: FileHandle | undefined;
  try {
    const target = await attempt(() => targetOf(path));
    // Of its own for every call: two that write the same file at the same time must not write into each other's.
    const own = `${target}.${process.pid}-${written++}.partial`;
    await attempt(() => mkdir(dirname(target), { recursive: true }));
    const opened = await attempt(() => open(own, "w"));
    [beside, file] = [own, opened];
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
      await rename(own, target);
      await syncFolder(dirname(target));
    });
  } catch (error) {
    await file?.close().catch(() => {});
    if (beside !== undefined) await rm(beside, { force: true }).catch(() => {});
    if (refused === undefined) throw error;
    const { cause } = refused;
    const room = isForRoom(cause) ? await roomFor(bytes, path) : "";
    throw new StepsizeError(
      "invalid-file",
      `${path}: could not be written (${messageOf(cause)})${room}; what was there before is kept`,
      { cause },
    );
  }
}

// As many as Linux follows.
const mostLinks = 40;

/** The path of the file itself, behind symbolic links; the file need not be there. */
async function targetOf(path: string): Promise<string> {
  let target = path;
  for (let links = 0; ; links++) {
    const to = await readlink(target).catch((error: NodeJS.ErrnoException) => {
      // It is no link, or there is nothing, or what is wrong shows when it is written.
      if (error.code !== "EINVAL" && error.code !== "ENOENT" && error.code !== "ENOTDIR") throw error;
      return undefined;
    });
    if (to === undefined) break;
    if (links === mostLinks) throw new Error(`it is one of over ${mostLinks} symbolic links, or of a ring of them`);
    // Not normalised: folders on the way may be links, too, and ".." is then that of where they lead.
    target = isAbsolute(to) ? to : `${dirname(target)}/${to}`;
  }
  const found = await stat(target).catch(() => undefined);
  // A rename would remove a device.
  if (found && !found.isFile() && !found.isDirectory())
    throw new Error("it is a pipe, a socket or a device, and no file");
  return target;
}

function isForRoom(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT", "EFBIG"].includes((error as NodeJS.ErrnoException).code ?? "");
}

/** What is needed and what is there, in words. */
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

/** A write may take less than it was given, when the disk fills up. */
async function writeAll(file: FileHandle, part: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < part.byteLength; ) {
    // The system takes at most 2 GiB at once.
    const length = Math.min(part.byteLength - done, 2 ** 30);
    const { bytesWritten } = await file.write(part, done, length, at + done);
    if (bytesWritten === 0) throw Object.assign(new Error("the disk took no more bytes"), { code: "ENOSPC" });
    done += bytesWritten;
  }
}

/** Without it a crash of the machine may forget the rename, though not the file. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  await folder.sync().catch(() => {});
  await folder.close();
}
