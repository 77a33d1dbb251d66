import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { invalidFile, readBytes } from "./files.js";

const inflate = promisify(gunzip);

// The format: two zero bytes, a byte for the element type, a byte for the rank, a big-endian 32-bit extent per
// dimension, then the elements, big-endian, row-major.
const elements = {
  8: { dtype: "uint8", array: Uint8Array, get: "getUint8" },
  9: { dtype: "int8", array: Int8Array, get: "getInt8" },
  11: { dtype: "int16", array: Int16Array, get: "getInt16" },
  12: { dtype: "int32", array: Int32Array, get: "getInt32" },
  13: { dtype: "float32", array: Float32Array, get: "getFloat32" },
  14: { dtype: "float64", array: Float64Array, get: "getFloat64" },
} as const;

type Element = (typeof elements)[keyof typeof elements];

/** What an IDX file holds, in the machine's byte order. */
export interface IdxFile {
  /** In shared memory; its type follows the dtype. */
  readonly data: Uint8Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;
  /** The extents as the file gives them, one per dimension. */
  readonly shape: readonly number[];
  readonly dtype: Element["dtype"];
}

/**
 * Reads an IDX file (the format of MNIST) of any of its six element types, plain or gzipped: the bytes tell which,
 * not the name. Offsets in errors count in the unpacked file.
 *
 * @throws `not-found` where there is no such file; `invalid-file` for a wrong magic number, an unknown type, a file
 * that is cut short or goes on after its data, or broken gzip.
 */
export async function readIdx(path: string): Promise<IdxFile> {
  return parse(path, await unpack(path, await readBytes(path)));
}

async function unpack(path: string, bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return await inflate(bytes);
  } catch (cause) {
    invalidFile(path, 0, "gzip data", `a gzip header and then: ${(cause as Error).message}`, { cause });
  }
}

function parse(path: string, bytes: Uint8Array): IdxFile {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length;
  if (end < 4) invalidFile(path, end, "a header of at least 4 bytes", `the end of the file after ${end}`);
  if (view.getUint16(0) !== 0) {
    invalidFile(path, 0, "the magic number 00 00 of an IDX file", `${hex(bytes[0]!)} ${hex(bytes[1]!)}`);
  }
  const element: Element | undefined = elements[bytes[2] as keyof typeof elements];
  if (element === undefined) invalidFile(path, 2, "an element type of 08, 09, 0b, 0c, 0d or 0e", hex(bytes[2]!));
  const rank = bytes[3]!;
  if (rank === 0) invalidFile(path, 3, "at least 1 dimension", "0");
  const start = 4 + 4 * rank;
  if (end < start) {
    invalidFile(path, end, `a header of ${start} bytes for ${rank} dimensions`, `the end of the file after ${end}`);
  }
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const width = element.array.BYTES_PER_ELEMENT;
  const wanted = shape.reduce((product, extent) => product * extent, width);
  if (end - start !== wanted) {
    const need = `${wanted} bytes of data for ${shape.join(" × ")} elements of type ${element.dtype}`;
    if (end - start > wanted) invalidFile(path, start + wanted, `the end of the file after ${need}`, trailing());
    invalidFile(path, end, need, `the end of the file after ${end - start}`);
  }
  return { data: toNative(element, view, start), shape, dtype: element.dtype };

  function trailing(): string {
    return `${end - start - wanted} more bytes`;
  }
}

function toNative(element: Element, view: DataView, start: number): IdxFile["data"] {
  // One constructor to the type checker, which cannot call a union of them.
  const array = element.array as new (buffer: SharedArrayBuffer) => IdxFile["data"];
  const width = element.array.BYTES_PER_ELEMENT;
  const shared = new SharedArrayBuffer(view.byteLength - start);
  const data = new array(shared);
  if (width === 1) new Uint8Array(shared).set(new Uint8Array(view.buffer, view.byteOffset + start, shared.byteLength));
  else for (let i = 0; i < data.length; i++) data[i] = view[element.get](start + i * width);
  return data;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}
