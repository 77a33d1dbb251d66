import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { StepsizeError } from "../errors.js";
import { codeOf, messageOf } from "../realms.js";
import { Place, type Schema } from "../schema.js";

/** A file with one JSON object per line, written by {@link jsonLine}. Lines are only appended. */
export class JsonLinesFile<T extends object> {
  /** Path of the file. */
  readonly path: string;
  #file: number | undefined;
  /** Lines that could not be written yet. */
  #pending: Buffer[] = [];

  /** Opens no file yet. The first line creates it. */
  constructor(path: string) {
    this.path = path;
  }

  /**
   * Appends a value as a line, without a buffer, because the lines that a checkpoint refers to must be in the file after
   * a kill.
   *
   * A line that cannot be written is kept in memory. It is written before the next one, or by {@link flush}.
   *
   * @throws StepsizeError `invalid-file` if the line cannot be written, for example because of a full disk
   */
  add(value: T): void {
    this.#pending.push(Buffer.from(`${jsonLine(value)}\n`));
    this.flush();
  }

  /**
   * Writes the lines that could not be written before.
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
   * Truncates the file before the first line whose value `accepts` rejects, and before a partially written last line.
   *
   * @param schema schema of a line
   * @returns the values of the remaining lines, and whether a partial line was removed
   * @throws StepsizeError `invalid-file` naming the first line that does not fit the schema. The file is unchanged
   * then.
   */
  cut(schema: Schema<T>, accepts: (value: T) => boolean): { readonly values: T[]; readonly wasTorn: boolean } {
    const { values, end, size, wasTorn } = readWhile(this.path, schema, accepts);
    if (end < size) this.#attempt(() => truncateSync(this.path, end));
    return { values, wasTorn };
  }

  /** Closes the file. Lines that could not be written are lost. */
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
 * Returns a value as JSON on one line. JSON has no numbers that are not finite. They become the strings `"NaN"`,
 * `"Infinity"` and `"-Infinity"`, which {@link anyNumber} reads.
 */
export function jsonLine(value: object): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "number" && !Number.isFinite(part) ? String(part) : part,
  );
}

/**
 * Schema of a number in a line, finite or not. Earlier versions wrote `null` for every number that is not finite. It
 * is read as NaN.
 */
export const anyNumber: Schema<number> = (value, place) => {
  if (value === null) return Number.NaN;
  if (value === "NaN" || value === "Infinity" || value === "-Infinity") return Number(value);
  return typeof value === "number" ? value : place.refuse("a number", value);
};

/** Returns the values of the lines up to the first that `accepts` rejects, and the offset at which they end. */
function readWhile<T>(path: string, schema: Schema<T>, accepts: (value: T) => boolean) {
  const bytes = bytesOf(path);
  const size = bytes.length;
  const values: T[] = [];
  let end = 0;
  for (let next = bytes.indexOf("\n"); next >= 0; next = bytes.indexOf("\n", end)) {
    const place = `${path}:${values.length + 1}`;
    let value: T;
    try {
      value = schema(JSON.parse(bytes.toString("utf8", end, next)), new Place(place));
    } catch (error) {
      const message = error instanceof StepsizeError ? error.message : `${place}: ${messageOf(error)}`;
      const mend = "Mend the line, or remove it and those after it: a run goes on without them, and tells of it";
      throw new StepsizeError("invalid-file", `${message}. ${mend}`, { cause: error });
    }
    if (!accepts(value)) return { values, end, size, wasTorn: false };
    values.push(value);
    end = next + 1;
  }
  return { values, end, size, wasTorn: end < size };
}

function bytesOf(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return Buffer.alloc(0);
    throw new StepsizeError("invalid-file", `${path}: cannot be read (${messageOf(error)})`, { cause: error });
  }
}
