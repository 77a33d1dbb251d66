import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { codeOf } from "../realms.js";

/** Receives the content of a {@link JsonTail}. */
export interface TailSink {
  /** Called before the first line of a file that was replaced, cut or removed. What was received before is void. */
  reset(): void;
  /**
   * Called for each complete line.
   * @param value the parsed line
   * @param offset index of its first byte in the file
   */
  line(value: unknown, offset: number): void;
}

/** Bytes that are read and parsed at once, so that the event loop is free in between. */
const chunkBytes = 256 * 1024;
/** A longer line is no record. It is skipped, so that memory stays bounded. */
const maxLineBytes = 1024 * 1024;
/** Bytes before the end of what was read. If they differ later, the file was cut and written again. */
const markBytes = 256;

/**
 * Reads a file of JSON lines that another process appends to. Each call of {@link read} reads what was added since.
 *
 * A last line without a line feed is left for the next call, because it may be half written. Lines that are not JSON are
 * skipped. A training that is resumed cuts its records and writes them again; then the file is read from its beginning.
 */
export class JsonTail {
  readonly path: string;
  /** Index of the first byte that was not read yet. It is the beginning of a line. */
  #offset = 0;
  #inode = 0;
  #mark: Buffer = Buffer.alloc(0);
  /** Whether the bytes before `#offset` are the start of a line that is too long. */
  #isInLongLine = false;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Reads the lines that were added since the last call. A file that does not exist has no lines.
   *
   * @returns whether anything changed
   */
  async read(sink: TailSink): Promise<boolean> {
    let file: FileHandle;
    try {
      // Without O_NONBLOCK, opening a pipe would wait for a writer.
      file = await open(this.path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") return false;
      return this.#forget(sink);
    }
    try {
      const found = await file.stat();
      if (!found.isFile()) return false;
      const { size, ino } = found;
      let changed = false;
      if (ino !== this.#inode || size < this.#offset || !(await this.#isUnchanged(file))) changed = this.#forget(sink);
      this.#inode = ino;
      return (await this.#readFrom(file, sink)) || changed;
    } finally {
      await file.close();
    }
  }

  /** Starts again at the beginning. */
  #forget(sink: TailSink): boolean {
    if (this.#offset === 0) return false;
    [this.#offset, this.#mark, this.#isInLongLine] = [0, Buffer.alloc(0), false];
    sink.reset();
    return true;
  }

  /** Whether the last bytes that were read are still in their place. */
  async #isUnchanged(file: FileHandle): Promise<boolean> {
    const { length } = this.#mark;
    if (length === 0) return true;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, this.#offset - length);
    return bytesRead === length && buffer.equals(this.#mark);
  }

  async #readFrom(file: FileHandle, sink: TailSink): Promise<boolean> {
    let changed = false;
    const chunk = Buffer.allocUnsafe(chunkBytes);
    /** Bytes of an incomplete line, from `#offset`. */
    let rest = Buffer.alloc(0);
    for (;;) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, this.#offset + rest.length);
      if (bytesRead === 0) return changed;
      const bytes = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
      const end = bytes.lastIndexOf(10) + 1;
      if (end > 0) {
        this.#parse(bytes.subarray(0, end), sink);
        this.#advance(bytes.subarray(0, end));
        changed = true;
      }
      rest = bytes.subarray(end);
      if (rest.length <= maxLineBytes) continue;
      this.#advance(rest);
      this.#isInLongLine = true;
      rest = Buffer.alloc(0);
    }
  }

  #advance(bytes: Buffer): void {
    this.#offset += bytes.length;
    this.#mark = Buffer.from(Buffer.concat([this.#mark, bytes.subarray(-markBytes)]).subarray(-markBytes));
  }

  #parse(bytes: Buffer, sink: TailSink): void {
    let start = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
      if (this.#isInLongLine) this.#isInLongLine = false;
      else {
        let value: unknown;
        try {
          value = JSON.parse(bytes.toString("utf8", start, end));
        } catch {
          // It is no record. `train --resume` names the line.
        }
        if (value !== undefined) sink.line(value, this.#offset + start);
      }
      start = end + 1;
    }
  }
}
