import { createHash } from "node:crypto";
import { type FileHandle, readFile, stat, writeFile } from "node:fs/promises";
import { StepsizeError } from "../errors.js";
import { openFile, readInto, unreadable } from "../read-file.js";

/** Marks of the files that were verified in this process, by path; see {@link markOf}. */
const verified = new Map<string, string>();

const blockBytes = 2 ** 22;
// A file system may give the same time to two changes within this many milliseconds.
const timeIsSure = 2000;

/**
 * Verifies the SHA-256 of a file, once.
 *
 * A successful check is noted in `<file>.verified` and holds as long as the file's size, time of change and inode
 * stay the same. If that file cannot be written, the check holds for this process. A digest that is not 64 hexadecimal
 * digits is not a SHA-256, and the file is then not checked.
 *
 * @param digest the expected SHA-256, in lower-case hexadecimal
 * @throws StepsizeError `invalid-file` if the file has another digest; `not-found` or `invalid-file` if it cannot be
 * read
 */
export async function verifyDigest(path: string, digest: string): Promise<void> {
  if (!/^[0-9a-f]{64}$/.test(digest)) return;
  const mark = await markOf(path, digest);
  const markFile = `${path}.verified`;
  if (verified.get(path) === mark || (await storedMark(markFile)) === mark) return;
  const started = Date.now();
  const found = await digestOf(path);
  if (found !== digest)
    throw new StepsizeError(
      "invalid-file",
      `${path}: is damaged, or is not the file that was described: its SHA-256 is ${found}, expected ${digest}. Copy it` +
        " again from where it came, or tokenize the text again",
    );
  // The file may have changed during the check, or so shortly before it that its time does not show a further change.
  const { mtimeMs } = await stat(path);
  if (mtimeMs > started - timeIsSure || (await markOf(path, digest)) !== mark) return;
  verified.set(path, mark);
  await writeFile(markFile, mark).catch(() => {});
}

/** Returns a text that identifies the present version of a file and the digest that it was compared with. */
async function markOf(path: string, digest: string): Promise<string> {
  const { size, mtimeNs, ino } = await stat(path, { bigint: true }).catch((error) => {
    throw unreadable(path, error);
  });
  return `${digest} size ${size} changed ${mtimeNs} inode ${ino}\n`;
}

async function storedMark(path: string): Promise<string | undefined> {
  const found = await stat(path).catch(() => undefined);
  // A mark is a short line. Anything else was not written here.
  if (!found?.isFile() || found.size > 1000) return undefined;
  return await readFile(path, "utf8").catch(() => undefined);
}

async function digestOf(path: string): Promise<string> {
  const { file } = await openFile(path);
  try {
    return await hashOf(path, file);
  } finally {
    await file.close();
  }
}

async function hashOf(path: string, file: FileHandle): Promise<string> {
  const hash = createHash("sha256");
  const blocks = [new Uint8Array(blockBytes), new Uint8Array(blockBytes)] as const;
  const read = (turn: number, at: number) => {
    const into = blocks[turn % 2 === 0 ? 0 : 1];
    const reading = readInto({ file, path }, into, at).then((length) => into.subarray(0, length));
    reading.catch(() => {});
    return reading;
  };
  let at = 0;
  let next = read(0, at);
  // One block is read while the previous one is hashed.
  for (let turn = 1; ; turn++) {
    const block = await next;
    if (block.length === 0) return hash.digest("hex");
    at += block.length;
    next = read(turn, at);
    hash.update(block);
  }
}
