import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isNotFound, StepsizeError } from "../errors.js";
import { writeAtomically } from "../files/atomic-file.js";
import { takeLock } from "../files/folder-lock.js";
import { codeOf, messageOf } from "../realms.js";
import { type CheckpointPart, type OpenCheckpoint, withCheckpoint } from "../weights/checkpoint-file.js";
import { verifyAll } from "../weights/stored-tensors.js";
import { readConfig, type TrainValues } from "./config/train-config.js";
import { UsageError } from "./failure.js";

const checkpointName = /^step-(\d{1,15})\.safetensors$/;
const checkpointsKept = 3;

/** Names of the lock of a run's folder and of temporary files beside it. */
const lockName = /^lock(\.|$)/;

/** The folder of a run and the paths of its files. */
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

  /** Settings that were changed when the run was resumed, one JSON object per line. */
  get changes(): string {
    return join(this.path, "changes.jsonl");
  }

  get result(): string {
    return join(this.path, "result.json");
  }

  get report(): string {
    return join(this.path, "report.html");
  }

  /** Texts that a language model generated during the run, one JSON object per line. */
  get samples(): string {
    return join(this.path, "samples.jsonl");
  }

  /** The predictions of the newest evaluation of a classifier on a split. */
  predictions(split: "test" | "validation"): string {
    return join(this.path, `predictions-${split}.json`);
  }

  get lock(): string {
    return join(this.path, "lock");
  }

  /**
   * Takes the folder's lock, so that no other process trains in it. Reading needs no lock.
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

  /** Path of the checkpoint after this number of steps. */
  checkpoint(step: number): string {
    return join(this.path, "checkpoints", `step-${step}.safetensors`);
  }

  /** Lists the steps of the checkpoints in the folder, newest first. They may be damaged. */
  async checkpointSteps(): Promise<number[]> {
    const names = await namesIn(join(this.path, "checkpoints"));
    const steps = (names ?? []).flatMap((name) => checkpointName.exec(name)?.[1] ?? []).map(Number);
    return steps.sort((a, b) => b - a);
  }

  /**
   * Removes all checkpoints except the newest three.
   * @param kept the steps of more checkpoints to keep
   */
  async prune(kept: readonly number[] = []): Promise<void> {
    for (const step of (await this.checkpointSteps()).slice(checkpointsKept))
      if (!kept.includes(step)) await rm(this.checkpoint(step), { force: true });
  }

  /** Removes partially written files that a killed process left. */
  async removePartial(): Promise<void> {
    for (const folder of [this.path, join(this.path, "checkpoints")])
      for (const name of (await namesIn(folder)) ?? [])
        if (name.endsWith(".partial")) await rm(join(folder, name), { force: true });
  }

  /**
   * Uses the newest checkpoint that can be read. The file stays open in the meantime, so a running training may prune it.
   *
   * @param use called with the open checkpoint
   * @param parts the parts that `use` reads; only their checksums are verified before
   * @param damaged called with the error message of each newer checkpoint that cannot be read
   * @returns the result of `use`; `undefined` if there are no checkpoints
   * @throws StepsizeError `invalid-file` if there are checkpoints and none can be read, and any error of `use`
   */
  async withNewest<T>(
    use: (checkpoint: OpenCheckpoint) => Promise<T>,
    { parts, damaged }: { readonly parts: readonly CheckpointPart[]; readonly damaged: (message: string) => void },
  ): Promise<T | undefined> {
    const steps = await this.checkpointSteps();
    for (const step of steps) {
      let isVerified = false;
      try {
        return await withCheckpoint(this.checkpoint(step), async (checkpoint) => {
          await verifyAll(parts.map((part) => checkpoint[part]));
          isVerified = true;
          return await use(checkpoint);
        });
      } catch (error) {
        if (isVerified) throw error;
        // A running training has pruned this checkpoint since, so there are newer ones.
        if (isNotFound(error) && (await this.checkpointSteps()).join() !== steps.join())
          return this.withNewest(use, { parts, damaged });
        damaged(messageOf(error));
      }
    }
    if (steps.length === 0) return undefined;
    throw new StepsizeError(
      "invalid-file",
      `${this.path}: expected a checkpoint that can be read, found ${steps.length} damaged`,
    );
  }

  /** Writes an object as indented JSON. */
  async writeJson(path: string, value: unknown): Promise<void> {
    await this.writeText(path, `${JSON.stringify(value, undefined, 2)}\n`);
  }

  /** Writes text to a file atomically: the old content stays until the new one is complete. */
  async writeText(path: string, text: string): Promise<void> {
    await writeAtomically(path, [Buffer.from(text)]);
  }
}

