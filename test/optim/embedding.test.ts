// Optimizers over caller-owned arrays. They update the arrays in place, with the same results as over tensors.
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { type Device, openDevice } from "#lib/native/index.js";
import * as schedule from "#lib/schedule/index.js";
import { tensor } from "#lib/tensor/index.js";
import { runProgram } from "../support/child.js";
import { bits } from "../support/compare.js";
import { cpuDevices, openAll } from "../support/devices.js";
import { expectSameBits, gradientsOf, make, type Options, type Rule, refusal } from "./support/embedded.js";
import { gradientValues, initialValues, parameterOf, setGradient } from "./support/runs.js";

/** Arrays of these sizes with hashed numbers. They are views of one buffer at unaligned offsets; the gaps hold 7.5. */
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

/** Maximum number of bytes that {@link viewsOf} uses. */
function spaceOf(sizes: readonly number[]): number {
  return 4 * (sizes.reduce((sum, size) => sum + size + 4, 0) + 3);
}

// The sizes include one element less and one more than whole vectors, and more than one chunk.
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

/** Runs an optimizer over tensors with these numbers. Returns the values of the parameters after every step. */
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

/** Expects the gaps between the views to be as {@link viewsOf} left them. */
function expectUntouchedBetween(views: readonly Float32Array[]): void {
  const whole = new Float32Array(views[0]!.buffer);
  const inside = new Uint8Array(whole.length);
  for (const view of views) inside.fill(1, view.byteOffset / 4, view.byteOffset / 4 + view.length);
  expect(inside.indexOf(0)).toBe(0);
  expect(whole.findIndex((value, i) => inside[i] === 0 && value !== 7.5)).toBe(-1);
}

describe.each(devices)("an optimizer over arrays gives the bits of one over tensors ($label)", ({ device }) => {
  test.each(cases)("$rule $options", async ({ rule, options }) => {
    const expected = await overTensors(device, rule, options);
    const views = viewsOf(sizes);
    const optimizer = make(rule, views, { ...options, device });
    for (let step = 0; step < steps; step++) {
      expect(optimizer.iteration).toBe(step);
      const gradients = viewsOf(sizes);
      for (const [i, values] of gradientsOf(sizes, step).entries()) gradients[i]!.set(values);
      optimizer.step(gradients);
      // Compared without waiting: the step is done when the call returns.
      expectSameBits(views, expected[step]!, `after step ${step}`);
      expectSameBits(gradients, gradientsOf(sizes, step), "a gradient, which is only read");
    }
    expectUntouchedBetween(views);
    optimizer.dispose();
  });
});

describe("without a device", () => {
  test("the CPU is used, and no device has to be opened or closed", async () => {
    const device = await openDevice("cpu");
    const { rule, options } = cases[5]!;
    const expected = await overTensors(device, rule, options);
    await device.close();
    const views = viewsOf(sizes);
    const optimizer = make(rule, views, options);
    for (let step = 0; step < steps; step++) optimizer.step(gradientsOf(sizes, step));
    expectSameBits(views, expected.at(-1)!, "after the last step");
  });

  test("a program ends by itself even if nothing is disposed of", async () => {
    const ended = await runProgram(new URL("support/embedding-ends.ts", import.meta.url));
    expect(ended).toMatchObject({ code: 0, signal: null, stdout: "-0.5\n", stderr: "" });
  });
});

