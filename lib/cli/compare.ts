import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { z } from "zod";
import { runStudy, StudyFolder, takeLock } from "../study/index.js";
import { requestedStudy, type StudyRequest } from "./compare-config.js";
import { compareFields } from "./compare-fields.js";
import { CompareProgress } from "./compare-progress.js";
import { deviceField, threadsField } from "./config.js";
import { Interrupted } from "./failure.js";
import { addFlags, check, choiceField, type Fields, fromFlags, numberField } from "./fields.js";
import { Interrupts } from "./interrupts.js";
import { createRunFolder } from "./run-folder.js";
import { flagOf, shellWord, thisProgram } from "./text.js";
import { version } from "./version.js";

/** What does not belong to the study: how this call works on it. */
const callFields: Fields = {
  only: choiceField(["tune", "final", "report"], "make only this part", { fallback: "all of it" }),
  device: deviceField,
  threads: threadsField,
  maxMinutes: numberField(z.number().gt(0), "a number above 0", "begin no run after so long; the rest is for later"),
};

interface Call {
  readonly only?: "tune" | "final" | "report";
  readonly device?: string;
  readonly threads?: number;
  readonly maxMinutes?: number;
}

interface CompareFlags {
  readonly config?: string;
  readonly study?: string;
  readonly json?: boolean;
}

/** Adds the options and the action of `compare`. */
export function defineCompare(command: Command): void {
  command
    .option("--config <file>", "the study's settings, a study.json; flags come before it")
    .option("--study <dir>", "the study's folder (default: the file's, or the next free number under studies)");
  addFlags(command, callFields);
  addFlags(command, compareFields);
  command
    .option("--json", "print the results as one JSON object on the last line of standard output")
    .addHelpText(
      "after",
      `
Every schedule gets equally many trials on a validation split; what was chosen is then run with fresh seeds and read once
on the test split. A study can be stopped at any time; the same command goes on, and finished runs are never made again.
Without any arguments: a small one, an mlp on MNIST.

Examples:
  stepsize compare --config docs/studies/quadratics/study.json --study studies/quadratics
  stepsize compare --models resnet8 --data cifar10:path/to/folder --optimizers sgd,adamw --steps 400 --budgets 0.5,1
  stepsize compare --study studies/1 --max-minutes 60
  stepsize compare --study studies/1 --only report`,
    )
    .action(compare);
}

async function compare(flags: CompareFlags): Promise<void> {
  const all = flags as Record<string, unknown>;
  const call = check(callFields, fromFlags(callFields, all), flagOf) as Call;
  const request = await requestedStudy(flags, fromFlags(compareFields, all));
  const folder = await folderOf(request, call);
  const { complete } = call.only === "report" ? { complete: true } : await work(request, folder, call);
  if (!complete) note(`stopped after ${call.maxMinutes} minutes; continue with:\n  ${goOn(folder)}`);
}

/** Makes what is missing, with the folder locked. */
async function work(request: StudyRequest, folder: StudyFolder, call: Call): Promise<{ complete: boolean }> {
  const { study, sources } = request;
  const release = await takeLock(folder.lock);
  const stop = new AbortController();
  const progress = new CompareProgress();
  const interrupts = new Interrupts(() => {
    progress.note("interrupted: writing a checkpoint of this run; once more to leave at once");
    stop.abort(new Interrupted(`interrupted; continue with:\n  ${goOn(folder)}`));
  });
  try {
    await keepSettings(request, folder);
    if (study.kind === "quadratics") return { complete: true };
    await progress.open();
    return await runStudy(study, {
      folder,
      sources,
      device: call.device,
      threads: call.threads,
      only: call.only === "tune" ? "tuning" : call.only === "final" ? "final" : undefined,
      maxSeconds: call.maxMinutes === undefined ? undefined : 60 * call.maxMinutes,
      signal: stop.signal,
      version,
      listener: progress,
    });
  } finally {
    progress.close();
    interrupts.close();
    await release();
  }
}

async function folderOf({ folder }: StudyRequest, { only }: Call): Promise<StudyFolder> {
  const path = folder ?? (await createRunFolder(undefined, "studies")).path;
  const made = new StudyFolder(path);
  if (only !== "report") await made.create();
  return made;
}

/** Writes `study.json` where the settings came from elsewhere. */
async function keepSettings({ given }: StudyRequest, folder: StudyFolder): Promise<void> {
  const stored = await readFile(folder.config, "utf8").catch(() => undefined);
  const same = stored !== undefined && JSON.stringify(JSON.parse(stored)) === JSON.stringify(given);
  if (!same) await folder.write(folder.config, `${JSON.stringify(given, undefined, 2)}\n`);
}

function goOn({ path }: StudyFolder): string {
  return `${thisProgram()} compare --study ${shellWord(path)}`;
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
