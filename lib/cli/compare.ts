import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { takeLock } from "../files/folder-lock.js";
import { messageOf } from "../realms.js";
import {
  readRecords,
  runStudy,
  type Study,
  StudyFolder,
  solveQuadratics,
  writeQuadraticsReport,
  writeTrainingReport,
} from "../study/index.js";
import { version } from "../version.js";
import { requestedStudy, type StudyRequest } from "./compare-config.js";
import { compareFields } from "./compare-fields.js";
import { CompareProgress } from "./compare-progress.js";
import { deviceField, threadsField } from "./config.js";
import { Interrupted, UsageError } from "./failure.js";
import { addFlags, check, choiceField, type Fields, fromFlags, numberField } from "./fields.js";
import { Interrupts } from "./interrupts.js";
import { makeNumberedFolder } from "./run-folder.js";
import { print, printJson, tell } from "./terminal.js";
import { flagOf, shellWord, thisProgram } from "./text.js";

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
on the test split. A study can be stopped at any time, and finished runs are never made again. The same command continues
it if --study or --config names its folder; without them every call begins a new study. Without any arguments: a small
one, an mlp on MNIST.

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
  const progress = new CompareProgress();
  const interrupts = new Interrupts(() => {
    const { reason } = interrupts.signal;
    const why = reason instanceof Interrupted ? "interrupted" : `error: ${messageOf(reason)}`;
    const more = reason instanceof Interrupted ? "; once more to leave at once" : "";
    progress.note(`${why}: writing down how far it is${more}`);
  });
  try {
    const work = request.study.kind === "quadratics" ? quadratics : training;
    const results = await work(request.study as never, { request, folder, call, progress, signal: interrupts.signal });
    (flags.json ? tell : print)(`${await readFile(folder.table, "utf8")}\n${folder.report}`);
    if (flags.json) printJson(results);
    interrupts.checkStray();
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    throw new Interrupted(`interrupted; continue with:\n  ${goOn(request, folder)}`);
  } finally {
    progress.close();
    interrupts.close();
  }
}

/** What the work on a study needs. */
interface Work {
  readonly request: StudyRequest;
  readonly folder: StudyFolder;
  readonly call: Call;
  readonly progress: CompareProgress;
  readonly signal: AbortSignal;
}

type Of<K extends Study["kind"]> = Extract<Study, { readonly kind: K }>;

async function quadratics(study: Of<"quadratics">, { request, folder, call, progress, signal }: Work): Promise<object> {
  for (const name of ["only", "maxMinutes"] as const)
    if (call[name] !== undefined)
      throw new UsageError(`${flagOf(name)}: expected none; a study of quadratics is made whole, within seconds`);
  return locked(folder, async () => {
    await keepSettings(request, folder);
    await progress.open();
    const cells = await solveQuadratics(study, {
      signal,
      onProgress: (done, problems) => progress.solved(done, problems),
    });
    progress.close();
    return writeQuadraticsReport(folder, study, cells);
  });
}

async function training(study: Of<"training">, { request, folder, call, progress, signal }: Work): Promise<object> {
  if (call.only === "report") {
    // Without the lock: a report may be wanted while another process works.
    const { records, damaged } = await readRecords(folder.runs);
    if (damaged.length > 0) progress.note(`${folder.runs}: ${damaged.length} unreadable lines are left out`);
    return writeTrainingReport(folder, study, records);
  }
  return locked(folder, async () => {
    await keepSettings(request, folder);
    await progress.open();
    try {
      const { complete } = await runStudy(study, {
        folder,
        sources: request.sources,
        device: call.device,
        threads: call.threads,
        only: call.only === "tune" ? "tuning" : call.only === "final" ? "final" : undefined,
        maxSeconds: call.maxMinutes === undefined ? undefined : 60 * call.maxMinutes,
        signal,
        version,
        listener: progress,
      });
      if (!complete)
        progress.note(`stopped after ${call.maxMinutes} minutes; continue with:\n  ${goOn(request, folder)}`);
    } catch (error) {
      // What there is can be read, whatever ended it; a full disk may be that, and must not hide itself.
      await report(folder, study).catch(() => {});
      throw error;
    }
    progress.close();
    return report(folder, study);
  });
}

async function report(folder: StudyFolder, study: Of<"training">): Promise<object> {
  const { records } = await readRecords(folder.runs);
  return writeTrainingReport(folder, study, records);
}

async function locked<T>(folder: StudyFolder, work: () => Promise<T>): Promise<T> {
  const release = await takeLock(folder.lock);
  try {
    return await work();
  } finally {
    await release();
  }
}

async function folderOf({ folder, file }: StudyRequest, { only }: Call): Promise<StudyFolder> {
  if (only === "report" && file === undefined)
    throw new UsageError("--only report: expected a study that is there, with --study or --config");
  const made = new StudyFolder(folder ?? (await makeNumberedFolder("studies")));
  if (only !== "report") await made.create();
  return made;
}

/** Writes `study.json` where the settings came from elsewhere. */
async function keepSettings({ given, file }: StudyRequest, folder: StudyFolder): Promise<void> {
  if (file !== undefined && resolve(file) === resolve(folder.config)) return;
  await folder.write(folder.config, `${JSON.stringify(given, undefined, 2)}\n`);
}

/** The command that goes on. */
function goOn({ sources }: StudyRequest, { path }: StudyFolder): string {
  const data = sources.size > 0 ? ` --data ${shellWord([...sources.values()].join(","))}` : "";
  return `${thisProgram()} compare --study ${shellWord(path)}${data}`;
}