describe("caller-owned arrays", () => {
  const small = [5, 1025];

  test("values that the program writes between steps are used by the next step", () => {
    const [changed, fresh] = [viewsOf(small), viewsOf(small)];
    const optimizer = make("SGD", changed, { lr: 0.1 });
    optimizer.step(gradientsOf(small, 0));
    for (const [i, view] of changed.entries()) view.set(fresh[i]!);
    optimizer.step(gradientsOf(small, 1));
    const other = make("SGD", fresh, { lr: 0.1 });
    other.step(gradientsOf(small, 1));
    expectSameBits(changed, fresh, "after the second step");
  });

  test("gradients may be other arrays at each step, or one array for several parameters", () => {
    const [views, others] = [viewsOf([9, 9]), viewsOf([9, 9])];
    const options: Options = { lr: 0.1, clipNorm: 1 };
    const [optimizer, other] = [make("AdamW", views, options), make("AdamW", others, options)];
    const reused = [new Float32Array(9), new Float32Array(9)];
    for (let step = 0; step < 4; step++) {
      // TensorFlow.js returns such a pair for a sum: the gradients of both terms are the same array.
      const shared = gradientValues(9, step);
      optimizer.step([shared, shared]);
      for (const array of reused) array.set(shared);
      other.step(reused);
    }
    expectSameBits(views, others, "after four steps");
  });

  test("arrays may come from another realm, which has its own Float32Array", () => {
    const elsewhere = (values: string) => runInNewContext(`Float32Array.of(${values})`) as Float32Array;
    const view = elsewhere("1, 2, 3");
    expect(view).not.toBeInstanceOf(Float32Array);
    const optimizer = make("SGD", [view, new Float32Array(1)], { lr: 1, momentum: 0.9 });
    optimizer.step([Float32Array.of(1, 1, 1), elsewhere("-4")]);
    optimizer.step([elsewhere("0, 0, 1"), new Float32Array(1)]);
    expect([...view]).toEqual([0 - Math.fround(0.9), 1 - Math.fround(0.9), 2 - Math.fround(1.9)].map(Math.fround));
  });

  test("gradientScale may be given for a step", () => {
    const view = new Float32Array(1);
    const optimizer = make("SGD", [view], { lr: 1, gradientScale: 0.5 });
    optimizer.step([Float32Array.of(-8)], { gradientScale: 0.25 });
    expect(view[0]).toBe(2);
    optimizer.step([Float32Array.of(-8)]);
    expect(view[0]).toBe(2 + 4);
  });

  test("dispose keeps the arrays, releases everything else, and makes further steps throw", () => {
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

  test("a non-finite gradient leaves the arrays unchanged if nonFinite is skip", async () => {
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

describe("groups name arrays by their index in the list", () => {
  test("gradients keep the order of the parameters if a group puts the first one last", async () => {
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

  test("`where` gets the type and the length", () => {
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

  test("clipping over all groups gives the same bits as over tensors", async () => {
    const { device } = devices.at(-1)!;
    const groups = [{ where: (name: string) => name === "1" || name === "3", weightDecay: 0, lr: 0.03 }];
    const options: Options = { lr: uba, weightDecay: 0.3, clipNorm: 1, groups };
    const expected = await overTensors(device, "AdamW", options);
    const views = viewsOf(sizes);
    const optimizer = make("AdamW", views, { ...options, device });
    for (let step = 0; step < steps; step++) optimizer.step(gradientsOf(sizes, step));
    expectSameBits(views, expected.at(-1)!, "after the last step");
  });

  test("a group that matches no array is refused", () => {
    const groups = [{ where: (name: string) => name === "2" }];
    expect(refusal(() => make("SGD", viewsOf([1, 1]), { lr: 1, groups })).message).toContain("groups[0].where");
  });
});

describe("the state of an optimizer over arrays", () => {
  const small = [3, 1025];

  test("is named by the array's index, and another optimizer continues from it with the same bits", async () => {
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
    expect([...first.stateDict().keys()].sort()).toEqual([...names, "state", "updates"].sort());

    const state = new Map<string, unknown>();
    for (const [name, one] of first.stateDict()) state.set(name, tensor(device, (await one.read()) as Float32Array));
    first.dispose();
    const second = make("AdamW", views, options);
    second.loadStateDict(state);
    for (let step = 3; step < 6; step++) second.step(gradientsOf(small, step));
    expectSameBits(views, through, "after the last step");
  });
});

describe("arrays in shared memory", () => {
  const small = [3, 1025];

  test("get the same bits, which every view of the memory shows", () => {
    const shared = new SharedArrayBuffer(spaceOf(small));
    const views = viewsOf(small, shared as unknown as ArrayBuffer);
    const others = viewsOf(small);
    const optimizer = make("AdamW", views, { lr: 0.1 });
    const other = make("AdamW", others, { lr: 0.1 });
    for (let step = 0; step < 4; step++) {
      // The gradients are in shared memory too.
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

  test("can be updated by two threads at once in separate parts, with the bits of sequential steps", async () => {
    const ended = await runProgram(new URL("support/embedding-threads.ts", import.meta.url));
    expect(ended).toMatchObject({ code: 0, signal: null, stdout: "the same bits\n", stderr: "" });
  });
});

describe("memory", () => {
  test("no copy of parameters or gradients is made, not even temporarily", async () => {
    const ended = await runProgram(new URL("support/embedding-memory.ts", import.meta.url));
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: "" });
    const { bytes, grown, withCopy } = JSON.parse(ended.stdout);
    // A copy of all parameters or all gradients takes 64 MiB, a copy of one array 32 MiB. Steps of another optimizer
    // ran before the measurement, so little is left to grow: V8's heap, by one or two MiB.
    expect(bytes).toBe(64 * 1024 ** 2);
    expect(grown.peak).toBeLessThan(bytes / 8);
    expect(grown.arrayBuffers).toBeLessThan(64 * 1024);
    // The peak detects a copy of one array.
    expect(withCopy.peak).toBeGreaterThan(bytes / 4);
  });

  test("the device holds only the moments", () => {
    const { device } = devices[0]!;
    const size = 1 << 20;
    const [view, gradient] = [new Float32Array(size), new Float32Array(size)];
    // It also holds hyper-parameters, state and scalars, each less than a page.
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