/**
 * Checks that a folder is empty or does not exist. Its lock is ignored.
 * @throws UsageError if it is not empty; StepsizeError `invalid-file` if it cannot be read
 */
export async function expectEmpty(path: string): Promise<void> {
  await expectNoFile("--run", path);
  const names = (await namesIn(path)) ?? [];
  if (names.every((name) => lockName.test(name))) return;
  throw new UsageError(
    `--run: expected an empty or new folder, got ${path}; continue its run with --resume ${path}, or name another folder`,
  );
}

/**
 * Creates the folder of a new run and takes its lock.
 *
 * @param path the folder; `undefined` for the next free number under `runs`
 * @throws UsageError if the folder is not empty
 * @throws StepsizeError `invalid-state` if another process has the lock, `invalid-file` if the folder cannot be created
 */
export async function createRunFolder(path: string | undefined): Promise<RunFolder> {
  if (path !== undefined) await makeFolders(path);
  const folder = new RunFolder(path ?? (await makeNumberedFolder("runs")));
  await folder.take();
  try {
    // This is checked under the lock, so only one of two runs with the same folder finds it empty.
    await expectEmpty(folder.path);
  } catch (error) {
    await folder.release();
    throw error;
  }
  return folder;
}

/**
 * Creates a folder named with the next free number under `parent`, and returns its path.
 * @throws StepsizeError `invalid-file` if a folder cannot be created
 */
export async function makeNumberedFolder(parent: string): Promise<string> {
  await makeFolders(parent);
  const numbers = ((await namesIn(parent)) ?? []).filter((name) => /^\d{1,9}$/.test(name)).map(Number);
  for (let number = numbers.reduce((highest, taken) => Math.max(highest, taken), 0) + 1; ; number++) {
    const candidate = join(parent, String(number));
    try {
      // Without `recursive`, this fails if the folder exists, so two processes cannot get the same number.
      await mkdir(candidate);
      return candidate;
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw cannotMake(candidate, error);
    }
  }
}

/**
 * Opens the folder of an existing run and takes its lock.
 *
 * @throws UsageError if the folder does not exist or is not a run's
 * @throws StepsizeError `invalid-state` if another process has the lock
 */
export async function openRunFolder(path: string): Promise<RunFolder> {
  await expectNoFile("--resume", path);
  const names = await namesIn(path);
  if (names === undefined) throw new UsageError(`--resume: expected the folder of a run, ${path} does not exist`);
  if (!names.includes("config.json"))
    throw new UsageError(`--resume: expected the folder of a run, ${path} has no config.json`);
  const folder = new RunFolder(path);
  await folder.take();
  return folder;
}

/**
 * Reads the settings of the run that a checkpoint belongs to; `undefined` if it is not in a run's folder.
 * @throws UsageError naming the file and the wrong field
 */
export async function runSettingsOf(checkpoint: string): Promise<Readonly<TrainValues> | undefined> {
  const folder = dirname(dirname(checkpoint));
  if (!(await namesIn(folder))?.includes("config.json")) return undefined;
  return (await readConfig(join(folder, "config.json"))).values;
}

/** @throws UsageError if there is a file at the path of a folder */
async function expectNoFile(flag: string, path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found && !found.isDirectory()) throw new UsageError(`${flag}: expected a folder, ${path} is a file`);
}

/** Lists the names in a folder; `undefined` if it does not exist. */
async function namesIn(path: string): Promise<string[] | undefined> {
  try {
    return await readdir(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    const message = `${path}: cannot be read as a folder (${messageOf(error)})`;
    throw new StepsizeError("invalid-file", message, { cause: error });
  }
}

async function makeFolders(path: string): Promise<void> {
  await mkdir(path, { recursive: true }).catch((error) => {
    throw cannotMake(path, error);
  });
}

function cannotMake(path: string, cause: unknown): StepsizeError {
  const message = `${path}: cannot create the folder (${messageOf(cause)})`;
  return new StepsizeError("invalid-file", message, { cause });
}
