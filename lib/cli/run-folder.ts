import { mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isNotFound, StepsizeError } from "../errors.js";
import { writeAtomically } from "../files/atomic-file.js";
import { takeLock } from "../files/folder-lock.js";
import { type CheckpointPart, type OpenCheckpoint, verifyAll, withCheckpoint } from "../train/saved-model.js";
import { readConfig } from "./config.js";
import { UsageError } from "./failure.js";

const checkpointName = /^step-(\d{1,15})\.safetensors$/;
const checkpointsKept = 3;

/** The lock of a run's folder, and what stands beside it while it is taken. */
const lockName = /^lock(\.|$)/;

/** A run's folder and the files in it. */
export class RunFolder {
  readonly path: string;
  #release: (() => Promise<void>) | undefined;

  constructor(path: string) {
    this.path = path;
  }

  get config(): string {
    return join(this.path, "config.json");
  }

  get metrics(): string {
    return join(this.path, "metrics.jsonl");
  }

  get evaluations(): string {
    return join(this.path, "evaluations.jsonl");
  }

  /** What the run was told to go on with otherwise, one line each. */
  get changes(): string {
    return join(this.path, "changes.jsonl");
  }

  get result(): string {
    return join(this.path, "result.json");
  }

  get report(): string {
    return join(this.path, "report.html");
  }

  get lock(): string {
    return join(this.path, "lock");
  }

  /**
   * Takes the folder's lock: only one process at a time may train in it. Reading needs none.
   * @throws StepsizeError `invalid-state` if another process has it
   */
  async take(): Promise<void> {
    this.#release = await takeLock(this.lock);
  }

  /** Releases the lock, if this process has it. */
  async release(): Promise<void> {
    await this.#release?.();
    this.#release = undefined;
  }

  /** The checkpoint after so many steps. */
  checkpoint(step: number): string {
    return join(this.path, "checkpoints", `step-${step}.safetensors`);
  }

  /** Steps of the checkpoints there are, newest first, loadable or not. */
  async checkpointSteps(): Promise<number[]> {
    const names = await namesIn(join(this.path, "checkpoints"));
    const steps = (names ?? []).flatMap((name) => checkpointName.exec(name)?.[1] ?? []).map(Number);
    return steps.sort((a, b) => b - a);
  }

  /** Removes all checkpoints but the newest few. */
  async prune(): Promise<void> {
    for (const step of (await this.checkpointSteps()).slice(checkpointsKept))
      await rm(this.checkpoint(step), { force: true });
  }

  /** Removes what a process that was killed left half written. */
  async removePartial(): Promise<void> {
    for (const folder of [this.path, join(this.path, "checkpoints")])
      for (const name of (await namesIn(folder)) ?? [])
        if (name.endsWith(".partial")) await rm(join(folder, name), { force: true });
  }

  /**
   * Uses the newest checkpoint that can be read. It is open meanwhile, so that a run that goes on may prune it.
   *
   * @param use its result is given back; `undefined` if there is no checkpoint at all
   * @param parts what `use` reads: it is compared with its checksums before, and nothing else is
   * @param damaged told of each newer one that cannot be read
   * @throws StepsizeError `invalid-file` if there are some and none can be read
   */
  async withNewest<T>(
    use: (checkpoint: OpenCheckpoint) => Promise<T>,
    { parts, damaged }: { readonly parts: readonly CheckpointPart[]; readonly damaged: (message: string) => void },
  ): Promise<T | undefined> {
    const steps = await this.checkpointSteps();
    for (const step of steps) {
      let isGood = false;
      try {
        return await withCheckpoint(this.checkpoint(step), async (checkpoint) => {
          await verifyAll(parts.map((part) => checkpoint[part]));
          isGood = true;
          return await use(checkpoint);
        });
      } catch (error) {
        if (isGood) throw error;
        // A run that goes on has pruned it meanwhile: there are newer ones.
        if (isNotFound(error) && (await this.checkpointSteps()).join() !== steps.join())
          return this.withNewest(use, { parts, damaged });
        damaged((error as Error).message);
      }
    }
    if (steps.length === 0) return undefined;
    throw new StepsizeError("invalid-file", `${this.path}: none of its ${steps.length} checkpoints can be read`);
  }

