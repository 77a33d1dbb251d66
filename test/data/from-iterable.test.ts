import { describe, expect, it } from "vitest";
import type { GivenBatch } from "#lib/data/index.js";
import { expectError } from "../support/errors.js";
import { take } from "./support/collect.js";
import { data } from "./support/data.js";

function batch(number: number, items = 2): GivenBatch {
  return {
    inputs: { data: new Float32Array(items * 3).fill(number), shape: [items, 3] },
    labels: new Int32Array(items).fill(number),
  };
}

function* counting(end = Infinity) {
  for (let number = 0; number < end; number++) yield batch(number);
}

async function* countingLater(end = Infinity) {
  for (const given of counting(end)) {
    await Promise.resolve();
    yield given;
  }
}

const numbers = (batches: Awaited<ReturnType<typeof take>>) => batches.map(({ inputs }) => inputs.data[0]);

describe("fromIterable", () => {
  it.each([
    { what: "an array", make: () => [...counting(5)] },
    { what: "a generator", make: () => counting(5) },
    { what: "an async generator", make: () => countingLater(5) },
    { what: "a function that makes a generator", make: () => () => counting(5) },
    { what: "a function that makes an async generator", make: () => () => countingLater(5) },
  ])("yields the batches of $what", async ({ make }) => {
    const batches = await take(data.fromIterable(make()).once());
    expect(numbers(batches)).toEqual([0, 1, 2, 3, 4]);
    expect(batches[3]).toEqual({
      inputs: { data: [3, 3, 3, 3, 3, 3], shape: [2, 3], dtype: "float32" },
      labels: [3, 3],
      size: 2,
      epoch: 0,
      index: 3,
    });
    expect(numbers(await take(data.fromIterable(make()).from(2), 3))).toEqual([2, 3, 4]);
  });

  it("does not copy and does not read ahead", async () => {
    let made = 0;
    const given: GivenBatch[] = [];
    const source = data.fromIterable(
      (function* () {
        for (;;) {
          given.push(batch(made++));
          yield given.at(-1)!;
        }
      })(),
    );
    expect(made).toBe(0);
    for await (const { inputs, labels } of source.from(0)) {
      expect(inputs.data).toBe(given.at(-1)!.inputs.data);
      expect(labels).toBe(given.at(-1)!.labels);
      if (made === 3) break;
    }
    expect(made).toBe(3);
  });

  it("accepts float targets and int32 inputs", async () => {
    const given: GivenBatch = {
      inputs: { data: Int32Array.of(1, 2, 3, 4), shape: [2, 2] },
      labels: { data: Float32Array.of(0.5, 1.5), shape: [2] },
    };
    expect(await take(data.fromIterable([given]).once())).toMatchObject([
      { inputs: { dtype: "int32" }, labels: { data: [0.5, 1.5], shape: [2] } },
    ]);
  });

  it("accepts several class indices per item", async () => {
    const ids = { data: Int32Array.of(1, 2, 3, 4), shape: [2, 2] };
    const given: GivenBatch = { inputs: ids, labels: { data: Int32Array.of(2, 3, 4, 5), shape: [2, 2] } };
    const [batch] = await take(data.fromIterable([given]).once());
    expect(batch).toMatchObject({ size: 2, labels: { data: [2, 3, 4, 5], shape: [2, 2] } });
  });

  it("reports the step at which the iterable ended", async () => {
    const source = data.fromIterable(() => counting(3), { name: "mine" });
    const seen: number[] = [];
    const walk = async () => {
      for await (const { labels } of source.from(1)) seen.push((labels as Int32Array)[0]!);
    };
    await expectError(walk, "invalid-state", "mine: the iterable ended after 3 batches, but step 3 was requested");
    expect(seen).toEqual([1, 2]);
    await expectError(() => source.from(7).next(), "invalid-state", "after 3 batches, but step 7 was requested");
    await expectError(() => source.at(5), "invalid-state", "after 3 batches, but step 5 was requested");
  });

  it("reaches a step by reading up to it, and starts over to go back", async () => {
    let starts = 0;
    const source = data.fromIterable(() => {
      starts++;
      return countingLater();
    });
    const steps = [4, 5, 9, 2, 2];
    const found = await Promise.all(steps.map(async (step) => (await source.at(step)).inputs.data[0]));
    expect(found).toEqual(steps);
    expect(starts).toBe(3);
  });

  it("walks a generator object only once", async () => {
    const source = data.fromIterable(counting(), { name: "mine" });
    expect(numbers(await take(source.from(0), 2))).toEqual([0, 1]);
    const words = "mine: this iterable can be iterated only once; give fromIterable a function";
    await expectError(() => source.from(2).next(), "invalid-state", words);
    await expectError(() => source.at(0), "invalid-state", words);
    const forward = data.fromIterable(counting());
    expect((await forward.at(3)).index).toBe(3);
    await expectError(() => forward.at(1), "invalid-state", "can be iterated only once");
  });

  it("counts epochs if their length is given", async () => {
    const source = data.fromIterable(counting(), { batchesPerEpoch: 3, size: 2 });
    expect(source).toMatchObject({ batchesPerEpoch: 3, size: 2, items: 6 });
    const places = (await take(source.from(2), 5)).map(({ epoch, index }) => [epoch, index]);
    expect(places).toEqual([
      [0, 2],
      [1, 0],
      [1, 1],
      [1, 2],
      [2, 0],
    ]);
  });

  it("takes its size from the first batch, and has no known end", async () => {
    const source = data.fromIterable(() => counting());
    expect(source).toMatchObject({ batchesPerEpoch: Infinity, items: Infinity, size: 0 });
    await source.at(0);
    expect(source.size).toBe(2);
    expect(JSON.parse(JSON.stringify(source))).toEqual({ dataset: "iterable", size: null, batchesPerEpoch: null });
  });

  it("ends the user's iterable if the loop is left or the source is closed", async () => {
    let ended = 0;
    const source = data.fromIterable(function* () {
      try {
        yield* counting();
      } finally {
        ended++;
      }
    });
    await take(source.from(0), 2);
    expect(ended).toBe(1);
    await source.at(0);
    await source.close();
    expect(ended).toBe(2);
    await expectError(() => source.at(1), "invalid-state", "iterable were closed");
    await expectError(() => source.from(1).next(), "invalid-state", "iterable were closed");
  });

  it("rethrows an error of the iterable", async () => {
    const fault = new TypeError("thrown by the iterable");
    const source = data.fromIterable(function* () {
      yield batch(0);
      throw fault;
    });
    const loop = source.from(0);
    await loop.next();
    await expect(loop.next()).rejects.toBe(fault);
    await expect(source.at(3)).rejects.toBe(fault);
    expect((await source.at(0)).index).toBe(0);
  });

  const good = batch(0);
  const inputs = { data: new Float32Array(6), shape: [2, 3] };
  it.each([
    { bad: undefined, words: "inputs: expected { data" },
    { bad: {}, words: "inputs: expected { data" },
    { bad: { ...good, inputs: { data: [1, 2], shape: [2] } }, words: "inputs: expected { data" },
    { bad: { ...good, inputs: { ...inputs, data: new Uint8Array(6) } }, words: "float32, as in the first batch" },
    { bad: { ...good, inputs: { ...inputs, shape: undefined } }, words: "inputs.shape: expected an array of integers" },
    { bad: { ...good, inputs: { ...inputs, shape: [] } }, words: "inputs.shape: expected items first" },
    {
      bad: { ...good, inputs: { ...inputs, shape: [2, 4] } },
      words: "inputs.data: expected 8 numbers for shape [2,4]",
    },
    { bad: { ...good, inputs: { ...inputs, shape: [2, 1, 3] } }, words: "items of shape [3], as in the first batch" },
    {
      bad: { ...good, inputs: { ...inputs, data: new Float32Array(6).fill(NaN) } },
      words: "inputs.data[0]: expected a",
    },
    { bad: { inputs, labels: undefined }, words: "labels: expected an Int32Array" },
    { bad: { inputs, labels: [0, 1] }, words: "labels: expected an Int32Array" },
    { bad: { inputs, labels: new Int32Array(3) }, words: "labels: expected one for each of 2 items" },
    { bad: { inputs, labels: Int32Array.of(0, -1) }, words: "labels[1]: expected a class index of at least 0" },
    { bad: { inputs, labels: { data: new Float32Array(2), shape: [2] } }, words: "expected an Int32Array, as in the" },
    {
      bad: { inputs, labels: { data: new Int32Array(4), shape: [2, 2] } },
      words: 'labels: expected an Int32Array, as in the first batch, got "class indices of shape [2]"',
    },
    {
      bad: { inputs, labels: { data: Int32Array.of(0, -1), shape: [2] } },
      words: "labels.data[1]: expected a class index of at least 0",
    },
    {
      bad: { inputs, labels: { data: new Int32Array(3), shape: [2] } },
      words: "labels.data: expected 2 numbers for shape [2]",
    },
    {
      bad: { inputs, labels: { data: new Float32Array(3), shape: [3] } },
      words: "labels.shape: expected 2 items first",
    },
    { bad: { inputs, labels: { data: new Float32Array(3), shape: [2] } }, words: "labels.data: expected 2 numbers" },
    {
      bad: { inputs, labels: { data: Float32Array.of(0, NaN), shape: [2] } },
      words: "labels.data[1]: expected a finite",
    },
    { bad: batch(1, 3), words: "inputs.shape: expected 2 items, the size that was given, got 3" },
  ])("refuses a batch and names it: $words", async ({ bad, words }) => {
    const source = data.fromIterable([good, bad as GivenBatch], { size: 2 });
    const loop = source.from(0);
    await loop.next();
    await expectError(() => loop.next(), "invalid-argument", "batch 1 of iterable: ", words);
  });

  it("accepts batches of different sizes if no size was given", async () => {
    const sizes = (await take(data.fromIterable([batch(0, 2), batch(1, 5)]).once())).map(({ size }) => size);
    expect(sizes).toEqual([2, 5]);
  });

  it("refuses a value that is not iterable, and invalid options", async () => {
    await expectError(() => data.fromIterable(7 as never), "invalid-argument", "fromIterable.source: expected");
    await expectError(
      () => data.fromIterable((() => 7) as never).at(0),
      "invalid-argument",
      "that returns an iterable",
    );
    await expectError(() => data.fromIterable([], { size: 0 }), "invalid-argument", "fromIterable.size: expected");
    const words = "fromIterable.batchesPerEpoch: expected";
    await expectError(() => data.fromIterable([], { batchesPerEpoch: 1.5 }), "invalid-argument", words);
    const source = data.fromIterable([]);
    expect(() => source.from(-1)).toThrow(/^step: expected/);
    await expectError(() => source.at(0.5), "invalid-argument", "step: expected");
  });
});
