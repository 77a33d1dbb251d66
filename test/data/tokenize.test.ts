import { isUtf8 } from "node:buffer";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readText } from "#lib/data/token-documents.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { compiled } from "./support/compiled.js";
import { corpus, idsOf, wordsOf } from "./support/corpus.js";
import { data } from "./support/data.js";

const folder = temporaryFolders();
const everything = { validation: 0, test: 0 };

/** Ids of texts, each followed by the end of text. */
const ended = (...texts: string[]) => texts.flatMap((text) => [...Buffer.from(text), 256]);

describe("a token folder", () => {
  it("has the documents in sorted order, from folders in folders, each followed by the end of text", async () => {
    const texts = corpus(folder(), {
      "b.txt": "third",
      "a/z.md": "second",
      // Before the folder: "." comes before "/".
      "a.txt": "first",
      "a/.hidden.txt": "hidden",
      ".git/x.txt": "hidden",
      "c.TXT": "é fourth",
      "d.json": "no text",
      "empty.txt": "",
    });
    const out = join(folder(), "tokens");
    const made = await data.tokenize([texts], { out, ...everything });
    expect(idsOf(out, "train")).toEqual(ended("first", "second", "third", "é fourth"));
    expect(made.splits).toEqual({
      train: {
        documents: 4,
        tokens: 29,
        bytes: 25,
        digest: createHash("sha256")
          .update(readFileSync(join(out, "train.tokens")))
          .digest("hex"),
      },
    });
    expect(readdirSync(out).sort()).toEqual(["tokens.json", "train.tokens"]);
    expect(await data.readTokenFolder(out)).toEqual(made);
    expect(made).toMatchObject({ format: "stepsize-tokens-1", name: "tokens", vocabulary: 257, dtype: "uint16" });
  });

  it("accepts files with any extension if they are named, in the given order and each once", async () => {
    const texts = corpus(folder(), { "b.txt": "b", "a.txt": "a", LICENSE: "l" });
    symlinkSync(join(texts, "LICENSE"), join(texts, "link.md"));
    const out = join(folder(), "tokens");
    const paths = [join(texts, "LICENSE"), texts, `${texts}/../${basename(texts)}/b.txt`];
    await data.tokenize(paths, { out, ...everything });
    expect(idsOf(out, "train")).toEqual(ended("l", "a", "b", "l"));
  });

  it("has wide ids if the vocabulary needs them", async () => {
    const texts = corpus(folder(), { "a.txt": "Hello <|endoftext|> 𒀀" });
    for (const [name, dtype] of [
      ["gpt2", "uint16"],
      ["cl100k_base", "uint32"],
    ] as const) {
      const out = join(folder(), "tokens");
      const made = await data.tokenize([texts], { out, tokenizer: data.specOf(name), ...everything });
      expect(made).toMatchObject({ dtype, tokenizer: { kind: "bpe", encoding: name } });
      const tokenizer = data.tokenizerOf(made.tokenizer);
      const ids = idsOf(out, "train");
      expect(ids.at(-1)).toBe(tokenizer.endOfText);
      expect(tokenizer.decode(ids.slice(0, -1))).toBe("Hello <|endoftext|> 𒀀");
    }
  });

  it("omits a byte order mark at the beginning of a file, and no other", async () => {
    const texts = corpus(folder(), { "a.txt": "\uFEFFa\uFEFFb" });
    const out = join(folder(), "tokens");
    await data.tokenize([texts], { out, ...everything });
    expect(idsOf(out, "train")).toEqual(ended("a\uFEFFb"));
  });

  it("reports its progress after each document", async () => {
    const texts = corpus(folder(), { "a.txt": "12345", "b.txt": "6" });
    const seen: unknown[] = [];
    const onProgress = (progress: unknown) => seen.push(progress);
    await data.tokenize([texts], { out: join(folder(), "tokens"), onProgress, ...everything });
    const all = { allDocuments: 2, allBytes: 6 };
    expect(seen).toEqual([
      { documents: 1, bytes: 5, tokens: 6, ...all },
      { documents: 2, bytes: 6, tokens: 8, ...all },
    ]);
  });
});

