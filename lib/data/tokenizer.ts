import { expectObject } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import { bpe, bpeEncodings, isBpeEncoding } from "./tokenizer-bpe.js";
import { type HuggingFaceTokenizer, huggingFaceEncoding } from "./tokenizer-json.js";

/** Identifies a tokenizer. Plain JSON, stored with tokens and with models that were trained on them. */
export type TokenizerSpec =
  | { readonly kind: "bytes" }
  | { readonly kind: "bpe"; readonly encoding: string }
  | HuggingFaceTokenizer;

/** Converts text to token ids and back. */
export interface Tokenizer {
  /** Specification of this tokenizer, for {@link tokenizerOf}. */
  readonly spec: TokenizerSpec;
  /** Ids are below this number. */
  readonly vocabulary: number;
  /** The id after every document. `encode` never returns it. */
  readonly endOfText: number;
  /** Encodes text as ids. Names of special tokens, such as `<|endoftext|>`, are treated as ordinary text. */
  encode(text: string): Int32Array;
  /** Decodes ids to text. Bytes that are not UTF-8 and ids that are not a token become U+FFFD. */
  decode(ids: Iterable<number>): string;
  /** Returns a decoder for one id at a time. It returns text as soon as its characters are complete. */
  decoder(): TokenDecoder;
}

/** Decodes one id at a time; see {@link Tokenizer.decoder}. */
export interface TokenDecoder {
  /** Adds an id and returns the text that it completes, which is empty in the middle of a character. */
  add(id: number): string;
  /** Ends the text and returns the rest: U+FFFD if a character is incomplete, otherwise empty. */
  end(): string;
}

/** The names that {@link specOf} accepts. */
export const tokenizerNames: readonly string[] = ["bytes", ...bpeEncodings];

/**
 * Returns the specification of a tokenizer by its name: `bytes`, or an encoding such as `gpt2`.
 *
 * @throws StepsizeError `invalid-argument` for an unknown name
 */
export function specOf(name: string): TokenizerSpec {
  if (!tokenizerNames.includes(name)) invalidArgument("tokenizer", tokenizerNames.join(", "), name);
  return name === "bytes" ? { kind: "bytes" } : { kind: "bpe", encoding: name };
}

/**
 * Returns the name of a tokenizer: `huggingface` for one that was read from a folder, otherwise the name that
 * {@link specOf} takes.
 *
 * @throws StepsizeError `invalid-argument` if `spec` is not an object
 */
export function tokenizerName(spec: TokenizerSpec): string {
  expectObject("spec", spec, "a tokenizer's specification, as specOf(name) gives it");
  return spec.kind === "bpe" ? spec.encoding : spec.kind;
}

/**
 * Creates the tokenizer of a specification. `bytes` has 257 tokens: the byte values and the end of text. A BPE encoding
 * needs the npm package `gpt-tokenizer`, which is resolved from stepsize and from the working directory. `readTokenizer`
 * returns the specification of a tokenizer of Hugging Face.
 *
 * @throws StepsizeError `invalid-argument` for an unknown kind or encoding; `not-found` if the package is not installed;
 * `invalid-file` or `unsupported` if the definition of a tokenizer of Hugging Face is invalid or not supported
 *
 * @example
 * ```ts
 * import { data } from "stepsize";
 *
 * const tokenizer = data.tokenizerOf({ kind: "bytes" });
 * const ids = tokenizer.encode("Hi"); // 72, 105
 * console.log(tokenizer.decode(ids)); // Hi
 * ```
 */
export function tokenizerOf(spec: TokenizerSpec): Tokenizer {
  const { bytesOf, ...tokenizer } = encodingOf(spec);
  const decoder = () => new Utf8Decoder(bytesOf);
  const decode = (ids: Iterable<number>) => {
    const idDecoder = decoder();
    return Array.from(ids, (id) => idDecoder.add(id)).join("") + idDecoder.end();
  };
  return { spec, ...tokenizer, decode, decoder };
}

/** The part of a tokenizer that depends on its kind. */
export interface Encoding extends Pick<Tokenizer, "vocabulary" | "endOfText" | "encode"> {
  /** Returns the bytes of an id; `undefined` if the id is not a token. */
  readonly bytesOf: (id: number) => Uint8Array | undefined;
}

function encodingOf(spec: TokenizerSpec): Encoding {
  const given: { readonly kind?: unknown } = spec ?? {};
  if (given.kind !== "bytes" && given.kind !== "bpe" && given.kind !== "huggingface")
    return invalidArgument("tokenizer.kind", '"bytes", "bpe" or "huggingface"', given.kind);
  if (spec.kind === "bytes") return bytes();
  if (spec.kind === "huggingface") return huggingFaceEncoding(spec);
  const { encoding } = spec;
  return isBpeEncoding(encoding)
    ? bpe(encoding)
    : invalidArgument("tokenizer.encoding", bpeEncodings.join(", "), encoding);
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
  // U+FEFF at the beginning is kept, because it may be part of the text.
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
