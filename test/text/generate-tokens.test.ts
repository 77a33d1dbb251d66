import { getEventListeners } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Device, openDevice } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { embedding, type Tensor, tensor } from "#lib/tensor/index.js";
import { generateTokens } from "#lib/text/generate-tokens.js";

const vocabulary = 11;
let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

/** After id i comes i + 3; remembers what it saw. */
class Counter extends nn.Module {
  readonly table: nn.Parameter;
  readonly seen: { shape: readonly number[]; ids: Promise<ArrayLike<number>> }[] = [];

  constructor() {
    super();
    const rows = new Float32Array(vocabulary ** 2);
    for (let i = 0; i < vocabulary; i++) rows[i * vocabulary + ((i + 3) % vocabulary)] = 1;
    this.table = new nn.Parameter(tensor(device, rows, [vocabulary, vocabulary]));
  }

  forward(ids: Tensor): Tensor {
    this.seen.push({ shape: ids.shape, ids: ids.read() });
    return embedding(ids, this.table);
  }
}

const likeliest = (logits: Float32Array) => logits.indexOf(Math.max(...logits));

/** Greedy ids after a prompt, with what the model saw. */
async function generated(prompt: readonly number[], change: Partial<Parameters<typeof generateTokens>[0]> = {}) {
  const model = new Counter();
  const sizes: number[] = [];
  const sample = (logits: Float32Array) => {
    sizes.push(logits.length);
    return likeliest(logits);
  };
  const ids: number[] = [];
  const context = 4;
  const saved = { model, device, prepare: (x: Tensor) => x, context };
  const base = { model: saved, prompt, tokens: 6, endOfText: -1, sample, vocabulary };
  for await (const id of generateTokens({ ...base, ...change })) ids.push(id);
  const windows = await Promise.all(model.seen.map(async ({ ids: read }) => Array.from(await read)));
  // Collected now, because the time of a collection is not predictable.
  model.dispose();
  return { ids, windows, sizes, shapes: model.seen.map(({ shape }) => shape) };
}

describe("generated ids", () => {
  test("follow the last id of the prompt, as many as requested", async () => {
    const { ids, shapes } = await generated([9, 2]);
    expect(ids).toEqual([5, 8, 0, 3, 6, 9]);
    expect(shapes).toEqual([
      [1, 2],
      [1, 3],
      [1, 4],
      [1, 4],
      [1, 4],
      [1, 4],
    ]);
  });

  test("depend on a window of the last ids, also for a long prompt", async () => {
    const { ids, windows } = await generated([1, 2, 3, 4, 5, 6], { tokens: 3 });
    expect(ids).toEqual([9, 1, 4]);
    expect(windows).toEqual([
      [3, 4, 5, 6],
      [4, 5, 6, 9],
      [5, 6, 9, 1],
    ]);
  });

  test("end before the end-of-text id", async () => {
    expect((await generated([2], { endOfText: 0, tokens: 20 })).ids).toEqual([5, 8]);
  });

  test("are below the tokenizer's vocabulary if the model has more outputs", async () => {
    // 9 would come after 6; below it all are equally likely.
    const { ids, sizes } = await generated([6], { vocabulary: 9, tokens: 1 });
    expect(ids).toEqual([0]);
    expect(sizes).toEqual([9]);
  });

  test("end before the next one once the signal is aborted, without an error", async () => {
    expect((await generated([9, 2], { signal: AbortSignal.abort() })).ids).toEqual([]);
    const controller = new AbortController();
    const { signal } = controller;
    let drawn = 0;
    const sample = (logits: Float32Array) => {
      if (++drawn === 3) controller.abort();
      return likeliest(logits);
    };
    expect((await generated([9, 2], { sample, signal })).ids).toEqual([5, 8, 0]);
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  test("leave nothing on the device", async () => {
    await generated([1]);
    const before = device.memory().tensors;
    await generated([1]);
    expect(device.memory().tensors).toBe(before);
  });
});
