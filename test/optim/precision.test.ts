// Storage in bfloat16: parameters with or without float32 master weights, and moments.
import { describe, expect, test } from "vitest";
import type { Device } from "#lib/native/index.js";
import { Parameter } from "#lib/nn/index.js";
import { AdamW, SGD } from "#lib/optim/index.js";
import { philox4x32, words } from "#lib/random.js";
import { bfloat16Bits, bfloat16Value } from "#lib/tensor/bfloat16.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import { bits } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import type { Kind, RuleOptions } from "./support/reference.js";
import { bitsByName, gradientValues, initialValues, make, parameterOf, setGradient } from "./support/runs.js";
import { storages } from "./support/storages.js";

/** The nearest numbers that bfloat16 can hold. */
const nearest = (values: Float32Array) => values.map((value) => bfloat16Value(bfloat16Bits(value)));

/** The bits of these numbers rounded to bfloat16. */
const copiesOf = (values: Float32Array) => Uint16Array.from(values, bfloat16Bits);

const low = (device: Device, data: Float32Array, name = ""): Parameter =>
  parameterOf(device, data, name, 1, "bfloat16");

async function copyOf(state: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>> {
  const entries = [...state].map(async ([name, one]) => [name, await one.to(one.device)] as const);
  return new Map(await Promise.all(entries));
}

const kinds: { kind: Kind; options: RuleOptions }[] = [
  { kind: "SGD", options: { lr: 0.05, weightDecay: 0.1 } },
  { kind: "SGD", options: { lr: 0.05, momentum: 0.9, nesterov: true } },
  { kind: "Adam", options: { lr: 0.01, amsgrad: true } },
  { kind: "AdamW", options: { lr: 0.01 } },
  { kind: "Lion", options: { lr: 0.01, weightDecay: 0.1 } },
];
const sizes = [0, 1, 9, 1025];

await onEveryDevice("bfloat16 parameters with master weights", (device) => {
  test.each(kinds)("equal float32 training, rounded to bfloat16: $kind $options", async ({ kind, options }) => {
    const initial = sizes.map((size, i) => nearest(initialValues(size, i + 1)));
    const [copies, wide] = [
      initial.map((values, i) => low(device, values, `p${i}`)),
      initial.map((values, i) => parameterOf(device, values, `p${i}`)),
    ];
    const extra = { clipNorm: 2, nonFinite: "skip" };
    const optimizer = make(kind, copies, { ...options, ...extra } as RuleOptions);
    const reference = make(kind, wide, { ...options, ...extra } as RuleOptions);
    for (let step = 0; step < 10; step++) {
      for (const [i, size] of sizes.entries()) {
        const gradient = nearest(gradientValues(size, step, 100 * (i + 1)));
        if (step === 4 && i === 3) gradient[7] = Number.POSITIVE_INFINITY;
        setGradient(copies[i]!, gradient);
        setGradient(wide[i]!, gradient);
      }
      optimizer.step();
      reference.step();
      const state = optimizer.stateDict();
      for (const [i, parameter] of copies.entries()) {
        const master = (await state.get(`p${i}.master`)!.read()) as Float32Array;
        const where = `parameter ${i} after step ${step}`;
        // The comparison is exact: the arithmetic is the same, and the copy is rounded to nearest even.
        expect(bits(master).equals(bits(await wide[i]!.read())), where).toBe(true);
        expect(await parameter.read(), where).toEqual(copiesOf(master));
      }
    }
    expect(await optimizer.stats()).toEqual(await reference.stats());
    const moments = [...optimizer.stateDict()].filter(([name]) => !name.endsWith(".master"));
    expect(await bitsByName(moments)).toEqual(await bitsByName(reference.stateDict()));
  });

  test("save the master weights in the state, before the moments", () => {
    const parameter = low(device, initialValues(3), "p");
    const optimizer = new AdamW([parameter], { lr: 0.01, momentType: "bfloat16" });
    setGradient(parameter, gradientValues(3, 0));
    optimizer.step();
    const state = [...optimizer.stateDict()].map(([name, { dtype }]) => [name, dtype]);
    expect(state).toEqual([
      ["state", "float64"],
      ["updates", "int32"],
      ["p.master", "float32"],
      ["p.expAvg", "bfloat16"],
      ["p.expAvgSq", "bfloat16"],
    ]);
  });

  test("accumulate a thousand steps, each a hundredth of what bfloat16 can show", async () => {
    const parameter = low(device, Float32Array.of(1.5));
    const optimizer = new SGD([parameter], { lr: 1 });
    const tiny = -(2 ** -14);
    for (let step = 0; step < 1024; step++) {
      if (step === 0) setGradient(parameter, Float32Array.of(tiny));
      optimizer.step();
    }
    expect(bfloat16Value((await parameter.read())[0]!)).toBe(1.5 + 2 ** -4);
  });

  test("keep a value that is written between steps, and update the master weights with it", async () => {
    const values = Float32Array.of(1, 2, 3);
    const parameter = low(device, values, "p");
    const other = low(device, Float32Array.of(5, 6, 7), "p");
    const [optimizer, fresh] = [parameter, other].map((one) => new SGD([one], { lr: 0.001 }));
    for (const one of [parameter, other]) setGradient(one, Float32Array.of(0.1, -0.2, 0.3));
    optimizer!.step();
    parameter.write(copiesOf(Float32Array.of(5, 6, 7)));
    for (let step = 0; step < 3; step++) for (const one of [optimizer!, fresh!]) one.step();
    expect(await parameter.read()).toEqual(await other.read());
    const masters = [optimizer!, fresh!].map(async (one) => [
      ...((await one.stateDict().get("p.master")!.read()) as Float32Array),
    ]);
    expect(await masters[0]).toEqual(await masters[1]);
  });

  test("keep the full digits of the master weights if they are not written", async () => {
    const parameter = low(device, Float32Array.of(1), "p");
    const optimizer = new SGD([parameter], { lr: 2 ** -12 });
    setGradient(parameter, Float32Array.of(1));
    optimizer.step();
    // A read, a detached view and a new gradient are not writes.
    await parameter.read();
    parameter.detach().dispose();
    setGradient(parameter, Float32Array.of(1));
    optimizer.step();
    expect(await optimizer.stateDict().get("p.master")!.item()).toBe(1 - 2 ** -11);
  });
});

await onEveryDevice("a resumed run continues with the same bits", (device) => {
  const options = { lr: 0.01, clipNorm: 1 };
  test.each(storages)("$title", async ({ dtype, options: types }) => {
    const run = () => sizes.map((size, i) => parameterOf(device, size, `p${i}`, i + 1, dtype));
    const steps = (optimizer: { step(): void }, parameters: Parameter[], from: number, to: number) => {
      for (let step = from; step < to; step++) {
        for (const [i, one] of parameters.entries()) setGradient(one, gradientValues(sizes[i]!, step, 100 * (i + 1)));
        optimizer.step();
      }
    };
    const through = run();
    const uninterrupted = make("AdamW", through, { ...options, ...types } as RuleOptions);
    steps(uninterrupted, through, 0, 9);
    const before = run();
    const first = make("AdamW", before, { ...options, ...types } as RuleOptions);
    steps(first, before, 0, 5);
    const saved = await copyOf(first.stateDict());
    const after = await Promise.all(
      before.map(async (one, i) => {
        const parameter = new Parameter(tensor(device, await one.read(), [sizes[i]!]));
        parameter.name = `p${i}`;
        return parameter;
      }),
    );
    const second = make("AdamW", after, { ...options, ...types } as RuleOptions);
    second.loadStateDict(saved);
    second.iteration = first.iteration;
    steps(second, after, 5, 9);
    const all = (parameters: Parameter[], optimizer: typeof first) =>
      bitsByName([...parameters.map((one) => [one.name, one] as const), ...optimizer.stateDict()]);
    expect(await all(after, second)).toEqual(await all(through, uninterrupted));
  });

  test("only if its moments have the same type; another type is refused and named", async () => {
    const parameter = parameterOf(device, 3, "p");
    setGradient(parameter, gradientValues(3, 0));
    const [wide, narrow] = [
      new AdamW([parameter], { lr: 0.01 }),
      new AdamW([parameter], { lr: 0.01, momentType: "bfloat16" }),
    ];
    wide.step();
    narrow.step();
    const before = await bitsByName(narrow.stateDict());
    await expectError(
      () => narrow.loadStateDict(wide.stateDict()),
      "invalid-file",
      "p.expAvg is float32, expected bfloat16",
    );
    expect(await bitsByName(narrow.stateDict())).toEqual(before);
  });
});

await onEveryDevice("types of parameters and gradients", (device) => {
  test("a gradient of another type than its parameter is refused and named", async () => {
    const [wide, narrow] = [parameterOf(device, 3, "w"), low(device, initialValues(3), "n")];
    wide.grad = tensor(device, new Uint16Array(3));
    narrow.grad = tensor(device, new Float32Array(3));
    for (const [parameter, words] of [
      [wide, "the gradient of w is bfloat16[3], the parameter float32[3]"],
      [narrow, "the gradient of n is float32[3], the parameter bfloat16[3]"],
    ] as const)
      await expectError(() => new SGD([parameter], { lr: 1 }).step(), "invalid-argument", words);
  });

  test("parameters of different types are refused", async () => {
    const parameters = [parameterOf(device, 3, "w"), low(device, initialValues(3), "n")];
    await expectError(() => new SGD(parameters, { lr: 1 }), "invalid-argument", "parameters[1] (n): is bfloat16");
  });

  test("masterWeights has no effect on float32 parameters", () => {
    const parameter = parameterOf(device, 3, "p");
    setGradient(parameter, gradientValues(3, 0));
    for (const masterWeights of [true, false]) {
      const optimizer = new SGD([parameter], { lr: 0, masterWeights });
      optimizer.step();
      expect([...optimizer.stateDict().keys()]).toEqual(["state", "updates"]);
    }
  });
});

/**
 * 16 random bits as native/update/storage.h defines them. For element i of list l of tensor t at an iteration, they
 * are half i mod 8 of Philox block i / 8. The block's counter holds the list in its upper byte, the tensor, and the
 * iteration below a 1.
 */
function roundingBits(seed: number, t: number, iteration: number, list: number, i: number): number {
  const out = new Uint32Array(4);
  philox4x32(out, Math.floor(i / 8), list << 24, t, (0x80000000 | iteration) >>> 0, ...words(seed));
  const half = i % 8;
  return (out[half >> 1]! >>> (16 * (half & 1))) & 0xffff;
}

const word = new Uint32Array(1);
const asFloat = new Float32Array(word.buffer);
/** The bits of a stochastically rounded bfloat16: a random number is added to the bits that are cut off. */
function roundedBy(value: number, random: number): number {
  asFloat[0] = value;
  return ((word[0]! + random) / 0x10000) & 0xffff;
}

// Sizes around the eight elements of one random block, the 256 that the CPU draws at once, and a chunk of 16384.
const roundedSizes = [0, 7, 300, 16_384 + 9];

await onEveryDevice("stochastic rounding matches an independent implementation, element by element", (device) => {
  test.each([0, 7, 2 ** 40 + 5])("for parameters without master weights (seed %d)", async (seed) => {
    // Products with a power of two are exact, so the only rounding to float32 is that of the difference.
    const lr = 2 ** -5;
    const rounded = roundedSizes.map((size, i) => nearest(initialValues(size, i + 1)));
    const parameters = rounded.map((values, i) => low(device, values, `p${i}`));
    const optimizer = new SGD(parameters, { lr, masterWeights: false, seed });
    for (let step = 0; step < 3; step++) {
      for (const [t, parameter] of parameters.entries()) {
        const gradient = nearest(gradientValues(parameter.size, step, 100 * (t + 1)));
        setGradient(parameter, gradient);
        rounded[t] = rounded[t]!.map((value, i) =>
          bfloat16Value(roundedBy(Math.fround(value - lr * gradient[i]!), roundingBits(seed, t, step, 0, i))),
        );
      }
      optimizer.step();
      for (const [t, parameter] of parameters.entries())
        expect(await parameter.read(), `parameter ${t} after step ${step}`).toEqual(copiesOf(rounded[t]!));
    }
  });

  // The number of a tensor is its index among the tensors of the step.
  test("for steps in which some parameters have no gradient", async () => {
    const [seed, lr] = [5, 2 ** -5];
    const rounded = [40, 50, 60].map((size, i) => nearest(initialValues(size, i + 1)));
    const parameters = rounded.map((values, i) => low(device, values, `p${i}`));
    const optimizer = new SGD(parameters, { lr, masterWeights: false, seed });
    for (const [step, present] of [[0, 1, 2], [0, 2], [1, 2], [2]].entries()) {
      optimizer.zeroGrad();
      for (const [t, at] of present.entries()) {
        const gradient = nearest(gradientValues(parameters[at]!.size, step, 100 * (at + 1)));
        setGradient(parameters[at]!, gradient);
        rounded[at] = rounded[at]!.map((value, i) =>
          bfloat16Value(roundedBy(Math.fround(value - lr * gradient[i]!), roundingBits(seed, t, step, 0, i))),
        );
      }
      optimizer.step();
      for (const [i, parameter] of parameters.entries())
        expect(await parameter.read(), `parameter ${i} after step ${step}`).toEqual(copiesOf(rounded[i]!));
    }
  });

  test("for three moments, each with separate random numbers", async () => {
    const seed = 11;
    const parameters = roundedSizes.map((size, i) => parameterOf(device, size, `p${i}`));
    const betas = [0.9, 0.99] as const;
    const optimizer = new AdamW(parameters, { lr: 0, betas, amsgrad: true, momentType: "bfloat16", seed });
    const gradients = roundedSizes.map((size, t) => gradientValues(size, 0, 100 * (t + 1)));
    for (const [t, parameter] of parameters.entries()) setGradient(parameter, gradients[t]!);
    optimizer.step();
    const { fround } = Math;
    // The first step, when all moments are 0: the values that the rule computes in float32.
    const first = (g: number) => fround(fround(1 - betas[0]) * g);
    const second = (g: number) => fround(fround(fround(1 - betas[1]) * g) * g);
    const state = optimizer.stateDict();
    for (const [t, gradient] of gradients.entries())
      for (const [m, [name, value]] of Object.entries({
        expAvg: first,
        expAvgSq: second,
        maxExpAvgSq: second,
      }).entries()) {
        const expected = Uint16Array.from(gradient, (g, i) => roundedBy(value(g), roundingBits(seed, t, 0, m + 1, i)));
        expect(await state.get(`p${t}.${name}`)!.read(), `${name} of parameter ${t}`).toEqual(expected);
      }
  });

  test("after a skipped step, which uses up its random numbers", async () => {
    const parameter = low(device, Float32Array.of(...new Array(300).fill(1.5)));
    const optimizer = new SGD([parameter], { lr: 1, masterWeights: false, nonFinite: "skip" });
    setGradient(parameter, new Float32Array(300).fill(Number.NaN));
    optimizer.step();
    expect(await parameter.read()).toEqual(copiesOf(new Float32Array(300).fill(1.5)));
    setGradient(parameter, new Float32Array(300).fill(-(2 ** -9)));
    optimizer.step();
    const expected = Uint16Array.from({ length: 300 }, (_, i) => roundedBy(1.5 + 2 ** -9, roundingBits(0, 0, 1, 0, i)));
    expect(await parameter.read()).toEqual(expected);
  });
});

const count = 100_000;
/** The distance between neighboring bfloat16 numbers in [1, 2). */
const ulp = 2 ** -7;

/** Counts how often each element of 1.5 was rounded up, in steps by a sixteenth of the distance to the next number. */
async function stepsUp(device: Device, seed: number, steps: number): Promise<Float64Array> {
  const parameter = low(device, new Float32Array(count).fill(1.5));
  const optimizer = new SGD([parameter], { lr: 1, masterWeights: false, seed });
  setGradient(parameter, new Float32Array(count).fill(-ulp / 16));
  for (let step = 0; step < steps; step++) optimizer.step();
  const ups = Float64Array.from(await parameter.read(), (one) => (bfloat16Value(one) - 1.5) / ulp);
  optimizer.dispose();
  parameter.zeroGrad();
  parameter.dispose();
  return ups;
}

await onEveryDevice("the distribution of stochastic rounding", (device) => {
  test("has the unrounded value as its mean, where rounding to nearest would never move", async () => {
    expect(bfloat16Bits(1.5 + ulp / 16)).toBe(bfloat16Bits(1.5));
    for (const steps of [1, 8]) {
      const ups = await stepsUp(device, 1, steps);
      expect([...new Set(ups)].sort().slice(0, 2)).toEqual([0, 1]);
      // Each step rounds up with probability 1/16. The bound is five standard deviations of the mean, which one seed in
      // two million would exceed.
      const deviation = Math.sqrt((steps * (1 / 16) * (15 / 16)) / count);
      const mean = ups.reduce((sum, one) => sum + one) / count;
      expect(Math.abs(mean - steps / 16)).toBeLessThan(5 * deviation);
      // The same holds for every eighth element, as these share a position in the blocks of random numbers.
      for (let place = 0; place < 8; place++) {
        const upsAtPlace = ups.filter((_, i) => i % 8 === place);
        const meanAtPlace = upsAtPlace.reduce((sum, one) => sum + one) / upsAtPlace.length;
        expect(Math.abs(meanAtPlace - steps / 16), `place ${place}`).toBeLessThan(5 * deviation * Math.sqrt(8));
      }
    }
  });

  test("is independent between neighboring elements and between consecutive steps", async () => {
    const [once, twice] = [await stepsUp(device, 1, 1), await stepsUp(device, 1, 2)];
    const second = twice.map((both, i) => both - once[i]!);
    const p = 1 / 16;
    // The product of two independent indicators is 1 with probability p². The bound is five standard deviations of its
    // mean, as above.
    const bound = 5 * Math.sqrt((p ** 2 * (1 - p ** 2)) / count);
    const together = (a: Float64Array, b: (i: number) => number) =>
      a.reduce((sum, one, i) => sum + one * b(i), 0) / count;
    expect(Math.abs(together(once, (i) => second[i]!) - p ** 2), "steps").toBeLessThan(bound);
    for (const distance of [1, 2, 7, 8, 16, 256, 1024, 16_384])
      expect(Math.abs(together(once, (i) => once[(i + distance) % count]!) - p ** 2), `${distance} apart`).toBeLessThan(
        bound,
      );
  });

  test("is the same for the same seed and differs between seeds", async () => {
    const [once, again, other] = [
      await stepsUp(device, 3, 2),
      await stepsUp(device, 3, 2),
      await stepsUp(device, 4, 2),
    ];
    expect(bits(again).equals(bits(once))).toBe(true);
    const different = once.filter((one, i) => one !== other[i]).length / count;
    // Two steps with probability 1/16 end alike with probability Σ P(k)² = 0.786.
    expect(different).toBeCloseTo(1 - 0.786, 2);
  });

  test("lets a second moment grow by less than half of what bfloat16 can show", async () => {
    const [size, beta2, steps] = [20_000, 0.99, 300];
    const parameter = parameterOf(device, size, "p");
    const optimizer = new AdamW([parameter], { lr: 0, betas: [0.9, beta2], momentType: "bfloat16" });
    setGradient(parameter, new Float32Array(size).fill(1));
    for (let step = 0; step < steps; step++) optimizer.step();
    const expected = 1 - beta2 ** steps;
    // Rounding to nearest stops at 0.8.
    let stuck = 0;
    for (let step = 0; step < steps; step++) stuck = bfloat16Value(bfloat16Bits(beta2 * stuck + (1 - beta2)));
    expect(stuck).toBeLessThan(0.85);
    const values = (await optimizer.stateDict().get("p.expAvgSq")!.read()) as Uint16Array;
    const mean = values.reduce((sum, one) => sum + bfloat16Value(one), 0) / size;
    // The error of a rounding is at most half the distance between numbers below 1, 2⁻⁹ on average in the square. It
    // decays with β2.
    const deviation = 2 ** -9 / Math.sqrt(1 - beta2 ** 2) / Math.sqrt(size);
    expect(Math.abs(mean - expected)).toBeLessThan(5 * deviation);
  });
});

describe("the rounding of this file", () => {
  test("goes no further than to a neighbor, and keeps values that bfloat16 can hold", () => {
    for (const value of [1.5, -1.5, 1e-40, 3e38]) {
      const down = bfloat16Value(roundedBy(value, 0));
      const up = bfloat16Value(roundedBy(value, 0xffff));
      expect(Math.abs(down)).toBeLessThanOrEqual(Math.abs(value));
      expect(Math.abs(up)).toBeGreaterThanOrEqual(Math.abs(down));
    }
    expect(roundedBy(1.5, 0xffff)).toBe(bfloat16Bits(1.5));
  });
});