  /** Writes an object as JSON for people and programs. */
  async writeJson(path: string, value: unknown): Promise<void> {
    await this.writeText(path, `${JSON.stringify(value, undefined, 2)}\n`);
  }

  /** Writes text; what was there stays until all of it is written. */
  async writeText(path: string, text: string): Promise<void> {
    await writeAtomically(path, [Buffer.from(text)]);
  }
}

/** Throws a UsageError if the folder has something in it. The lock of a process that is about to fill it does not count. */
export async function expectEmpty(path: string): Promise<void> {
  const names = (await namesIn(path)) ?? [];
  if (names.every((name) => lockName.test(name))) return;
  throw new UsageError(
    `--run: ${path} exists and is not empty; continue it with --resume ${path}, or name another folder`,
  );
}

/**
 * Makes the folder of a new run and takes its lock: the one named, or the next free number under `runs`.
 * @throws UsageError if the folder exists and is not empty; StepsizeError `invalid-state` if another process has it
 */
export async function createRunFolder(path: string | undefined): Promise<RunFolder> {
  if (path !== undefined) await makeFolders(path);
  const folder = new RunFolder(path ?? (await makeNumberedFolder("runs")));
  await folder.take();
  try {
    // With the lock: of two runs that were given one folder, only one finds it empty.
    await expectEmpty(folder.path);
  } catch (error) {
    await folder.release();
    throw error;
  }
  return folder;
}

/** Makes the next free number under a folder; the path of the new one. */
export async function makeNumberedFolder(parent: string): Promise<string> {
  await makeFolders(parent);
  const numbers = ((await namesIn(parent)) ?? []).filter((name) => /^\d{1,9}$/.test(name)).map(Number);
  for (let number = numbers.reduce((most, one) => Math.max(most, one), 0) + 1; ; number++) {
    const candidate = join(parent, String(number));
    try {
      // Not recursive: it fails if the folder exists, so of two processes one gets each number.
      await mkdir(candidate);
      return candidate;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw cannotMake(candidate, error);
    }
  }
}

/**
 * The folder of a run that exists, with its lock taken.
 * @throws UsageError if it is not there or not a run's; StepsizeError `invalid-state` if another process trains in it
 */
export async function openRunFolder(path: string): Promise<RunFolder> {
  const names = await namesIn(path);
  if (names === undefined) throw new UsageError(`--resume: there is no folder ${path}`);
  if (!names.includes("config.json"))
    throw new UsageError(`--resume: ${path} is not the folder of a run: it has no config.json`);
  const folder = new RunFolder(path);
  await folder.take();
  return folder;
}

/**
 * The settings of the run that a checkpoint is part of, checked; `undefined` if it does not lie in a run's folder.
 * @throws UsageError naming the file, and the field that is wrong
 */
export async function settingsBeside(checkpoint: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const folder = dirname(dirname(checkpoint));
  if (!(await namesIn(folder))?.includes("config.json")) return undefined;
  return (await readConfig(join(folder, "config.json"))).values;
}

/** The names in a folder; `undefined` where there is no such folder. */
async function namesIn(path: string): Promise<string[] | undefined> {
  try {
    return await readdir(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new StepsizeError("invalid-file", `${path}: cannot be read as a folder (${message})`, { cause: error });
  }
}

async function makeFolders(path: string): Promise<void> {
  await mkdir(path, { recursive: true }).catch((error) => {
    throw cannotMake(path, error);
  });
}

function cannotMake(path: string, cause: unknown): StepsizeError {
  const message = `${path}: the folder cannot be made (${(cause as Error).message})`;
  return new StepsizeError("invalid-file", message, { cause });
}
