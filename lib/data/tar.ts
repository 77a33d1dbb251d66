import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { allocate } from "../allocate.js";
import { StepsizeError } from "../errors.js";
import { openFile, readInto } from "../read-file.js";
import { messageOf } from "../realms.js";
import { invalidFile } from "./files.js";

/** Size of a header, to which the content of a file is also padded. */
const blockBytes = 512;

/** Largest number of entries of an archive. Archives of data sets in few files have fewer. */
const maxEntries = 10_000;

/**
 * Reads files of a tar archive, plain or gzipped, in one pass. Only the wanted files are kept in memory.
 *
 * @param wanted names of files, without their folders
 * @param maxBytes largest size of a wanted file
 * @returns the contents of the wanted files, and the names of all files, sorted
 * @throws StepsizeError `not-found` if there is no such file; `invalid-file` if it is no archive, is damaged or cut
 * short, or if a wanted file is too large; `out-of-memory`
 */
export async function readTar(
  path: string,
  wanted: readonly string[],
  maxBytes: number,
): Promise<{ readonly files: ReadonlyMap<string, Uint8Array>; readonly names: readonly string[] }> {
  const { file } = await openFile(path);
  try {
    const beginning = new Uint8Array(2);
    await readInto({ file, path }, beginning, 0);
    const reader = new TarReader(path, wanted, maxBytes);
    const consume = async (chunks: AsyncIterable<Uint8Array>) => {
      for await (const chunk of chunks) reader.add(chunk);
    };
    const packed = file.createReadStream({ autoClose: false, start: 0, highWaterMark: 2 ** 18 });
    if (beginning[0] !== 0x1f || beginning[1] !== 0x8b) await consume(packed);
    else
      try {
        await pipeline(packed, createGunzip({ chunkSize: 2 ** 18 }), consume);
      } catch (cause) {
        if (cause instanceof StepsizeError) throw cause;
        invalidFile(path, 0, "gzip data", `a gzip header and then: ${messageOf(cause)}`, { cause });
      }
    return reader.end();
  } finally {
    await file.close();
  }
}

class TarReader {
  readonly #path: string;
  readonly #wanted: readonly string[];
  readonly #maxBytes: number;
  readonly #files = new Map<string, Uint8Array>();
  readonly #names: string[] = [];
  readonly #header = new Uint8Array(blockBytes);
  #headerBytes = 0;
  /** Number of bytes so far, unpacked, for messages. */
  #position = 0;
  /** The wanted file that is being read. */
  #file: Uint8Array | undefined;
  #fileBytes = 0;
  /** Bytes of the entry and its padding that are still to come. */
  #rest = 0;
  #ended = false;

  constructor(path: string, wanted: readonly string[], maxBytes: number) {
    this.#path = path;
    this.#wanted = wanted;
    this.#maxBytes = maxBytes;
  }

  add(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length && !this.#ended; ) {
      const missing = this.#rest > 0 ? this.#rest : blockBytes - this.#headerBytes;
      const part = chunk.subarray(at, at + missing);
      at += part.length;
      this.#position += part.length;
      if (this.#rest > 0) this.#addContent(part);
      else this.#addHeader(part);
    }
  }

  end() {
    if (!this.#ended && (this.#rest > 0 || this.#headerBytes > 0))
      invalidFile(this.#path, this.#position, "the rest of a tar archive", "the end of the file");
    if (this.#position === 0) invalidFile(this.#path, 0, "a tar archive, plain or gzipped", "an empty file");
    return { files: this.#files, names: this.#names.sort() };
  }

  #addContent(part: Uint8Array): void {
    const file = this.#file;
    if (file) {
      const content = part.subarray(0, file.length - this.#fileBytes);
      file.set(content, this.#fileBytes);
      this.#fileBytes += content.length;
    }
    this.#rest -= part.length;
  }

  #addHeader(part: Uint8Array): void {
    this.#header.set(part, this.#headerBytes);
    this.#headerBytes += part.length;
    if (this.#headerBytes < blockBytes) return;
    this.#headerBytes = 0;
    // A block of zeros ends the archive.
    if (this.#header.every((byte) => byte === 0)) this.#ended = true;
    else this.#beginEntry();
  }

  #beginEntry(): void {
    const at = this.#position - blockBytes;
    // The checksum is computed with spaces in its own place.
    const sum = this.#header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
    if (this.#octal(148, 8) !== sum)
      invalidFile(this.#path, at, "a header of a tar archive, plain or gzipped", "another checksum");
    const size = this.#octal(124, 12);
    if (size === undefined) invalidFile(this.#path, at + 124, "a size in octal digits", "other bytes");
    const type = this.#header[156];
    const name = this.#text(0, 100).split("/").at(-1) ?? "";
    const isFile = type === 0x30 || type === 0;
    this.#file = undefined;
    this.#fileBytes = 0;
    this.#rest = Math.ceil(size / blockBytes) * blockBytes;
    if (!isFile) return;
    this.#names.push(name);
    if (this.#names.length > maxEntries)
      invalidFile(this.#path, at, `an archive of at most ${maxEntries} files`, "more files");
    if (!this.#wanted.includes(name)) return;
    if (size > this.#maxBytes)
      invalidFile(this.#path, at + 124, `at most ${this.#maxBytes} bytes for ${name}`, String(size));
    this.#file = allocate(`${this.#path}: ${name}`, () => new Uint8Array(size));
    this.#files.set(name, this.#file);
  }

  #text(start: number, length: number): string {
    const bytes = this.#header.subarray(start, start + length);
    const end = bytes.indexOf(0);
    return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString("utf8");
  }

  #octal(start: number, length: number): number | undefined {
    const text = this.#text(start, length).trim();
    return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : undefined;
  }
}
