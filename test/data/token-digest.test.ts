// A split of a token folder is compared with its SHA-256, once for as long as the file stays the same.
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { description } from "./support/corpus.js";
import { data } from "./support/data.js";

const folder = temporaryFolders();
const ids = Uint8Array.from({ length: 64 }, (_, i) => i);

/** A folder with a train split of 32 ids; its file has the SHA-256 that is described, or what is given in its place. */
function folderOf({ digest = createHash("sha256").update(ids).digest("hex") } = {}) {
  const place = folder();
  const file = join(place, "train.tokens");
  writeFileSync(file, ids);
  const splits = { train: { documents: 1, tokens: 32, bytes: 64, digest } };
  writeFileSync(join(place, "tokens.json"), JSON.stringify({ ...description, splits }));
  return { place, file, note: `${file}.verified`, open: () => data.tokens(place, { context: 4 }) };
}

/** Changes a bit, and lets the file have the time that it had. */
function flip(file: string, bit: number): void {
  const { atimeMs, mtimeMs } = statSync(file);
  const bytes = readFileSync(file);
  bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
  writeFileSync(file, bytes);
  utimesSync(file, atimeMs / 1000, mtimeMs / 1000);
}

/** Lets the file look as if nobody had written to it for an hour. */
const age = (file: string) => utimesSync(file, 1_700_000_000, 1_700_000_000);

const words = ["is damaged", "SHA-256", "tokenize the text again"];

describe("a token file", () => {
  it("that is missing is distinguished from one that cannot be opened", async () => {
    const { file, open } = folderOf();
    rmSync(file);
    await expectError(open, "not-found", `${file}: there is no such file`);
    // A link to itself.
    symlinkSync("train.tokens", file);
    await expectError(open, "invalid-file", `${file}: cannot be read (ELOOP`);
  });

  it("with any bit flipped is refused", async () => {
    const { file, open } = folderOf();
    // Each bit of a byte comes up.
    for (let bit = 0; bit < ids.length * 8; bit += 13) {
      flip(file, bit);
      await expectError(open, "invalid-file", file, ...words);
      flip(file, bit);
    }
    expect((await open()).tokens).toBe(32);
  });

  it("that was just written is verified again, because a later write may have the same time", async () => {
    const { file, note, open } = folderOf();
    await open();
    expect(existsSync(note)).toBe(false);
    flip(file, 5);
    await expectError(open, "invalid-file", ...words);
  });

  it("that was verified is noted, and not read again until it changes", async () => {
    const { file, note, open } = folderOf();
    age(file);
    await open();
    expect(readFileSync(note, "utf8")).toContain(createHash("sha256").update(ids).digest("hex"));
    // Nothing tells of this one, and it shows that the file was not read.
    flip(file, 7);
    await open();
    utimesSync(file, 1_700_000_000, 1_700_000_001);
    await expectError(open, "invalid-file", file, ...words);
  });

  it("that was noted is verified again after it was copied, even with the same time", async () => {
    const { file, open } = folderOf();
    age(file);
    await open();
    copyFileSync(file, `${file}.copy`);
    flip(`${file}.copy`, 9);
    renameSync(`${file}.copy`, file);
    age(file);
    await expectError(open, "invalid-file", file, ...words);
  });

  it.each(["", "a note of something else", "x".repeat(5000)])("whose note is %j is verified", async (text) => {
    const { file, note, open } = folderOf();
    age(file);
    writeFileSync(note, text);
    flip(file, 3);
    await expectError(open, "invalid-file", file, ...words);
  });

  it("whose note cannot be written is verified once per process", async () => {
    const { file, note, open } = folderOf();
    age(file);
    mkdirSync(note);
    await open();
    flip(file, 7);
    await open();
    rmSync(note, { recursive: true });
    utimesSync(file, 1_700_000_000, 1_700_000_001);
    await expectError(open, "invalid-file", file, ...words);
  });

  it("with a digest that is not SHA-256, as other programs may write it, is not verified", async () => {
    const { file, note, open } = folderOf({ digest: "another digest" });
    age(file);
    flip(file, 3);
    expect(await open()).toMatchObject({ digest: "another digest" });
    expect(existsSync(note)).toBe(false);
  });
});
