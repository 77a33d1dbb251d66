import { execFileSync } from "node:child_process";
import { cpSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectError } from "../support/errors.js";
import { filled, temporaryFolders } from "../support/folders.js";
import { besideFolders, compiled } from "./support/compiled.js";
import { data } from "./support/data.js";

const folder = temporaryFolders();
const all = data.tokenizerNames.map((name) => ({ name, tokenizer: data.tokenizerOf(data.specOf(name)) }));
const byName = (name: string) => all.find((each) => each.name === name)!.tokenizer;

describe("the bytes tokenizer", () => {
  const bytes = byName("bytes");

  it("has the 256 bytes, and the end of text after them", () => {
    expect(bytes).toMatchObject({ vocabulary: 257, endOfText: 256, spec: { kind: "bytes" } });
  });

  it("encodes the bytes of UTF-8", () => {
    expect([...bytes.encode("aé€😀")]).toEqual([0x61, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80]);
    expect(bytes.encode("")).toEqual(new Int32Array(0));
  });
});

describe("byte-pair encodings", () => {
  // From the documentation of GPT-2 and of OpenAI's tiktoken.
  it.each([
    { name: "gpt2", text: "Hello, I'm a language model,", ids: [15496, 11, 314, 1101, 257, 3303, 2746, 11] },
    { name: "cl100k_base", text: "tiktoken is great!", ids: [83, 1609, 5963, 374, 2294, 0] },
    { name: "o200k_base", text: "tiktoken is great!", ids: [83, 8251, 2488, 382, 2212, 0] },
  ])("$name gives the ids of the reference implementation", ({ name, text, ids }) => {
    expect([...byName(name).encode(text)]).toEqual(ids);
    expect(byName(name).decode(ids)).toBe(text);
  });

  it.each([
    { name: "gpt2", vocabulary: 50_257, endOfText: 50_256 },
    { name: "cl100k_base", vocabulary: 100_277, endOfText: 100_257 },
    { name: "o200k_base", vocabulary: 200_019, endOfText: 199_999 },
  ])("$name has $vocabulary ids, the end of text at $endOfText", ({ name, ...expected }) => {
    expect(byName(name)).toMatchObject({ ...expected, spec: { kind: "bpe", encoding: name } });
  });
});

describe.each(all)("every tokenizer: $name", ({ tokenizer }) => {
  const text = fc.string({ unit: "grapheme", maxLength: 60 });

  it("decodes to the encoded text, with ids below the vocabulary and no end of text", () => {
    fc.assert(
      fc.property(text, (given) => {
        const ids = tokenizer.encode(given);
        expect(tokenizer.decode(ids)).toBe(given);
        for (const id of ids) expect(id).toBeLessThan(tokenizer.vocabulary);
        expect(ids).not.toContain(tokenizer.endOfText);
      }),
    );
  });

  it.each(["<|endoftext|>", "a<|endoftext|><|fim_prefix|>b", "\uFEFFa\uFEFF \uFEFF", " \n\n\t  x  \r\n"])(
    "encodes %j as plain text",
    (given) => {
      expect(tokenizer.encode(given)).not.toContain(tokenizer.endOfText);
      expect(tokenizer.decode(tokenizer.encode(given))).toBe(given);
    },
  );

  it("decodes id by id to the same text, and gives each character once it is complete", () => {
    fc.assert(
      fc.property(text, (given) => {
        const decoder = tokenizer.decoder();
        let so = "";
        for (const id of tokenizer.encode(given)) {
          so += decoder.add(id);
          expect(given.startsWith(so)).toBe(true);
        }
        expect(decoder.end()).toBe("");
        expect(so).toBe(given);
      }),
    );
  });

  it("decodes invalid bytes to U+FFFD, and then continues", () => {
    // So rare that no encoding has it as one token.
    const [first = 0] = tokenizer.encode("𒀀");
    expect(tokenizer.decode([first])).toBe("\uFFFD");
    expect(tokenizer.decode(tokenizer.encode("a"))).toBe("a");
    const decoder = tokenizer.decoder();
    expect(decoder.add(first) + decoder.end()).toBe("\uFFFD");
    expect(tokenizer.decode([tokenizer.vocabulary, -1])).toBe("\uFFFD\uFFFD");
  });

  it("decodes the end of text to its marker", () => {
    expect(tokenizer.decode([tokenizer.endOfText])).toBe("<|endoftext|>");
  });
});

describe("tokenizerOf", () => {
  it("accepts only known kinds and encodings", async () => {
    const refused = (spec: unknown) => () => data.tokenizerOf(spec as never);
    await expectError(
      refused({ kind: "words" }),
      "invalid-argument",
      'tokenizer.kind: expected "bytes", "bpe" or "huggingface"',
    );
    await expectError(refused(undefined), "invalid-argument", "tokenizer.kind");
    const words = 'tokenizer.encoding: expected gpt2, cl100k_base, o200k_base, got "gpt3"';
    await expectError(refused({ kind: "bpe", encoding: "gpt3" }), "invalid-argument", words);
    await expectError(refused({ kind: "bpe", encoding: "toString" }), "invalid-argument", "tokenizer.encoding");
    await expectError(() => data.specOf("gpt3"), "invalid-argument", "tokenizer: expected bytes, gpt2");
  });

  it("converts names to specifications and back", () => {
    for (const name of data.tokenizerNames) expect(data.tokenizerName(data.specOf(name))).toBe(name);
  });

  it("says how to install a missing package; bytes need none", () => {
    // A copy of the compiled files in a place from which no package can be seen.
    const copy = realpathSync(folder());
    cpSync(dirname(compiled("data/index.js")), join(copy, "data"), { recursive: true });
    for (const name of besideFolders) cpSync(compiled(name), join(copy, name));
    const load = `import { specOf, tokenizerOf } from ${JSON.stringify(join(copy, "data", "index.js"))};
      console.log(tokenizerOf(specOf("bytes")).vocabulary);
      try { tokenizerOf(specOf("gpt2")); } catch (error) { console.log(error.code, error.message); }`;
    filled(copy, { "package.json": '{ "type": "module" }', "load.js": load });
    const output = execFileSync(process.execPath, [join(copy, "load.js")], { cwd: folder(), encoding: "utf8" });
    expect(output).toMatch(
      /^257\nnot-found the tokenizer gpt2: the package gpt-tokenizer.*npm install gpt-tokenizer\n$/s,
    );
  });
});
