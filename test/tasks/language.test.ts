import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tokenize } from "#lib/data/index.js";
import { openDevice } from "#lib/native/index.js";
import * as schedule from "#lib/schedule/index.js";
import { assembleRun, openTask, type RunSettings, type Task } from "#lib/tasks/index.js";
import { take } from "../data/support/collect.js";
import { corpus, tokenFolder, wordsOf } from "../data/support/corpus.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const folder = temporaryFolders();

/** A token folder of ten documents. */
async function words(options: Partial<Parameters<typeof tokenize>[1]> = {}): Promise<string> {
  const texts = Array.from({ length: 10 }, (_, i) => [`${i}.txt`, wordsOf(i, 300)] as const);
  const out = join(folder(), "words");
  await tokenize([corpus(folder(), Object.fromEntries(texts))], { out, validation: 0.1, test: 0.2, ...options });
  return out;
}

const open = (path: string, context?: number): Promise<Task> => openTask(`tokens:${path}`, { context });

describe("a task of text", () => {
  it("has windows as items, which are counted in tokens", async () => {
    const task = await open(await words(), 32);
    expect(task).toMatchObject({ name: "tokens:words", unit: "tokens", unitsPerItem: 32 });
    // Seven, one and two documents of 300 bytes and the end of text.
    expect(task.lengths).toEqual({ train: 65, validation: 9, test: 18 });
    expect((await open(await words())).unitsPerItem).toBe(128);
  });

  it("has no validation split where tokenize made none", async () => {
    const task = await open(await words({ validation: 0 }), 32);
    expect(Object.keys(task.lengths)).toEqual(["train", "test"]);
    const call = () => task.evaluationBatches("validation");
    await expectError(call, "invalid-state", "tokens:words: there is no validation split");
  });

  it("evaluates every window of a split once, so many at a time that their logits fit into memory", async () => {
    const task = await open(await words(), 32);
    const source = task.evaluationBatches("train");
    const batches = await take(source.once());
    expect(batches.map(({ size }) => size)).toEqual([64, 1]);
    await source.close();
    // 16 windows of 32 · 32768 logits are 2²⁴.
    const wide = tokenFolder(
      folder(),
      { train: new Uint16Array(2000), test: new Uint16Array(2000) },
      { vocabulary: 2 ** 15 },
    );
    expect((await open(wide, 32)).evaluationBatches("test").size).toBe(16);
  });

  it("makes a card that says what the tokens are", async () => {
    const task = await open(await words(), 32);
    const config = task.modelConfig("olmo-nano");
    expect(config).toMatchObject({ kind: "olmo", vocabulary: 257, context: 32 });
    expect(task.card(config)).toEqual({ config, text: { tokenizer: { kind: "bytes" }, context: 32 } });
  });

  it("takes models of text only, and no options of images", async () => {
    const path = await words();
    const task = await open(path, 32);
    await expectError(
      () => task.modelConfig("mlp"),
      "invalid-argument",
      "model: expected one for text (olmo-nano,",
      '"mlp"',
    );
    await expectError(() => task.modelConfig("resnet8"), "invalid-argument", "images");
    await expectError(() => task.modelConfig("olmo"), "invalid-argument", "model");
    const augment = { size: 1, seed: 0, augment: true };
    await expectError(() => task.trainingBatches(augment), "invalid-argument", "augment: expected false for text");
    const opened = (options: object) => () => openTask(`tokens:${path}`, options);
    await expectError(opened({ classes: 3 }), "invalid-argument", "classes: expected none for tokens:<dir>");
    const share = { validation: { share: 0.1, seed: 0 } };
    await expectError(opened(share), "invalid-argument", "validation: expected none for tokens:<dir>", "got 0.1");
  });

  it("needs a text to test on, before anything is trained", async () => {
    await expectError(
      async () => open(await words({ test: 0 })),
      "not-found",
      "has no test split (it has train, validation)",
    );
    await expectError(() => open("/no/such"), "not-found", "/no/such");
  });

  it("has a fingerprint of its data and not of their place", async () => {
    const [own, same] = [await (await open(await words(), 32)).fingerprint(), await words({ name: "other" })];
    expect(own).toMatch(/^[0-9a-f]{12}$/);
    expect(await (await open(same, 64)).fingerprint()).toBe(own);
    expect(await (await open(await words({ seed: 1 }), 32)).fingerprint()).not.toBe(own);
    // The same ids mean another text with another tokenizer.
    const info = JSON.parse(readFileSync(join(same, "tokens.json"), "utf8"));
    writeFileSync(join(same, "tokens.json"), JSON.stringify({ ...info, tokenizer: { kind: "bpe", encoding: "gpt2" } }));
    expect(await (await open(same, 32)).fingerprint()).not.toBe(own);
  });
});

it("a run on text learns, by steps that accumulate what one large batch has", async () => {
  const device = await openDevice("cpu", { threads: 1 });
  try {
    const task = await open(await words(), 16);
    const lr = schedule.constant({ budget: 12, maxLr: 3e-3 });
    const losses = async (change: Partial<RunSettings>) => {
      const settings: RunSettings = {
        model: "olmo-nano",
        batch: 8,
        accumulate: 1,
        augment: false,
        seed: 1,
        optimizer: "adamw",
        weightDecay: 0.01,
        nonFinite: "stop",
        ...change,
      };
      const { trainer, batches } = assembleRun(settings, { task, device, schedule: lr });
      const seen: number[] = [];
      for await (const { loss } of trainer.run()) seen.push(loss);
      await batches.close();
      return seen;
    };
    const large = await losses({});
    // Uniform over 257 ids at first; there are twelve different characters.
    expect(large[0]).toBeGreaterThan(5);
    expect(large.at(-1)).toBeLessThan(4);
    const small = await losses({ batch: 2, accumulate: 4 });
    for (const [i, loss] of small.entries()) expect(loss).toBeCloseTo(large[i]!, 4);
  } finally {
    await device.close();
  }
});
