// Optimizers over arrays that another program owns: they must do what they do over tensors, where the arrays lie.
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { StepsizeError } from "#lib/errors.js";
import { type Device, openDevice } from "#lib/native/index.js";
import { Adam, AdamW, Lion, SGD } from "#lib/optim/index.js";
import * as schedule from "#lib/schedule/index.js";
import { tensor } from "#lib/tensor/index.js";
import { runProgram } from "../support/child.js";
import { bits } from "../support/compare.js";
import { cpuDevices, openAll } from "../support/devices.js";
import { gradientValues, initialValues, parameterOf, setGradient } from "./support/runs.js";

const rules = { SGD, Adam, AdamW, Lion };
type Rule = keyof typeof rules;
type Options = { lr: number | schedule.Schedule } & Record<string, unknown>;

/** What the tests use of an optimizer, whatever its rule. */
interface Embedded {
  iteration: number;
  step(gradients?: unknown, options?: { gradientScale: number }): void;
  stats(): Promise<unknown>;
  learningRates(): number[];
  stateDict(): Map<string, { dispose(): void; read(): Promise<ArrayBufferView> }>;
  loadStateDict(state: ReadonlyMap<string, unknown>): void;
  dispose(): void;
}

function make(rule: Rule, parameters: readonly unknown[], options: Options): Embedded {
  const Made = rules[rule] as unknown as new (parameters: readonly unknown[], options: object) => Embedded;
  return new Made(parameters, options);
}

/** Arrays of these sizes with hashed numbers, as views into one buffer that begin at odd places; 7.5 lies between. */
function viewsOf(sizes: readonly number[], whole = new ArrayBuffer(spaceOf(sizes))): Float32Array[] {
  new Float32Array(whole).fill(7.5);
  let at = 3;
  return sizes.map((size, i) => {
    const view = new Float32Array(whole, 4 * at, size);
    view.set(initialValues(size, i + 1));
    at += size + (size % 2 === 0 ? 4 : 3);
    return view;
  });
}

/** Bytes that {@link viewsOf} takes at most. */
function spaceOf(sizes: readonly number[]): number {
  return 4 * (sizes.reduce((sum, size) => sum + size + 4, 0) + 3);
}

const gradientsOf = (sizes: readonly number[], step: number) =>
  sizes.map((size, i) => gradientValues(size, step, 100 * (i + 1)));

/** The code of the error that a call throws, and its message; fails where it throws none, or one of somebody else's. */
function refusal(call: () => unknown): { code: string; message: string } {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(StepsizeError);
    return error as StepsizeError;
  }
  return expect.fail("nothing was thrown");
}

// One element less and one more than whole vectors, and more than one chunk's worth.
const sizes = [0, 1, 3, 1025, 0, 16_383, 40_001];
const steps = 12;
const uba = schedule.uba({ budget: steps, maxLr: 0.05, phi: 3, warmup: 2 });
const oneCycle = schedule.oneCycle({ budget: steps, maxLr: 0.05, cycleMomentum: true });

const cases: { rule: Rule; options: Options }[] = [
  { rule: "SGD", options: { lr: 0.05 } },
  { rule: "SGD", options: { lr: uba, momentum: 0.9, nesterov: true, weightDecay: 0.1 } },
  { rule: "SGD", options: { lr: oneCycle, dampening: 0.5, maximize: true } },
  { rule: "Adam", options: { lr: 0.01, weightDecay: 0.1 } },
  { rule: "Adam", options: { lr: oneCycle, amsgrad: true, clipNorm: 1 } },
  { rule: "AdamW", options: { lr: uba, betas: [0.8, 0.95], epsilon: 1e-6, weightDecay: 0.3 } },
  { rule: "AdamW", options: { lr: 0.01, amsgrad: true, clipNorm: 0.5, nonFinite: "skip", gradientScale: 0.25 } },
  { rule: "Lion", options: { lr: uba, weightDecay: 0.1 } },
];

const devices = await openAll({}, cpuDevices);

/** What an optimizer over tensors with these numbers does: the parameters' values after every step. */
async function overTensors(device: Device, rule: Rule, options: Options): Promise<Float32Array[][]> {
  const parameters = sizes.map((size, i) => parameterOf(device, initialValues(size, i + 1)));
  const optimizer = make(rule, parameters, options);
  const history: Float32Array[][] = [];
  for (let step = 0; step < steps; step++) {
    for (const [i, gradient] of gradientsOf(sizes, step).entries()) setGradient(parameters[i]!, gradient);
    optimizer.step();
    history.push(await Promise.all(parameters.map(async (one) => (await one.read()) as Float32Array)));
  }
  optimizer.dispose();
  for (const parameter of parameters) {
    parameter.zeroGrad();
    parameter.dispose();
  }
  return history;
}

