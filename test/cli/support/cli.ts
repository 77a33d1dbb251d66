import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { compiled } from "../../data/support/compiled.js";

/** The command line: the bundle of test/support/bundle-cli.ts, or outside of Vitest the compiled files. */
export const program = process.env["STEPSIZE_TEST_CLI"] ?? compiled("cli/main.js");

/** What a process left behind. */
export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Options {
  /** Whether to run the compiled files instead of the bundle, each of which is a module of its own. */
  readonly unbundled?: boolean;
  readonly cwd?: string;
  /** Shell commands that run first, in the same shell. */
  readonly before?: string;
  /** Default /bin/sh. */
  readonly shell?: string;
  /** Where the program is to signal itself; it must not be over by then. */
  readonly interrupt?: Interrupt;
  /** A file that the program cannot write to any more. */
  readonly breakWrites?: BreakWrites;
}

/** Writes that fail. */
export interface BreakWrites {
  /** The end of the file's path. */
  readonly file: string;
  /** Writes that succeed before. */
  readonly after: number;
  /** Writes that fail; default all that follow. */
  readonly times?: number;
  readonly code: "ENOSPC" | "EIO";
}

/** A signal, or an error that nothing catches, sent once a file has at least so many lines or the program says something on standard error. */
export type Interrupt = {
  readonly signal: NodeJS.Signals | "exception" | "rejection";
  /** Milliseconds until it is sent; 0 unless given. */
  readonly delay?: number;
} & ({ readonly file: string; readonly lines: number } | { readonly says: string });

const preloaded = (name: string) => ["--import", fileURLToPath(new URL(name, import.meta.url))];

/** Runs `stepsize` with these arguments to its end. */
export function run(args: readonly string[], options: Options = {}): Promise<Outcome> {
  return start(args, options).done;
}

/** Starts `stepsize`, to be disturbed. */
export function start(
  args: readonly string[],
  { unbundled = false, cwd, before, shell = "/bin/sh", interrupt, breakWrites }: Options = {},
): { child: ChildProcess; done: Promise<Outcome> } {
  const faults = [
    ...(interrupt ? preloaded("signal-itself.mjs") : []),
    ...(breakWrites ? preloaded("break-writes.mjs") : []),
  ];
  const node = [process.execPath, ...faults, unbundled ? compiled("cli/main.js") : program, ...args];
  const [file, ...all] = before ? [shell, "-c", `${before}; exec "$@"`, "sh", ...node] : node;
  const env = {
    ...process.env,
    ...(interrupt && { SIGNAL_ITSELF: JSON.stringify(interrupt) }),
    ...(breakWrites && { BREAK_WRITES: JSON.stringify(breakWrites) }),
  };
  const child = spawn(file as string, all, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  const text = { stdout: "", stderr: "" };
  child.stdout?.on("data", (bytes) => (text.stdout += bytes));
  child.stderr?.on("data", (bytes) => (text.stderr += bytes));
  const done = new Promise<Outcome>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, ...text }));
  });
  return { child, done };
}

/** The records of a run, one a step. */
export function metricsOf(folder: string): { step: number; loss: number; [field: string]: unknown }[] {
  const text = readFileSync(`${folder}/metrics.jsonl`, "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** What the records say that must not depend on time, nor on how far the steps are ahead of their records. */
export function lossesOf(folder: string) {
  return metricsOf(folder).map(({ seconds: _, dataWait: __, memory: ___, ...rest }) => rest);
}

/** Waits until a file has at least so many lines; the test's own limit ends it if that never comes. */
export async function linesIn(path: string, count: number): Promise<void> {
  while (!existsSync(path) || readFileSync(path, "utf8").split("\n").length <= count) await wait(2);
}

/** The last line of a text, as JSON. */
export function lastLine(text: string) {
  return JSON.parse(text.trimEnd().split("\n").at(-1) ?? "");
}
