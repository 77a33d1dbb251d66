import { readdirSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { BatchSource, TokenDataset } from "#lib/data/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { snapshot, take } from "./support/collect.js";
import { corpus, description, idBytes, tokenFolder } from "./support/corpus.js";
import { data } from "./support/data.js";

const folder = temporaryFolders();
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** Ids that tell their places. */
const counting = (length: number) => Int32Array.from({ length }, (_, i) => i);

/** A text of which every id is its own place. */
function places(length: number, context: number, change = {}): Promise<TokenDataset> {
  return data.tokens(tokenFolder(folder(), { train: counting(length) }, change), { context });
}

function batches(from: TokenDataset, options: Parameters<TokenDataset["batches"]>[0]): BatchSource {
  const source = from.batches(options);
  closers.push(() => source.close());
  return source;
}

/** Where the windows of a batch begin, in a text of {@link places}. */
function startsOf({ inputs }: { inputs: { data: ArrayLike<number>; shape: readonly number[] } }): number[] {
  const [size = 0, context = 0] = inputs.shape;
  return Array.from({ length: size }, (_, item) => inputs.data[item * context]!);
}

async function startsIn(source: BatchSource, steps: number): Promise<number[]> {
  return (await take(source.from(0), steps)).flatMap(startsOf);
}

describe.each(["uint16", "uint32"])("windows of %s", (dtype) => {
  it("are int32, with the following ids as labels", async () => {
    const text = await places(1000, 5, { dtype });
    const batch = await batches(text, { size: 3, seed: 1 }).at(7);
    expect(batch).toMatchObject({ size: 3, inputs: { dtype: "int32", shape: [3, 5] }, labels: { shape: [3, 5] } });
    const { inputs, labels } = snapshot(batch);
    const expected = startsOf(batch).flatMap((start) => [0, 1, 2, 3, 4].map((i) => start + i));
    expect(inputs.data).toEqual(expected);
    expect(labels).toEqual({ data: expected.map((id) => id + 1), shape: [3, 5] });
    expect((batch.labels as { data: unknown }).data).toBeInstanceOf(Int32Array);
  });

  it("in order are adjacent, without the ids after the last whole one", async () => {
    // Four windows of five use 21 ids: the last label is one more.
    for (const [length, windows] of [
      [21, 4],
      [25, 4],
      [26, 5],
    ] as const) {
      const text = await places(length, 5, { dtype });
      expect(text.length).toBe(windows);
      const seen = await take(batches(text, { size: 2 }).once());
      expect(seen.flatMap(startsOf)).toEqual(Array.from({ length: windows }, (_, i) => 5 * i));
      expect(seen.map(({ size }) => size)).toEqual(windows === 4 ? [2, 2] : [2, 2, 1]);
      expect(seen.map(({ epoch, index }) => [epoch, index])).toEqual(seen.map((_, i) => [0, i]));
      expect(seen.at(-1)!.labels).toMatchObject({ shape: [seen.at(-1)!.size, 5] });
    }
  });
});

describe("a limited number of windows in order", () => {
  it("is spread evenly over the text, and random windows are unaffected", async () => {
    // Ten windows of ten.
    const text = await places(101, 10);
    for (const [maxItems, expected] of [
      [1, [0]],
      [3, [0, 30, 60]],
      [4, [0, 20, 50, 70]],
      [10, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]],
      [99, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]],
    ] as const) {
      const source = batches(text, { size: 3, maxItems });
      expect((await take(source.once())).flatMap(startsOf)).toEqual(expected);
      expect(source.items).toBe(expected.length);
      const whole = batches(text, { size: 3 });
      expect(source.batchesPerEpoch).toBe(whole.batchesPerEpoch);
      expect(await startsIn(source, 4)).toEqual(await startsIn(whole, 4));
      expect(source.toJSON()).toEqual(whole.toJSON());
    }
  });
});