function expectSameBits(views: readonly Float32Array[], expected: readonly Float32Array[], when: string): void {
  for (const [i, view] of views.entries())
    expect(bits(view).equals(bits(expected[i]!)), `parameter ${i} of ${view.length} elements, ${when}`).toBe(true);
}

/** Whether everything in the buffer that is not inside one of the views is as {@link viewsOf} left it. */
function expectUntouchedBetween(views: readonly Float32Array[]): void {
  const whole = new Float32Array(views[0]!.buffer);
  const inside = new Uint8Array(whole.length);
  for (const view of views) inside.fill(1, view.byteOffset / 4, view.byteOffset / 4 + view.length);
  expect(inside.indexOf(0)).toBe(0);
  expect(whole.findIndex((value, i) => inside[i] === 0 && value !== 7.5)).toBe(-1);
}

describe.each(devices)("the bits of the same optimizer over tensors ($label)", ({ device }) => {
  test.each(cases)("$rule $options", async ({ rule, options }) => {
    const expected = await overTensors(device, rule, options);
    const views = viewsOf(sizes);
    const optimizer = make(rule, views, { ...options, device });
    for (let step = 0; step < steps; step++) {
      expect(optimizer.iteration).toBe(step);
      const gradients = viewsOf(sizes);
      for (const [i, values] of gradientsOf(sizes, step).entries()) gradients[i]!.set(values);
      optimizer.step(gradients);
      // At once, without a wait: the step is done when the call returns.
      expectSameBits(views, expected[step]!, `after step ${step}`);
      expectSameBits(gradients, gradientsOf(sizes, step), "a gradient, which is only read");
    }
    expectUntouchedBetween(views);
    optimizer.dispose();
  });
});

describe("without a device", () => {
  test("it is the CPU that is used, and nothing has to be opened or closed", async () => {
    const device = await openDevice("cpu");
    const { rule, options } = cases[5]!;
    const expected = await overTensors(device, rule, options);
    await device.close();
    const views = viewsOf(sizes);
    const optimizer = make(rule, views, options);
    for (let step = 0; step < steps; step++) optimizer.step(gradientsOf(sizes, step));
    expectSameBits(views, expected.at(-1)!, "after the last step");
  });

  test("a program ends by itself, whatever it leaves undisposed", async () => {
    const ended = await runProgram(new URL("support/embedding-ends.ts", import.meta.url));
    expect(ended).toMatchObject({ code: 0, signal: null, stdout: "-0.5\n", stderr: "" });
  });
});

