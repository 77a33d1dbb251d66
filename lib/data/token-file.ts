import { createHash } from "node:crypto";
import { close, constants, fstat, open, read } from "node:fs";
import { promisify } from "node:util";
import { StepsizeError } from "../errors.js";
import { unreadable } from "../read-file.js";
import { invalidFile } from "./files.js";
import { type TokenType, tokenWidth } from "./token-folder.js";

/** Where ids are stored, and what is known of them. */
export interface TokenStore {
  readonly path: string;
  readonly dtype: TokenType;
  readonly vocabulary: number;
  readonly tokens: number;
  /** Bytes before the first id. */
  readonly skip: number;
}

const [openFile, readFrom, statOf, closeFile] = [promisify(open), promisify(read), promisify(fstat), promisify(close)];

/**
 * Reads ids at any place of a file, and holds none of it. The file is opened at the first read and stays open until
 * `close`. Reads may overlap each other.
 */
export class TokenFile {
  readonly #store: TokenStore;
  // A number and not a FileHandle: Node warns of one that was left to the garbage collector.
  #file: Promise<number> | undefined;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(store: TokenStore) {
    this.#store = store;
  }

  /**
   * Ids from position `first` on.
   * @throws `not-found`; `invalid-file` where the file is not as long as it should be, or an id is not below the vocabulary
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

  /** A digest of the file's length and 64 blocks of it at even distances: cheap, however large the file is. */
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

  /** Waits for what is being read, and gives the file back. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#underWay);
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) await file.then(closeFile, () => {});
  }

  #bytes(start: number, length: number): Promise<Uint8Array> {
    const bytes = this.#readBytes(start, length);
    this.#underWay.add(bytes);
    const done = () => void this.#underWay.delete(bytes);
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
    // Opening a pipe would otherwise wait for who writes to it.
    const flags = constants.O_RDONLY | constants.O_NONBLOCK;
    const file = await openFile(path, flags).catch((error: unknown) => {
      throw unreadable(path, error);
    });
    try {
      const found = await statOf(file);
      if (!found.isFile()) throw new StepsizeError("invalid-file", `${path}: is no file; expected one of tokens`);
      checkLength(path, found.size, dtype, skip, tokens);
      return file;
    } catch (error) {
      await closeFile(file);
      throw error;
    }
  }
}

/**
 * How many ids a file of so many bytes has.
 * @throws `invalid-file` where these are no whole ids, or not as many as expected
 */
export function checkLength(path: string, size: number, dtype: TokenType, skip: number, expected?: number): number {
  const width = tokenWidth[dtype];
  const tokens = (size - skip) / width;
  if (expected !== undefined && tokens !== expected) {
    const wanted = skip + expected * width;
    const found = `a file of ${size} bytes; it is not the one that was described`;
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