describe("splits", () => {
  const names = Array.from({ length: 40 }, (_, i) => String(i).padStart(2, "0"));
  const texts = () => corpus(folder(), Object.fromEntries(names.map((name) => [`${name}.txt`, name])));

  /** Which documents a split has. */
  async function split(seed: number, more: object = {}): Promise<Record<string, string[]>> {
    const out = join(folder(), "tokens");
    const { splits } = await data.tokenize([texts()], { out, seed, ...more });
    return Object.fromEntries(
      Object.keys(splits).map((name) => {
        const text = String.fromCharCode(...idsOf(out, name)).split("\u0100");
        expect(text.pop()).toBe("");
        return [name, text];
      }),
    );
  }

  it("are disjoint, together complete, each in order, and have the requested shares", async () => {
    const parts = await split(3, { validation: 0.1, test: 0.25 });
    expect(Object.keys(parts)).toEqual(["train", "validation", "test"]);
    expect(Object.values(parts).map(({ length }) => length)).toEqual([26, 4, 10]);
    expect(Object.values(parts).flat().sort()).toEqual(names);
    for (const part of Object.values(parts)) expect(part).toEqual([...part].sort());
  });

  it("depend only on the seed, and are a twentieth each by default", async () => {
    const first = await split(1);
    expect(Object.values(first).map(({ length }) => length)).toEqual([36, 2, 2]);
    expect(await split(1)).toEqual(first);
    expect(await split(2)).not.toEqual(first);
  });

  it("have at least one document, unless their share is 0", async () => {
    const parts = await split(0, { validation: 0.001, test: 0 });
    expect(parts["validation"]).toHaveLength(1);
    expect(parts["test"]).toBeUndefined();
  });

  it("are the beginning, the next part and the end of each document if there are fewer documents than splits", async () => {
    const lines = Array.from({ length: 1000 }, (_, i) => `line ${i} 🦉 with an owl\n`).join("");
    const [dir, out] = [corpus(folder(), { "book.txt": lines }), join(folder(), "book")];
    const { splits } = await data.tokenize([dir], { out });
    const texts = await Promise.all(
      (["train", "validation", "test"] as const).map(async (split) => {
        expect(splits[split]?.documents).toBe(1);
        const ids = [...readFileSync(join(out, `${split}.tokens`))].filter((_, i) => i % 2 === 0);
        return Buffer.from(ids.slice(0, -1)).toString();
      }),
    );
    expect(texts.join("")).toBe(lines);
    for (const text of texts) expect(text).toMatch(/^line [\s\S]*owl\n$/);
    const share = (i: number) => texts[i]!.length / lines.length;
    // A part ends with the line in which its share ends.
    expect([share(0), share(1), share(2)].map((x) => x.toFixed(2))).toEqual(["0.90", "0.05", "0.05"]);
    const bytes = Object.values(splits).reduce((sum, split) => sum + split.bytes, 0);
    expect(bytes).toBe(Buffer.byteLength(lines));
  });

  it("are cut after a word, or between characters, without lines, and both of two documents are cut", async () => {
    const dir = corpus(folder(), { "a.txt": "word ".repeat(100), "b.txt": "🦉".repeat(101) });
    const out = join(folder(), "tokens");
    await data.tokenize([dir], { out, validation: 0, test: 0.25 });
    const two = await data.tokenize([dir], { out: `${out}-2`, validation: 0.2, test: 0.25 });
    expect(Object.values(two.splits).map(({ documents }) => documents)).toEqual([2, 2, 2]);
    const read = (split: string) =>
      Buffer.from([...readFileSync(join(`${out}-2`, `${split}.tokens`))].filter((_, i) => i % 2 === 0)).toString();
    for (const split of ["train", "validation", "test"]) expect(read(split)).not.toContain("\ufffd");
    expect(read("test")).toMatch(/^(word )+\0(🦉)+\0$/u);
  });

  it("are refused if there is too little text or none is left for training", async () => {
    const two = corpus(folder(), { "a.txt": "a", "b.txt": "b" });
    const out = join(folder(), "tokens");
    const words = ["paths: expected text that is long enough to be cut into train, validation, test", "1 characters"];
    await expectError(() => data.tokenize([two], { out }), "invalid-argument", ...words);
    const four = corpus(folder(), { "a.txt": "a", "b.txt": "b", "c.txt": "c", "d.txt": "d" });
    const large = { out, validation: 0.5, test: 0.45 };
    const few = ["documents for each of train, validation, test", 'got "4 in all"', "divide the text"];
    await expectError(() => data.tokenize([four], large), "invalid-argument", ...few);
    const shares = { out, validation: 0.5, test: 0.5 };
    await expectError(() => data.tokenize([two], shares), "invalid-argument", "leave some for training, got 1");
    for (const share of [-0.1, 1, Number.NaN, "0.1"]) {
      const wrong = { out, validation: share as number };
      await expectError(() => data.tokenize([two], wrong), "invalid-argument", "validation: expected a share from 0");
    }
    await expectError(() => data.tokenize([two], { out, seed: -1, ...everything }), "invalid-argument", "seed");
    expect(existsSync(out)).toBe(false);
  });
});

