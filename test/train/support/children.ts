// Programs of their own: for what must not happen in the process of the tests.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import { compiled } from "../../data/support/compiled.js";

/** Where a program imports the library from. */
export const library = JSON.stringify(pathToFileURL(compiled("index.js")).href);

/** How a program is run. */
export interface ProgramOptions {
  /** The largest file it may write, in KiB; the write that goes beyond fails, as on a full disk. */
  readonly limit?: number;
  /** More options of Node. */
  readonly flags?: readonly string[];
}

/** Starts a program; what it prints is read from its `stdout`. */
export function start(folder: string, text: string, { limit, flags = [] }: ProgramOptions = {}) {
  const path = join(folder, "program.mjs");
  writeFileSync(path, text);
  // Node ignores the signal that the limit sends, so that the write fails instead. `ulimit -f` is of the shell.
  const command = limit === undefined ? 'exec "$@"' : `ulimit -f ${limit}; exec "$@"`;
  const args = ["-c", command, "bash", process.execPath, "--expose-gc", ...flags, path];
  return spawn("bash", args, { stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a program to its end and gives the JSON of its last line. */
export async function run(folder: string, text: string, options: ProgramOptions = {}): Promise<unknown> {
  return JSON.parse(await lastLineOf("the program", start(folder, text, options)));
}

/** The last line that a child process prints before its end. Throws if it ends with another code than 0. */
export async function lastLineOf(name: string, child: ChildProcessByStdio<null, Readable, Readable>): Promise<string> {
  let [output, errors] = ["", ""];
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  child.stderr.on("data", (chunk) => {
    errors += chunk;
  });
  const code = await new Promise((resolve) => {
    child.on("close", resolve);
  });
  if (code !== 0) throw new Error(`${name} ended with ${code}: ${errors}`);
  return output.trim().split("\n").at(-1) ?? "";
}
