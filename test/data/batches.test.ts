import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { permutation } from "#lib/random.js";
import { expectError } from "../support/errors.js";
import { snapshot, take } from "./support/collect.js";
import { data } from "./support/data.js";

/** Items of three numbers; each item's label is its own number. */
function numbered(length: number) {
  const inputs = Float32Array.from({ length: 3 * length }, (_, i) => i);
  return data.fromArrays({ inputs, labels: Int32Array.from({ length }, (_, i) => i) });
}

const options = fc.record({
  length: fc.integer({ min: 1, max: 40 }),
  size: fc.integer({ min: 1, max: 12 }),
  seed: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  shuffle: fc.boolean(),
  dropLast: fc.boolean(),
  prefetch: fc.integer({ min: 0, max: 3 }),
});

describe("batches", () => {
  it("follow the permutation of their epoch", async () => {
    await fc.assert(
      fc.asyncProperty(options, async ({ length, ...given }) => {
        const { size, seed, shuffle, dropLast } = given;
        fc.pre(!dropLast || length >= size);
        const source = numbered(length).batches(given);
        const perEpoch = dropLast ? Math.floor(length / size) : Math.ceil(length / size);
        expect(source).toMatchObject({ batchesPerEpoch: perEpoch, items: length, size });
        for (const [step, batch] of (await take(source.from(0), 2 * perEpoch + 1)).entries()) {
          const epoch = Math.floor(step / perEpoch);
          const index = step % perEpoch;
          const order = shuffle ? [...permutation(length, seed, epoch)] : Array.from({ length }, (_, i) => i);
          const items = order.slice(index * size, (index + 1) * size);
          expect(batch).toEqual({
            inputs: {
              data: items.flatMap((item) => [3 * item, 3 * item + 1, 3 * item + 2]),
              shape: [items.length, 3],
              dtype: "float32",
            },
            labels: items,
            size: items.length,
            epoch,
            index,
          });
        }
      }),
    );
  });

  it("are a pure function of the step: at(k), and from(k) as the tail of from(0)", async () => {
    await fc.assert(
      fc.asyncProperty(options, fc.nat({ max: 12 }), async ({ length, ...given }, k) => {
        fc.pre(!given.dropLast || length >= given.size);
        const whole = await take(numbered(length).batches(given).from(0), k + 5);
        const source = numbered(length).batches({ ...given, prefetch: 1 });
        expect(await take(source.from(k), 5)).toEqual(whole.slice(k));
        expect(snapshot(await source.at(k))).toEqual(whole[k]);
        expect(snapshot(await source.at(0))).toEqual(whole[0]);
      }),
      { numRuns: 50 },
    );
  });

  it("use seed 0, a new order per epoch and no short batch by default", async () => {
    const set = numbered(10);
    expect(await take(set.batches({ size: 4 }).from(0), 4)).toEqual(
      await take(set.batches({ size: 4, seed: 0, shuffle: true, dropLast: true }).from(0), 4),
    );
    const epochs = await take(set.batches({ size: 10 }).from(0), 2);
    expect(epochs[0]!.labels).not.toEqual(epochs[1]!.labels);
  });

  it("exist for steps far beyond 32 bits", async () => {
    const source = numbered(4).batches({ size: 2 });
    const step = 2 ** 45 + 3;
    expect(await source.at(step)).toMatchObject({ epoch: 2 ** 44 + 1, index: 1 });
    expect(snapshot(await source.at(step))).toEqual((await take(source.from(step), 1))[0]);
  });

  it("of once() have every item in order, and the last one may be short", async () => {
    const source = numbered(10).batches({ size: 4, seed: 3 });
    const batches = await take(source.once());
    expect(batches.map(({ labels }) => labels)).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ]);
    expect(batches.map(({ size, epoch, index }) => ({ size, epoch, index }))).toEqual([
      { size: 4, epoch: 0, index: 0 },
      { size: 4, epoch: 0, index: 1 },
      { size: 2, epoch: 0, index: 2 },
    ]);
    expect(batches[2]!.inputs).toEqual({ data: [24, 25, 26, 27, 28, 29], shape: [2, 3], dtype: "float32" });
    expect(await take(source.once())).toEqual(batches);
  });

  it("may have float labels", async () => {
    const labels = { data: Float32Array.of(0, 1, 2, 3, 4, 5), shape: [2] };
    const source = data.fromArrays({ inputs: new Uint8Array(3), labels }).batches({ size: 2, shuffle: false });
    expect((await source.at(0)).labels).toEqual({ data: Float32Array.of(0, 1, 2, 3), shape: [2, 2] });
    const [, last] = await take(source.once());
    expect(last!.labels).toEqual({ data: [4, 5], shape: [1, 2] });
    const single = data.fromArrays({ inputs: new Uint8Array(3), labels: Float32Array.of(7, 8, 9) });
    expect((await single.batches({ size: 3, shuffle: false }).at(0)).labels).toEqual({
      data: Float32Array.of(7, 8, 9),
      shape: [3],
    });
  });

  it("can be drawn by several loops at once", async () => {
    const source = numbered(50).batches({ size: 5 });
    const [a, b] = [source.from(0), source.from(3)];
    for (let step = 0; step < 5; step++) {
      const first = (await a.next()).value;
      const second = (await b.next()).value;
      expect(snapshot(first!)).toEqual(snapshot(await source.at(step)));
      expect(snapshot(second!)).toEqual(snapshot(await source.at(step + 3)));
    }
  });

  it("have everything that determines them in their JSON", async () => {
    const source = numbered(9).batches({ size: 4, seed: 5, dropLast: false, prefetch: 3 });
    expect(JSON.parse(JSON.stringify(source))).toEqual({
      dataset: "arrays",
      items: 9,
      size: 4,
      seed: 5,
      shuffle: true,
      dropLast: false,
      augment: { pad: 0, flip: false },
    });
  });

  it("are refused after close", async () => {
    const source = numbered(9).batches({ size: 4 });
    const loop = source.from(0);
    await loop.next();
    await source.close();
    await expectError(() => loop.next(), "invalid-state", "arrays were closed");
    await expectError(() => source.at(0), "invalid-state", "arrays were closed");
    await expectError(() => source.once().next(), "invalid-state", "arrays were closed");
    await source.close();
  });

  it.each([
    { given: undefined, words: "batches: expected an object with the options size, seed" },
    { given: {}, words: "batches.size: expected an integer of at least 1, got undefined" },
    { given: { size: 0 }, words: "batches.size: expected an integer of at least 1" },
    { given: { size: 1.5 }, words: "batches.size: expected an integer" },
    {
      given: { size: 11 },
      words: "batches.size: expected at most the dataset's 10 items (or dropLast: false), got 11",
    },
    { given: { size: 2, seed: -1 }, words: "batches.seed: expected a safe integer of at least 0" },
    { given: { size: 2, shuffle: 1 }, words: "batches.shuffle: expected true or false, got 1" },
    { given: { size: 2, dropLast: "no" }, words: "batches.dropLast: expected true or false" },
    { given: { size: 2, prefetch: -1 }, words: "batches.prefetch: expected an integer from 0 to 64" },
    { given: { size: 2, prefetch: 65 }, words: "batches.prefetch: expected an integer from 0 to 64" },
    { given: { size: 2, augment: true }, words: "batches.augment: expected an object" },
    { given: { size: 2, augment: { pad: -1 } }, words: "batches.augment.pad: expected an integer from 0 to 65536" },
    { given: { size: 2, augment: { crop: true } }, words: "batches.augment.crop: expected a pad above 0" },
    { given: { size: 2, augment: { pad: 1, crop: false } }, words: "batches.augment.crop: expected true" },
    { given: { size: 2, augment: { flip: 1 } }, words: "batches.augment.flip: expected true or false" },
    { given: { size: 2, augment: { flip: true } }, words: 'items of shape [height, width, channels], got "items of' },
    { given: { size: 2, augment: { pad: 1 } }, words: "items of shape [3]" },
  ])("refuse $given", async ({ given, words }) => {
    await expectError(() => numbered(10).batches(given as never), "invalid-argument", words);
  });

  it.each([-1, 0.5, Number.NaN, undefined])("refuse step %s at once", async (step) => {
    const source = numbered(10).batches({ size: 4 });
    expect(() => source.from(step as number)).toThrow(/^step: expected an integer of at least 0/);
    await expectError(() => source.at(step as number), "invalid-argument", "step: expected");
  });
});
