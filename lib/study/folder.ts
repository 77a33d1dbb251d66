import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { StepsizeError } from "../errors.js";
import { writeAtomically } from "../files/atomic-file.js";
import { codeOf, messageOf } from "../realms.js";

/** The folder of a study and the paths of its files. All except {@link lock} and {@link running} are results. */
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

  /** Path of the checkpoint of an unfinished run. */
  running(id: string): string {
    return join(this.path, "running", `${id}.safetensors`);
  }

  /** Removes the checkpoint of a finished run. */
  async removeRunning(id: string): Promise<void> {
    for (const path of [this.running(id), `${this.running(id)}.json`]) await rm(path, { force: true });
  }

  /**
   * Creates the folder, with a `.gitignore` for temporary files.
   * @throws StepsizeError `invalid-file` if it cannot be created
   */
  async create(): Promise<void> {
    try {
      await mkdir(this.path, { recursive: true });
      await writeFile(join(this.path, ".gitignore"), "lock*\nrunning/\n*.partial\n", { flag: "wx" }).catch(
        (error: unknown) => {
          if (codeOf(error) !== "EEXIST") throw error;
        },
      );
    } catch (error) {
      const message = `${this.path}: cannot create the folder (${messageOf(error)})`;
      throw new StepsizeError("invalid-file", message, { cause: error });
    }
  }

  /** Removes partially written files that a killed process left. */
  async removePartial(): Promise<void> {
    for (const folder of [this.path, join(this.path, "running"), join(this.path, "figures")])
      for (const name of await readdir(folder).catch(() => []))
        if (name.endsWith(".partial")) await rm(join(folder, name), { force: true });
  }

  /** Writes text to a file atomically: the old content stays until the new one is complete. */
  async write(path: string, text: string): Promise<void> {
    await writeAtomically(path, [Buffer.from(text)]);
  }
}
