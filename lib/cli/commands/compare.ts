import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { takeLock } from "../../files/folder-lock.js";
import { version } from "../../package-root.js";
import { messageOf } from "../../realms.js";
import {
  type Given,
  type QuadraticsStudy,
  readRecords,
  runStudy,
  StudyFolder,
  solveQuadratics,
  type TrainingStudy,
  writeQuadraticsReport,
  writeTrainingReport,
} from "../../study/index.js";
import { addFlags, addJson, check, choiceField, type Fields, fromFlags, numberField } from "../config/fields.js";
import { deviceField, threadsField } from "../config/shared-fields.js";
import { Interrupted, UsageError } from "../failure.js";
import { Interrupts } from "../interrupts.js";
import { print, printJson, tell } from "../output/terminal.js";
import { flagOf, shellWord, thisProgram } from "../output/text.js";
import { makeNumberedFolder } from "../run-folder.js";
import { requestedStudy, type StudyRequest } from "./compare-config.js";
import { compareFields, compareGroups } from "./compare-fields.js";
import { CompareProgress } from "./compare-progress.js";

/** Options of this call, which are not settings of the study. */
const callFields = {
  only: choiceField(["tune", "final", "report"], "run only this part", { fallback: "all parts" }),
  device: deviceField,
  threads: threadsField,
  maxMinutes: numberField(z.number().gt(0), "a number above 0", "start no new run after this time; continue later"),
} satisfies Fields;

type Call = Given<typeof callFields>;

type CompareFlags = {
  readonly config?: string;
  readonly study?: string;
  readonly json?: boolean;
};

/** Adds the options and the action of `compare`. */
export function defineCompare(command: Command): void {
  command
    .optionsGroup("Study:")
    .option("--config <file>", "JSON file of the study's settings; options on the command line override it")
    .option(
      "--study <dir>",
      "the study's folder (default: the folder of --config, or the next free number under studies)",
    );
  addFlags(command, callFields, { "Study:": ["only", "maxMinutes"], "Device and output:": ["device", "threads"] });
  addFlags(command, compareFields, compareGroups);
  addJson(command.optionsGroup("Device and output:"))
    .addHelpText(
      "after",
      `
Every schedule is tuned with the same number of trials on a validation split.
The chosen settings are then run again with fresh seeds, and each of these final
runs is evaluated once on the test split.

A study can be stopped at any time. Finished runs are never repeated. The same
command continues the study if --study or --config names its folder. Without
these options, every call begins a new study. Without any options, this is a
small study of an mlp on MNIST.

Examples:
  stepsize compare --config docs/studies/quadratics/study.json \\
    --study studies/quadratics
  stepsize compare --models resnet8 --data cifar10:path/to/folder \\
    --optimizers sgd,adamw --steps 400 --budgets 0.5,1
  stepsize compare --study studies/1 --max-minutes 60
  stepsize compare --study studies/1 --only report`,
    )
    .action(compare);
}

async function compare(flags: CompareFlags): Promise<void> {
  const call = check(callFields, fromFlags(callFields, flags), flagOf);
  const request = await requestedStudy(flags, fromFlags(compareFields, flags));
  const folder = await folderOf(request, call);
  const progress = new CompareProgress();
  const interrupts = new Interrupts(() => {
    const { reason } = interrupts.signal;
    const cause = reason instanceof Interrupted ? "interrupted" : `error: ${messageOf(reason)}`;
    const advice = reason instanceof Interrupted ? "; interrupt again to exit at once" : "";
    progress.note(`${cause}: saving the current run${advice}`);
  });
  try {
    const { study } = request;
    const context: WorkContext = { request, folder, call, progress, signal: interrupts.signal };
    const results = await (study.kind === "quadratics" ? quadratics(study, context) : training(study, context));
    (flags.json ? tell : print)(`${await readFile(folder.table, "utf8")}\n${folder.report}`);
    if (flags.json) printJson(results);
    interrupts.checkStray();
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    throw new Interrupted(`interrupted; continue with:\n  ${continueCommand(request, folder)}`);
  } finally {
    progress.close();
    interrupts.close();
  }
}

/** Everything that {@link quadratics} and {@link training} need besides the study. */
interface WorkContext {
  readonly request: StudyRequest;
  readonly folder: StudyFolder;
  readonly call: Call;
  readonly progress: CompareProgress;
  readonly signal: AbortSignal;
}

async function quadratics(
  study: QuadraticsStudy,
  { request, folder, call, progress, signal }: WorkContext,
): Promise<object> {
  for (const name of ["only", "maxMinutes"] as const)
    if (call[name] !== undefined)
      throw new UsageError(`${flagOf(name)}: expected none for a study of quadratics, which always runs as a whole`);
  return locked(folder, async () => {
    await writeSettings(request, folder);
    await progress.open();
    const cells = await solveQuadratics(study, {
      signal,
      onProgress: (done, problems) => progress.solved(done, problems),
    });
    progress.close();
    return writeQuadraticsReport(folder, study, cells);
  });
}

async function training(
  study: TrainingStudy,
  { request, folder, call, progress, signal }: WorkContext,
): Promise<object> {
  if (call.only === "report") {
    // No lock is taken, so that a report can be made while another process works on the study.
    const { records, damaged } = await readRecords(folder.runs);
    if (damaged.length > 0) progress.note(`${folder.runs}: ${damaged.length} unreadable lines are left out`);
    return writeTrainingReport(folder, study, records);
  }
  return locked(folder, async () => {
    await writeSettings(request, folder);
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
        progress.note(
          `stopped after ${call.maxMinutes} minutes; continue with:\n  ${continueCommand(request, folder)}`,
        );
    } catch (error) {
      // A report of the finished runs is written despite the error. If that fails too, for instance because the disk is
      // full, the first error is the one to report.
      await report(folder, study).catch(() => {});
      throw error;
    }
    progress.close();
    return report(folder, study);
  });
}

async function report(folder: StudyFolder, study: TrainingStudy): Promise<object> {
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
    throw new UsageError("--only report: expected --study or --config with an existing study, got none");
  const studyFolder = new StudyFolder(folder ?? (await makeNumberedFolder("studies")));
  if (only !== "report") await studyFolder.create();
  return studyFolder;
}

/** Writes `study.json` unless the settings were read from it. */
async function writeSettings({ given, file }: StudyRequest, folder: StudyFolder): Promise<void> {
  if (file !== undefined && resolve(file) === resolve(folder.config)) return;
  await folder.write(folder.config, `${JSON.stringify(given, undefined, 2)}\n`);
}

/** Returns the command that continues the study. */
function continueCommand({ sources }: StudyRequest, { path }: StudyFolder): string {
  const data = sources.size > 0 ? ` --data ${shellWord([...sources.values()].join(","))}` : "";
  return `${thisProgram()} compare --study ${shellWord(path)}${data}`;
}
