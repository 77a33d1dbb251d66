import { createHash } from "node:crypto";
import { close, constants, fstat, open, read } from "node:fs";
import { promisify } from "node:util";
import { StepsizeError } from "../errors.js";
import { unreadable } from "../read-file.js";
import { invalidFile } from "./files.js";
import { type TokenType, tokenWidth } from "./token-folder.js";

/** A file of ids: its location and its format. */
export interface TokenStore {
  readonly path: string;
  readonly dtype: TokenType;
  readonly vocabulary: number;
  readonly tokens: number;
  /** Number of bytes before the first id. */
  readonly skip: number;
}

const [openFile, readFrom, statOf, closeFile] = [promisify(open), promisify(read), promisify(fstat), promisify(close)];

/**
 * Reads ids at any position of a file, without keeping them in memory. The first read opens the file, which stays open
 * until `close`. Several reads may be pending at the same time.
 */
export class TokenFile {
  readonly #store: TokenStore;
  // This is a number and not a FileHandle, because Node warns if a FileHandle is garbage-collected.
  #file: Promise<number> | undefined;
  readonly #pending = new Set<Promise<unknown>>();

  constructor(store: TokenStore) {
    this.#store = store;
  }

  /**
   * Reads `count` ids from position `first` on.
   *
   * @throws StepsizeError `not-found` if the file does not exist; `invalid-file` if it has another length than
   * expected, if an id is not below the vocabulary, or if it cannot be read
   */
  async read(first: number, count: number): Promise<Int32Array> {
    const { path, dtype, vocabulary, skip } = this.#store;
    const width = tokenWidth[dtype];
    const start = skip + first * width;
    const bytes = await this.#bytes(start, count * width);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const ids = new Int32Array(count);
    for (let i = 0; i < count; i++) {
      const id = width === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true);
      if (id >= vocabulary) {
        const hint = "the file is damaged, or was made with another tokenizer or width";
        invalidFile(path, start + i * width, `an id below the vocabulary of ${vocabulary}`, `${id}; ${hint}`);
      }
      ids[i] = id;
    }
    return ids;
  }

  /** Computes a digest of the length and of 64 evenly spread blocks of the file. Its cost does not depend on the size. */
  async sampleDigest(): Promise<string> {
    const { tokens, dtype, skip } = this.#store;
    const [size, block, blocks] = [tokens * tokenWidth[dtype], 4096, 64];
    const hash = createHash("sha256").update(String(size));
    for (let i = 0; i < blocks; i++) {
      const at = Math.floor((Math.max(0, size - block) * i) / (blocks - 1));
      hash.update(await this.#bytes(skip + at, Math.min(block, size)));
    }
    return hash.digest("hex");
  }

  /** Waits for pending reads and closes the file. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#pending);
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) await file.then(closeFile, () => {});
  }

  #bytes(start: number, length: number): Promise<Uint8Array> {
    const bytes = this.#readBytes(start, length);
    this.#pending.add(bytes);
    const done = () => void this.#pending.delete(bytes);
    bytes.then(done, done);
    return bytes;
  }

  async #readBytes(start: number, length: number): Promise<Uint8Array> {
    const { path } = this.#store;
    this.#file ??= this.#open();
    const file = await this.#file;
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await readFrom(file, bytes, done, length - done, start + done).catch((error: unknown) => {
        throw unreadable(path, error);
      });
      if (bytesRead === 0) {
        const found = `the end of the file at ${start + done}: it was cut short since it was opened`;
        invalidFile(path, start, `${length} bytes of ids`, found);
      }
      done += bytesRead;
    }
    return bytes;
  }

  async #open(): Promise<number> {
    const { path, tokens, dtype, skip } = this.#store;
    // Without O_NONBLOCK, opening a pipe would wait for a writer.
    const flags = constants.O_RDONLY | constants.O_NONBLOCK;
    const file = await openFile(path, flags).catch((error: unknown) => {
      throw unreadable(path, error);
    });
    try {
      const found = await statOf(file);
      if (!found.isFile())
        throw new StepsizeError(
          "invalid-file",
          `${path}: expected a file of tokens, found something that is not a file`,
        );
      checkLength(path, found.size, dtype, skip, tokens);
      return file;
    } catch (error) {
      await closeFile(file);
      throw error;
    }
  }
}

/**
 * Computes the number of ids in a file from its size in bytes.
 *
 * @param skip number of bytes before the first id
 * @param expected the expected number of ids; default any
 * @throws StepsizeError `invalid-file` if the size is not a whole number of ids, or not the expected one
 */
export function checkLength(path: string, size: number, dtype: TokenType, skip: number, expected?: number): number {
  const width = tokenWidth[dtype];
  const tokens = (size - skip) / width;
  if (expected !== undefined && tokens !== expected) {
    const wanted = skip + expected * width;
    const found = `a file of ${size} bytes`;
    invalidFile(path, Math.min(size, wanted), `${wanted} bytes: ${expected} ids of type ${dtype}`, found);
  }
  if (!Number.isInteger(tokens) || tokens < 0) {
    invalidFile(
      path,
      size,
      `whole ids of ${width} bytes${skip > 0 ? ` after ${skip}` : ""}`,
      `a file of ${size} bytes`,
    );
  }
  return tokens;
}
