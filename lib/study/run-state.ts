import { rename } from "node:fs/promises";
import { StepsizeError } from "../errors.js";
import { writeAtomically } from "../files/atomic-file.js";
import { anyNumber, jsonLine } from "../files/json-lines-file.js";
import { readJsonFile } from "../read-file.js";
import { finite, list, object } from "../schema.js";

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
  await writeAtomically(path, [Buffer.from(jsonLine(state))]);
}

/**
 * Reads what belongs to a checkpoint after `steps` steps. The file may know of more: it is written first.
 * @throws StepsizeError `invalid-file` where it is damaged or knows of fewer
 */
export async function readState(path: string, steps: number): Promise<RunState> {
  const state = await readJsonFile(path, fields).catch((error: unknown) => {
    if (!(error instanceof StepsizeError)) throw error;
    // One that is not there is damage too: the checkpoint is.
    throw new StepsizeError("invalid-file", error.message, { cause: error });
  });
  const { losses, onTheWay, seconds } = state;
  if (losses.length < steps)
    throw new StepsizeError(
      "invalid-file",
      `${path}: losses: expected those of ${steps} steps, found ${losses.length} numbers`,
    );
  return {
    losses: losses.slice(0, steps),
    onTheWay: onTheWay.filter(([at = 0]) => at <= steps).map((evaluation) => [...evaluation]),
    seconds,
  };
}

const numbers = list(anyNumber, { words: "a list of numbers" });

const fields = object<{
  readonly losses: readonly number[];
  readonly onTheWay: readonly (readonly number[])[];
  readonly seconds: number;
}>({
  losses: numbers,
  onTheWay: list(numbers, { words: "a list of evaluations" }),
  seconds: finite,
});

/** Moves the files that are there out of the way, under names that nothing looks for; returns the first one's. */
export async function moveDamaged(paths: readonly string[]): Promise<string> {
  const suffix = `.damaged-${Date.now()}`;
  for (const path of paths) await rename(path, path + suffix).catch(() => {});
  return `${paths[0]}${suffix}`;
}
