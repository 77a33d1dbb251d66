import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { take } from "./support/collect.js";
import { data } from "./support/data.js";

type Kind = Uint8ArrayConstructor | Float32ArrayConstructor | Int32ArrayConstructor;

const height = 5;
const width = 4;
const channels = 2;
const itemSize = height * width * channels;

/** Images without a zero and without two equal pixels in one image, so that a window tells where it was cut. */
function images(length: number, kind: Kind = Uint8Array) {
  const inputs = new kind(length * itemSize);
  for (let i = 0; i < inputs.length; i++) inputs[i] = 1 + (((i % itemSize) * 6 + Math.floor(i / itemSize)) % 251);
  const labels = Int32Array.from({ length }, (_, i) => i);
  return data.fromArrays({ inputs, labels, shape: [height, width, channels] });
}

/** The window of the zero-padded image, mirrored or not, written as plainly as can be. */
function window(image: ArrayLike<number>, dy: number, dx: number, mirror: boolean): number[] {
  const out: number[] = [];
  for (let y = 0; y < height; y++)
    for (let column = 0; column < width; column++)
      for (let channel = 0; channel < channels; channel++) {
        const fromY = y + dy;
        const fromX = (mirror ? width - 1 - column : column) + dx;
        const inside = fromY >= 0 && fromY < height && fromX >= 0 && fromX < width;
        out.push(inside ? image[(fromY * width + fromX) * channels + channel]! : 0);
      }
  return out;
}

/** Which shift and mirroring gave each item of a batch; fails where none did. */
function explain(batch: Awaited<ReturnType<typeof take>>[number], originals: ArrayLike<number>, pad: number) {
  return (batch.labels as number[]).map((item, i) => {
    const image = Array.from(originals).slice(item * itemSize, (item + 1) * itemSize);
    const got = String(batch.inputs.data.slice(i * itemSize, (i + 1) * itemSize));
    for (const mirror of [false, true])
      for (let dy = -pad; dy <= pad; dy++)
        for (let dx = -pad; dx <= pad; dx++) {
          if (String(window(image, dy, dx, mirror)) === got) return { item, dy, dx, mirror };
        }
    return expect.fail(`item ${item} is no window of its padded image: ${got}`);
  });
}

async function explained(set: ReturnType<typeof images>, augment: { pad?: number; flip?: boolean }, steps: number) {
  const batches = await take(set.batches({ size: set.length, augment, prefetch: 0, seed: 4 }).from(0), steps);
  return batches.flatMap((batch) => explain(batch, set.inputs.data, augment.pad ?? 0));
}