describe("random windows", () => {
  it("are a pure function of seed and step, whatever the way of access", async () => {
    const text = await places(5000, 8);
    const all = await take(batches(text, { size: 4, seed: 2 }).from(0), 12);
    expect(await take(batches(text, { size: 4, seed: 2 }).from(5), 7)).toEqual(all.slice(5));
    expect(await take(batches(text, { size: 4, seed: 2, prefetch: 0 }).from(9), 3)).toEqual(all.slice(9));
    const source = batches(text, { size: 4, seed: 2, prefetch: 9 });
    for (const step of [11, 0, 6]) expect(snapshot(await source.at(step))).toEqual(all[step]);
    expect(await startsIn(batches(text, { size: 4, seed: 3 }), 12)).not.toEqual(all.flatMap(startsOf));
    expect(await startsIn(batches(text, { size: 4 }), 3)).toEqual(
      await startsIn(batches(text, { size: 4, seed: 0 }), 3),
    );
  });

  it("are the same for every batch size", async () => {
    const text = await places(5000, 8);
    const starts = await startsIn(batches(text, { size: 1, seed: 5 }), 24);
    expect(await startsIn(batches(text, { size: 3, seed: 5 }), 8)).toEqual(starts);
    expect(await startsIn(batches(text, { size: 24, seed: 5 }), 1)).toEqual(starts);
  });

  it("never change, because a newer version must be able to resume runs", async () => {
    const text = await places(5000, 8);
    expect(await startsIn(batches(text, { size: 4, seed: 1 }), 2)).toMatchInlineSnapshot(`
      [
        1616,
        1861,
        1726,
        3451,
        3001,
        2405,
        478,
        1506,
      ]
    `);
  });

  it("begin at every position equally often, including the first and the last", async () => {
    // 25 ids and 6 a window: 20 places.
    const text = await places(25, 5);
    const counts = new Array<number>(20).fill(0);
    for (const start of await startsIn(batches(text, { size: 500, seed: 4 }), 20)) counts[start]! += 1;
    const chiSquare = counts.reduce((sum, times) => sum + (times - 500) ** 2 / 500, 0);
    // The 99.9 % quantile of 19 degrees of freedom.
    expect(chiSquare).toBeLessThan(43.8);
    expect(counts.reduce((sum, times) => sum + times)).toBe(10_000);
  });

  it("have epochs of as many windows as fit into the text", async () => {
    const source = batches(await places(101, 10), { size: 3 });
    expect(source).toMatchObject({ items: 10, batchesPerEpoch: 3, size: 3 });
    const { epoch, index } = await source.at(7);
    expect([epoch, index]).toEqual([2, 1]);
    // More windows in a batch than the text has side by side.
    expect(batches(await places(101, 10), { size: 50 }).batchesPerEpoch).toBe(1);
  });

  it("are read ahead while one is in use, exactly as many as requested", async () => {
    const path = tokenFolder(folder(), { train: counting(100) });
    const loop = batches(await data.tokens(path, { context: 4 }), { size: 2, prefetch: 3 }).from(0);
    await loop.next();
    // Those asked for before this one were read from the file as it was; then it changes.
    await new Promise((resolve) => setTimeout(resolve, 200));
    writeFileSync(join(path, "train.tokens"), new Uint8Array(200));
    const changed: boolean[] = [];
    for (let step = 1; step < 6; step++) {
      const { inputs } = (await loop.next()).value!;
      changed.push(Array.from(inputs.data).every((id) => id === 0));
    }
    expect(changed).toEqual([false, false, false, true, true]);
  });

  it("have separate memory", async () => {
    const kept: { batch: Parameters<typeof snapshot>[0]; copy: unknown }[] = [];
    for await (const batch of batches(await places(500, 4), { size: 3 }).from(0)) {
      kept.push({ batch, copy: snapshot(batch) });
      if (kept.length === 20) break;
    }
    for (const { batch, copy } of kept) expect(snapshot(batch)).toEqual(copy);
  });
});

describe("the description of batches", () => {
  it("is the same for the same data at another path, and differs if the batches differ", async () => {
    const path = tokenFolder(folder(), { train: counting(100), test: counting(100) });
    const json = async (options = {}, size = 2, seed = 0) => {
      const text = await data.tokens(path, { context: 4, ...options });
      return JSON.stringify(batches(text, { size, seed, prefetch: size }).toJSON());
    };
    const jsonBefore = await json();
    expect(JSON.parse(jsonBefore)).toEqual({
      dataset: "numbers (train)",
      tokens: 100,
      digest: "digest of train",
      context: 4,
      size: 2,
      seed: 0,
    });
    const moved = `${path}-moved`;
    renameSync(path, moved);
    const there = await data.tokens(moved, { context: 4 });
    expect(JSON.stringify(batches(there, { size: 2 }).toJSON())).toBe(jsonBefore);
    renameSync(moved, path);
    for (const other of [json({ split: "test" }), json({ context: 5 }), json({}, 3), json({}, 2, 1)])
      expect(await other).not.toBe(jsonBefore);
  });
});

