// Separate programs, for what must not happen in the test process.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import { compiled } from "../../data/support/compiled.js";

/** The URL from which a program imports the library. */
export const library = JSON.stringify(pathToFileURL(compiled("index.js")).href);

/** Options for running a program. */
export interface ProgramOptions {
  /** The largest file that it may write, in KiB. A write beyond it fails, as on a full disk. */
  readonly limit?: number;
  /** Additional options of Node. */
  readonly flags?: readonly string[];
}

/** Starts a program. Its output is read from `stdout`. */
export function start(folder: string, text: string, { limit, flags = [] }: ProgramOptions = {}) {
  const path = join(folder, "program.mjs");
  writeFileSync(path, text);
  // Node ignores the signal that the limit sends, so the write fails instead. `ulimit -f` is a shell command.
  const command = limit === undefined ? 'exec "$@"' : `ulimit -f ${limit}; exec "$@"`;
  const args = ["-c", command, "bash", process.execPath, "--expose-gc", ...flags, path];
  return spawn("bash", args, { stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a program to its end and returns the JSON of its last line. */
export async function run(folder: string, text: string, options: ProgramOptions = {}): Promise<unknown> {
  return JSON.parse(await lastLineOf("the program", start(folder, text, options)));
}

/** The last line that a child process prints. Throws if the process exits with a code other than 0. */
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
