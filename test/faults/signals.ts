// Ends runs of the command at many moments, by signals, kills, uncaught errors and failing writes. A checkpoint that
// loads must be left, and the resumed run must have the losses of an undisturbed run.
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endingSignals } from "#lib/cli/interrupts.js";
import { readCheckpoint } from "#lib/weights/index.js";
import { lossesOf, type Outcome, run } from "../cli/support/cli.js";
import { tinyData, trainTiny } from "../cli/support/tiny-data.js";
import type { Damage } from "./damage.js";

/** The faults to inject, with numbers from `from` to before `to`. Equal numbers inject equal faults. */
export interface Numbers {
  readonly from: number;
  readonly to: number;
}

const budget = 400;
/** The latest moment in steps. The run must not end before the fault. */
const latest = 200;
/** 73 has no common divisor with the number of moments, so that all occur. */
const momentOf = (i: number) => 1 + ((i * 73) % latest);

/** Injects every signal that ends a process and can be caught. Every second time standard error is closed. */
export function injectSignals(numbers: Numbers): Promise<Damage> {
  return injected(numbers, async (i, attempt) => {
    const signal = endingSignals[i % endingSignals.length] as NodeJS.Signals;
    const before = i % 2 === 1 ? { before: "exec 2> >(exit 0)", shell: "/bin/bash" } : {};
    const ended = await attempt.run({ interrupt: { signal, ...attempt.at }, ...before });
    return `${signal}: ${ended.code === 130 ? await attempt.expectLastStep() : endOf(ended, 130)}`;
  });
}

/** Injects SIGKILL, which cannot be caught. */
export function injectCommandKills(numbers: Numbers): Promise<Damage> {
  return injected(numbers, async (i, attempt) => {
    const ended = await attempt.run({ interrupt: { signal: "SIGKILL", delay: (i * 7) % 20, ...attempt.at } });
    return `SIGKILL: ${ended.signal === "SIGKILL" ? await attempt.expectLoadable() : endOf(ended, "SIGKILL")}`;
  });
}

/** Injects uncaught exceptions and unhandled rejections. */
export function injectStrayErrors(numbers: Numbers): Promise<Damage> {
  return injected(numbers, async (i, attempt) => {
    const signal = i % 2 === 0 ? "exception" : "rejection";
    const ended = await attempt.run({ interrupt: { signal, ...attempt.at } });
    return `${signal}: ${ended.code === 1 ? await attempt.expectLastStep() : endOf(ended, 1)}`;
  });
}

/** Simulates a full disk that refuses records for a moment. */
export function injectFullDisks(numbers: Numbers): Promise<Damage> {
  return injected(numbers, async (i, attempt) => {
    const code = i % 2 === 0 ? "ENOSPC" : "EIO";
    const breakWrites = { file: "metrics.jsonl", after: attempt.at.lines, times: 1, code } as const;
    const ended = await attempt.run({ breakWrites });
    return `${code}: ${ended.code === 1 ? await attempt.expectLastStep() : endOf(ended, 1)}`;
  });
}

const right = "right";

function endOf({ code, signal, stderr }: Outcome, expected: number | string): string {
  return `ended with ${code ?? signal}, expected ${expected}: ${stderr.slice(-300)}`;
}

/** A run with a fault. */
interface Attempt {
  /** The moment of the fault. */
  readonly at: { readonly file: string; readonly lines: number };
  run(faults: Parameters<typeof run>[1]): Promise<Outcome>;
  /**
   * Checks that there is a checkpoint after the last step that has a record. Returns "right", or a description of what
   * there is instead.
   */
  expectLastStep(): Promise<string>;
  /** Checks that the newest checkpoint loads, if there is one. Returns "right", or a description of the problem. */
  expectLoadable(): Promise<string>;
}

async function injected(
  { from, to }: Numbers,
  disturb: (i: number, attempt: Attempt) => Promise<string>,
): Promise<Damage> {
  const cwd = mkdtempSync(join(tmpdir(), "stepsize-ended-"));
  try {
    const args = [...argsIn(cwd), "--checkpoint-every", "7"];
    undisturbed ??= undisturbedLosses();
    const expected = await undisturbed;
    const lost: string[] = [];
    for (let i = from; i < to; i++) {
      const problem = await problemOf(i, args, cwd, expected, disturb);
      if (problem !== undefined) lost.push(`fault ${i} after ${momentOf(i)} steps: ${problem}`);
    }
    return { injected: to - from, lost };
  } finally {
    rmSync(cwd, { recursive: true });
  }
}

/** The arguments of a run whose data are in a new folder below `cwd`. */
function argsIn(cwd: string): string[] {
  const args = trainTiny(tinyData(mkdtempSync(join(cwd, "data-"))), "--budget", String(budget));
  return [...args, "--augment", "--accumulate", "2"];
}

/** The losses of a run that nothing disturbs, the same for all faults. */
let undisturbed: Promise<readonly unknown[]> | undefined;

async function undisturbedLosses(): Promise<readonly unknown[]> {
  const cwd = mkdtempSync(join(tmpdir(), "stepsize-undisturbed-"));
  try {
    const { code, stderr } = await run([...argsIn(cwd), "--run", "whole"], { cwd });
    if (code !== 0) throw new Error(`the undisturbed run failed: ${stderr}`);
    return lossesOf(join(cwd, "whole"));
  } finally {
    rmSync(cwd, { recursive: true });
  }
}

async function problemOf(
  i: number,
  args: readonly string[],
  cwd: string,
  expected: readonly unknown[],
  disturb: (i: number, attempt: Attempt) => Promise<string>,
): Promise<string | undefined> {
  const name = String(i);
  const folder = join(cwd, name);
  const found = await disturb(i, {
    at: { file: join(folder, "metrics.jsonl"), lines: momentOf(i) },
    run: (faults) => run([...args, "--run", name], { cwd, ...faults }),
    expectLastStep: () => expectCheckpoint(folder, lossesOf(folder).length),
    expectLoadable: () => {
      const [newest] = stepsIn(folder);
      return newest === undefined ? Promise.resolve(right) : expectCheckpoint(folder, newest);
    },
  });
  if (!found.endsWith(`: ${right}`)) return found;
  const resumed = await run(["train", "--resume", name], { cwd });
  if (resumed.code !== 0) return `${found}, but not resumed: ${endOf(resumed, 0)}`;
  const actual = lossesOf(folder);
  rmSync(folder, { recursive: true });
  return JSON.stringify(actual) === JSON.stringify(expected)
    ? undefined
    : `${found}, but the resumed run has other losses`;
}

async function expectCheckpoint(folder: string, step: number): Promise<string> {
  const path = join(folder, "checkpoints", `step-${step}.safetensors`);
  return readCheckpoint(path).then(
    ({ info }) => (info.step === step ? right : `${path} has step ${info.step}`),
    (error: Error) => error.message,
  );
}

/** Steps of the checkpoints in a run's folder, newest first. */
function stepsIn(folder: string): number[] {
  const names = existsSync(join(folder, "checkpoints")) ? readdirSync(join(folder, "checkpoints")) : [];
  return names
    .flatMap((name) => /^step-(\d+)\.safetensors$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => b - a);
}
