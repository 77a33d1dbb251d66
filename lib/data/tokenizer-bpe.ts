import { createRequire } from "node:module";
import { resolveInPackage } from "./packages.js";
import type { Encoding } from "./tokenizer.js";

/** What is used of the package's module of an encoding. */
interface EncodingModule {
  encodeGenerator(text: string, options: { disallowedSpecial: ReadonlySet<string> }): Iterable<readonly number[]>;
}

/** By id: the text of a token, or its bytes where they are no UTF-8. Some ids are left out. */
type Ranks = readonly (string | readonly number[] | undefined)[];

// Above the ranks come special tokens, with gaps between them: the vocabulary ends after the last of them.
const encodings: Readonly<Record<string, { ranks: string; vocabulary: number; endOfText: number }>> = {
  gpt2: { ranks: "r50k_base", vocabulary: 50_257, endOfText: 50_256 },
  cl100k_base: { ranks: "cl100k_base", vocabulary: 100_277, endOfText: 100_257 },
  o200k_base: { ranks: "o200k_base", vocabulary: 200_019, endOfText: 199_999 },
};

/** The byte-pair encodings there are. */
export const bpeEncodings: readonly string[] = Object.keys(encodings);

/** A byte-pair encoding out of the package `gpt-tokenizer`. A run of n characters without a space costs n² time. */
export function bpe(name: string): Encoding {
  const { ranks: ranksName, vocabulary, endOfText } = encodings[name]!;
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
      // Without this the package refuses a text in which the name of a special token occurs.
      for (const piece of encodeGenerator(text, { disallowedSpecial: new Set() })) {
        for (const id of piece) ids[length++] = id;
      }
      return ids.slice(0, length);
    },
    // Not the package's own decoder: it keeps the half of a character for the next text that it is given.
    bytesOf(id) {
      if (id === endOfText) return end;
      const token = ranks[id];
      return token === undefined ? undefined : Buffer.from(token as string);
    },
  };
}

function load<T>(file: string, encoding: string): T {
  return createRequire(import.meta.url)(resolveInPackage("gpt-tokenizer", file, `the tokenizer ${encoding}`)) as T;
}
