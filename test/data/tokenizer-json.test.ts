// Tokenizers of Hugging Face's library. The ids in test/golden/bpe/ are those of the library in Python.
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readTokenizer, tokenizerName, tokenizerOf } from "#lib/data/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const folder = temporaryFolders();
const golden = fileURLToPath(new URL("../golden/bpe/", import.meta.url));
const { texts, ids }: { texts: readonly string[]; ids: Readonly<Record<string, readonly (readonly number[])[]>> } =
  JSON.parse(readFileSync(join(golden, "expected.json"), "utf8"));

const read = async (path: string) => tokenizerOf(await readTokenizer(path));
const changed = (edit: (json: ReturnType<typeof JSON.parse>) => void, file = "tokenizer.json") => {
  const path = join(folder(), "tokenizer");
  cpSync(join(golden, "olmo"), path, { recursive: true });
  const json = JSON.parse(readFileSync(join(path, file), "utf8"));
  edit(json);
  writeFileSync(join(path, file), JSON.stringify(json));
  return path;
};

describe.each(["olmo", "olmo2"])("the tokenizer %s", async (name) => {
  const tokenizer = await read(join(golden, name));

  test.each(texts.map((text, i) => [text, ids[name]![i]!] as const))(
    "encodes %j as the reference does",
    (text, wanted) => {
      expect([...tokenizer.encode(text)]).toEqual(wanted);
      // OLMo's tokenizer normalizes the text.
      expect(tokenizer.decode(wanted)).toBe(name === "olmo" ? text.normalize("NFC") : text);
    },
  );

  test("decodes ids one at a time, also in the middle of a character", () => {
    const text = texts.find((one) => one.includes("👩‍🚀"))!;
    const decoder = tokenizer.decoder();
    const pieces = [...tokenizer.encode(text)].map((id) => decoder.add(id));
    expect(pieces.join("") + decoder.end()).toBe(text);
    expect(pieces).toContain("");
  });

  test("has an end of text that encode does not return", () => {
    expect([tokenizer.endOfText, tokenizer.decode([tokenizer.endOfText])]).toEqual([400, "<|endoftext|>"]);
    expect([...tokenizer.encode("<|endoftext|>")]).not.toContain(tokenizer.endOfText);
    expect(tokenizer.decode([100_000])).toBe("\ufffd");
    expect(tokenizer.vocabulary).toBe(name === "olmo" ? 406 : 401);
  });

  test("has a specification that makes it again without its folder", async () => {
    const spec = await readTokenizer(join(golden, name));
    expect(tokenizerName(spec)).toBe("huggingface");
    const again = tokenizerOf(JSON.parse(JSON.stringify(spec)));
    expect(again.encode(texts[1]!)).toEqual(tokenizer.encode(texts[1]!));
  });
});

describe("readTokenizer", () => {
  test("finds the end of text in tokenizer_config.json, as text or as an object, or in config.json", async () => {
    const asObject = changed((json) => {
      json.eos_token = { content: "<|padding|>", special: true };
    }, "tokenizer_config.json");
    expect((await readTokenizer(asObject)).endOfText).toBe(0);
    const path = changed(() => {});
    rmSync(join(path, "tokenizer_config.json"));
    await expectError(() => readTokenizer(path), "invalid-file", "expected the end of text as eos_token");
    for (const [eos_token_id, wanted] of [
      [400, 400],
      [[0, 400], 0],
    ]) {
      writeFileSync(join(path, "config.json"), JSON.stringify({ eos_token_id }));
      expect((await readTokenizer(path)).endOfText).toBe(wanted);
    }
  });

  test.each<[string, string, (json: ReturnType<typeof JSON.parse>) => void, string]>([
    [
      "invalid-file",
      "tokenizer_config.json",
      (json) => (json.eos_token = "<eos>"),
      "a token of tokenizer.json, found <eos>",
    ],
    [
      "unsupported",
      "tokenizer.json",
      (json) => (json.model.type = "Unigram"),
      'tokenizer.json: model.type: expected "BPE", found "Unigram"',
    ],
    [
      "unsupported",
      "tokenizer.json",
      (json) => (json.decoder.type = "Metaspace"),
      'decoder.type: expected "ByteLevel", found "Metaspace"',
    ],
    ["unsupported", "tokenizer.json", (json) => (json.model.dropout = 0.1), "model.dropout: expected null, found 0.1"],
    ["invalid-file", "tokenizer.json", (json) => delete json.model, "model: expected an object, found undefined"],
    [
      "invalid-file",
      "tokenizer.json",
      (json) => (json.model.vocab.the = -1),
      "model.vocab.the: expected an integer of at least 0",
    ],
    [
      "invalid-file",
      "tokenizer.json",
      (json) => (json.added_tokens = [{ id: 1 }]),
      "added_tokens[0].content: expected a text",
    ],
  ])("%s: %s with another %s", async (code, file, edit, words) => {
    await expectError(() => readTokenizer(changed(edit, file)), code, words);
  });

  test("names a missing or damaged file", async () => {
    await expectError(() => readTokenizer(folder()), "not-found", "tokenizer.json");
    const path = changed(() => {});
    writeFileSync(join(path, "tokenizer.json"), "{");
    await expectError(() => readTokenizer(path), "invalid-file", "tokenizer.json");
  });
});

describe("tokenizerOf", () => {
  test.each<[string, string, (json: ReturnType<typeof JSON.parse>) => void, string]>([
    ["unsupported", "a part that is not known", (json) => (json.pre_tokenizer.type = "Other"), "tokenizer.json: "],
    ["unsupported", "no merges", (json) => delete json.model.merges, "tokenizer.json: "],
    ["unsupported", "a byte that has no token", (json) => delete json.model.vocab["Ł"], "every byte, Ł is missing"],
  ])("%s: %s", async (code, _, edit, words) => {
    const spec = await readTokenizer(changed(edit));
    await expectError(() => tokenizerOf(spec), code, words);
  });

  test("an end of text that is no token is an error", async () => {
    const spec = { ...(await readTokenizer(join(golden, "olmo"))), endOfText: 1000 };
    await expectError(() => tokenizerOf(spec), "invalid-file", "expected an end of text below 406, found 1000");
  });
});
