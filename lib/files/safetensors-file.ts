import type { FileHandle } from "node:fs/promises";
import { allocate } from "../allocate.js";
import { shown } from "../quoting.js";
import { openFile, readInto } from "../read-file.js";
import { checksumKey, continued, damaged, hex, readChecksums } from "./checksums.js";
import { lengthBytes, readHeader, readHeaderLength, refuse, type StoredEntry } from "./safetensors-header.js";

/**
 * Largest number of bytes of a tensor in memory while it is read or written block by block. It is a multiple of every
 * element size.
 */
export const blockBytes = 2 ** 24;

/** A tensor in an open safetensors file. Values are read from the file when they are needed. */
export class StoredTensor {
  /** Name of the tensor. */
  readonly name: string;
  /** Type of the values as the format names it, such as `F32`. */
  readonly code: string;
  /** Shape of the tensor. */
  readonly shape: readonly number[];
  /** Size of the values in bytes. */
  readonly bytes: number;
  readonly #file: StoredFile;
  readonly #from: number;
  readonly #checksum: string | undefined;
  #isVerified = false;

  /** @internal */
  constructor(file: StoredFile, name: string, { code, shape, from, to }: StoredEntry, checksum: string | undefined) {
    this.#file = file;
    this.name = name;
    this.code = code;
    this.shape = shape;
    this.bytes = to - from;
    this.#from = from;
    this.#checksum = checksum;
  }

  /** Path of the file. */
  get path(): string {
    return this.#file.path;
  }

