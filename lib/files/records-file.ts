import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { StepsizeError } from "../errors.js";
import { codeOf, messageOf } from "../realms.js";
import { Place, type Schema } from "../schema.js";

/** A file with one JSON object per line, written by {@link recordText}. Records are only appended. */
export class RecordsFile<T extends object> {
  /** Path of the file. */
  readonly path: string;
  #file: number | undefined;
  /** Lines that could not be written yet. */
  #pending: Buffer[] = [];

  /** Opens no file yet. The first record creates it. */
  constructor(path: string) {
    this.path = path;
  }

  /**
   * Appends a record without a buffer, because the records that a checkpoint refers to must be in the file after a
   * kill.
   *
   * A record that cannot be written is kept in memory. It is written before the next one, or by {@link flush}.
   *
   * @throws StepsizeError `invalid-file` if the record cannot be written, for example because of a full disk
   */
  add(record: T): void {
    this.#pending.push(Buffer.from(`${recordText(record)}\n`));
    this.flush();
  }

  /**
   * Writes the records that could not be written before.
   *
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
      const file = this.#file;
      const { size } = fstatSync(file);
      try {
        for (let done = 0; done < line.length; ) done += writeSync(file, line, done);
      } catch (error) {
        // A partial line would run into the next one.
        ignoringErrors(() => ftruncateSync(file, size));
        throw error;
      }
    });
  }

  /**
   * Truncates the file before the first record that `keep` rejects, and before a partially written last line.
   *
   * @param schema schema of a line
   * @returns the remaining records, and whether a partial line was removed
   * @throws StepsizeError `invalid-file` naming the first line that does not fit the schema. The file is unchanged
   * then.
   */
  cut(schema: Schema<T>, keep: (record: T) => boolean): { readonly records: T[]; readonly wasTorn: boolean } {
    const { records, end, size, wasTorn } = readWhile(this.path, schema, keep);
    if (end < size) this.#attempt(() => truncateSync(this.path, end));
    return { records, wasTorn };
  }

  /** Closes the file. Records that could not be written are lost. */
  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
  }

  #attempt<R>(action: () => R): R {
    try {
      return action();
    } catch (error) {
      const message = `${this.path}: could not be written (${messageOf(error)}); what is in it is kept`;
      throw new StepsizeError("invalid-file", message, { cause: error });
    }
  }
}

/** Does something that may fail for the same reason as a failure before it. */
function ignoringErrors(action: () => void): void {
  try {
    action();
  } catch {
    // The first failure is the one to report.
  }
}

/**
 * Returns a record as JSON on one line. JSON has no numbers that are not finite. They become the strings `"NaN"`,
 * `"Infinity"` and `"-Infinity"`, which {@link recordedNumber} reads.
 */
export function recordText(record: object): string {
  return JSON.stringify(record, (_, value: unknown) =>
    typeof value === "number" && !Number.isFinite(value) ? String(value) : value,
  );
}

/**
 * Schema of a number in a record, finite or not. Earlier versions wrote `null` for every number that is not finite. It
 * is read as NaN.
 */
export const recordedNumber: Schema<number> = (value, place) => {
  if (value === null) return Number.NaN;
  if (value === "NaN" || value === "Infinity" || value === "-Infinity") return Number(value);
  return typeof value === "number" ? value : place.refuse("a number", value);
};

/** Returns the records up to the first that `keep` rejects, and the offset at which they end. */
function readWhile<T>(path: string, schema: Schema<T>, keep: (record: T) => boolean) {
  const bytes = bytesOf(path);
  const size = bytes.length;
  const records: T[] = [];
  let end = 0;
  for (let next = bytes.indexOf("\n"); next >= 0; next = bytes.indexOf("\n", end)) {
    const place = `${path}:${records.length + 1}`;
    let record: T;
    try {
      record = schema(JSON.parse(bytes.toString("utf8", end, next)), new Place(place));
    } catch (error) {
      const message = error instanceof StepsizeError ? error.message : `${place}: ${messageOf(error)}`;
      const mend = "Mend the line, or remove it and those after it: a run goes on without them, and tells of it";
      throw new StepsizeError("invalid-file", `${message}. ${mend}`, { cause: error });
    }
    if (!keep(record)) return { records, end, size, wasTorn: false };
    records.push(record);
    end = next + 1;
  }
  return { records, end, size, wasTorn: end < size };
}

function bytesOf(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return Buffer.alloc(0);
    throw new StepsizeError("invalid-file", `${path}: cannot be read (${messageOf(error)})`, { cause: error });
  }
}
