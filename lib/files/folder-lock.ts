import { randomUUID } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { StepsizeError } from "../errors.js";

/** The owner of a lock, which is the content of its file. */
interface Owner {
  /** Unique identifier of this lock. */
  readonly token: string;
  /** Id of the process. */
  readonly pid: number;
  /** Start time of the process in the system's units. Ids of dead processes are reused. */
  readonly began: string;
  /** Name of the machine. */
  readonly host: string;
  /** Time at which the lock was taken, as ISO 8601. Locks of earlier versions do not have it. */
  readonly since?: string;
}

/** Error codes of `link` on file systems without hard links. */
const withoutLinks = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"];

/**
 * Takes the lock of a folder, such as that of a run or a study, in which only one process may work at a time. A lock
 * whose owner is dead is taken over. The lock is also released when the process ends, unless a signal kills it.
 *
 * @param path path of the lock file
 * @returns a function that releases the lock
 * @throws StepsizeError `invalid-state` if another process holds the lock; `invalid-file` if the lock file cannot be
 * written
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
      // A link is created atomically, by one process only.
      if (await linked(beside, path)) break;
      const owner = await readOwner(path);
      if (owner === undefined) continue;
      if (owner === "unreadable" || (await isAlive(owner))) throw refusal(path, owner);
      await removeDead(path, owner);
    }
  } finally {
    await rm(beside, { force: true });
  }
  // Asynchronous work is not executed while a process exits.
  const atExit = () => removeOwn(path, own);
  process.once("exit", atExit);
  return async () => {
    process.off("exit", atExit);
    removeOwn(path, own);
  };
}

/** Removes the lock unless it belongs to another owner. */
function removeOwn(path: string, { token }: Owner): void {
  try {
    if ((JSON.parse(readFileSync(path, "utf8")) as Owner).token === token) rmSync(path, { force: true });
  } catch {
    // The lock is gone, or it belongs to another owner.
  }
}

/**
 * Removes the lock of a dead owner. Of several processes that find it, only one may do so, because the lock that is
 * there next belongs to another owner.
 */
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

/**
 * Creates the lock by copying. A process that reads the file before its content is complete cannot identify the owner,
 * and is refused too.
 */
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

/** Whether the owner's process is running. A process on another machine cannot be checked and counts as running. */
async function isAlive({ pid, began, host }: Owner): Promise<boolean> {
  return host !== hostname() || (await beginOf(pid)) === began;
}

/** Returns the start time of a process (field 22 of Linux's `stat`); empty if there is no such process. */
async function beginOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // The second field is the program's name in parentheses. It may contain any characters.
  const [state, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // A killed process remains as a zombie until its parent collects its exit status.
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
