import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { answerDescriptor, type GroupEvent, type GroupRequest, groupProgram } from "./protocol.js";
import type { CaseReport, Finding, Json } from "./report.js";

/** How to run the process of a group. */
export interface ProcessOptions {
  /** A program and its arguments that start the process, such as a debugger; empty for none. */
  readonly launcher?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds that a case may take. */
  readonly limit: number;
  /** Milliseconds until the device is open and the first case begins. */
  readonly timeToOpen: number;
  /** When it is aborted, the process is killed. */
  readonly signal: AbortSignal;
  onOpened?(name: string, facts: Readonly<Record<string, string>>): void;
  onStarted?(name: string): void;
}

/** What came of a process. */
export interface ProcessResult {
  /** The cases that ended or that ended the process. */
  readonly cases: readonly CaseReport[];
  /** The process failed before its first case, or after its last one. */
  readonly failure?: Finding;
  /** The last lines of standard output and standard error. */
  readonly output: readonly string[];
}

/** Number of the last lines of output that are kept. */
const keptLines = 40;

/** Milliseconds that a process gets to end by itself after its last case, and after it was killed. */
const timeToEnd = 20_000;

/** Runs cases in a process of their own. Does not throw. */
export function runProcess(request: GroupRequest, options: ProcessOptions): Promise<ProcessResult> {
  return new GroupProcess(request, options).result;
}

class GroupProcess {
  readonly result: Promise<ProcessResult>;
  readonly #options: ProcessOptions;
  readonly #child: ChildProcess;
  readonly #waiting: Set<string>;
  readonly #cases: CaseReport[] = [];
  readonly #output: string[] = [];
  readonly #killed = new AbortController();
  #running: { readonly name: string; readonly since: number; measured?: Record<string, Json> } | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Why the process was killed. */
  #hung: string | undefined;
  /** Why the device could not be opened. */
  #refused: string | undefined;

  constructor(request: GroupRequest, options: ProcessOptions) {
    this.#options = options;
    this.#waiting = new Set(request.cases);
    const { launcher = [], env = {}, signal } = options;
    const [file = "", ...args] = [...launcher, process.execPath, groupProgram, JSON.stringify(request)];
    this.#child = spawn(file, args, {
      env: { ...process.env, ...env },
      stdio: ["pipe", "pipe", "pipe", "pipe"],
      // A group of its own, so that a launcher and its child can be killed together, and Ctrl-C reaches only the command.
      detached: true,
    });
    this.result = new Promise((resolve) => {
      const end = (how: string, crashed: boolean) => {
        clearTimeout(this.#timer);
        signal.removeEventListener("abort", this.#kill);
        resolve(this.#conclude(how, crashed));
      };
      this.#child.on("error", (error) => end(`could not be started: ${error.message}`, true));
      this.#child.on("close", (code, by) => end(by ? `ended by ${by}` : `ended with code ${code}`, code !== 0));
      // A process that waits in the driver may not end when it is killed.
      this.#killed.signal.addEventListener("abort", () =>
        setTimeout(() => end("does not end although it was killed", true), timeToEnd).unref(),
      );
    });
    this.#child.stdin?.on("error", () => {});
    for (const stream of [this.#child.stdout, this.#child.stderr])
      if (stream) createInterface(stream).on("line", (line) => this.#keep(line));
    const answers = this.#child.stdio[answerDescriptor] as Readable | null;
    if (answers) createInterface(answers).on("line", (line) => this.#receive(JSON.parse(line)));
    if (signal.aborted) this.#kill();
    else signal.addEventListener("abort", this.#kill);
    this.#allow(options.timeToOpen, "opening the device");
  }

  #keep(line: string): void {
    this.#output.push(line);
    if (this.#output.length > keptLines) this.#output.shift();
  }

  /** Kills the process unless it answers within this time. */
  #allow(milliseconds: number, what: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#hung = `${what} took longer than ${milliseconds / 1000} s`;
      this.#kill();
    }, milliseconds);
  }

  readonly #kill = () => {
    const { pid } = this.#child;
    try {
      if (pid !== undefined) process.kill(-pid, "SIGKILL");
    } catch {
      // The process has ended already.
    }
    this.#killed.abort();
  };

  #receive(event: GroupEvent): void {
    const { limit, onOpened, onStarted } = this.#options;
    switch (event.event) {
      case "refused":
        this.#refused = event.message;
        break;
      case "opened":
        onOpened?.(event.name, event.facts);
        break;
      case "started":
        this.#running = { name: event.name, since: performance.now() };
        this.#allow(limit, "it");
        onStarted?.(event.name);
        break;
      case "measured":
        if (this.#running) this.#running.measured = { ...this.#running.measured, ...event.figures };
        break;
      case "ended":
        this.#end(event.name, event.milliseconds, event.finding);
        this.#allow(this.#waiting.size > 0 ? limit : timeToEnd, "closing the device");
        break;
    }
  }

  #end(name: string, milliseconds: number, { notRun, ...finding }: Finding): void {
    const measured = { ...this.#running?.measured, ...finding.measured };
    this.#running = undefined;
    this.#waiting.delete(name);
    this.#cases.push({
      name,
      status: finding.fault !== undefined ? "failed" : notRun !== undefined ? "not run" : "passed",
      milliseconds,
      ...finding,
      ...(notRun !== undefined && { message: notRun }),
      ...(Object.keys(measured).length > 0 && { measured }),
    });
  }

  #conclude(how: string, crashed: boolean): ProcessResult {
    const result = { cases: this.#cases, output: this.#output };
    // The command was interrupted, or its time is over.
    if (this.#options.signal.aborted) return result;
    const said = this.#output.at(-1);
    const finding: Finding = this.#hung
      ? { fault: "hung", message: `${this.#hung}; the process was killed` }
      : { fault: "crashed", message: `the process ${how}${said === undefined ? "" : `; its last line: ${said}`}` };
    if (this.#running) {
      const { name, since } = this.#running;
      this.#end(name, performance.now() - since, finding);
      return result;
    }
    if (this.#refused !== undefined) return { ...result, failure: { fault: "error", message: this.#refused } };
    // A process may end before all its cases ran, after an error of one.
    return !crashed && !this.#hung && this.#cases.length > 0 ? result : { ...result, failure: finding };
  }
}
