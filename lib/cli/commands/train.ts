import type { Command } from "commander";
import { describe, isNotFound, StepsizeError } from "../../errors.js";
import { JsonLinesFile } from "../../files/json-lines-file.js";
import { optionalNumberIn } from "../../schedule/option.js";
import { type Allowed, allowedNames } from "../../train/index.js";
import { addFlags, addJson, fromFlags, splitByHeading } from "../config/fields.js";
import { highestRate } from "../config/schedule-fields.js";
import {
  checkFlags,
  completeConfig,
  type GivenValues,
  type ResumedConfig,
  readConfig,
  resumedConfig,
  type TrainConfig,
  trainFields,
  trainGroups,
} from "../config/train-config.js";
import { Interrupted, UsageError } from "../failure.js";
import { Interrupts } from "../interrupts.js";
import { print, printJson, tell } from "../output/terminal.js";
import { count, shellWord, short, some, thisProgram } from "../output/text.js";
import { createRunFolder, expectEmpty, openRunFolder, type RunFolder } from "../run-folder.js";
import { expectBatch, type OpenRun, readData, setUp, startFromWeights } from "../run-setup.js";
import { type Change, changeSchema } from "./run-records.js";
import { jsonResult, summary } from "./run-result.js";
import { TrainRun } from "./train-run.js";

type TrainFlags = {
  readonly config?: string;
  readonly run?: string;
  readonly resume?: string;
  readonly allow?: string;
  readonly epochs?: string;
  readonly json?: boolean;
};

/** Adds the options and the action of `train`. */
export function defineTrain(command: Command): void {
  // The headings of a help are in the order in which their options are added.
  const { common, special } = splitByHeading(trainFields);
  addFlags(command, common, trainGroups);
  command
    .optionsGroup("Run:")
    .option("--config <file>", "settings from a JSON file, such as a run's config.json; flags come before it")
    .option("--run <dir>", "folder for the run (default: the next free number under runs)")
    .option("--resume <dir>", "continue the run in this folder from its newest checkpoint")
    .option(
      "--allow <what,…>",
      "with --resume: what may be another than before: schedule (the learning rates and the budget), data",
    );
  addJson(command);
  addFlags(command, special);
  command
    .addHelpText(
      "after",
      `
All schedules with their options: stepsize schedule --list

Examples:
  stepsize train
  stepsize train --model resnet20 --data cifar10:path/to/folder --budget 8000 \\
    --augment --schedule uba --phi 5
  stepsize train --data images:path/to/pictures --size 64 --epochs 10
  stepsize train --model mlp --optimizer sgd --max-lr 0.05 --epochs 3 \\
    --evaluate-every 200
  stepsize train --model resnet20 --weights cifar100.safetensors \\
    --classifier skip --data cifar10:path/to/folder
  stepsize train --model hf:path/to/OLMo-2-0425-1B --data tokens:tokens-olmo \\
    --max-lr 0.00002 --precision bf16
  stepsize train --config runs/1/config.json --seed 1
  stepsize train --resume runs/1
  stepsize train --resume runs/1 --data cifar10:where/they/are/now
  stepsize train --resume runs/1 --allow schedule --budget 1200 --max-lr 0.02`,
    )
    .action(train);
}

async function train(flags: TrainFlags): Promise<void> {
  const write = flags.json ? tell : print;
  const given = checkFlags(fromFlags(trainFields, flags));
  let folder = flags.resume === undefined ? undefined : await openResumed(flags, flags.resume);
  let parts: OpenRun | undefined;
  let run: TrainRun | undefined;
  const interrupts = new Interrupts(() => run?.announceEnd());
  try {
    const allow = allowedBy(flags);
    const resumed = folder && resumedConfig(await readConfig(folder.config), given, allow);
    const complete = resumed ? () => resumed : await newConfig(flags, given);
    const task = await readData(complete().settings, interrupts.signal).catch((error: unknown) => {
      throw folder ? withAdvice(error) : error;
    });
    const config = complete(task.lengths.train);
    expectBatch(config.settings.batch, task);
    interrupts.check("interrupted before the first step");
    parts = await setUp(config, task, folder);
    const restored = folder !== undefined && (await restore(folder, parts, allow));
    const start = restored ? undefined : await startFromWeights(config.settings, parts);
    if (start !== undefined) tell(start);
    if (folder && resumed) await recordChanges(folder, resumed, { parts, isOther: restored && allow.length > 0 });
    folder ??= await newFolder(flags, config);
    introduce(config, parts, folder);
    run = new TrainRun({ config, parts, folder, interrupts, note: tell });
    const result = await run.run();
    write(summary(result, folder, parts.task));
    if (flags.json) printJson(jsonResult(result));
    interrupts.checkStray();
  } catch (error) {
    if (!(error instanceof Interrupted) || !folder) throw error;
    throw new Interrupted(
      `${error.message}; continue with:\n  ${thisProgram()} train --resume ${shellWord(folder.path)}`,
    );
  } finally {
    await parts?.close();
    await folder?.release();
    interrupts.close();
  }
}

/**
 * Returns a function that completes the settings of a new run. The number of training items, which it takes, is known
 * only after the data are read. Without it, the settings of the data are right, and all settings are checked.
 */