describe("text that is not UTF-8", () => {
  it("is refused with the position of the first invalid byte, and nothing is written", async () => {
    const good = Buffer.from("some text é ");
    const texts = corpus(folder(), { "a.txt": "fine", "b.txt": Buffer.concat([good, Buffer.of(0xe9, 0x20)]) });
    const place = folder();
    await expectError(
      () => data.tokenize([texts], { out: join(place, "tokens"), ...everything }),
      "invalid-file",
      `${join(texts, "b.txt")}: byte 13: expected text in UTF-8, found the bytes e9 20`,
      "iconv",
    );
    expect(readdirSync(place)).toEqual([]);
  });

  it("is reported at the end of the longest valid part", async () => {
    // Bytes that begin, continue and break characters.
    const byte = fc.constantFrom(
      0x41,
      0x80,
      0xbf,
      0xc3,
      0xa9,
      0xe2,
      0x82,
      0xac,
      0xef,
      0xf0,
      0x9f,
      0x98,
      0xed,
      0xc0,
      0xff,
    );
    const file = { path: join(folder(), "a.txt"), bytes: 1 };
    await fc.assert(
      fc.asyncProperty(fc.array(byte, { minLength: 1, maxLength: 12 }), async (given) => {
        const bytes = Uint8Array.from(given);
        writeFileSync(file.path, bytes);
        if (isUtf8(bytes)) {
          expect(await readText(file)).toBe(Buffer.from(bytes).toString());
          return;
        }
        const lengths = given.map((_, i) => i).filter((length) => isUtf8(bytes.subarray(0, length)));
        await expectError(() => readText(file), "invalid-file", `byte ${Math.max(...lengths)}: expected text in UTF-8`);
      }),
      { numRuns: 500 },
    );
  });

  it("is reported in the middle of a large file", async () => {
    const bytes = Buffer.from("é".repeat(300_000));
    bytes[400_001] = 0x41;
    const file = { path: join(corpus(folder(), { "a.txt": bytes }), "a.txt"), bytes: bytes.length };
    await expectError(() => readText(file), "invalid-file", "byte 400000:", "c3 41 c3 a9");
  });
});