describe("the arrays stay the caller's", () => {
  const small = [5, 1025];

  test("what is written between the steps is what the next one begins with", () => {
    const [changed, fresh] = [viewsOf(small), viewsOf(small)];
    const optimizer = make("SGD", changed, { lr: 0.1 });
    optimizer.step(gradientsOf(small, 0));
    for (const [i, view] of changed.entries()) view.set(fresh[i]!);
    optimizer.step(gradientsOf(small, 1));
    const other = make("SGD", fresh, { lr: 0.1 });
    other.step(gradientsOf(small, 1));
    expectSameBits(changed, fresh, "after the second step");
  });

  test("gradients may be other arrays each time, or one for several parameters", () => {
    const [views, others] = [viewsOf([9, 9]), viewsOf([9, 9])];
    const options: Options = { lr: 0.1, clipNorm: 1 };
    const [optimizer, other] = [make("AdamW", views, options), make("AdamW", others, options)];
    const reused = [new Float32Array(9), new Float32Array(9)];
    for (let step = 0; step < 4; step++) {
      // tfjs gives such a pair for a sum: the gradient of either term is the same array.
      const shared = gradientValues(9, step);
      optimizer.step([shared, shared]);
      for (const array of reused) array.set(shared);
      other.step(reused);
    }
    expectSameBits(views, others, "after four steps");
  });

  test("they may come from another realm, which has a Float32Array of its own", () => {
    const elsewhere = (values: string) => runInNewContext(`Float32Array.of(${values})`) as Float32Array;
    const view = elsewhere("1, 2, 3");
    expect(view).not.toBeInstanceOf(Float32Array);
    const optimizer = make("SGD", [view, new Float32Array(1)], { lr: 1, momentum: 0.9 });
    optimizer.step([Float32Array.of(1, 1, 1), elsewhere("-4")]);
    optimizer.step([elsewhere("0, 0, 1"), new Float32Array(1)]);
    expect([...view]).toEqual([0 - Math.fround(0.9), 1 - Math.fround(0.9), 2 - Math.fround(1.9)].map(Math.fround));
  });

  test("a gradientScale may be given with a step", () => {
    const view = new Float32Array(1);
    const optimizer = make("SGD", [view], { lr: 1, gradientScale: 0.5 });
    optimizer.step([Float32Array.of(-8)], { gradientScale: 0.25 });
    expect(view[0]).toBe(2);
    optimizer.step([Float32Array.of(-8)]);
    expect(view[0]).toBe(2 + 4);
  });

  test("dispose leaves them, gives back the rest, and ends the steps", () => {
    const { device } = devices[0]!;
    const before = device.memory().tensors;
    const views = viewsOf(small);
    const optimizer = make("AdamW", views, { lr: 0.1, amsgrad: true, clipNorm: 1, device });
    optimizer.step(gradientsOf(small, 0));
    const values = views.map((view) => view.slice());
    expect(device.memory().tensors).toBeGreaterThan(before);
    optimizer.dispose();
    optimizer.dispose();
    expect(device.memory().tensors).toBe(before);
    expectSameBits(views, values, "after dispose");
    refusal(() => optimizer.step(gradientsOf(small, 1)));
    expectSameBits(views, values, "after a step that was refused");
  });

  test("a gradient that is not finite leaves them as they are, where that is asked for", async () => {
    const views = viewsOf(small);
    const optimizer = make("Adam", views, { lr: 0.1, nonFinite: "skip" });
    const bad = gradientsOf(small, 0).map((values) => values.slice());
    bad[1]![1024] = Number.NaN;
    optimizer.step(bad);
    expectSameBits(views, viewsOf(small), "after a step that was skipped");
    expect(await optimizer.stats()).toMatchObject({ iteration: 1, updates: 0, skipped: 1 });
    expect(optimizer.iteration).toBe(1);
  });
});

describe("groups know arrays by their place in the list", () => {
  test("the first may come last: gradients keep the order of the parameters", async () => {
    const { device } = devices.at(-1)!;
    const groups = [
      { where: (name: string) => name === "0", lr: 10 },
      { where: (name: string) => name === "2", lr: 100, maximize: true },
    ];
    const views = [new Float32Array(1), new Float32Array(3), new Float32Array(2), new Float32Array(1)];
    const optimizer = make("SGD", views, { lr: 1, groups, device });
    optimizer.step([1, 2, 3, 4].map((value, i) => new Float32Array(views[i]!.length).fill(value)));
    expect(views.map((view) => [...view])).toEqual([[-10], [-2, -2, -2], [300, 300], [-4]]);
    expect(optimizer.learningRates()).toEqual([1, 10, 100]);
  });

  test("`where` is told type and length too", () => {
    const views = viewsOf([4, 1025]);
    const seen: unknown[] = [];
    const where = (name: string, parameter: { shape: readonly number[] }) => {
      seen.push([name, parameter]);
      return (parameter.shape[0] ?? 0) > 100;
    };
    const optimizer = make("SGD", views, { lr: 1, groups: [{ where, lr: 0 }] });
    expect(seen).toEqual([
      ["0", { name: "", dtype: "float32", shape: [4] }],
      ["1", { name: "", dtype: "float32", shape: [1025] }],
    ]);
    const before = views.map((view) => view.slice());
    optimizer.step([new Float32Array(4).fill(1), new Float32Array(1025).fill(1)]);
    expect(bits(views[1]!).equals(bits(before[1]!))).toBe(true);
    expect([...views[0]!]).toEqual([...before[0]!].map((value) => Math.fround(value - 1)));
  });

  test("the same bits as over tensors, with clipping over all groups", async () => {
    const { device } = devices.at(-1)!;
    const groups = [{ where: (name: string) => name === "1" || name === "3", weightDecay: 0, lr: 0.03 }];
    const options: Options = { lr: uba, weightDecay: 0.3, clipNorm: 1, groups };
    const expected = await overTensors(device, "AdamW", options);
    const views = viewsOf(sizes);
    const optimizer = make("AdamW", views, { ...options, device });
    for (let step = 0; step < steps; step++) optimizer.step(gradientsOf(sizes, step));
    expectSameBits(views, expected.at(-1)!, "after the last step");
  });

  test("one that chooses none is refused", () => {
    const groups = [{ where: (name: string) => name === "2" }];
    expect(refusal(() => make("SGD", viewsOf([1, 1]), { lr: 1, groups })).message).toContain("groups[0].where");
  });
});

