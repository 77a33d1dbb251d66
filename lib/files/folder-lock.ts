import { randomUUID } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { StepsizeError } from "../errors.js";

/** Who holds a lock: the content of its file. */
interface Owner {
  readonly token: string;
  readonly pid: number;
  /** When the process began, as the system counts: a number of a dead process is given away again. */
  readonly began: string;
  readonly host: string;
  /** When the lock was taken, as ISO 8601. Locks of earlier versions do not say it. */
  readonly since?: string;
}

/** What `link` fails with on file systems without hard links. */
const withoutLinks = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"];

/**
 * Takes the lock of a folder that one process at a time works in: of a run or of a study. A lock whose owner is dead is
 * taken over. The end of the process releases it too, unless a signal kills it.
 *
 * @returns what releases it
 * @throws StepsizeError `invalid-state` where another process holds it
 */
export async function takeLock(path: string): Promise<() => Promise<void>> {
  const own: Owner = {
    token: randomUUID(),
    pid: process.pid,
    began: await beginOf(process.pid),
    host: hostname(),
    since: new Date().toISOString(),
  };
  const beside = `${path}.${own.token}`;
  await writeFile(beside, JSON.stringify(own)).catch((error: Error) => {
    throw new StepsizeError("invalid-file", `${path}: the lock cannot be written (${error.message})`, { cause: error });
  });
  try {
    for (;;) {
      // A link is made whole or not at all, and by one process only.
      if (await linked(beside, path)) break;
      const owner = await readOwner(path);
      if (owner === undefined) continue;
      if (owner === "unreadable" || (await isAlive(owner))) throw refusal(path, owner);
      await removeDead(path, owner);
    }
  } finally {
    await rm(beside, { force: true });
  }
  // Asynchronous work does not happen any more when a process exits.
  const atExit = () => removeOwn(path, own);
  process.once("exit", atExit);
  return async () => {
    process.off("exit", atExit);
    removeOwn(path, own);
  };
}

/** Removes the lock unless it is another owner's. */
function removeOwn(path: string, { token }: Owner): void {
  try {
    if ((JSON.parse(readFileSync(path, "utf8")) as Owner).token === token) rmSync(path, { force: true });
  } catch {
    // It is gone, or it is not this owner's.
  }
}

/** Of several that find the same dead owner only one may remove the lock: the next one there is somebody else's. */
async function removeDead(path: string, { token }: Owner): Promise<void> {
  const claim = `${path}.dead-${token}`;
  await writeFile(claim, "", { flag: "wx" }).catch(() => {
    throw refusal(path, "unreadable");
  });
  const owner = await readOwner(path);
  if (typeof owner === "object" && owner.token === token) await rm(path);
  await rm(claim, { force: true });
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    if (withoutLinks.includes(code)) return copied(from, to);
    throw new StepsizeError("invalid-file", `${to}: the lock cannot be made (${message})`, { cause: error });
  }
}

/** Who looks between the making of the file and its content does not learn whose it is, and is refused all the same. */
async function copied(from: string, to: string): Promise<boolean> {
  try {
    await writeFile(to, await readFile(from), { flag: "wx" });
    return true;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    throw new StepsizeError("invalid-file", `${to}: the lock cannot be made (${message})`, { cause: error });
  }
}

async function readOwner(path: string): Promise<Owner | "unreadable" | undefined> {
  try {
    const owner = JSON.parse(await readFile(path, "utf8")) as Owner;
    return typeof owner.token === "string" && Number.isSafeInteger(owner.pid) ? owner : "unreadable";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? undefined : "unreadable";
  }
}

/** Nobody can tell of a process on another machine; it counts as alive. */
async function isAlive({ pid, began, host }: Owner): Promise<boolean> {
  return host !== hostname() || (await beginOf(pid)) === began;
}

/** The system's count at the start of a process (field 22 of Linux's `stat`); empty where none of this number lives. */
async function beginOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // The second field is the program's name in parentheses, which may hold anything.
  const [state, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // A process that was killed stays as a zombie until its parent asks what became of it, if ever.
  return state === "Z" || state === "X" ? "" : (rest[18] ?? "");
}

function refusal(path: string, owner: Owner | "unreadable"): StepsizeError {
  const who = owner === "unreadable" ? "a process that is not known" : `process ${owner.pid} on ${owner.host}`;
  const since = owner !== "unreadable" && owner.since !== undefined ? ` since ${owner.since}` : "";
  return new StepsizeError(
    "invalid-state",
    `${path}: ${who} works in this folder${since}. Wait for it, or name another folder; if it is gone, remove this file`,
  );
}