describe("augmentation", () => {
  it.each([
    { kind: Uint8Array, name: "uint8" },
    { kind: Float32Array, name: "float32" },
    { kind: Int32Array, name: "int32" },
  ])("gives windows of the zero-padded image, mirrored or not ($name)", async ({ kind }) => {
    const set = images(20, kind);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 3 }), fc.boolean(), fc.nat(), async (pad, flip, seed) => {
        const source = set.batches({ size: 20, augment: { pad, flip }, prefetch: 0, seed });
        const found = explain((await take(source.from(0), 1))[0]!, set.inputs.data, pad);
        if (!flip) expect(found.filter(({ mirror }) => mirror)).toEqual([]);
      }),
      { numRuns: 20 },
    );
  });

  it("for the device is described in the batch, whose images are unchanged", async () => {
    const set = images(25);
    const options = { size: 10, dropLast: false, prefetch: 0, seed: 4 } as const;
    const made = set.batches({ ...options, augment: { pad: 2, flip: true } });
    const onDevice = set.batches({ ...options, augment: { pad: 2, flip: true, on: "device" } });
    expect(onDevice.toJSON()).toEqual(made.toJSON());
    const [expected, got] = [await take(made.from(0), 6), await take(onDevice.from(0), 6)];
    for (const [step, { inputs, labels, moves, size }] of got.entries()) {
      expect(moves).toHaveLength(3 * size);
      const windows = (labels as number[]).map((item, i) => {
        const image = Array.from(inputs.data).slice(i * itemSize, (i + 1) * itemSize);
        expect(image).toEqual(Array.from(set.inputs.data.subarray(item * itemSize, (item + 1) * itemSize)));
        const [dy, dx, mirror] = moves!.slice(3 * i, 3 * i + 3) as [number, number, number];
        return window(image, dy, dx, mirror === 1);
      });
      expect(windows.flat()).toEqual(Array.from(expected[step]!.inputs.data));
      expect(expected[step]!.moves).toBeUndefined();
    }
    for (const { moves } of await take(onDevice.once(), 3)) expect(moves).toBeUndefined();
    expect(() => set.batches({ size: 5, augment: { flip: true, on: "gpu" as "host" } })).toThrow('"host" or "device"');
  });

  it("reaches every shift about equally often", async () => {
    const found = await explained(images(60), { pad: 2 }, 50);
    const counts = new Map<string, number>();
    for (const { dy, dx } of found) counts.set(`${dy},${dx}`, (counts.get(`${dy},${dx}`) ?? 0) + 1);
    expect(counts.size).toBe(25);
    // Six standard deviations around 3,000 / 25.
    for (const count of counts.values()) expect(Math.abs(count - 120)).toBeLessThan(6 * 10.8);
  });

  it("mirrors about half, independently of the shift", async () => {
    const found = await explained(images(60), { pad: 1, flip: true }, 40);
    for (const part of [found, found.filter(({ dx }) => dx === 1), found.filter(({ dy }) => dy === -1)]) {
      const share = part.filter(({ mirror }) => mirror).length / part.length;
      expect(Math.abs(share - 0.5)).toBeLessThan(6 * Math.sqrt(0.25 / part.length));
    }
  });

  it("differs between items, epochs and seeds", async () => {
    const set = images(200);
    const draw = async (seed: number, epoch: number) => {
      const source = set.batches({ size: 200, augment: { pad: 2, flip: true }, prefetch: 0, seed });
      const found = explain((await take(source.from(epoch), 1))[0]!, set.inputs.data, 2);
      return String(found.sort((a, b) => a.item - b.item).map(({ dy, dx, mirror }) => `${dy} ${dx} ${mirror}`));
    };
    const draws = [await draw(0, 0), await draw(0, 1), await draw(1, 0)];
    expect(new Set(draws).size).toBe(3);
    expect(await draw(0, 1)).toBe(draws[1]);
    expect(new Set(draws[0]!.split(",")).size).toBe(50);
  });

  it("does not depend on how items are batched", async () => {
    const set = images(12);
    const shared = { augment: { pad: 2, flip: true }, prefetch: 0, shuffle: false };
    const together = await take(set.batches({ ...shared, size: 12 }).from(0), 1);
    const single = await take(set.batches({ ...shared, size: 1 }).from(0), 12);
    expect(single.flatMap(({ inputs }) => inputs.data)).toEqual(together[0]!.inputs.data);
  });

  it("cuts the same windows with and without mirroring", async () => {
    const set = images(40);
    const shifts = (found: Awaited<ReturnType<typeof explained>>) => found.map(({ item, dy, dx }) => [item, dy, dx]);
    expect(shifts(await explained(set, { pad: 2, flip: true }, 2))).toEqual(
      shifts(await explained(set, { pad: 2 }, 2)),
    );
  });

  it("may pad beyond the size of the image", async () => {
    const [batch] = await take(
      images(40)
        .batches({ size: 40, augment: { pad: 9 }, prefetch: 0 })
        .from(0),
      1,
    );
    const found = explain(batch!, images(40).inputs.data, 9);
    // Most windows then miss the image; some do not.
    expect(batch!.inputs.data.some((value) => value > 0)).toBe(true);
    expect(found).toHaveLength(40);
  });

  it("is not applied in an evaluation pass", async () => {
    const set = images(10);
    const source = set.batches({ size: 4, augment: { pad: 2, flip: true }, prefetch: 0 });
    const batches = await take(source.once());
    expect(batches.flatMap(({ inputs }) => inputs.data)).toEqual([...set.inputs.data]);
  });

  it("does not change the dataset", async () => {
    const set = images(10);
    await take(set.batches({ size: 10, augment: { pad: 2, flip: true }, prefetch: 0 }).from(0), 5);
    expect(set.inputs.data).toEqual(images(10).inputs.data);
  });
});
