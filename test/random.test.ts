import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PhiloxStream, Purpose, permutation, philox4x32 } from "#lib/random.js";

function block(counter: number[], key: number[]): number[] {
  const out = new Uint32Array(4);
  philox4x32(out, ...(counter as [number, number, number, number]), ...(key as [number, number]));
  return [...out];
}

function draw(count: number, ...stream: ConstructorParameters<typeof PhiloxStream>): number[] {
  const numbers = new PhiloxStream(...stream);
  return Array.from({ length: count }, () => numbers.uint32());
}

const seeds = fc.nat({ max: Number.MAX_SAFE_INTEGER });

describe("philox4x32", () => {
  // The known answers of Random123, kat_vectors.
  it.each([
    { counter: [0, 0, 0, 0], key: [0, 0], words: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8] },
    {
      counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      key: [0xffffffff, 0xffffffff],
      words: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    },
    {
      counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      key: [0xa4093822, 0x299f31d0],
      words: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    },
  ])("gives Random123's words for counter $counter", ({ counter, key, words }) => {
    expect(block(counter, key)).toEqual(words);
  });
});

describe("PhiloxStream", () => {
  it("uses the first counter word for the block, the last two for the stream, and the key for the seed", () => {
    const seed = 5 * 2 ** 32 + 7;
    const stream = 3 * 2 ** 32 + 11;
    const expected = [...block([0, 0, 11, 3], [7, 5]), ...block([1, 0, 11, 3], [7, 5])];
    expect(draw(8, seed, stream)).toEqual(expected);
  });

  it("differs between seeds, streams and purposes", () => {
    fc.assert(
      fc.property(seeds, seeds, (seed, stream) => {
        const other = (n: number) => (n === Number.MAX_SAFE_INTEGER ? n - 1 : n + 1);
        const variants = [
          draw(4, seed, stream),
          draw(4, other(seed), stream),
          draw(4, seed, other(stream)),
          draw(4, seed, stream, Purpose.permutation),
          draw(4, seed, stream, Purpose.augmentation),
        ];
        expect(new Set(variants.map(String)).size).toBe(variants.length);
      }),
    );
  });

  it("gives uniform numbers in [0, 1) with the expected mean and variance", () => {
    const stream = new PhiloxStream(1, 0);
    const numbers = Array.from({ length: 20_000 }, () => stream.uniform());
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...numbers)).toBeLessThan(1);
    const mean = numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
    const variance = numbers.reduce((sum, x) => sum + (x - mean) ** 2, 0) / numbers.length;
    expect(mean).toBeCloseTo(1 / 2, 2);
    expect(variance).toBeCloseTo(1 / 12, 2);
  });

  it("gives each integer below n equally often", () => {
    const stream = new PhiloxStream(2, 0);
    const counts = new Array<number>(7).fill(0);
    for (let i = 0; i < 70_000; i++) counts[stream.integer(7)]! += 1;
    // The bound is six standard deviations of a binomial count around 10,000.
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(6 * 93);
  });

  it("rejects words that would favor small integers", () => {
    // With n = 3 · 2³⁰ a plain remainder would give half of all draws in the first third of the range.
    const n = 3 * 2 ** 30;
    const stream = new PhiloxStream(3, 0);
    let low = 0;
    for (let i = 0; i < 10_000; i++) low += stream.integer(n) < 2 ** 30 ? 1 : 0;
    expect(Math.abs(low / 10_000 - 1 / 3)).toBeLessThan(0.03);
  });

  it("uses one word for n up to 2³² and two above", () => {
    expect(new PhiloxStream(0, 0).integer(1)).toBe(0);
    expect(new PhiloxStream(0, 0).integer(2 ** 32)).toBe(new PhiloxStream(0, 0).uint32());
    const stream = new PhiloxStream(0, 0);
    const [high, low] = [BigInt(stream.uint32()), BigInt(stream.uint32())];
    const bits = ((high >> 11n) << 32n) | low;
    for (const n of [2 ** 32 + 1, 10 ** 10, 2 ** 40]) {
      expect(new PhiloxStream(0, 0).integer(n)).toBe(Number(bits % BigInt(n)));
    }
  });

  it.each([2 ** 33, 10 ** 10, 2 ** 52 + 1])("gives each eighth of the integers below %s equally often", (n) => {
    const stream = new PhiloxStream(4, 0);
    const counts = new Array<number>(8).fill(0);
    for (let i = 0; i < 40_000; i++) counts[Math.floor((8 * stream.integer(n)) / n)]! += 1;
    // The bound is six standard deviations of a binomial count around 5,000.
    for (const count of counts) expect(Math.abs(count - 5000)).toBeLessThan(6 * 66);
  });

  it.each([0, -1, 1.5, 2 ** 53, Number.NaN])("refuses an integer below %s", (n) => {
    expect(() => new PhiloxStream(0, 0).integer(n)).toThrow(/^n: expected a safe integer of at least 1, got /);
  });

  it.each([-1, 0.5, 2 ** 53, Number.NaN, "1"])("refuses the seed or stream %s", (bad) => {
    expect(() => new PhiloxStream(bad as number, 0)).toThrow(/^seed: expected a safe integer of at least 0/);
    expect(() => new PhiloxStream(0, bad as number)).toThrow(/^stream: expected a safe integer of at least 0/);
  });
});

describe("permutation", () => {
  it("contains each of 0 … n − 1 once, and is the same in a second call", () => {
    fc.assert(
      fc.property(fc.nat({ max: 500 }), seeds, seeds, (n, seed, epoch) => {
        const order = permutation(n, seed, epoch);
        expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
        expect(permutation(n, seed, epoch)).toEqual(order);
      }),
    );
  });

  it("never changes, because a newer version must be able to resume runs", () => {
    expect([...permutation(10, 0, 0)]).toMatchInlineSnapshot(`
      [
        0,
        6,
        1,
        9,
        3,
        5,
        8,
        4,
        2,
        7,
      ]
    `);
  });

  it("differs between epochs and between seeds", () => {
    const orders = [permutation(50, 0, 0), permutation(50, 0, 1), permutation(50, 1, 0), permutation(50, 1, 1)];
    expect(new Set(orders.map(String)).size).toBe(4);
  });

  it("gives every order of four equally often", () => {
    const counts = new Map<string, number>();
    for (let epoch = 0; epoch < 24_000; epoch++) {
      const order = String(permutation(4, 9, epoch));
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(6 * 31);
  });

  it.each([-1, 0.5, 2 ** 32])("refuses %s items", (n) => {
    expect(() => permutation(n, 0, 0)).toThrow(/^n: expected an integer from 0 to 2\^32 - 1/);
  });
});
