import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { StepsizeError } from "../errors.js";

/** A file with one JSON object a line that is only ever added to. */
export class RecordsFile<T extends object> {
  readonly path: string;
  #file: number | undefined;
  /** Lines that could not be written yet. */
  #pending: Buffer[] = [];

  /** The file is made with its first record. */
  constructor(path: string) {
    this.path = path;
  }

  /**
   * Adds a record. At once and not through a buffer: what a checkpoint speaks of must be there after a kill. A record that
   * cannot be written is kept in memory, and written before the next one or by `flush`.
   * @throws StepsizeError `invalid-file` if it cannot be written (a full disk)
   */
  add(record: T): void {
    this.#pending.push(Buffer.from(`${JSON.stringify(record)}\n`));
    this.flush();
  }

  /**
   * Writes the records that could not be written before.
   * @throws StepsizeError `invalid-file` if they still cannot be written
   */
  flush(): void {
    for (let line = this.#pending[0]; line; line = this.#pending[0]) {
      this.#write(line);
      this.#pending.shift();
    }
  }

  #write(line: Buffer): void {
    this.#attempt(() => {
      this.#file ??= openSync(this.path, "a");
      const { size } = fstatSync(this.#file);
      try {
        for (let done = 0; done < line.length; ) done += writeSync(this.#file, line, done);
      } catch (error) {
        // Half a line would run into the next one.
        attempted(() => ftruncateSync(this.#file as number, size));
        throw error;
      }
    });
  }

  /** Cuts the file before the first record that is damaged or that `keep` refuses; gives those that stay. */
  cut(keep: (record: T) => boolean): T[] {
    const { records, end, size } = readWhile(this.path, keep);
    if (end < size) this.#attempt(() => truncateSync(this.path, end));
    return records;
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
  }

  #attempt<R>(action: () => R): R {
    try {
      return action();
    } catch (error) {
      const message = `${this.path}: could not be written (${(error as Error).message}); what is in it is kept`;
      throw new StepsizeError("invalid-file", message, { cause: error });
    }
  }
}

/** Does what may fail for the same reason as what it comes after. */
function attempted(action: () => void): void {
  try {
    action();
  } catch {
    // The first failure is the one to be told.
  }
}

/** The records up to the first that `keep` refuses or that is damaged, and the byte where they end. */
function readWhile<T>(path: string, keep: (record: T) => boolean): { records: T[]; end: number; size: number } {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return { records: [], end: 0, size: 0 };
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
  return { records, end, size: bytes.length };
}