describe("what is kept of an array", () => {
  const small = [3, 1025];

  test("is called by the array's place, and another optimizer goes on with it bit by bit", async () => {
    const { device } = devices[0]!;
    const options: Options = { lr: 0.01, amsgrad: true, device };
    const through = viewsOf(small);
    const uninterrupted = make("AdamW", through, options);
    for (let step = 0; step < 6; step++) uninterrupted.step(gradientsOf(small, step));

    const views = viewsOf(small);
    const first = make("AdamW", views, options);
    for (let step = 0; step < 3; step++) first.step(gradientsOf(small, step));
    const moments = ["expAvg", "expAvgSq", "maxExpAvgSq"];
    const names = ["0", "1"].flatMap((place) => moments.map((moment) => `${place}.${moment}`));
    expect([...first.stateDict().keys()].sort()).toEqual([...names, "state"].sort());

    const state = new Map<string, unknown>();
    for (const [name, one] of first.stateDict()) state.set(name, tensor(device, (await one.read()) as Float32Array));
    first.dispose();
    const second = make("AdamW", views, options);
    second.loadStateDict(state);
    for (let step = 3; step < 6; step++) second.step(gradientsOf(small, step));
    expectSameBits(views, through, "after the last step");
  });
});

describe("shared memory", () => {
  const small = [3, 1025];

  test("gives the same bits, and every view of it shows them", () => {
    const shared = new SharedArrayBuffer(spaceOf(small));
    const views = viewsOf(small, shared as unknown as ArrayBuffer);
    const others = viewsOf(small);
    const optimizer = make("AdamW", views, { lr: 0.1 });
    const other = make("AdamW", others, { lr: 0.1 });
    for (let step = 0; step < 4; step++) {
      // Gradients in shared memory too.
      const gradients = viewsOf(small, new SharedArrayBuffer(spaceOf(small)) as unknown as ArrayBuffer);
      for (const [i, values] of gradientsOf(small, step).entries()) gradients[i]!.set(values);
      optimizer.step(gradients);
      other.step(gradientsOf(small, step));
    }
    expectSameBits(views, others, "after four steps");
    const again = new Float32Array(shared, views[1]!.byteOffset, small[1]);
    expect(bits(again).equals(bits(others[1]!))).toBe(true);
    expectUntouchedBetween(views);
  });

  test("two threads step at the same time, each in its own part, to the bits of one after the other", async () => {
    const ended = await runProgram(new URL("support/embedding-threads.ts", import.meta.url));
    expect(ended).toMatchObject({ code: 0, signal: null, stdout: "the same bits\n", stderr: "" });
  });
});

describe("no copy", () => {
  test("of parameters or gradients is made, not even for a moment", async () => {
    const ended = await runProgram(new URL("support/embedding-memory.ts", import.meta.url));
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: "" });
    const { bytes, grown, withCopy } = JSON.parse(ended.stdout);
    // A copy of all parameters or all gradients takes 64 MiB, one of a single array 32. The steps of another optimizer
    // came before what is measured, so that little is left to grow: V8's heap, by a MiB or two.
    expect(bytes).toBe(64 * 1024 ** 2);
    expect(grown.peak).toBeLessThan(bytes / 8);
    expect(grown.arrayBuffers).toBeLessThan(64 * 1024);
    // And the peak would have told: it does for a copy of one array.
    expect(withCopy.peak).toBeGreaterThan(bytes / 4);
  });

  test("of them is in the device's memory: what there is are the moments", () => {
    const { device } = devices[0]!;
    const size = 1 << 20;
    const [view, gradient] = [new Float32Array(size), new Float32Array(size)];
    // Beside them hyper-parameters, state and scalars, each less than a page.
    const little = 16 * 1024;
    for (const [rule, options, moments] of [
      ["SGD", { lr: 0.1, clipNorm: 1 }, 0],
      ["SGD", { lr: 0.1, momentum: 0.9 }, 1],
      ["Lion", { lr: 0.1 }, 1],
      ["AdamW", { lr: 0.1 }, 2],
      ["AdamW", { lr: 0.1, amsgrad: true }, 3],
    ] as const) {
      const before = device.memory().allocated;
      const optimizer = make(rule, [view], { ...options, device });
      for (let step = 0; step < 3; step++) optimizer.step([gradient]);
      const grown = device.memory().allocated - before;
      expect(grown, `${rule} keeps ${moments}`).toBeGreaterThanOrEqual(4 * size * moments);
      expect(grown, `${rule} keeps ${moments}`).toBeLessThan(4 * size * moments + little);
      optimizer.dispose();
      expect(device.memory().allocated).toBe(before);
    }
  });
});

