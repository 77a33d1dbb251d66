import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { type SplitInfo, type TokenType, tokenWidth } from "./token-folder.js";

/** Writes the ids of a split to a file, document by document. */
export class TokenWriter {
  readonly #file: FileHandle;
  readonly #dtype: TokenType;
  readonly #hash = createHash("sha256");
  #documents = 0;
  #tokens = 0;
  #bytes = 0;

  private constructor(file: FileHandle, dtype: TokenType) {
    this.#file = file;
    this.#dtype = dtype;
  }

  static async create(path: string, dtype: TokenType): Promise<TokenWriter> {
    return new TokenWriter(await open(path, "wx"), dtype);
  }

  /**
   * Appends a document and an end-of-text id.
   *
   * @param end the end-of-text id
   * @param bytes number of bytes of the document's text
   */
  async add(ids: Int32Array, end: number, bytes: number): Promise<void> {
    const width = tokenWidth[this.#dtype];
    const chunk = new DataView(new ArrayBuffer((ids.length + 1) * width));
    const put = (id: number, i: number) =>
      width === 2 ? chunk.setUint16(2 * i, id, true) : chunk.setUint32(4 * i, id, true);
    ids.forEach(put);
    put(end, ids.length);
    const stored = new Uint8Array(chunk.buffer);
    // `write` may write only a part if the disk is full. `appendFile` writes everything or fails.
    await this.#file.appendFile(stored);
    this.#hash.update(stored);
    this.#documents += 1;
    this.#tokens += ids.length + 1;
    this.#bytes += bytes;
  }

  /** Flushes the file to disk, closes it, and returns the facts about the split. */
  async finish(): Promise<SplitInfo> {
    await this.#file.sync();
    await this.#file.close();
    return { documents: this.#documents, tokens: this.#tokens, bytes: this.#bytes, digest: this.#hash.digest("hex") };
  }

  /** Closes an unfinished file. Does nothing after {@link finish}. */
  async abandon(): Promise<void> {
    await this.#file.close().catch(() => {});
  }
}
