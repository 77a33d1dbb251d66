import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { corpus, idsOf, wordsOf } from "../data/support/corpus.js";
import { temporaryFolders } from "../support/folders.js";
import { lastLine, run, start } from "./support/cli.js";

const folder = temporaryFolders();

/** A folder with `texts`, a number of files in it. */
function withTexts(files: number, length = 100): string {
  const texts = Array.from({ length: files }, (_, i) => [`texts/${i}.txt`, wordsOf(i, length)] as const);
  return corpus(folder(), Object.fromEntries(texts));
}

describe("stepsize tokenize", () => {
  test("creates a token folder and prints its facts", async () => {
    const cwd = withTexts(30);
    const { code, stdout, stderr } = await run(["tokenize", "texts", "--out", "tokens", "--validation", "0.1"], {
      cwd,
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe(`tokens: bytes, 257 ids as uint16

split       documents  tokens  bytes of text  bytes per token
train              25   2,525          2,500             0.99
validation          3     303            300             0.99
test                2     202            200             0.99
all                30   3,030          3,000             0.99
`);
    expect(readdirSync(join(cwd, "tokens")).sort()).toEqual([
      "test.tokens",
      "tokens.json",
      "train.tokens",
      "validation.tokens",
    ]);
  });

  test("prints the same as JSON on the last line, and accepts an encoding and a seed", async () => {
    const cwd = withTexts(30);
    const args = ["tokenize", "texts", "--tokenizer", "gpt2", "--json", "--seed"];
    const outcomes = [];
    for (const [seed, out] of [
      ["0", "a"],
      ["0", "b"],
      ["1", "c"],
    ] as const)
      outcomes.push(await run([...args, seed, "--out", out], { cwd }));
    const [a, b, c] = outcomes.map(({ stdout }) => lastLine(stdout));
    expect(a).toMatchObject({ out: "a", name: "a", tokenizer: { kind: "bpe", encoding: "gpt2" }, dtype: "uint16" });
    expect(a.splits.train.tokens).toBe(idsOf(join(cwd, "a"), "train").length);
    expect(b.splits).toEqual(a.splits);
    expect(c.splits).not.toEqual(a.splits);
    expect(outcomes[0]?.stderr).toContain("bytes per token");
    expect(outcomes[0]?.stdout.split("\n")).toHaveLength(2);
  });

  test("exits with 2 if the folder is not empty, and with 1 if a file is not text", async () => {
    const cwd = withTexts(3);
    const full = await run(["tokenize", "texts", "--out", "texts"], { cwd });
    expect(full.code).toBe(2);
    expect(full.stderr).toBe('error: --out: expected a folder that does not exist or is empty, got "texts"\n');
    corpus(cwd, { "texts/bad.md": Buffer.of(0x61, 0xff) });
    const bad = await run(["tokenize", "texts", "--out", "tokens"], { cwd });
    expect(bad.code).toBe(1);
    expect(bad.stderr).toMatch(/^error: texts\/bad\.md: byte 1: expected text in UTF-8, found the bytes ff;.*\n$/);
    expect(readdirSync(cwd)).toEqual(["texts"]);
  });

  test("exits with 1 if a folder has no text", async () => {
    const cwd = folder();
    mkdirSync(join(cwd, "texts"));
    const { code, stderr } = await run(["tokenize", "texts", "--out", "tokens"], { cwd });
    expect(code).toBe(1);
    expect(stderr).toContain("texts: looked for text files named *.txt or *.md that are not empty; the folder");
  });

  test("leaves nothing behind if it is interrupted", async () => {
    const cwd = withTexts(3000, 20_000);
    const { child, done } = start(["tokenize", "texts", "--out", "tokens"], { cwd });
    while (!readdirSync(cwd).some((name) => name.endsWith(".partial"))) await new Promise(setImmediate);
    child.kill("SIGINT");
    const { code, stderr } = await done;
    expect({ code, stderr }).toEqual({ code: 130, stderr: "interrupted; nothing was written\n" });
    expect(readdirSync(cwd)).toEqual(["texts"]);
  });

  test("leaves nothing behind if the disk is full", async () => {
    const cwd = withTexts(4, 100_000);
    // Files above 128 KiB cannot be written.
    const before = "trap '' XFSZ; ulimit -f 256";
    const { code, stderr } = await run(["tokenize", "texts", "--out", "a/b/tokens"], { cwd, before });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: a\/b\/tokens: could not be written \(EFBIG/);
    expect(existsSync(join(cwd, "a/b"))).toBe(true);
    expect(readdirSync(join(cwd, "a/b"))).toEqual([]);
    expect((await run(["tokenize", "texts", "--out", "a/b/tokens"], { cwd })).code).toBe(0);
    expect(JSON.parse(readFileSync(join(cwd, "a/b/tokens/tokens.json"), "utf8")).splits.train.documents).toBe(2);
  });
});