// What follows must be refused by name, and leave everything as it was: parameters, moments, counters.
describe("parameters that cannot be updated are refused", () => {
  const good = () => Float32Array.of(1, 2, 3);

  test.each([
    ["a Float64Array", new Float64Array(3), /^parameters\[1\]/],
    ["an Int32Array", new Int32Array(3), /^parameters\[1\]/],
    ["a Uint8Array", new Uint8Array(12), /^parameters\[1\]/],
    ["a DataView", new DataView(new ArrayBuffer(12)), /^parameters\[1\]/],
    ["an ArrayBuffer", new ArrayBuffer(12), /^parameters\[1\]/],
    ["a list of numbers", [1, 2, 3], /^parameters\[1\]/],
    ["an object that claims to be one", Object.create(Float32Array.prototype), /^parameters\[1\]/],
    ["a number", 3, /^parameters\[1\]/],
    ["null", null, /^parameters\[1\]/],
    ["undefined", undefined, /^parameters\[1\]/],
    ["a tensor among arrays", tensor(devices[0]!.device, [1, 2, 3]), /^parameters\[1\]/],
    ["a detached array", detached(), /^parameters\[1\]/],
  ])("%s", (_, value, message) => {
    const first = good();
    const error = refusal(() => make("AdamW", [first, value], { lr: 0.1 }).step([good(), good()]));
    expect(error.message).toMatch(message);
    expect(first).toEqual(good());
  });

  test("none, and a single array in place of the list", () => {
    expect(refusal(() => make("AdamW", [], { lr: 0.1 })).message).toMatch(/^parameters: /);
    expect(refusal(() => make("AdamW", good() as unknown as [], { lr: 0.1 })).message).toMatch(/^parameters: /);
  });

  const whole = new Float32Array(20);
  test.each([
    ["the same array twice", [whole, good(), whole]],
    ["the same elements by two views", [whole.subarray(2, 5), good(), whole.subarray(2, 5)]],
    ["one element in common", [whole.subarray(0, 6), good(), whole.subarray(5, 8)]],
    ["one inside the other", [whole, good(), whole.subarray(9, 10)]],
    ["the later one before the earlier one", [whole.subarray(5, 8), good(), whole.subarray(0, 6)]],
  ])("%s", (_, parameters) => {
    const before = parameters.map((one) => one.slice());
    const gradients = parameters.map(({ length }) => new Float32Array(length).fill(1));
    const { message } = refusal(() => make("SGD", parameters, { lr: 0.1 }).step(gradients));
    // Whichever of the two is named first, both are.
    expect(message).toMatch(/parameters\[(0|2)\]/);
    expect(parameters).toEqual(before);
  });

  test("but neighbours do not overlap, nor do empty arrays anything", () => {
    const parameters = [whole.subarray(0, 5), whole.subarray(5, 8), whole.subarray(2, 2), whole.subarray(8)];
    const gradients = parameters.map(({ length }) => new Float32Array(length).fill(1));
    expect(() => make("SGD", parameters, { lr: 0 }).step(gradients)).not.toThrow();
  });
});

/** A Float32Array whose memory has gone elsewhere. */
function detached(array: Float32Array = new Float32Array(3)): Float32Array {
  structuredClone(null, { transfer: [array.buffer as ArrayBuffer] });
  expect(array.length).toBe(0);
  return array;
}

interface Situation {
  readonly parameters: Float32Array[];
  readonly gradients: Float32Array[];
  /** Changes one of the two lists, or what is behind an element, before a step. */
  spoil(): { gradients?: unknown };
  /** Makes it good again where that can be done; then the steps must go on as if nothing had been. */
  repair?(): void;
  readonly names: RegExp;
}

