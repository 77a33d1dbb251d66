import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectError } from "../support/errors.js";
import { take } from "./support/collect.js";
import { data } from "./support/data.js";

/** Items of two numbers, both telling which item it is. */
function numbered(length: number) {
  const inputs = Float32Array.from({ length: 2 * length }, (_, i) => (i >> 1) + (i % 2) / 2);
  return data.fromArrays({ inputs, labels: Int32Array.from({ length }, (_, i) => i) });
}

const ownLabels = (set: InstanceType<typeof data.ArrayDataset>) => [...(set.labels as Int32Array)];

describe("split", () => {
  it("makes two disjoint parts that together are the whole, each in order", () => {
    const fraction = fc.double({ min: 0.01, max: 0.99, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 300 }), fraction, fc.nat(), (length, validation, seed) => {
        const held = Math.round(length * validation);
        fc.pre(held > 0 && held < length);
        const parts = numbered(length).split({ validation, seed });
        const train = ownLabels(parts.train);
        const rest = ownLabels(parts.validation);
        expect(parts.validation.length).toBe(held);
        expect(parts.train.length).toBe(train.length);
        expect([...train, ...rest].sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, i) => i));
        for (const part of [train, rest]) expect(part).toEqual([...part].sort((a, b) => a - b));
      }),
    );
  });

  it("follows the seed", () => {
    const held = (seed?: number) => {
      const options = seed === undefined ? { validation: 0.3 } : { validation: 0.3, seed };
      return ownLabels(numbered(100).split(options).validation);
    };
    expect(held(1)).toEqual(held(1));
    expect(held(1)).not.toEqual(held(2));
    expect(held()).toEqual(held(0));
  });

  it.each([0, 1, -0.5, Number.NaN, "0.5"])("refuses a share of %s", async (validation) => {
    const words = "split.validation: expected a fraction above 0 and below 1";
    await expectError(() => numbered(10).split({ validation: validation as number }), "invalid-argument", words);
  });

  it("refuses to leave a part empty", async () => {
    const set = numbered(3);
    await expectError(() => set.split({ validation: 0.1 }), "invalid-argument", "3 for training and 0 for validation");
    await expectError(() => set.split({ validation: 0.9 }), "invalid-argument", "0 for training and 3 for validation");
    await expectError(() => set.split({ validation: 0.5, seed: -1 }), "invalid-argument", "seed: expected");
  });
});

describe("a view", () => {
  it("has copies of the inputs and labels, in the given order of items", () => {
    const view = numbered(10).subset([7, 0, 7]);
    expect(view.length).toBe(3);
    expect(view.inputs.shape).toEqual([2]);
    expect([...view.inputs.data]).toEqual([7, 7.5, 0, 0.5, 7, 7.5]);
    expect(view.inputs.data).toBe(view.inputs.data);
    expect(ownLabels(view)).toEqual([7, 0, 7]);
    expect(view.name).toBe("arrays, subset");
  });

  it("of a view selects from the items of that view", async () => {
    const view = numbered(10).subset([9, 8, 7, 6]).subset([3, 1]);
    expect(ownLabels(view)).toEqual([6, 8]);
    const [batch] = await take(view.batches({ size: 2 }).once());
    expect(batch!.inputs.data).toEqual([6, 6.5, 8, 8.5]);
    expect(view.split({ validation: 0.5 }).train.length).toBe(1);
  });

  it("has copies of float labels", () => {
    const labels = { data: Float32Array.of(0, 1, 2, 3, 4, 5), shape: [2] };
    const view = data.fromArrays({ inputs: new Uint8Array(3), labels, classes: ["a", "b"] }).subset([2, 0]);
    expect(view.labels).toEqual({ data: Float32Array.of(4, 5, 0, 1), shape: [2] });
    expect(view.classes).toEqual(["a", "b"]);
  });

  it("is refused for invalid indices", async () => {
    const set = numbered(4);
    await expectError(() => set.subset([0, 4]), "invalid-argument", "subset.indices[1]: expected an index from 0 to 3");
    await expectError(() => set.subset([-1]), "invalid-argument", "got -1");
    await expectError(() => set.subset([0.5]), "invalid-argument", "got 0.5");
    await expectError(() => set.subset([]), "invalid-argument", "at least one index");
    await expectError(() => set.subset(undefined as never), "invalid-argument", "at least one index");
  });
});

describe("statistics", () => {
  it("are computed per channel, with bytes scaled to 0 … 1", () => {
    // Two images of 1 × 2 pixels and 2 channels.
    const inputs = Uint8Array.of(0, 255, 51, 255, 102, 255, 255, 255);
    const set = data.fromArrays({ inputs, labels: [0, 0], shape: [1, 2, 2] });
    const { mean, std } = set.statistics();
    expect(mean[0]).toBeCloseTo((0 + 0.2 + 0.4 + 1) / 4, 12);
    expect(mean[1]).toBeCloseTo(1, 12);
    expect(std[0]).toBeCloseTo(Math.sqrt((0.16 + 0.04 + 0 + 0.36) / 4), 12);
    expect(std[1]).toBe(0);
  });

  it("agree with the definition for floats, also with a large mean", () => {
    const value = fc.integer({ min: -1000, max: 1000 });
    const rows = fc.array(fc.tuple(value, value, value), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(rows, fc.constantFrom(0, 1e6), fc.boolean(), (given, offset, whole) => {
        const shifted = given.map((row) => row.map((x) => x + offset));
        const inputs = whole ? Int32Array.from(shifted.flat()) : Float32Array.from(shifted.flat());
        const { mean, std } = data
          .fromArrays({ inputs, labels: new Int32Array(given.length), shape: [3] })
          .statistics();
        for (const channel of [0, 1, 2]) {
          const column = given.map((row) => row[channel]!);
          const middle = column.reduce((sum, x) => sum + x, 0) / column.length;
          const variance = column.reduce((sum, x) => sum + (x - middle) ** 2, 0) / column.length;
          expect(mean[channel]! - offset).toBeCloseTo(middle, 6);
          expect(std[channel]).toBeCloseTo(Math.sqrt(variance), 6);
        }
      }),
    );
  });

  it("of a view are of its items only", () => {
    const bytes = data.fromArrays({ inputs: Uint8Array.of(0, 255, 51), labels: [0, 1, 2] });
    expect(bytes.subset([2]).statistics()).toEqual({ mean: [0.2], std: [0] });
    const floats = data.fromArrays({ inputs: Float32Array.of(0, 255, 51), labels: [0, 1, 2] });
    expect(floats.subset([2, 1]).statistics()).toEqual({ mean: [153], std: [102] });
  });
});
