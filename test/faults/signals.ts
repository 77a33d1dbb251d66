// Signals at many moments of a run: each must leave a checkpoint of the last step, and the resumed run must have the losses
// of the run that nothing disturbed.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endingSignals } from "#lib/cli/interrupts.js";
import { readCheckpoint } from "#lib/train/index.js";
import { lossesOf, run } from "../cli/support/cli.js";
import { tinyData, trainTiny } from "../cli/support/tiny-data.js";
import type { Damage } from "./damage.js";

const budget = 400;
/** The latest moment, in steps: the run is not over before the signal arrives. */
const latest = 200;

/**
 * Sends signal number i at moment number i, for `from` ≤ i < `to`. Moments and signals are the same in every call; every
 * second reader of standard error has gone by then.
 */
export async function injectSignals({ from, to }: { readonly from: number; readonly to: number }): Promise<Damage> {
  const cwd = mkdtempSync(join(tmpdir(), "stepsize-signals-"));
  try {
    const args = trainTiny(tinyData(mkdtempSync(join(cwd, "data-"))), "--budget", String(budget));
    const all = [...args, "--augment", "--accumulate", "2", "--checkpoint-every", "60"];
    const whole = await run([...all, "--run", "whole"], { cwd });
    if (whole.code !== 0) throw new Error(`the undisturbed run failed: ${whole.stderr}`);
    const lost: string[] = [];
    for (let i = from; i < to; i++) {
      const signal = endingSignals[i % endingSignals.length] as NodeJS.Signals;
      // Prime to the number of moments, so that they all come.
      const lines = 1 + ((i * 73) % latest);
      const problem = await disturb(all, { cwd, name: String(i), signal, lines, unread: i % 2 === 1 });
      if (problem !== undefined) lost.push(`${signal} after ${lines} steps (${i}): ${problem}`);
    }
    return { injected: to - from, lost };
  } finally {
    rmSync(cwd, { recursive: true });
  }
}

interface Disturbance {
  readonly cwd: string;
  readonly name: string;
  readonly signal: NodeJS.Signals;
  readonly lines: number;
  readonly unread: boolean;
}

/** What went wrong with a run that was disturbed and resumed, if anything did. */
async function disturb(args: readonly string[], { cwd, name, ...fault }: Disturbance): Promise<string | undefined> {
  const { signal, lines, unread } = fault;
  const folder = join(cwd, name);
  const interrupt = { signal, file: join(folder, "metrics.jsonl"), lines };
  const before = unread ? { before: "exec 2> >(exit 0)" } : {};
  const ended = await run([...args, "--run", name], { cwd, interrupt, ...before, shell: "/bin/bash" });
  if (ended.code !== 130) return `ended with ${ended.code ?? ended.signal}, expected 130: ${ended.stderr}`;
  const steps = lossesOf(folder).length;
  const { info } = await readCheckpoint(join(folder, "checkpoints", `step-${steps}.safetensors`));
  if (info.step !== steps) return `the checkpoint of step ${steps} says ${info.step}`;
  const resumed = await run(["train", "--resume", name], { cwd });
  if (resumed.code !== 0) return `could not be resumed: ${resumed.stderr}`;
  const [own, expected] = [folder, join(cwd, "whole")].map((one) => JSON.stringify(lossesOf(one)));
  rmSync(folder, { recursive: true });
  return own === expected ? undefined : "the resumed run has other losses";
}