/** An array over a buffer that can grow and shrink; its own length follows where `tracks`. */
function resizable(length: number, tracks: boolean): { array: Float32Array; resize(length: number): void } {
  const Resizable = ArrayBuffer as unknown as new (
    bytes: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(bytes: number): void };
  const buffer = new Resizable(4 * length, { maxByteLength: 8 * length });
  const array = tracks ? new Float32Array(buffer) : new Float32Array(buffer, 0, length);
  array.set(initialValues(length));
  return { array, resize: (to) => buffer.resize(4 * to) };
}

const three = () => [5, 1025, 2].map((size, i) => initialValues(size, i + 1));
const threeGradients = () => gradientsOf([5, 1025, 2], 0).map((values) => values.slice());

const situations: Record<string, () => Situation> = {
  "a parameter was detached": () => {
    const parameters = three();
    return {
      parameters,
      gradients: threeGradients(),
      spoil: () => {
        detached(parameters[1]!);
        return {};
      },
      names: /^(step: )?parameters\[1\]/,
    };
  },
  "a parameter's buffer was shrunk, its length follows": () => resizedParameter(true, 1024),
  "a parameter's buffer was shrunk, the view is out of bounds": () => resizedParameter(false, 1024),
  "a parameter's buffer was shrunk to nothing": () => resizedParameter(true, 0),
  "a parameter's buffer has grown, its length follows": () => resizedParameter(true, 1026),
  "a parameter's shared memory has grown, its length follows": () => {
    const Growable = SharedArrayBuffer as unknown as new (
      bytes: number,
      options: { maxByteLength: number },
    ) => SharedArrayBuffer & { grow(bytes: number): void };
    const memory = new Growable(4 * 1025, { maxByteLength: 8 * 1025 });
    const [first, , last] = three();
    return {
      parameters: [first!, new Float32Array(memory), last!],
      gradients: threeGradients(),
      spoil: () => {
        memory.grow(4 * 1026);
        return {};
      },
      names: /^(step: )?parameters\[1\]/,
    };
  },
  "a gradient was detached": () => {
    const gradients = threeGradients();
    return {
      parameters: three(),
      gradients,
      spoil: () => ({ gradients: [gradients[0], detached(gradients[1]!.slice()), gradients[2]] }),
      repair: () => {},
      names: /^(step: )?gradients\[1\]/,
    };
  },
  "the very gradient of the step before was detached": () => {
    const gradients = threeGradients();
    return {
      parameters: three(),
      gradients,
      spoil: () => {
        detached(gradients[1]!);
        return {};
      },
      repair: () => {
        gradients[1] = threeGradients()[1]!;
      },
      names: /^(step: )?gradients\[1\]/,
    };
  },
  "a gradient is too short": () => otherGradient(1, new Float32Array(1024)),
  "a gradient is too long": () => otherGradient(1, new Float32Array(1026)),
  "a gradient is empty": () => otherGradient(0, new Float32Array(0)),
  "a gradient is a Float64Array": () => otherGradient(2, new Float64Array(2)),
  "a gradient is an Int32Array": () => otherGradient(2, new Int32Array(2)),
  "a gradient is a Uint16Array": () => otherGradient(2, new Uint16Array(2)),
  "a gradient is a list of numbers": () => otherGradient(2, [0, 0]),
  "a gradient is a number": () => otherGradient(2, 0),
  "a gradient is null": () => otherGradient(2, null),
  "a gradient is missing": () => otherGradient(2, undefined),
  "a gradient is a tensor": () => otherGradient(2, tensor(devices[0]!.device, [0, 0])),
  "a gradient is an object that claims to be one": () => otherGradient(2, Object.create(Float32Array.prototype)),
  "there are too few gradients": () => otherGradients((good) => good.slice(0, 2)),
  "there are too many gradients": () => otherGradients((good) => [...good, new Float32Array(2)]),
  "there are none": () => otherGradients(() => []),
  "the gradients are one array": () => otherGradients(() => new Float32Array(5)),
  "the gradients are null": () => otherGradients(() => null),
  "the gradients are no list": () => otherGradients(() => "gradients"),
  "a gradient is its parameter": () => overlapping((parameters) => parameters[1]!),
  "a gradient is another parameter's end": () => {
    const whole = new Float32Array(2048).fill(1);
    const parameters = [whole.subarray(0, 1025), Float32Array.of(3)];
    const gradients = [new Float32Array(1025).fill(1), Float32Array.of(2)];
    return {
      parameters,
      gradients,
      spoil: () => ({ gradients: [gradients[0], whole.subarray(1024, 1025)] }),
      repair: () => {},
      names: /(gradients\[1\].*parameters\[0\]|parameters\[0\].*gradients\[1\])/,
    };
  },
};

