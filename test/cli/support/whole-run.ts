import { readdirSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect } from "vitest";
import { temporaryFolders } from "../../support/folders.js";
import { run } from "./cli.js";
import { tinyData, trainTiny } from "./tiny-data.js";

export const budget = 250;

/** A run that nothing disturbs, in `whole`, and the means to start the same one and disturb it. */
export function wholeRun() {
  const folder = temporaryFolders();
  const cwd = folder();
  const more = [
    "--validation",
    "0.2",
    "--augment",
    "--accumulate",
    "2",
    "--clip-norm",
    "5",
    "--checkpoint-every",
    "20",
  ];
  const args = trainTiny(tinyData(folder()), "--budget", String(budget), ...more);

  beforeAll(async () => {
    const { code, stderr } = await run([...args, "--run", "whole"], { cwd });
    expect(code, stderr).toBe(0);
  });

  return {
    cwd,
    args,
    /** Starts the run and ends it with a signal after some steps. */
    interrupted(name: string, signal: NodeJS.Signals = "SIGINT") {
      const file = join(cwd, name, "metrics.jsonl");
      return run([...args, "--run", name], { cwd, interrupt: { signal, file, lines: 45 } });
    },
    /** Paths of a run's checkpoints, newest first. */
    checkpointsOf(name: string): string[] {
      const names = readdirSync(join(cwd, name, "checkpoints"));
      const steps = names.flatMap((file) => /^step-(\d+)\.safetensors$/.exec(file)?.[1] ?? []).map(Number);
      return steps.sort((a, b) => b - a).map((step) => join(cwd, name, "checkpoints", `step-${step}.safetensors`));
    },
  };
}
