import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { StepsizeError } from "../errors.js";
import { messageOf } from "../realms.js";

let written = 0;

/**
 * Writes a file so that at every moment either the old or the new content is there, whole: beside it, flushed to the
 * disk, then renamed over it.
 *
 * @throws StepsizeError `invalid-file` where it cannot be written (a full disk, no permission); the old file stays.
 */
export async function writeAtomically(path: string, parts: readonly Uint8Array[]): Promise<void> {
  // Of its own for every call: two that write the same file at the same time must not write into each other's.
  const beside = `${path}.${process.pid}-${written++}.partial`;
  let file: FileHandle | undefined;
  try {
    await mkdir(dirname(path), { recursive: true });
    file = await open(beside, "w");
    for (const part of parts) await writeAll(file, part);
    await file.sync();
    await file.close();
    file = undefined;
    await rename(beside, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await file?.close().catch(() => {});
    await rm(beside, { force: true }).catch(() => {});
    const reason = messageOf(error);
    throw new StepsizeError(
      "invalid-file",
      `${path}: could not be written (${reason}); what was there before is kept`,
      {
        cause: error,
      },
    );
  }
}

/** A write may take less than it was given, when the disk fills up. */
async function writeAll(file: FileHandle, part: Uint8Array): Promise<void> {
  for (let done = 0; done < part.byteLength; ) {
    const { bytesWritten } = await file.write(part, done, part.byteLength - done);
    if (bytesWritten === 0) throw new Error("the disk took no more bytes");
    done += bytesWritten;
  }
}

/** Without it a crash of the machine may forget the rename, though not the file. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  await folder.sync().catch(() => {});
  await folder.close();
}
