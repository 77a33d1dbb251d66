import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { StepsizeError } from "../errors.js";

/** A file with one JSON object a line, each of a step, that is only ever added to. */
export class RecordsFile<T extends { readonly step: number }> {
  readonly path: string;
  readonly #file: number;

  /**
   * Opens the file for adding, and makes it where it is not there.
   * @throws StepsizeError `invalid-file` where it cannot be written
   */
  constructor(path: string) {
    this.path = path;
    this.#file = this.#attempt(() => openSync(path, "a"));
  }

  /**
   * Adds a record. At once and not through a buffer: what a checkpoint speaks of must be there after a kill.
   * @throws StepsizeError `invalid-file` where it cannot be written (a full disk)
   */
  add(record: T): void {
    const line = Buffer.from(`${JSON.stringify(record)}\n`);
    this.#attempt(() => {
      for (let done = 0; done < line.length; ) done += writeSync(this.#file, line, done);
    });
  }

  /** Cuts the file after the last record that `keep` accepts from its start on; gives those that stay. */
  cut(keep: (record: T) => boolean): T[] {
    const { records, end } = readWhile(this.path, keep);
    this.#attempt(() => ftruncateSync(this.#file, end));
    return records;
  }

  close(): void {
    closeSync(this.#file);
  }

  #attempt<R>(action: () => R): R {
    try {
      return action();
    } catch (error) {
      const message = `${this.path}: could not be written (${(error as Error).message}); the checkpoints are kept`;
      throw new StepsizeError("invalid-file", message, { cause: error });
    }
  }
}

/** All whole records of a file; none where there is no file. */
export function readRecords<T extends { readonly step: number }>(path: string): T[] {
  return readWhile<T>(path, () => true).records;
}

/** The records up to the first that `keep` refuses or that is damaged, and the byte where they end. */
function readWhile<T>(path: string, keep: (record: T) => boolean): { records: T[]; end: number } {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return { records: [], end: 0 };
  }
  const records: T[] = [];
  let end = 0;
  for (let next = bytes.indexOf("\n"); next >= 0; next = bytes.indexOf("\n", end)) {
    let record: T;
    try {
      record = JSON.parse(bytes.toString("utf8", end, next)) as T;
    } catch {
      break;
    }
    if (!keep(record)) break;
    records.push(record);
    end = next + 1;
  }
  return { records, end };
}