describe("a closed source", () => {
  it("rejects new and pending requests, and may be closed again", async () => {
    const text = await places(500, 4);
    // So many reads that some are under way when the file is closed.
    for (let time = 0; time < 10; time++) {
      const busy = text.batches({ size: 300 });
      await busy.at(0);
      const pending = busy.at(1);
      const refused = expectError(() => pending, "invalid-state", "the batches of numbers (train) were closed");
      await busy.close();
      await refused;
    }
    const source = batches(text, { size: 3 });
    await source.close();
    await source.close();
    await expectError(() => source.at(0), "invalid-state", "closed");
    await expectError(() => source.from(0).next(), "invalid-state", "closed");
    await expectError(() => source.once().next(), "invalid-state", "closed");
  });

  it("closes its file", async () => {
    const open = () => readdirSync("/proc/self/fd").length;
    const text = await places(500, 4);
    const before = open();
    const sources = Array.from({ length: 20 }, () => text.batches({ size: 3 }));
    for (const source of sources) await source.at(0);
    expect(open()).toBe(before + 20);
    await Promise.all(sources.map((source) => source.close()));
    expect(open()).toBe(before);
  });
});

describe("bare files", () => {
  const ids = counting(50);

  it("are read with the given description, also after a header", async () => {
    for (const dtype of ["uint16", "uint32"] as const) {
      const bytes = idBytes(dtype, ids);
      const dir = corpus(folder(), { "a.bin": bytes, "b.bin": Buffer.concat([new Uint8Array(10), bytes]) });
      for (const [name, skip] of [
        ["a.bin", {}],
        ["b.bin", { skip: 10 }],
      ] as const) {
        const text = await data.tokens(join(dir, name), { context: 7, dtype, vocabulary: 50, ...skip });
        expect(text).toMatchObject({ name, tokens: 50, length: 7, vocabulary: 50, tokenizer: undefined });
        expect((await take(batches(text, { size: 9 }).once())).flatMap(startsOf)).toEqual([0, 7, 14, 21, 28, 35, 42]);
      }
    }
  });

  it("are distinguished by a digest of their length and of a sample", async () => {
    const digest = async (bytes: Uint8Array) => {
      const path = join(corpus(folder(), { "a.bin": bytes }), "a.bin");
      const text = await data.tokens(path, { context: 4, dtype: "uint16", vocabulary: 60_000 });
      expect(batches(text, { size: 1 }).toJSON()).toMatchObject({ dataset: "a.bin", digest: text.digest });
      return text.digest;
    };
    const long = idBytes("uint16", counting(50_000));
    const digestBefore = await digest(long);
    expect(await digest(long)).toBe(digestBefore);
    for (const at of [0, 50_001, 99_999]) {
      const changed = Uint8Array.from(long);
      changed[at]! ^= 1;
      expect(await digest(changed)).not.toBe(digestBefore);
    }
    expect(await digest(new Uint8Array(9000))).not.toBe(await digest(new Uint8Array(9002)));
  });

  it("are refused without a description, or if they contain half an id", async () => {
    const path = join(corpus(folder(), { "a.bin": new Uint8Array(101) }), "a.bin");
    const open = (options: object) => () => data.tokens(path, { context: 4, ...options });
    await expectError(open({}), "invalid-argument", 'dtype: expected "uint16" or "uint32", which the bare file');
    await expectError(open({ dtype: "int16" }), "invalid-argument", "dtype");
    await expectError(open({ dtype: "uint16" }), "invalid-argument", "vocabulary: expected an integer from 1 to 2^31");
    const bare = { dtype: "uint16", vocabulary: 9 };
    await expectError(open({ ...bare, split: "test" }), "invalid-argument", "split: expected none for the bare file");
    await expectError(open({ ...bare, skip: -1 }), "invalid-argument", "skip: expected an integer of at least 0");
    await expectError(open({ ...bare, skip: 102 }), "invalid-file", "whole ids of 2 bytes after 102");
    const words = "byte 101: expected whole ids of 2 bytes, found a file of 101 bytes";
    await expectError(open(bare), "invalid-file", `${path}: ${words}`);
  });
});