describe("paths that cannot be used", () => {
  it("are refused: none, missing, without text, too large", async () => {
    const out = join(folder(), "tokens");
    const make = (paths: string[]) => () => data.tokenize(paths, { out, ...everything });
    await expectError(make([]), "invalid-argument", "paths: expected at least one folder or text file");
    await expectError(make(["/no/such"]), "not-found", "/no/such: cannot be read (ENOENT");
    await expectError(make([folder()]), "not-found", "named *.txt or *.md", "the folder is empty");
    const none = corpus(folder(), { "a.json": "{}", "b.txt": "" });
    await expectError(make([none]), "not-found", none, "the folder has a.json, b.txt");
    await expectError(make([join(none, "b.txt")]), "not-found", "expected text, found only empty files");
    const large = corpus(folder(), { "a.txt": "a" });
    truncateSync(join(large, "a.txt"), 2 ** 28 + 1);
    await expectError(make([large]), "invalid-file", "at most 268435456 bytes", "divide it into several files");
    expect(existsSync(out)).toBe(false);
  });

  it("are refused: an output folder that is not empty, or is a file", async () => {
    const texts = corpus(folder(), { "a.txt": "a" });
    const out = corpus(folder(), { "mine.txt": "mine" });
    const words = "out: expected a folder that does not exist or is empty";
    await expectError(() => data.tokenize([texts], { out, ...everything }), "invalid-argument", words);
    await expectError(() => data.tokenize([texts], { out: join(out, "mine.txt") }), "invalid-argument", words);
    await expectError(() => data.tokenize([texts], { out: "" }), "invalid-argument", "out: expected the path");
    expect(readdirSync(out)).toEqual(["mine.txt"]);
  });

  it("do not include an empty output folder", async () => {
    const [texts, out] = [corpus(folder(), { "a.txt": "a" }), folder()];
    await data.tokenize([texts], { out: `${out}/`, ...everything });
    expect(idsOf(out, "train")).toEqual(ended("a"));
  });

  it("do not include a symbolic link to an empty folder, which stays a link", async () => {
    const [texts, out, place] = [corpus(folder(), { "a.txt": "a" }), folder(), folder()];
    const link = join(place, "corpus");
    symlinkSync(out, link);
    const { name } = await data.tokenize([texts], { out: link, ...everything });
    expect(name).toBe("corpus");
    expect(idsOf(out, "train")).toEqual(ended("a"));
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(readdirSync(place)).toEqual(["corpus"]);
  });
});

describe("interrupted work", () => {
  const many = (documents: number, length: number) =>
    corpus(folder(), Object.fromEntries(Array.from({ length: documents }, (_, i) => [`${i}.txt`, wordsOf(i, length)])));

  it("leaves nothing after an abort", async () => {
    const [texts, place] = [many(5, 100), folder()];
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error("enough"));
    const made = data.tokenize([texts], { out: join(place, "tokens"), onProgress, signal: controller.signal });
    await expect(made).rejects.toThrow("enough");
    expect(readdirSync(place)).toEqual([]);
  });

  it("leaves a file that appeared in the output folder, and no other files", async () => {
    const [texts, out] = [many(3, 10), folder()];
    const onProgress = () => writeFileSync(join(out, "mine"), "mine");
    await expectError(
      () => data.tokenize([texts], { out, onProgress }),
      "invalid-file",
      "could not be written (ENOTEMPTY",
    );
    expect(readdirSync(out)).toEqual(["mine"]);
    expect(readdirSync(join(out, "..")).filter((name) => name.startsWith(`${basename(out)}.`))).toEqual([]);
  });

  it("leaves nothing that loads after a kill, and the next call removes its files", async () => {
    const [texts, place] = [many(400, 20_000), folder()];
    const out = join(place, "tokens");
    const main = JSON.stringify(compiled("data/index.js"));
    const program = `import { tokenize } from ${main};
      await tokenize([${JSON.stringify(texts)}], { out: ${JSON.stringify(out)}, onProgress: () => process.send?.("one") });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    await new Promise((resolve) => child.once("message", resolve));
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
    const left = readdirSync(place);
    expect(left).toEqual([`tokens.${child.pid}.partial`]);
    const partial = join(place, left[0]!);
    expect(readdirSync(partial)).not.toContain("tokens.json");
    await expectError(() => data.tokens(partial, { context: 4 }), "not-found", "tokens.json");

    // The folder of a running process stays, and so do folders with similar names.
    const running = spawn(process.execPath, ["-e", "setTimeout(() => {}, 60_000)"]);
    const others = [`tokens.${running.pid}.partial`, "tokens.x.partial", "tokens2.1.partial", "tokens.partial"];
    for (const name of others) mkdirSync(join(place, name));
    try {
      await data.tokenize([many(1, 10)], { out, ...everything });
    } finally {
      running.kill();
    }
    expect(readdirSync(place).sort()).toEqual(["tokens", ...others].sort());
  });
});
