import { allocate } from "../../allocate.js";
import { StepsizeError } from "../../errors.js";
import { quoted, shown } from "../../quoting.js";

/** An image as bytes of shape [height, width, channels], with rows from the top. */
export interface Image {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

/** Whether a file begins with the signature of a PNM image, P1 to P6. */
export function isPnm(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && bytes[1] !== undefined && bytes[1] >= 0x31 && bytes[1] <= 0x36;
}

/** The header of a PGM or PPM image. */
export interface PnmHeader extends Omit<Image, "data"> {
  /** The largest value. */
  readonly maximum: number;
  /** Whether the values are stored as bytes instead of decimal digits. */
  readonly isBinary: boolean;
  /** Length of the header in bytes. */
  readonly bytes: number;
}

/**
 * Reads the header of a PGM (gray) or PPM (color) image, plain or binary: P2, P3, P5, P6.
 *
 * @param beginning the first bytes of the file, or all of them
 * @throws StepsizeError `invalid-file` naming the file, the byte, what was expected and what was found
 */
export function readPnmHeader(path: string, beginning: Uint8Array): PnmHeader {
  return headerOf(new PnmReader(path, beginning));
}

/**
 * Reads a PGM or PPM image and scales its values to 0 … 255. The length of the file is checked before the allocation.
 *
 * @throws StepsizeError `invalid-file` as {@link readPnmHeader} does, also for wrong pixels; `out-of-memory`
 */
export function readPnm(path: string, bytes: Uint8Array): Image {
  const reader = new PnmReader(path, bytes);
  const { width, height, channels, maximum, isBinary } = headerOf(reader);
  const length = width * height * channels;
  const next = isBinary ? reader.binary(length, maximum) : reader.plain(length, maximum);
  const data = allocate(path, () => new Uint8Array(length));
  for (let i = 0; i < length; i++) {
    const value = next(i);
    data[i] = maximum === 255 ? value : Math.round((value * 255) / maximum);
  }
  return { height, width, channels, data };
}

function headerOf(reader: PnmReader): PnmHeader {
  const kind = reader.kind();
  const channels = { P2: 1, P5: 1, P3: 3, P6: 3 }[kind];
  if (channels === undefined) return reader.refuse(0, "P2, P3, P5 or P6 (PGM or PPM)", shown(kind));
  const width = reader.number("a width", 1, 65_535);
  const height = reader.number("a height", 1, 65_535);
  const maximum = reader.number("a largest value", 1, 65_535);
  return { width, height, channels, maximum, isBinary: kind === "P5" || kind === "P6", bytes: reader.position };
}

/** Reads the value `i`. Values must be read in order. */
type Next = (i: number) => number;

class PnmReader {
  readonly #path: string;
  readonly #bytes: Uint8Array;
  #at = 2;

  constructor(path: string, bytes: Uint8Array) {
    this.#path = path;
    this.#bytes = bytes;
  }

  get position(): number {
    return this.#at;
  }

  kind(): string {
    return String.fromCharCode(this.#bytes[0] ?? 0, this.#bytes[1] ?? 0);
  }

  refuse(at: number, expected: string, found: string): never {
    throw new StepsizeError("invalid-file", `${this.#path}: byte ${at}: expected ${expected}, found ${found}`);
  }

  /** Reads a decimal number after white space and comments. */
  number(name: string, min: number, max: number): number {
    for (; ; this.#at++) {
      const byte = this.#bytes[this.#at];
      if (byte === 0x23) while (this.#at < this.#bytes.length && this.#bytes[this.#at] !== 0x0a) this.#at++;
      else if (byte === undefined || !isSpace(byte)) break;
    }
    const start = this.#at;
    let value = 0;
    for (let digit = this.#digit(); digit >= 0 && value <= max; digit = this.#digit()) {
      value = value * 10 + digit;
      this.#at++;
    }
    const expected = `${name} from ${min} to ${max}`;
    if (start === this.#at) {
      const byte = this.#bytes[start];
      this.refuse(start, expected, byte === undefined ? "the end of the file" : quoted(String.fromCharCode(byte)));
    }
    if (value < min || value > max) this.refuse(start, expected, String(value));
    return value;
  }

  plain(length: number, maximum: number): Next {
    // Each value takes at least a digit and a separator, except for the last separator.
    const minBytes = 2 * length - 1;
    const available = Math.max(0, this.#bytes.length - this.#at);
    if (available < minBytes)
      this.refuse(
        this.#at,
        `${length} values, which take at least ${minBytes} bytes`,
        `the end of the file after ${available}`,
      );
    return (i) => this.number(`value ${i + 1} of ${length}`, 0, maximum);
  }

  binary(length: number, maximum: number): Next {
    // One byte of white space ends the header; values above 255 take two bytes, the high one first.
    const start = this.#at + 1;
    const width = maximum > 255 ? 2 : 1;
    const available = Math.max(0, this.#bytes.length - start);
    if (available !== length * width)
      this.refuse(start, `${length * width} bytes of pixels and the end of the file`, `${available} bytes`);
    const { buffer, byteOffset, byteLength } = this.#bytes;
    const view = new DataView(buffer, byteOffset, byteLength);
    return (i) => {
      const at = start + i * width;
      const value = width === 1 ? view.getUint8(at) : view.getUint16(at);
      return value <= maximum ? value : this.refuse(at, `a value of at most ${maximum}`, String(value));
    };
  }

  #digit(): number {
    const byte = this.#bytes[this.#at];
    return byte !== undefined && byte >= 0x30 && byte <= 0x39 ? byte - 0x30 : -1;
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}
