import type { FileHandle } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { allocate } from "../allocate.js";
import { StepsizeError } from "../errors.js";
import { readInto } from "../read-file.js";
import { messageOf } from "../realms.js";
import { invalidFile, openData } from "./files.js";

// The format: two zero bytes, a byte for the element type, a byte for the rank, a big-endian 32-bit extent per
// dimension, then the elements, big-endian, row-major.
const elements = new Map<number, Element>([
  [8, { dtype: "uint8", width: 1, over: (memory) => new Uint8Array(memory), get: "getUint8" }],
  [9, { dtype: "int8", width: 1, over: (memory) => new Int8Array(memory), get: "getInt8" }],
  [11, { dtype: "int16", width: 2, over: (memory) => new Int16Array(memory), get: "getInt16" }],
  [12, { dtype: "int32", width: 4, over: (memory) => new Int32Array(memory), get: "getInt32" }],
  [13, { dtype: "float32", width: 4, over: (memory) => new Float32Array(memory), get: "getFloat32" }],
  [14, { dtype: "float64", width: 8, over: (memory) => new Float64Array(memory), get: "getFloat64" }],
]);

/** An element type of the format. */
interface Element {
  readonly dtype: "uint8" | "int8" | "int16" | "int32" | "float32" | "float64";
  /** Bytes per element. */
  readonly width: number;
  /** Returns an array of the type over memory. */
  readonly over: (memory: SharedArrayBuffer) => IdxFile["data"];
  /** The method that reads an element. */
  readonly get: "getUint8" | "getInt8" | "getInt16" | "getInt32" | "getFloat32" | "getFloat64";
}

/** The contents of an IDX file, in the machine's byte order. */
export interface IdxFile {
  /** The elements, row-major, in shared memory. The type of the array corresponds to `dtype`. */
  readonly data: Uint8Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;
  /** The sizes of the dimensions as in the file. */
  readonly shape: readonly number[];
  /** Element type in the file. */
  readonly dtype: Element["dtype"];
}

/**
 * Reads an IDX file (the format of MNIST) of any of its six element types, plain or gzipped. The first bytes determine
 * whether it is gzipped, not the name. Offsets in errors refer to the unpacked file. The header is checked against the
 * size of the file before memory is allocated, and no more is unpacked than the header declares.
 *
 * @throws StepsizeError `not-found` if the file does not exist; `invalid-file` for a wrong magic number, an unknown
 * type, missing or extra data, damaged gzip data, or something that is not a file; `out-of-memory`
 *
 * @example
 * ```ts
 * import { writeFile } from "node:fs/promises";
 * import { data } from "stepsize";
 *
 * // Element type 8 (uint8), one dimension of three elements.
 * await writeFile("labels-idx1-ubyte", new Uint8Array([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]));
 * const { data: labels, shape, dtype } = await data.readIdx("labels-idx1-ubyte");
 * console.log(labels, shape, dtype); // 7, 2, 1; [3]; uint8
 * ```
 */
export async function readIdx(path: string): Promise<IdxFile> {
  const { file, size } = await openData(path);
  try {
    const beginning = new Uint8Array(Math.min(size, 2));
    await readInto({ file, path }, beginning, 0);
    const isGzip = beginning[0] === 0x1f && beginning[1] === 0x8b;
    return isGzip ? await unpack(path, file, size) : await readPlain(path, file, size);
  } finally {
    await file.close();
  }
}

async function readPlain(path: string, file: FileHandle, size: number): Promise<IdxFile> {
  const bytes = new Uint8Array(Math.min(size, maxHeaderBytes));
  const { element, shape, start, wanted } = readHeader(
    path,
    bytes.subarray(0, await readInto({ file, path }, bytes, 0)),
  );
  const need = bytesInWords(element, shape, wanted);
  if (size - start > wanted)
    invalidFile(path, start + wanted, `the end of the file after ${need}`, `${size - start - wanted} more bytes`);
  if (size - start < wanted) invalidFile(path, size, need, `the end of the file after ${size - start}`);
  const shared = allocate(path, () => new SharedArrayBuffer(wanted));
  const read = await readInto({ file, path }, new Uint8Array(shared), start);
  if (read < wanted) invalidFile(path, start + read, need, `the end of the file after ${read}`);
  return { data: toNative(element, shared), shape, dtype: element.dtype };
}