async function newConfig(flags: TrainFlags, given: GivenValues): Promise<(trainItems?: number) => TrainConfig> {
  // Before the data are read, which takes a while; asked again when the folder is made.
  if (flags.run !== undefined) await expectEmpty(flags.run);
  const file = flags.config === undefined ? undefined : await readConfig(flags.config);
  return (trainItems) => completeConfig(given, file, { trainItems });
}

/** The folder of the run to continue. */
async function openResumed(flags: TrainFlags, path: string): Promise<RunFolder> {
  if (flags.config !== undefined)
    throw new UsageError("--config: a resumed run has the settings it was started with; leave it out");
  if (flags.epochs !== undefined)
    throw new UsageError("--epochs: a resumed run has a budget of steps; change it with --allow schedule --budget <n>");
  if (flags.run !== undefined && flags.run !== path)
    throw new UsageError(`--run: a resumed run stays in its folder ${path}; leave it out`);
  return openRunFolder(path);
}

async function newFolder(flags: TrainFlags, config: TrainConfig): Promise<RunFolder> {
  const folder = await createRunFolder(flags.run);
  try {
    await folder.writeJson(folder.config, config.settings);
  } catch (error) {
    await folder.release();
    throw error;
  }
  return folder;
}

/** Loads the newest checkpoint that can be read; whether there is any. */
async function restore(folder: RunFolder, { trainer }: OpenRun, allow: readonly Allowed[]): Promise<boolean> {
  await folder.removePartial();
  const path = await folder.withNewest(
    async (checkpoint) => {
      await trainer.loadOpen(checkpoint, allow);
      return checkpoint.path;
    },
    {
      parts: ["model", "optimizer", "rates"],
      damaged: (message) => tell(`damaged checkpoint, trying the previous one: ${message}`),
    },
  );
  if (path === undefined) tell(`${folder.path}: there is no checkpoint yet; starting again from the first step`);
  else tell(`continuing ${path}`);
  return path !== undefined;
}

/**
 * Notes what the run goes on with otherwise. The checkpoint comes first: it is of the run that goes on, so that resuming
 * that needs no permission again.
 */
async function recordChanges(
  folder: RunFolder,
  { settings, changes }: ResumedConfig,
  { parts, isOther }: { readonly parts: OpenRun; readonly isOther: boolean },
): Promise<void> {
  const { step } = parts.trainer;
  if (step > 0 && (isOther || changes.length > 0)) await parts.trainer.save(folder.checkpoint(step));
  if (changes.length === 0) return;
  const records = new JsonLinesFile<Change>(folder.changes);
  try {
    // A line that a kill left half written would swallow the next one.
    records.cut(changeSchema, () => true);
    for (const change of changes) records.add({ step, ...change });
  } finally {
    records.close();
  }
  await folder.writeJson(folder.config, settings);
  const words = changes.map(({ field, before, after }) => `${field} ${inWords(before)} → ${inWords(after)}`);
  tell(`from step ${count(step)} on: ${words.join(", ")}`);
}

function inWords(setting: unknown): string {
  return setting === null ? "none" : typeof setting === "string" ? setting : JSON.stringify(setting);
}

/** What may be another, of a run that is resumed. */
function allowedBy({ allow, resume }: TrainFlags): Allowed[] {
  if (allow === undefined) return [];
  if (resume === undefined) throw new UsageError("--allow: expected a run to go on with, named by --resume, got none");
  return allow.split(",").map((word) => {
    const known = allowedNames.find((name) => name === word.trim());
    if (known) return known;
    throw new UsageError(`--allow: expected ${allowedNames.join(" or ")}, or both with a comma, got ${describe(word)}`);
  });
}

/** The error with what to do about data that are not where they were. */
function withAdvice(error: unknown): unknown {
  if (!isNotFound(error)) return error;
  const message = `${error.message}. If the data were moved, say with --data where they are`;
  return new StepsizeError(error.code, message, { cause: error });
}

function introduce({ settings, schedule }: TrainConfig, parts: OpenRun, { path }: RunFolder): void {
  const { model, optimizer, batch, accumulate, precision } = settings;
  const parameters = parts.model.parameters().reduce((sum, { size }) => sum + size, 0);
  const warmup = optionalNumberIn(schedule.options, "warmup");
  const maxLr = highestRate(schedule);
  const { unit, unitsPerItem, lengths } = parts.task;
  const validation =
    lengths.validation === undefined ? "" : `, ${count(lengths.validation * unitsPerItem)} to validate`;
  const batches = accumulate > 1 ? `${accumulate} × ${batch}` : batch;
  const { kernels, threads, name } = parts.device.describe();
  const kernelsInWords = kernels === undefined ? name : `${kernels}, ${some(Number(threads), "thread")}`;
  const inWhich = { float32: "", tf32: " with products in TF32", bf16: " in bf16 with float32 masters" }[precision];
  tell(`${model}, ${some(parameters, "parameter")}${inWhich}, on ${settings.data}`);
  tell(
    `${count(lengths.train * unitsPerItem)} ${unit} to train${validation}, ${count(lengths.test * unitsPerItem)} to test`,
  );
  tell(
    `${optimizer} and ${schedule.name}: ${some(schedule.budget, "step")} of ${batches}, learning rate up to ${short(maxLr)}${warmup ? ` after ${some(warmup, "step")} of warm-up` : ""}`,
  );
  tell(`${parts.device.name} (${kernelsInWords}), run folder ${path}`);
}