  /**
   * Yields the bytes in blocks of {@link blockBytes}, in order. The next block is read in the meantime.
   *
   * A block is valid until the next one is requested. It is aligned for every type of number.
   *
   * @throws StepsizeError `invalid-file` at any block if the file cannot be read, and after the last block if the
   * tensor does not match its checksum; `out-of-memory`
   */
  async *blocks(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    const size = Math.min(this.bytes, blockBytes);
    let buffer = this.#file.borrow(size);
    let otherBuffer = this.bytes > blockBytes ? this.#file.borrow(size) : undefined;
    const read = (start: number) => {
      const block = buffer.subarray(0, Math.min(size, this.bytes - start));
      if (otherBuffer) [buffer, otherBuffer] = [otherBuffer, buffer];
      const reading = this.#file.readInto(block, this.#from + start, shown(this.name)).then(() => block);
      // A consumer that leaves early does not await it.
      reading.catch(() => {});
      return reading;
    };
    let next: Promise<Uint8Array<ArrayBuffer>> | undefined;
    let sum = 0;
    try {
      next = this.bytes > 0 ? read(0) : undefined;
      for (let start = 0; next; ) {
        const block = await next;
        start += block.length;
        next = start < this.bytes ? read(start) : undefined;
        if (this.#checksum !== undefined) sum = continued(sum, block);
        yield block;
      }
    } finally {
      // A pending read must not write into a buffer that another reader borrows.
      await next?.catch(() => {});
      this.#file.giveBack(buffer);
      if (otherBuffer) this.#file.giveBack(otherBuffer);
    }
    if (this.#checksum === undefined) return;
    if (hex(sum) !== this.#checksum)
      damaged(
        this.path,
        `the values of ${shown(this.name)} are not those that were written (CRC-32 ${hex(sum)}, expected ${this.#checksum})`,
      );
    this.#isVerified = true;
  }

  /**
   * Returns all bytes in a new array.
   *
   * @throws StepsizeError as {@link blocks}
   */
  async read(): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = allocate(`${this.path}: ${shown(this.name)}`, () => new Uint8Array(this.bytes));
    let at = 0;
    for await (const block of this.blocks()) {
      bytes.set(block, at);
      at += block.length;
    }
    return bytes;
  }

  /**
   * Reads the values and verifies their checksum. Does nothing if the file has no checksum, or if the values were
   * verified since the file was opened.
   *
   * @throws StepsizeError as {@link blocks}
   */
  async verify(): Promise<void> {
    if (this.#checksum === undefined || this.#isVerified) return;
    for await (const _ of this.blocks());
  }
}

/** An open safetensors file. {@link openStored} creates it. */
export class StoredFile {
  /** Path of the file. */
  readonly path: string;
  /** Tensors by name, in the order of the header. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Metadata without the checksums. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly #file: FileHandle;
  /** Buffers that are not in use. */
  readonly #buffers: Uint8Array<ArrayBuffer>[] = [];

  private constructor(
    path: string,
    file: FileHandle,
    entries: ReadonlyMap<string, StoredEntry>,
    metadata: Readonly<Record<string, string>>,
    checksums: ReadonlyMap<string, string> | undefined,
  ) {
    this.path = path;
    this.#file = file;
    this.tensors = new Map(
      [...entries].map(([name, entry]) => [name, new StoredTensor(this, name, entry, checksums?.get(name))]),
    );
    this.metadata = metadata;
  }

  /** @internal Opens a file; see {@link openStored}. */
  static async open(path: string): Promise<StoredFile> {
    const { file, size } = await openFile(path);
    try {
      const first = Buffer.alloc(Math.min(lengthBytes, size));
      await readAll(path, file, first, 0, "the header's length");
      const length = readHeaderLength(path, first, size);
      const header = Buffer.alloc(lengthBytes + length);
      await readAll(path, file, header, 0, "the header");
      const { entries, metadata } = readHeader(path, header.subarray(lengthBytes), size);
      const checksums = readChecksums(path, header, metadata);
      const { [checksumKey]: _, ...callerMetadata } = metadata;
      return new StoredFile(path, file, entries, callerMetadata, checksums);
    } catch (error) {
      await file.close().catch(() => {});
      throw error;
    }
  }

  /** Closes the file. Its tensors can no longer be read. */
  async close(): Promise<void> {
    await this.#file.close().catch(() => {});
  }

  /** @internal Fills a block with bytes of the file from an offset on. `what` is for errors. */
  async readInto(block: Uint8Array, start: number, what: string): Promise<void> {
    await readAll(this.path, this.#file, block, start, what);
  }

  /** @internal Returns a buffer of at least this many bytes for one reader. */
  borrow(bytes: number): Uint8Array<ArrayBuffer> {
    const found = this.#buffers.find((buffer) => buffer.length >= bytes);
    if (found === undefined) return allocate(this.path, () => new Uint8Array(bytes));
    this.#buffers.splice(this.#buffers.indexOf(found), 1);
    return found;
  }

  /** @internal Takes a borrowed buffer back. */
  giveBack(buffer: Uint8Array<ArrayBuffer>): void {
    this.#buffers.push(buffer);
    // The two largest buffers are enough for every tensor.
    if (this.#buffers.length > 2) this.#buffers.sort((a, b) => b.length - a.length).length = 2;
  }
}

/**
 * Opens a safetensors file and checks its header, without restrictions on the types. The caller closes it.
 *
 * @throws StepsizeError `invalid-argument` if `path` is not a text; `not-found` if there is no file; `invalid-file`
 * with the offset, what was expected and what was found
 */
export function openStored(path: string): Promise<StoredFile> {
  return StoredFile.open(path);
}

/**
 * Opens a safetensors file and closes it when `use` is done.
 *
 * @throws StepsizeError as {@link openStored}
 */
export async function withStored<T>(path: string, use: (file: StoredFile) => Promise<T>): Promise<T> {
  const file = await openStored(path);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

async function readAll(path: string, file: FileHandle, into: Uint8Array, start: number, what: string): Promise<void> {
  const read = await readInto({ file, path }, into, start);
  if (read < into.length)
    refuse(path, start + read, `the bytes of ${what}`, "the end of the file: it was cut short since it was opened");
}