function resizedParameter(tracks: boolean, length: number): Situation {
  const [first, , last] = three();
  const { array, resize } = resizable(1025, tracks);
  return {
    parameters: [first!, array, last!],
    gradients: threeGradients(),
    spoil: () => {
      resize(length);
      return {};
    },
    names: /^(step: )?parameters\[1\]/,
  };
}

function otherGradients(change: (good: Float32Array[]) => unknown): Situation {
  const gradients = threeGradients();
  return {
    parameters: three(),
    gradients,
    spoil: () => ({ gradients: change(gradients) }),
    repair: () => {},
    names: /gradients/,
  };
}

function otherGradient(place: number, value: unknown): Situation {
  const names = new RegExp(`^(step: )?gradients\\[${place}\\]`);
  return { ...otherGradients((good) => good.with(place, value as Float32Array)), names };
}

function overlapping(gradient: (parameters: Float32Array[]) => Float32Array): Situation {
  const parameters = three();
  const gradients = threeGradients();
  return {
    parameters,
    gradients,
    spoil: () => ({ gradients: (gradients as Float32Array[]).with(1, gradient(parameters)) }),
    repair: () => {},
    names: /(gradients\[1\].*parameters\[1\]|parameters\[1\].*gradients\[1\])/,
  };
}

describe.each(Object.entries(situations))("when %s", (_, situation) => {
  test.each([
    ["SGD", { lr: 0.05, momentum: 0.9 }],
    ["AdamW", { lr: 0.05, clipNorm: 1, nonFinite: "skip" }],
    // The first parameter comes last inside the optimizer.
    ["AdamW", { lr: 0.05, groups: [{ where: (name: string) => name === "0", lr: 0.1 }] }],
  ] as [Rule, Options][])("a step of %s with %o is refused and changes nothing", async (rule, options) => {
    const { parameters, gradients, spoil, repair, names } = situation();
    const twins = parameters.map((values) => values.slice());
    const [optimizer, twin] = [make(rule, parameters, options), make(rule, twins, options)];
    for (let step = 0; step < 2; step++) {
      optimizer.step(gradients);
      twin.step(gradients);
    }
    const lengths = parameters.map(({ length }) => length);
    const spoiled = spoil();
    const error = refusal(() => optimizer.step("gradients" in spoiled ? spoiled.gradients : gradients));
    expect(["invalid-argument", "invalid-state"]).toContain(error.code);
    expect(error.message).toMatch(names);
    expect(optimizer.iteration).toBe(2);
    expect(await optimizer.stats()).toEqual(await twin.stats());
    const whole = [...parameters.keys()].filter((i) => parameters[i]!.length === lengths[i]);
    const pick = (list: readonly Float32Array[]) => whole.map((i) => list[i]!);
    expectSameBits(pick(parameters), pick(twins), "after the step that was refused");
    if (!repair) return;
    repair();
    for (let step = 0; step < 2; step++) {
      optimizer.step(gradients);
      twin.step(gradients);
    }
    expectSameBits(parameters, twins, "after two more steps");
    expect(await optimizer.stats()).toEqual(await twin.stats());
    expect(optimizer.iteration).toBe(4);
    for (const one of [optimizer, twin]) one.dispose();
  });
});

test.each([
  ["has come back to its length", true, [2000, 1025]],
  ["has grown behind an array of fixed length", false, [2000]],
])("memory that %s is good", (_, tracks, lengths) => {
  const { array, resize } = resizable(1025, tracks);
  const twin = array.slice();
  const [optimizer, other] = [make("AdamW", [array], { lr: 0.1 }), make("AdamW", [twin], { lr: 0.1 })];
  const gradient = gradientValues(1025, 0);
  for (const one of [optimizer, other]) one.step([gradient]);
  for (const [i, length] of lengths.entries()) {
    if (i > 0) refusal(() => optimizer.step([gradient]));
    resize(length);
  }
  for (const one of [optimizer, other]) one.step([gradient]);
  expectSameBits([array], [twin], "after another step");
});
