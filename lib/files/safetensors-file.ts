import type { FileHandle } from "node:fs/promises";
import { allocate } from "../allocate.js";
import { shown } from "../quoting.js";
import { openFile, readInto } from "../read-file.js";
import { checksumKey, continued, damaged, hex, readChecksums } from "./checksums.js";
import { lengthBytes, readHeader, readHeaderLength, refuse, type StoredEntry } from "./safetensors-header.js";

/**
 * The most bytes of a tensor that are in memory at once while it is read or written block by block. A multiple of every
 * element's size.
 */
export const blockBytes = 2 ** 24;

/** A tensor in a safetensors file that is open. Its values stay in the file until they are asked for. */
export class StoredTensor {
  readonly name: string;
  /** The format's name of the type, such as `F32`. */
  readonly code: string;
  readonly shape: readonly number[];
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

  get path(): string {
    return this.#file.path;
  }

  /**
   * The bytes in blocks of {@link blockBytes}, in order. A block is good until the next is asked for, and begins at a
   * place in memory where numbers of every type may begin. The next one is read meanwhile.
   *
   * @throws StepsizeError `invalid-file` after the last block if the tensor does not have the checksum that the file
   * says, and at any block if the file cannot be read
   */
  async *blocks(): AsyncGenerator<Uint8Array, void, undefined> {
    const size = Math.min(this.bytes, blockBytes);
    const buffers = [this.#file.borrow(size)];
    if (this.bytes > blockBytes) buffers.push(this.#file.borrow(size));
    const read = (start: number, turn: number) => {
      const block = (buffers[turn % buffers.length] as Uint8Array).subarray(0, Math.min(size, this.bytes - start));
      const reading = this.#file.readInto(block, this.#from + start, shown(this.name)).then(() => block);
      // Whoever leaves before does not ask how it ended.
      reading.catch(() => {});
      return reading;
    };
    let next: Promise<Uint8Array> | undefined;
    let sum = 0;
    try {
      next = this.bytes > 0 ? read(0, 0) : undefined;
      for (let start = 0, turn = 1; next; turn++) {
        const block = await next;
        start += block.length;
        next = start < this.bytes ? read(start, turn) : undefined;
        if (this.#checksum !== undefined) sum = continued(sum, block);
        yield block;
      }
    } finally {
      // A read that is under way must not write into what another reader borrows.
      await next?.catch(() => {});
      for (const buffer of buffers) this.#file.giveBack(buffer);
    }
    if (this.#checksum === undefined) return;
    if (hex(sum) !== this.#checksum)
      damaged(
        this.path,
        `the values of ${shown(this.name)} are not those that were written (CRC-32 ${hex(sum)}, expected ${this.#checksum})`,
      );
    this.#isVerified = true;
  }

  /** All bytes, in memory of their own. @throws StepsizeError as {@link blocks}; `out-of-memory` */
  async read(): Promise<Uint8Array> {
    const bytes = allocate(`${this.path}: ${shown(this.name)}`, () => new Uint8Array(this.bytes));
    let at = 0;
    for await (const block of this.blocks()) {
      bytes.set(block, at);
      at += block.length;
    }
    return bytes;
  }

  /**
   * Reads the values and compares them with their checksum. Does nothing if the file has none, or if they were read to
   * their end since it was opened and had it.
   */
  async verify(): Promise<void> {
    if (this.#checksum === undefined || this.#isVerified) return;
    for await (const _ of this.blocks());
  }
}

/** A safetensors file that is open. {@link openStored} makes these. */
export class StoredFile {
  readonly path: string;
  /** By name, in the order of the header. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Without the checksums. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly #file: FileHandle;
  /** Buffers that nobody uses. */
  readonly #buffers: Uint8Array[] = [];

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

  /** @internal */
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
      const { [checksumKey]: _, ...others } = metadata;
      return new StoredFile(path, file, entries, others, checksums);
    } catch (error) {
      await file.close().catch(() => {});
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#file.close().catch(() => {});
  }

  /** @internal */
  async readInto(block: Uint8Array, start: number, what: string): Promise<void> {
    await readAll(this.path, this.#file, block, start, what);
  }

  /** @internal A buffer of at least so many bytes, for one reader. */
  borrow(bytes: number): Uint8Array {
    const at = this.#buffers.findIndex((buffer) => buffer.length >= bytes);
    if (at < 0) return allocate(this.path, () => new Uint8Array(bytes));
    return this.#buffers.splice(at, 1)[0] as Uint8Array;
  }

  /** @internal */
  giveBack(buffer: Uint8Array): void {
    this.#buffers.push(buffer);
    // The two largest serve every tensor.
    if (this.#buffers.length > 2) this.#buffers.sort((a, b) => b.length - a.length).length = 2;
  }
}

/**
 * Opens a safetensors file and reads its header, without an opinion on its types. Whoever opens it closes it.
 *
 * @throws StepsizeError `not-found`, or `invalid-file` with the offset, what was expected and what was found
 */
export function openStored(path: string): Promise<StoredFile> {
  return StoredFile.open(path);
}

/** Opens a safetensors file for as long as `use` takes. */
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