describe("bad token folders", () => {
  const ids = counting(100);
  const open = (path: string, options = {}) => data.tokens(path, { context: 4, ...options });

  it.each([
    { what: "the format", change: { format: "stepsize-tokens-2" }, words: ['format: expected "stepsize-tokens-1"'] },
    { what: "the name", change: { name: 3 }, words: ["name: expected a text, found 3"] },
    { what: "the tokenizer", change: { tokenizer: null }, words: ["tokenizer: expected an object with a kind"] },
    { what: "the vocabulary", change: { vocabulary: 1.5 }, words: ["vocabulary: expected a number of ids"] },
    { what: "the type", change: { dtype: "int32" }, words: ['dtype: expected "uint16" or "uint32", found "int32"'] },
    { what: "a type too narrow", change: { vocabulary: 65_537 }, words: ['dtype: expected "uint32"'] },
    { what: "the end of text", change: { endOfText: 60_000 }, words: ["endOfText: expected an id below 60000"] },
  ])("$what is wrong in tokens.json", async ({ change, words }) => {
    const path = tokenFolder(folder(), { train: ids }, change);
    await expectError(() => open(path), "invalid-file", join(path, "tokens.json"), ...words);
  });

  it("splits are wrong in tokens.json", async () => {
    const path = tokenFolder(folder(), { train: ids });
    const file = join(path, "tokens.json");
    const good = { documents: 1, tokens: 100, bytes: 7, digest: "x" };
    for (const [train, words] of [
      [{ ...good, tokens: -1 }, "splits.train.tokens: expected an integer of at least 0, found -1"],
      [{ ...good, digest: 1 }, "splits.train.digest: expected a text"],
      [null, "splits.train: expected an object, found null"],
    ] as const) {
      writeFileSync(file, JSON.stringify({ ...description, splits: { train } }));
      await expectError(() => open(path), "invalid-file", file, words);
    }
    writeFileSync(file, JSON.stringify({ ...description, splits: null }));
    await expectError(() => open(path), "invalid-file", "splits: expected an object, found null");
  });

  it("tokens.json is not JSON, not an object, or missing", async () => {
    const path = tokenFolder(folder(), { train: ids });
    writeFileSync(join(path, "tokens.json"), '{ "format": "steps');
    await expectError(() => open(path), "invalid-file", join(path, "tokens.json"), "expected JSON");
    writeFileSync(join(path, "tokens.json"), "null");
    await expectError(() => open(path), "invalid-file", "expected an object, found null");
    const bare = corpus(folder(), { "train.tokens": new Uint8Array(10) });
    await expectError(() => open(bare), "not-found", "tokens.json", "the folder has train.tokens");
    await expectError(() => open("/no/such"), "not-found", "/no/such: expected a token folder or a file of tokens");
  });

  it("a split is missing, or its file", async () => {
    const path = tokenFolder(folder(), { train: ids, test: ids });
    await expectError(
      () => open(path, { split: "validation" }),
      "not-found",
      "expected a validation split, found train, test",
    );
    await expectError(() => open(path, { split: "all" }), "invalid-argument", 'split: expected "train", "validation"');
    renameSync(join(path, "test.tokens"), join(path, "elsewhere"));
    await expectError(
      () => open(path, { split: "test" }),
      "not-found",
      join(path, "test.tokens"),
      "there is no such file",
    );
    expect((await open(path)).tokens).toBe(100);
  });

  it("a file has another width than in tokens.json", async () => {
    const path = tokenFolder(folder(), { train: ids });
    writeFileSync(join(path, "train.tokens"), idBytes("uint32", ids));
    const words = "byte 200: expected 200 bytes: 100 ids of type uint16, found a file of 400 bytes";
    await expectError(() => open(path), "invalid-file", join(path, "train.tokens"), words);
    truncateSync(join(path, "train.tokens"), 199);
    await expectError(() => open(path), "invalid-file", "byte 199: expected 200 bytes", "a file of 199 bytes");
  });

  it("an id is beyond the vocabulary, which is reported with its position when it is read", async () => {
    const wrong = Int32Array.from(ids);
    wrong[57] = 300;
    for (const [dtype, byte] of [
      ["uint16", 114],
      ["uint32", 228],
    ] as const) {
      const path = tokenFolder(folder(), { train: wrong }, { dtype, vocabulary: 300 });
      const source = batches(await open(path), { size: 1, prefetch: 0 });
      const words = `${join(path, "train.tokens")}: byte ${byte}: expected an id below the vocabulary of 300, found 300`;
      await expectError(() => take(source.once()), "invalid-file", words, "another tokenizer or width");
    }
    // Ids that are no int32.
    const path = tokenFolder(folder(), { train: ids }, { dtype: "uint32", vocabulary: 2 ** 31 });
    writeFileSync(join(path, "train.tokens"), idBytes("uint32", new Uint32Array(100).fill(2 ** 32 - 1)));
    const source = batches(await open(path), { size: 1 });
    await expectError(() => source.at(0), "invalid-file", "found 4294967295");
  });

  it("a text is shorter than one window", async () => {
    const path = tokenFolder(folder(), { train: counting(5) });
    expect((await open(path)).length).toBe(1);
    const words = "context: expected at most 4 for the 5 tokens of numbers (train)";
    await expectError(() => open(path, { context: 5 }), "invalid-argument", words, "got 5");
    for (const context of [0, 1.5, undefined]) {
      await expectError(
        () => open(path, { context }),
        "invalid-argument",
        "context: expected an integer of at least 1",
      );
    }
  });

  it("an option is given that the token folder defines", async () => {
    const path = tokenFolder(folder(), { train: ids });
    await expectError(
      () => open(path, { dtype: "uint16" }),
      "invalid-argument",
      "dtype: expected none for the token folder",
    );
    await expectError(() => open(path, { vocabulary: 9 }), "invalid-argument", "vocabulary: expected none");
  });

  it("a file is truncated while it is in use, or before it is opened again", async () => {
    const path = tokenFolder(folder(), { train: ids });
    const text = await open(path);
    const source = batches(text, { size: 20, prefetch: 0 });
    await source.at(0);
    truncateSync(join(path, "train.tokens"), 20);
    await expectError(
      () => source.at(1),
      "invalid-file",
      join(path, "train.tokens"),
      "the end of the file at",
      "cut short",
    );
    const other = batches(text, { size: 1 });
    await expectError(() => other.at(0), "invalid-file", "expected 200 bytes", "found a file of 20 bytes");
  });
});

