// Folders of runs as `train` writes them, with values that a test can compute.
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface MadeRun {
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly records?: number;
  /** Loss of a step; default 1 / (step + 1). */
  readonly loss?: (step: number) => number | string;
  readonly result?: Readonly<Record<string, unknown>>;
}

/** The lines of the steps `from` to `to`, which takes 0.5 s and 32 items per step. */
export function lines(from: number, to: number, loss: MadeRun["loss"] = (step) => 1 / (step + 1)): string {
  return Array.from({ length: to - from }, (_, i) => {
    const step = from + i;
    const record = { step, loss: loss(step), learningRate: 0.1, items: 32, gradientNorm: 2, seconds: (step + 1) / 2 };
    return `${JSON.stringify(record)}\n`;
  }).join("");
}

/** Writes a run's folder and returns its path. */
export function makeRun(
  parent: string,
  name: string,
  { settings = {}, records = 0, loss, result }: MadeRun = {},
): string {
  const folder = join(parent, name);
  mkdirSync(folder, { recursive: true });
  const config = { model: "mlp", data: "mnist", budget: records, batch: 32, ...settings };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  writeFileSync(join(folder, "metrics.jsonl"), lines(0, records, loss));
  if (result) writeFileSync(join(folder, "result.json"), JSON.stringify(result));
  return folder;
}

/** Appends an evaluation. */
export function addEvaluation(folder: string, step: number, loss: number, accuracy: number): void {
  const record = { step, split: "validation", loss, accuracy };
  appendFileSync(join(folder, "evaluations.jsonl"), `${JSON.stringify(record)}\n`);
}
