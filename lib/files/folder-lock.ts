import { randomUUID } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { isSafeInteger } from "../arguments.js";
import { StepsizeError } from "../errors.js";
import { codeOf, messageOf } from "../realms.js";
import { object, optional, Place, text, valueThat } from "../schema.js";

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
  readonly since?: string | undefined;
}

const ownerSchema = object<Owner>({
  token: text,
  pid: valueThat("an integer", isSafeInteger),
  began: text,
  host: text,
  since: optional(text),
});

/** Returns the owner in the content of a lock file. Throws if the content is something else. */
function ownerIn(content: string, path: string): Owner {
  return ownerSchema(JSON.parse(content), new Place(path));
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
  const owner: Owner = {
    token: randomUUID(),
    pid: process.pid,
    began: await beginOf(process.pid),
    host: hostname(),
    since: new Date().toISOString(),
  };
  const ownerFile = `${path}.${owner.token}`;
  await writeFile(ownerFile, JSON.stringify(owner)).catch((error: Error) => {
    throw new StepsizeError("invalid-file", `${path}: the lock cannot be written (${error.message})`, { cause: error });
  });
  try {
    for (;;) {
      // A link is created atomically, by one process only.
      if (await linked(ownerFile, path)) break;
      const holder = await readOwner(path);
      if (holder === undefined) continue;
      if (holder === "unreadable" || (await isAlive(holder))) throw refusal(path, holder);
      await removeDead(path, holder);
    }
  } finally {
    await rm(ownerFile, { force: true });
  }
  // Asynchronous work is not executed while a process exits.
  const atExit = () => removeLock(path, owner);
  process.once("exit", atExit);
  return async () => {
    process.off("exit", atExit);
    removeLock(path, owner);
  };
}

/**
 * Whether a process holds a lock. A lock whose owner cannot be checked, because it is on another machine, counts as held.
 *
 * @param path path of the lock file
 */
export async function isLocked(path: string): Promise<boolean> {
  const owner = await readOwner(path);
  return owner === "unreadable" || (owner !== undefined && (await isAlive(owner)));
}

/** Removes the lock unless it belongs to another owner. */
function removeLock(path: string, { token }: Owner): void {
  try {
    if (ownerIn(readFileSync(path, "utf8"), path).token === token) rmSync(path, { force: true });
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
    const code = codeOf(error) ?? "";
    if (code === "EEXIST") return false;
    if (withoutLinks.includes(code)) return copied(from, to);
    throw new StepsizeError("invalid-file", `${to}: the lock cannot be made (${messageOf(error)})`, { cause: error });
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
    if (codeOf(error) === "EEXIST") return false;
    throw new StepsizeError("invalid-file", `${to}: the lock cannot be made (${messageOf(error)})`, { cause: error });
  }
}

async function readOwner(path: string): Promise<Owner | "unreadable" | undefined> {
  try {
    return ownerIn(await readFile(path, "utf8"), path);
  } catch (error) {
    return codeOf(error) === "ENOENT" ? undefined : "unreadable";
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
