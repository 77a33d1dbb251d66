import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { numbers } from "../../support/numbers.js";

/** Writes files into a folder, with the folders that their names speak of, and gives it back. */
export function corpus(folder: string, files: Readonly<Record<string, string | Uint8Array>>): string {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** Ids as a file stores them, written by the book: little-endian. */
export function idBytes(dtype: "uint16" | "uint32", ids: ArrayLike<number>): Uint8Array {
  const width = dtype === "uint16" ? 2 : 4;
  const view = new DataView(new ArrayBuffer(ids.length * width));
  for (let i = 0; i < ids.length; i++) {
    if (width === 2) view.setUint16(2 * i, ids[i]!, true);
    else view.setUint32(4 * i, ids[i]!, true);
  }
  return new Uint8Array(view.buffer);
}

/** The ids of a split of a token folder. */
export function idsOf(folder: string, split: string): number[] {
  const bytes = readFileSync(join(folder, `${split}.tokens`));
  const { dtype } = JSON.parse(readFileSync(join(folder, "tokens.json"), "utf8"));
  const width = dtype === "uint16" ? 2 : 4;
  return Array.from({ length: bytes.length / width }, (_, i) => bytes.readUIntLE(i * width, width));
}

/** What a `tokens.json` says where nothing else is given. */
export const description = {
  format: "stepsize-tokens-1",
  name: "numbers",
  tokenizer: { kind: "bytes" },
  vocabulary: 60_000,
  dtype: "uint16",
  endOfText: 0,
};

/** A token folder whose splits have these ids, written without the tokenizer. */
export function tokenFolder(
  folder: string,
  splits: Readonly<Record<string, ArrayLike<number>>>,
  change: Partial<Record<keyof typeof description, unknown>> = {},
): string {
  const info = { ...description, ...change };
  const width = info.dtype === "uint16" ? 2 : 4;
  const entries = Object.entries(splits).map(([split, ids]) => [
    split,
    { documents: 1, tokens: ids.length, bytes: ids.length * width, digest: `digest of ${split}` },
  ]);
  const files: Record<string, string | Uint8Array> = {
    "tokens.json": JSON.stringify({ ...info, splits: Object.fromEntries(entries) }),
  };
  for (const [split, ids] of Object.entries(splits)) {
    files[`${split}.tokens`] = idBytes(info.dtype as "uint16", ids);
  }
  return corpus(folder, files);
}

/** A text of words out of a few letters, which differs from number to number. */
export function wordsOf(number: number, length: number): string {
  return Array.from(numbers(length, number + 1), (x) => "abcd efgh. "[Math.floor((x + 1) * 5.49)]).join("");
}
