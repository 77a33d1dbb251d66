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

/** A token folder with ten documents. */
async function words(options: Partial<Parameters<typeof tokenize>[1]> = {}): Promise<string> {
  const texts = Array.from({ length: 10 }, (_, i) => [`${i}.txt`, wordsOf(i, 300)] as const);
  const out = join(folder(), "words");
  await tokenize([corpus(folder(), Object.fromEntries(texts))], { out, validation: 0.1, test: 0.2, ...options });
  return out;
}

const open = (path: string, context?: number): Promise<Task> => openTask(`tokens:${path}`, { context });

describe("a language task", () => {
  it("has windows as items, and tokens as units", async () => {
    const task = await open(await words(), 32);
    expect(task).toMatchObject({ name: "tokens:words", unit: "tokens", unitsPerItem: 32 });
    // Seven, one and two documents of 300 bytes, each with the end of text.
    expect(task.lengths).toEqual({ train: 65, validation: 9, test: 18 });
    expect((await open(await words())).unitsPerItem).toBe(128);
  });

  it("has no validation split if tokenize created none", async () => {
    const task = await open(await words({ validation: 0 }), 32);
    expect(Object.keys(task.lengths)).toEqual(["train", "test"]);
    const call = () => task.evaluationBatches("validation");
    await expectError(call, "invalid-state", "tokens:words: there is no validation split");
  });

  it("evaluates every window of a split once, in batches whose logits fit into memory", async () => {
    const task = await open(await words(), 32);
    const source = task.evaluationBatches("train");
    const batches = await take(source.once());
    expect(batches.map(({ size }) => size)).toEqual([64, 1]);
    await source.close();
    // The logits of 16 windows are 16 · 32 · 32768 = 2²⁴ numbers.
    const wide = tokenFolder(
      folder(),
      { train: new Uint16Array(2000), test: new Uint16Array(2000) },
      { vocabulary: 2 ** 15 },
    );
    expect((await open(wide, 32)).evaluationBatches("test").size).toBe(16);
  });

  it("creates a card that describes the tokens", async () => {
    const task = await open(await words(), 32);
    const config = task.modelConfig("olmo-nano");
    expect(config).toMatchObject({ kind: "olmo", vocabulary: 257, context: 32 });
    expect(task.card(config)).toEqual({ config, text: { tokenizer: { kind: "bytes" }, context: 32 } });
  });

  it("accepts only language models, and no image options", async () => {
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

  it("requires a test split before training", async () => {
    await expectError(
      async () => open(await words({ test: 0 })),
      "not-found",
      "expected a test split, found train, validation",
    );
    await expectError(() => open("/no/such"), "not-found", "/no/such");
  });

  it("has a fingerprint that depends on its data and not on their path", async () => {
    const [fingerprint, same] = [await (await open(await words(), 32)).fingerprint(), await words({ name: "other" })];
    expect(fingerprint).toMatch(/^[0-9a-f]{12}$/);
    expect(await (await open(same, 64)).fingerprint()).toBe(fingerprint);
    expect(await (await open(await words({ seed: 1 }), 32)).fingerprint()).not.toBe(fingerprint);
    // With another tokenizer the same ids mean another text.
    const info = JSON.parse(readFileSync(join(same, "tokens.json"), "utf8"));
    writeFileSync(join(same, "tokens.json"), JSON.stringify({ ...info, tokenizer: { kind: "bpe", encoding: "gpt2" } }));
    expect(await (await open(same, 32)).fingerprint()).not.toBe(fingerprint);
  });
});

it("a language task can be learned, and accumulated steps equal those of one large batch", async () => {
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
    // The model starts uniform over 257 ids. The text has twelve different characters.
    expect(large[0]).toBeGreaterThan(5);
    expect(large.at(-1)).toBeLessThan(4);
    const small = await losses({ batch: 2, accumulate: 4 });
    for (const [i, loss] of small.entries()) expect(loss).toBeCloseTo(large[i]!, 4);
  } finally {
    await device.close();
  }
});
