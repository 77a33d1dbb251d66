import { readFile, rename } from "node:fs/promises";
import { StepsizeError } from "../errors.js";
import { writeAtomically } from "../train/atomic-file.js";

/** What a run has recorded so far, beside its checkpoint. */
export interface RunState {
  /** Of every step made. */
  readonly losses: number[];
  /** Evaluations on the way: steps done, loss, accuracy where there is one. */
  readonly onTheWay: number[][];
  /** Of wall time. */
  readonly seconds: number;
}

/** Writes the state; what was there stays until all of it is written. */
export async function writeState(path: string, state: RunState): Promise<void> {
  await writeAtomically(path, [Buffer.from(JSON.stringify(state))]);
}

/**
 * Reads what belongs to a checkpoint after `steps` steps. The file may know of more: it is written first.
 * @throws StepsizeError `invalid-file` where it is damaged or knows of fewer
 */
export async function readState(path: string, steps: number): Promise<RunState> {
  let state: RunState | undefined;
  try {
    state = JSON.parse(await readFile(path, "utf8"));
  } catch {
    // Answered below.
  }
  const { losses, onTheWay, seconds } = state ?? {};
  if (!Array.isArray(losses) || !Array.isArray(onTheWay) || typeof seconds !== "number" || losses.length < steps)
    throw new StepsizeError(
      "invalid-file",
      `${path}: expected what was recorded of ${steps} steps, found something else`,
    );
  return { losses: losses.slice(0, steps), onTheWay: onTheWay.filter(([at = 0]) => at <= steps), seconds };
}

/** Moves the files that are there out of the way, under names that nothing looks for; returns the first one's. */
export async function setAside(paths: readonly string[]): Promise<string> {
  const ending = `.damaged-${Date.now()}`;
  for (const path of paths) await rename(path, path + ending).catch(() => {});
  return `${paths[0]}${ending}`;
}
