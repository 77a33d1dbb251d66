import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { takeLock } from "#lib/files/folder-lock.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const folders = temporaryFolders();
const program = fileURLToPath(new URL("support/hold-lock.ts", import.meta.url));
let path: string;
let started: ChildProcess[];

beforeEach(() => {
  path = join(folders(), "lock");
  started = [];
});
afterEach(() => {
  for (const child of started) child.kill("SIGKILL");
});

/** Starts a process that takes the lock, and returns the process and its first output. */
async function holder(): Promise<{ child: ChildProcess; message: string }> {
  const child = spawn(process.execPath, ["--import", "tsx", program, path], { stdio: ["ignore", "pipe", "inherit"] });
  started.push(child);
  const [message] = (await once(child.stdout as NodeJS.ReadableStream, "data")) as [Buffer];
  return { child, message: String(message).trim() };
}

const owner = (more: object) =>
  writeFileSync(path, JSON.stringify({ token: "t", pid: process.pid, began: "1", host: hostname(), ...more }));

test("a lock is held until it is released, and leaves no file behind", async () => {
  const release = await takeLock(path);
  expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ pid: process.pid, host: hostname() });
  const { since } = JSON.parse(readFileSync(path, "utf8"));
  const who = `process ${process.pid} on ${hostname()} works in this folder since ${since}`;
  await expectError(() => takeLock(path), "invalid-state", path, who, "another folder");
  await release();
  expect(readdirSync(join(path, ".."))).toEqual([]);
  await (await takeLock(path))();
});

test("a lock of another process is refused while that process lives, and taken over after its death", async () => {
  const { child, message } = await holder();
  expect(message).toBe("taken");
  await expectError(() => takeLock(path), "invalid-state", `process ${child.pid}`);
  child.kill("SIGKILL");
  await once(child, "exit");
  const release = await takeLock(path);
  expect(JSON.parse(readFileSync(path, "utf8")).pid).toBe(process.pid);
  await release();
  expect(readdirSync(join(path, ".."))).toEqual([]);
});

test("one of several processes takes over the lock of a dead owner", async () => {
  owner({ pid: 2 ** 22 + 5, began: "5" });
  const messages = (await Promise.all(Array.from({ length: 4 }, holder))).map(({ message }) => message);
  expect(messages.filter((text) => text === "taken")).toHaveLength(1);
});

describe("an owner counts as dead", () => {
  test("if another process has its process id now", async () => {
    owner({ began: "1" });
    await (await takeLock(path))();
  });

  test("if its parent has not waited for it yet", async () => {
    // The shell is replaced by a sleep, which never waits for the shell's child. The child ends after the replacement.
    const child = 'until [ "$(cat /proc/$PPID/comm)" = sleep ]; do sleep 0.01; done';
    const parent = spawn("/bin/sh", ["-c", `sh -c '${child}' & echo $!; exec sleep 30`], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    started.push(parent);
    const [line] = (await once(parent.stdout, "data")) as [Buffer];
    const pid = Number(String(line));
    const stat = () => readFileSync(`/proc/${pid}/stat`, "utf8");
    while (!stat().includes(") Z ")) await new Promise((resolve) => setTimeout(resolve, 5));
    const began = stat()
      .slice(stat().lastIndexOf(")") + 2)
      .split(" ")[19];
    owner({ pid, began });
    await (await takeLock(path))();
  });
});

describe("a lock is refused with advice", () => {
  test("if the owner is on another machine", async () => {
    owner({ host: "elsewhere", pid: 1 });
    await expectError(() => takeLock(path), "invalid-state", "process 1 on elsewhere", "remove this file");
  });

  test("if the file does not name an owner", async () => {
    writeFileSync(path, "half");
    await expectError(() => takeLock(path), "invalid-state", "not known", "remove this file");
    expect(readFileSync(path, "utf8")).toBe("half");
  });

  test("if the file cannot be written", async () => {
    await expectError(() => takeLock(join(path, "none", "lock")), "invalid-file", "cannot be written");
  });
});

test("a lock is released when the process ends", async () => {
  const child = spawn(process.execPath, ["--import", "tsx", program, path, "exit"], { stdio: "ignore" });
  started.push(child);
  const [code] = await once(child, "exit");
  expect([code, readdirSync(join(path, ".."))]).toEqual([0, []]);
});

test("a lock of another owner is not released", async () => {
  const release = await takeLock(path);
  owner({ token: "another" });
  await release();
  expect(existsSync(path)).toBe(true);
});
