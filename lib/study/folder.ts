import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { StepsizeError } from "../errors.js";
import { writeAtomically } from "../files/atomic-file.js";

/** A study's folder and the files in it. All but {@link lock} and {@link running} are for keeping. */
export class StudyFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  get config(): string {
    return join(this.path, "study.json");
  }

  get runs(): string {
    return join(this.path, "runs.jsonl");
  }

  get results(): string {
    return join(this.path, "results.json");
  }

  get table(): string {
    return join(this.path, "results.md");
  }

  get report(): string {
    return join(this.path, "report.html");
  }

  get lock(): string {
    return join(this.path, "lock");
  }

  figure(name: string): string {
    return join(this.path, "figures", `${name}.svg`);
  }

  /** The checkpoint of a run that is being made. */
  running(id: string): string {
    return join(this.path, "running", `${id}.safetensors`);
  }

  /** Removes the checkpoint of a run that is finished. */
  async removeRunning(id: string): Promise<void> {
    for (const path of [this.running(id), `${this.running(id)}.json`]) await rm(path, { force: true });
  }

  /** Makes the folder, with a `.gitignore` for what is of this machine alone. */
  async create(): Promise<void> {
    try {
      await mkdir(this.path, { recursive: true });
      await writeFile(join(this.path, ".gitignore"), "lock*\nrunning/\n*.partial\n", { flag: "wx" }).catch(
        (error: NodeJS.ErrnoException) => {
          if (error.code !== "EEXIST") throw error;
        },
      );
    } catch (error) {
      const message = `${this.path}: the folder cannot be made (${(error as Error).message})`;
      throw new StepsizeError("invalid-file", message, { cause: error });
    }
  }

  /** Removes what a process that was killed left half written. */
  async removePartial(): Promise<void> {
    for (const folder of [this.path, join(this.path, "running"), join(this.path, "figures")])
      for (const name of await readdir(folder).catch(() => []))
        if (name.endsWith(".partial")) await rm(join(folder, name), { force: true });
  }

  /** Writes text; what was there stays until all of it is written. */
  async write(path: string, text: string): Promise<void> {
    await writeAtomically(path, [Buffer.from(text)]);
  }
}