/** Unpacks as much of a file as its header declares. A small gzip file can unpack to any size. */
async function unpack(path: string, file: FileHandle, size: number): Promise<IdxFile> {
  const packed = file.createReadStream({ autoClose: false, start: 0 });
  try {
    return await pipeline(packed, createGunzip({ chunkSize: 2 ** 18 }), (chunks) => collect(path, chunks, size));
  } catch (cause) {
    if (cause instanceof StepsizeError) throw cause;
    invalidFile(path, 0, "gzip data", `a gzip header and then: ${messageOf(cause)}`, { cause });
  }
}

async function collect(path: string, chunks: AsyncIterable<Uint8Array>, packed: number): Promise<IdxFile> {
  let beginning = new Uint8Array(0);
  let idx: ReturnType<typeof begin> | undefined;
  for await (const chunk of chunks) {
    if (idx) {
      idx.add(chunk);
      continue;
    }
    beginning = Buffer.concat([beginning, chunk]);
    if (beginning.length >= maxHeaderBytes) idx = begin(path, beginning, packed);
  }
  return (idx ?? begin(path, beginning, packed)).end();
}

/** Reads the header of unpacked data and allocates memory for the elements. */
function begin(path: string, beginning: Uint8Array, packed: number) {
  const { element, shape, start, wanted } = readHeader(path, beginning);
  const need = bytesInWords(element, shape, wanted);
  if (wanted > maxUnpackedBytes(packed))
    invalidFile(path, start, need, `a gzip file of ${packed} bytes, which holds less`);
  const shared = allocate(path, () => new SharedArrayBuffer(wanted));
  const bytes = new Uint8Array(shared);
  let done = 0;
  const add = (chunk: Uint8Array) => {
    if (done + chunk.length > wanted)
      invalidFile(path, start + wanted, `the end of the file after ${need}`, "more bytes");
    bytes.set(chunk, done);
    done += chunk.length;
  };
  add(beginning.subarray(start));
  return {
    add,
    end(): IdxFile {
      if (done < wanted) invalidFile(path, start + done, need, `the end of the file after ${done}`);
      return { data: toNative(element, shared), shape, dtype: element.dtype };
    },
  };
}

/** Returns the largest unpacked size of a gzip file: deflate encodes at most 258 bytes in two bits. */
function maxUnpackedBytes(packed: number): number {
  return packed * 4 * 258;
}

// A header has four bytes, and four for each of at most 255 dimensions.
const maxHeaderBytes = 4 + 4 * 255;

/**
 * Reads and checks a header.
 * @param bytes the beginning of the file, at least {@link maxHeaderBytes} bytes unless the file is shorter
 */
function readHeader(path: string, bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length;
  if (end < 4) invalidFile(path, end, "a header of at least 4 bytes", `the end of the file after ${end}`);
  if (view.getUint16(0) !== 0) {
    invalidFile(path, 0, "the magic number 00 00 of an IDX file", `${hex(view.getUint8(0))} ${hex(view.getUint8(1))}`);
  }
  const type = view.getUint8(2);
  const element = elements.get(type);
  if (element === undefined) invalidFile(path, 2, "an element type of 08, 09, 0b, 0c, 0d or 0e", hex(type));
  const rank = view.getUint8(3);
  if (rank === 0) invalidFile(path, 3, "at least 1 dimension", "0");
  const start = 4 + 4 * rank;
  if (end < start) {
    invalidFile(path, end, `a header of ${start} bytes for ${rank} dimensions`, `the end of the file after ${end}`);
  }
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const wanted = shape.includes(0) ? 0 : shape.reduce((product, extent) => product * extent, element.width);
  return { element, shape, start, wanted };
}

function bytesInWords({ dtype }: Element, shape: readonly number[], bytes: number): string {
  const sizes = shape.length > 8 ? `${shape.slice(0, 8).join(" × ")} × …` : shape.join(" × ");
  return `${bytes} bytes of data for ${sizes} elements of type ${dtype}`;
}

/** Converts big-endian elements to the machine's byte order, in place. */
function toNative(element: Element, shared: SharedArrayBuffer): IdxFile["data"] {
  const { width } = element;
  const data = element.over(shared);
  if (width === 1) return data;
  const view = new DataView(shared);
  for (let i = 0; i < data.length; i++) data[i] = view[element.get](i * width);
  return data;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}
