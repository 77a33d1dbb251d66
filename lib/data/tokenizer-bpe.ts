import { createRequire } from "node:module";
import { resolveInPackage } from "./packages.js";
import type { Encoding } from "./tokenizer.js";

/** The used part of an encoding's module in the package. */
interface EncodingModule {
  encodeGenerator(text: string, options: { disallowedSpecial: ReadonlySet<string> }): Iterable<readonly number[]>;
}

/** The text of each token by id, or its bytes if they are not UTF-8. Some ids are undefined. */
type Ranks = readonly (string | readonly number[] | undefined)[];

// The special tokens follow the ranks, with gaps between them. The vocabulary ends after the last special token.
const encodings = {
  gpt2: { ranks: "r50k_base", vocabulary: 50_257, endOfText: 50_256 },
  cl100k_base: { ranks: "cl100k_base", vocabulary: 100_277, endOfText: 100_257 },
  o200k_base: { ranks: "o200k_base", vocabulary: 200_019, endOfText: 199_999 },
} as const;

type EncodingName = keyof typeof encodings;

/** Returns whether a value is the name of a byte-pair encoding. */
export function isBpeEncoding(value: unknown): value is EncodingName {
  return typeof value === "string" && Object.hasOwn(encodings, value);
}

/** Names of the available byte-pair encodings. */
export const bpeEncodings: readonly string[] = Object.keys(encodings);

/**
 * Loads a byte-pair encoding from the package `gpt-tokenizer`. Encoding n characters without a space takes O(n²) time.
 *
 * @throws StepsizeError `not-found` if the package is not installed
 */
export function bpe(name: EncodingName): Encoding {
  const { ranks: ranksName, vocabulary, endOfText } = encodings[name];
  const { encodeGenerator } = load<EncodingModule>(`encoding/${name}`, name);
  const { default: ranks } = load<{ default: Ranks }>(`bpeRanks/${ranksName}`, name);
  const end = Buffer.from("<|endoftext|>");
  return {
    vocabulary,
    endOfText,
    encode(text) {
      // A token has at least one byte.
      const ids = new Int32Array(Buffer.byteLength(text));
      let length = 0;
      // By default, the package refuses text that contains the name of a special token.
      for (const piece of encodeGenerator(text, { disallowedSpecial: new Set() })) {
        for (const id of piece) ids[length++] = id;
      }
      return ids.slice(0, length);
    },
    // The package's decoder is not used, because it keeps incomplete characters for the next text.
    bytesOf(id) {
      if (id === endOfText) return end;
      const token = ranks[id];
      if (token === undefined) return undefined;
      return typeof token === "string" ? Buffer.from(token) : Uint8Array.from(token);
    },
  };
}

function load<T>(file: string, encoding: string): T {
  return createRequire(import.meta.url)(resolveInPackage("gpt-tokenizer", file, `the tokenizer ${encoding}`)) as T;
}
