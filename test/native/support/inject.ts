// Makes allocations of the addon fail one after another, in separate processes, and reports the outcomes.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findAddon } from "#lib/native/index.js";

/** The allocations that fail, counted from 1 over the whole run of short-training.ts. */
export interface Injections {
  /** Name of the training device. Default "cpu". */
  readonly device?: string;
  /** Default 1. */
  readonly from?: number;
  /** Default: the last allocation. */
  readonly to?: number;
  /** Distance between failing allocations. Default 1. */
  readonly step?: number;
  /** Number of allocations that fail after each of them. Default 0. */
  readonly more?: number;
}

/** The outcome of one run. */
export interface Injected {
  readonly at: number;
  /** `right`, the code of a StepsizeError, or what is wrong: `died: …`, `hung`, `not a StepsizeError: …`. */
  readonly outcome: string;
}

/** The outcomes of all runs. */
export interface InjectionReport {
  /** Number of allocations of a run without failures. */
  readonly count: number;
  readonly runs: readonly Injected[];
  /** Runs that ended neither correctly nor with a StepsizeError. */
  readonly wrong: readonly Injected[];
}

const source = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** The reason why allocations cannot be made to fail on a device here, or an empty string. */
export function whyNoInjection(device = "cpu"): string {
  if (device === "cuda:emulated" && !findAddon("cuda-emulated").addon) return "there is no emulated addon";
  if (process.platform !== "linux") return "LD_PRELOAD exists only on Linux";
  try {
    execFileSync("cc", ["--version"], { stdio: "ignore" });
  } catch {
    return "there is no C compiler (cc)";
  }
  // musl has no second name for malloc, which the replacement needs to call.
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime === undefined ? "the C library is not glibc" : "";
}

/** Time limit that ends a hanging run. Long enough for any machine. */
const patience = 600_000;

/**
 * Runs the short training once for each allocation that is to fail. If a run ends its process, the next one starts in a
 * new process.
 */
export async function injectAllocationFailures(injections: Injections = {}): Promise<InjectionReport> {
  const { device = "cpu", from = 1, to = 0, step = 1, more = 0 } = injections;
  const folder = mkdtempSync(join(tmpdir(), "stepsize-"));
  try {
    const shim = join(folder, "failing_allocations.so");
    execFileSync("cc", ["-shared", "-fPIC", "-O1", "-o", shim, source("failing_allocations.c"), "-ldl"]);
    const runs: Injected[] = [];
    let count = 0;
    for (let next = from; ; ) {
      const part = await runFrom(shim, [device, next, to, step, more]);
      runs.push(...part.runs);
      count = part.count ?? count;
      const last = part.runs.at(-1);
      if (part.count !== undefined || last === undefined) break;
      next = last.at + step;
    }
    if (count === 0 && runs.length === 0) throw new Error("the program with failing allocations did not begin");
    const isRight = ({ outcome }: Injected) => /^(right|[a-z]+(-[a-z]+)+)$/.test(outcome);
    return { count, runs, wrong: runs.filter((run) => !isRight(run)) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs one process until it reaches the end or dies. `count` is present if it reached the end. */
function runFrom(shim: string, args: readonly (string | number)[]): Promise<{ runs: Injected[]; count?: number }> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      ["--expose-gc", "--import", "tsx", source("failing-run.ts"), ...args.map(String)],
      {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, LD_PRELOAD: shim },
      },
    );
    const runs: Injected[] = [];
    let [count, begun]: (number | undefined)[] = [];
    let [rest, errors, hung] = ["", "", false];
    const watch = () =>
      setTimeout(() => {
        hung = true;
        child.kill("SIGKILL");
      }, patience);
    let watcher = watch();
    child.stdout.on("data", (chunk) => {
      clearTimeout(watcher);
      watcher = watch();
      const lines = `${rest}${chunk}`.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const report = JSON.parse(line) as Injected & { count?: number };
        begun = report.outcome === "begun" ? report.at : undefined;
        if (report.outcome === "end") count = report.count;
        else if (report.outcome !== "begun") runs.push(report);
      }
    });
    child.stderr.on("data", (chunk) => {
      errors = `${errors}${chunk}`.slice(-2000);
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(watcher);
      const end = hung ? "hung" : `died: ${signal ?? `exit ${code}`}: ${errors}`;
      if (begun !== undefined) runs.push({ at: begun, outcome: end });
      else if (count === undefined) return reject(new Error(`the program with failing allocations ${end}`));
      resolve(count === undefined ? { runs } : { runs, count });
    });
  });
}
