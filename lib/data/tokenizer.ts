import { expectObject } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { bpe, bpeEncodings } from "./tokenizer-bpe.js";

/** Which tokenizer made some tokens; plain JSON, stored with the tokens and with models trained on them. */
export type TokenizerSpec = { readonly kind: "bytes" } | { readonly kind: "bpe"; readonly encoding: string };

/** Turns text into ids of tokens, and back. */
export interface Tokenizer {
  readonly spec: TokenizerSpec;
  /** Ids are below this number. */
  readonly vocabulary: number;
  /** The id that stands after every document; `encode` never gives it. */
  readonly endOfText: number;
  /** Ids of the text. What looks like a special token (`<|endoftext|>`) is text like any other. */
  encode(text: string): Int32Array;
  /** The text of ids. Bytes that are no UTF-8, and ids that are no token, become U+FFFD. */
  decode(ids: Iterable<number>): string;
  /** Decodes id by id: text comes as soon as its characters are complete. */
  decoder(): TokenDecoder;
}

/** A text on its way out of a model; see {@link Tokenizer.decoder}. */
export interface TokenDecoder {
  /** The text that this id completes; empty in the middle of a character. */
  add(id: number): string;
  /** What is left: U+FFFD for a character that was not finished. */
  end(): string;
}

/** The names that {@link specOf} knows. */
export const tokenizerNames: readonly string[] = ["bytes", ...bpeEncodings];

/** The specification that a name stands for: `bytes`, or an encoding such as `gpt2`. */
export function specOf(name: string): TokenizerSpec {
  if (!tokenizerNames.includes(name)) invalidArgument("tokenizer", tokenizerNames.join(", "), name);
  return name === "bytes" ? { kind: "bytes" } : { kind: "bpe", encoding: name };
}

/** The name of a tokenizer, as {@link specOf} takes it. */
export function tokenizerName(spec: TokenizerSpec): string {
  expectObject("spec", spec, "a tokenizer's specification, as specOf(name) gives it");
  return spec.kind === "bytes" ? "bytes" : spec.encoding;
}

/**
 * The tokenizer of a specification. `bytes` has the 256 bytes of UTF-8 and the end of text. A BPE encoding needs the
 * npm package `gpt-tokenizer`, which is looked for from here and from the working directory.
 *
 * @throws `invalid-argument` for a kind or an encoding that is not known; `not-found` where the package is not installed
 */
export function tokenizerOf(spec: TokenizerSpec): Tokenizer {
  const { kind, encoding } = (spec ?? {}) as { kind?: unknown; encoding?: unknown };
  if (kind !== "bytes" && kind !== "bpe") invalidArgument("tokenizer.kind", '"bytes" or "bpe"', kind);
  if (kind === "bpe" && !bpeEncodings.includes(encoding as string)) {
    invalidArgument("tokenizer.encoding", bpeEncodings.join(", "), encoding);
  }
  const { bytesOf, ...tokenizer } = kind === "bytes" ? bytes() : bpe(encoding as string);
  const decoder = () => new Utf8Decoder(bytesOf);
  const decode = (ids: Iterable<number>) => {
    const own = decoder();
    return Array.from(ids, (id) => own.add(id)).join("") + own.end();
  };
  return { spec, ...tokenizer, decode, decoder };
}

/** What tells one tokenizer from another. */
export interface Encoding extends Pick<Tokenizer, "vocabulary" | "endOfText" | "encode"> {
  /** The bytes that an id stands for; `undefined` where it stands for none. */
  readonly bytesOf: (id: number) => Uint8Array | undefined;
}

function bytes(): Encoding {
  const endOfText = 256;
  const endBytes = Buffer.from("<|endoftext|>");
  return {
    vocabulary: 257,
    endOfText,
    encode: (text) => new Int32Array(Buffer.from(text)),
    bytesOf: (id) => (id === endOfText ? endBytes : id >= 0 && id < endOfText ? Uint8Array.of(id) : undefined),
  };
}

const replacement = Buffer.from("\uFFFD");

class Utf8Decoder implements TokenDecoder {
  // U+FEFF inside a text is a character like any other.
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #bytesOf: Encoding["bytesOf"];

  constructor(bytesOf: Encoding["bytesOf"]) {
    this.#bytesOf = bytesOf;
  }

  add(id: number): string {
    return this.#decoder.decode(this.#bytesOf(id) ?? replacement, { stream: true });
  }

  end(): string {
    return this.#decoder.decode();
  }
}
