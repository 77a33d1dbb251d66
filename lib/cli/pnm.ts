import { StepsizeError } from "../errors.js";

/** An image as bytes: rows from the top, pixels from the left, the channels of a pixel side by side. */
export interface Image {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

/** Whether a file begins as a PNM image does. */
export function isPnm(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && bytes[1] !== undefined && bytes[1] >= 0x31 && bytes[1] <= 0x36;
}

/**
 * Reads a PGM (grey) or PPM (colour) image, plain or binary: P2, P3, P5, P6. Values are brought to 0 … 255.
 *
 * @throws StepsizeError `invalid-file` with the file, the byte, what was expected and what was found
 */
export function readPnm(path: string, bytes: Uint8Array): Image {
  const reader = new PnmReader(path, bytes);
  const kind = String.fromCharCode(bytes[0] ?? 0, bytes[1] ?? 0);
  const channels = { P2: 1, P5: 1, P3: 3, P6: 3 }[kind];
  if (channels === undefined) return reader.refuse(0, "P2, P3, P5 or P6 (PGM or PPM)", kind);
  const width = reader.number("a width", 1, 65_535);
  const height = reader.number("a height", 1, 65_535);
  const maximum = reader.number("a largest value", 1, 65_535);
  const length = width * height * channels;
  const binary = kind === "P5" || kind === "P6";
  const values = binary ? reader.binary(length, maximum) : reader.plain(length, maximum);
  const data =
    maximum === 255 ? Uint8Array.from(values) : Uint8Array.from(values, (v) => Math.round((v * 255) / maximum));
  return { height, width, channels, data };
}

class PnmReader {
  readonly #path: string;
  readonly #bytes: Uint8Array;
  #at = 2;

  constructor(path: string, bytes: Uint8Array) {
    this.#path = path;
    this.#bytes = bytes;
  }

  refuse(at: number, expected: string, found: string): never {
    throw new StepsizeError("invalid-file", `${this.#path}: byte ${at}: expected ${expected}, found ${found}`);
  }

  /** A number in decimal digits, after white space and comments. */
  number(what: string, least: number, most: number): number {
    for (; ; this.#at++) {
      const byte = this.#bytes[this.#at];
      if (byte === 0x23) while (this.#at < this.#bytes.length && this.#bytes[this.#at] !== 0x0a) this.#at++;
      else if (byte === undefined || !isSpace(byte)) break;
    }
    const start = this.#at;
    let value = 0;
    for (let digit = this.#digit(); digit >= 0 && value <= most; digit = this.#digit()) {
      value = value * 10 + digit;
      this.#at++;
    }
    const expected = `${what} from ${least} to ${most}`;
    if (start === this.#at) {
      const byte = this.#bytes[start];
      this.refuse(
        start,
        expected,
        byte === undefined ? "the end of the file" : JSON.stringify(String.fromCharCode(byte)),
      );
    }
    if (value < least || value > most) this.refuse(start, expected, String(value));
    return value;
  }

  plain(length: number, maximum: number): number[] {
    return Array.from({ length }, (_, i) => this.number(`value ${i + 1} of ${length}`, 0, maximum));
  }

  binary(length: number, maximum: number): number[] {
    // One byte of white space ends the header; values above 255 take two bytes, the high one first.
    const start = this.#at + 1;
    const width = maximum > 255 ? 2 : 1;
    const there = Math.max(0, this.#bytes.length - start);
    if (there !== length * width)
      this.refuse(start, `${length * width} bytes of pixels and the end of the file`, `${there} bytes`);
    return Array.from({ length }, (_, i) => {
      const at = start + i * width;
      const first = this.#bytes[at] as number;
      const value = width === 1 ? first : first * 256 + (this.#bytes[at + 1] as number);
      return value <= maximum ? value : this.refuse(at, `a value of at most ${maximum}`, String(value));
    });
  }

  #digit(): number {
    const byte = this.#bytes[this.#at];
    return byte !== undefined && byte >= 0x30 && byte <= 0x39 ? byte - 0x30 : -1;
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}