describe("options of batches", () => {
  it("are refused if they are invalid", async () => {
    const text = await places(100, 4);
    const make = (options: unknown) => () => text.batches(options as never);
    await expectError(make(undefined), "invalid-argument", "batches: expected an object with the options size, seed");
    for (const size of [0, 1.5, undefined])
      await expectError(make({ size }), "invalid-argument", "batches.size: expected an integer of at least 1");
    await expectError(make({ size: 1, seed: -1 }), "invalid-argument", "batches.seed");
    await expectError(
      make({ size: 1, maxItems: 0 }),
      "invalid-argument",
      "batches.maxItems: expected an integer of at least 1",
    );
    await expectError(
      make({ size: 1, prefetch: 65 }),
      "invalid-argument",
      "batches.prefetch: expected an integer from 0 to",
    );
    const source = batches(text, { size: 1 });
    for (const step of [-1, 0.5]) {
      await expectError(() => source.at(step), "invalid-argument", "step: expected");
      await expectError(() => source.from(step), "invalid-argument", "step: expected");
    }
  });

  it("the name consists of the folder's name and the split", async () => {
    const path = tokenFolder(folder(), { validation: counting(100) });
    const text = await data.tokens(path, { context: 4, split: "validation" });
    expect(text).toMatchObject({ name: "numbers (validation)", context: 4, tokenizer: { kind: "bytes" } });
    expect(text.name).not.toContain(basename(path));
  });
});
