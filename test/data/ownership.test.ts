// Whose memory a batch is: the caller's who draws it, unless the caller lets it be used again.
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import type { DatasetBatches } from "#lib/data/dataset-batches.js";
import type { Batch, BatchOptions, BatchSource } from "#lib/data/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { fingerprint } from "./support/collect.js";
import { tokenFolder } from "./support/corpus.js";
import { data } from "./support/data.js";

const folder = temporaryFolders();
const sources: BatchSource[] = [];
afterEach(async () => {
  for (const source of sources.splice(0)) await source.close();
});

const images = 100;
/** Images of which every pixel says which it is; `side` 64 puts batches of 20 on the gathering thread. */
function imagesOf(side: number, labels: "classes" | "targets" = "classes") {
  return data.fromArrays({
    inputs: Uint8Array.from({ length: images * side * side }, (_, i) => Math.floor(i / side / side) + (i % 7)),
    labels:
      labels === "classes"
        ? Int32Array.from({ length: images }, (_, i) => i)
        : { data: Float32Array.from({ length: images * 3 }, (_, i) => i), shape: [3] },
    shape: [side, side, 1],
  });
}

/** All memory that a batch has. */
function buffersOf({ inputs, labels, moves }: Batch): ArrayBufferLike[] {
  return [inputs.data, "data" in labels ? labels.data : labels, ...(moves ? [moves] : [])].map(({ buffer }) => buffer);
}

/** The batches themselves, each with what it was when it was drawn. */
async function collect(batches: AsyncIterable<Batch>, count = Infinity) {
  const kept: { batch: Batch; drawn: unknown }[] = [];
  for await (const batch of batches) {
    kept.push({ batch, drawn: fingerprint(batch) });
    if (kept.length >= count) break;
  }
  return kept;
}

type Case = [name: string, make: () => BatchSource | Promise<BatchSource>, offThread?: boolean];

const cases = [0, 1, 2, 5].flatMap((prefetch): Case[] => {
  const batches = (side: number, options: Partial<BatchOptions> = {}, labels: "classes" | "targets" = "classes") =>
    imagesOf(side, labels).batches({ size: 20, prefetch, ...options });
  return [
    [`small ones, prefetch ${prefetch}`, () => batches(4), false],
    [`large ones, prefetch ${prefetch}`, () => batches(64), prefetch > 0],
    [`float targets, prefetch ${prefetch}`, () => batches(64, {}, "targets"), prefetch > 0],
    [
      `augmented on the host, prefetch ${prefetch}`,
      () => batches(64, { augment: { pad: 2, flip: true } }),
      prefetch > 0,
    ],
    [
      `augmented on the device, prefetch ${prefetch}`,
      () => batches(64, { augment: { pad: 2, flip: true, on: "device" } }),
      prefetch > 0,
    ],
    [`with a short last batch, prefetch ${prefetch}`, () => batches(64, { size: 30, dropLast: false }), prefetch > 0],
    [
      `tokens, prefetch ${prefetch}`,
      async () => {
        const text = await data.tokens(
          tokenFolder(folder(), { train: Int32Array.from({ length: 500 }, (_, i) => i) }),
          { context: 4 },
        );
        return text.batches({ size: 3, prefetch });
      },
    ],
  ];
});

describe.each(cases)("batches that were collected, %s", (_, make, offThread) => {
  const open = async () => {
    const source = await make();
    sources.push(source);
    if (offThread !== undefined) expect((source as DatasetBatches).offThread).toBe(offThread);
    return source;
  };

  it("keep their numbers and share no memory", async () => {
    const source = await open();
    for (const loop of [source.from(0), source.once()]) {
      const kept = await collect(loop, 20);
      for (const { batch, drawn } of kept) expect(fingerprint(batch)).toEqual(drawn);
      const buffers = kept.flatMap(({ batch }) => buffersOf(batch));
      expect(new Set(buffers).size).toBe(buffers.length);
    }
    const drawn = await Promise.all([0, 1, 2, 1].map((step) => source.at(step)));
    expect(new Set(drawn.flatMap(buffersOf)).size).toBe(drawn.flatMap(buffersOf).length);
    expect(fingerprint(drawn[1]!)).toEqual(fingerprint(drawn[3]!));
  });

  it("may be changed by the caller", async () => {
    const source = await open();
    const before = (await collect(source.from(0), 8)).map(({ drawn }) => drawn);
    for await (const batch of source.from(0)) {
      batch.inputs.data.fill(0);
      if (batch.index + batch.epoch > 3) break;
    }
    (await source.at(1)).inputs.data.fill(0);
    expect((await collect(source.from(0), 8)).map(({ drawn }) => drawn)).toEqual(before);
  });

  it("have the same numbers if their memory is reused, until the next one is drawn", async () => {
    const source = await open();
    for (const walk of [(options?: { reuse: boolean }) => source.from(3, options), source.once.bind(source)]) {
      const copies = (await collect(walk(), 12)).map(({ drawn }) => drawn);
      const borrowed: unknown[] = [];
      const buffers = new Set<ArrayBufferLike>();
      for await (const batch of walk({ reuse: true })) {
        const drawn = fingerprint(batch);
        // What is gathered ahead meanwhile goes elsewhere.
        await sleep(2);
        expect(fingerprint(batch)).toEqual(drawn);
        borrowed.push(drawn);
        for (const buffer of buffersOf(batch)) buffers.add(buffer);
        if (borrowed.length === 12) break;
      }
      expect(borrowed).toEqual(copies);
      // As many as are gathered ahead, and the one in use.
      const ahead = offThread ? 5 : 0;
      if (offThread !== undefined) expect(buffers.size).toBeLessThanOrEqual((ahead + 1) * 3);
    }
  });
});

describe("options of a walk over batches", () => {
  it("are refused if they are unknown or invalid", async () => {
    const source = imagesOf(4).batches({ size: 2 });
    const wrong = { reuze: true } as never;
    for (const one of [source, data.fromIterable([])]) {
      await expectError(() => one.from(0, wrong), "invalid-argument", "from: expected only the options reuse");
      await expectError(() => one.once(wrong), "invalid-argument", "once: expected only the options reuse", '"reuze"');
      await expectError(
        () => one.once({ reuse: 1 as never }),
        "invalid-argument",
        "once.reuse: expected true or false",
      );
    }
  });
});
