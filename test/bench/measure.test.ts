import { afterAll, describe, expect, test } from "vitest";
import {
  type BaselineName,
  type Bench,
  bytesPerParameter,
  interleave,
  measure,
  problemOf,
  ratioOf,
  type Setting,
  spreadOf,
  workloadOfSize,
} from "#lib/bench/index.js";
import { type Device, findAddon, openDevice } from "#lib/native/index.js";
import { expectError } from "../support/errors.js";

const adamw: Setting = { optimizer: "adamw", dtype: "float32", moments: "float32" };

describe("bytes per parameter", () => {
  // The numbers are those in the header of native/cuda/update.cuh.
  test.each([
    ["float32", "float32", { sgd: 12, momentum: 20, lion: 20, adam: 28, adamw: 28 }],
    ["float32", "bfloat16", { sgd: 12, momentum: 16, lion: 16, adam: 20, adamw: 20 }],
    ["bfloat16-master", "float32", { sgd: 12, momentum: 20, lion: 20, adam: 28, adamw: 28 }],
    ["bfloat16", "float32", { sgd: 6, momentum: 14, lion: 14, adam: 22, adamw: 22 }],
    ["bfloat16", "bfloat16", { sgd: 6, momentum: 10, lion: 10, adam: 14, adamw: 14 }],
  ] as const)("for %s with moments in %s", (dtype, moments, expected) => {
    const counted = Object.keys(expected).map((optimizer) => {
      return [optimizer, bytesPerParameter({ optimizer: optimizer as Setting["optimizer"], dtype, moments })];
    });
    expect(Object.fromEntries(counted)).toEqual(expected);
  });
});

describe("statistics", () => {
  test("quartiles are interpolated between neighbors", () => {
    expect(spreadOf([4, 1, 3, 2])).toEqual({ lower: 1.75, median: 2.5, upper: 3.25 });
    expect(spreadOf([7])).toEqual({ lower: 7, median: 7, upper: 7 });
  });

  test("a ratio is the median of the rounds' ratios, not the ratio of the medians", () => {
    expect(ratioOf([10, 20, 90], [10, 10, 30])).toBe(2);
  });

  test("contenders alternate, after a round that is not counted", async () => {
    const order: string[] = [];
    const contender = (name: string) => ({ name, run: () => order.push(name) });
    const passes = await interleave([contender("a"), contender("b")], 2);
    expect(order.join("")).toBe("ababab");
    expect(passes).toEqual(new Map([["a", [3, 5]], ["b", [4, 6]]])); // biome-ignore format: one line
  });

  test("an interrupted measurement returns its complete rounds", async () => {
    let passes = 0;
    const contenders = ["a", "b"].map((name) => ({ name, run: () => passes++ }));
    expect((await interleave(contenders, 9, () => passes < 5)).get("b")).toEqual([3]);
  });
});

const names = ["cpu", ...(findAddon("cuda-emulated").addon ? ["cuda:emulated"] : [])];

describe.each(names)("a measurement on %s", (name) => {
  let device: Device;
  const notes: string[] = [];
  const open = async () => {
    device ??= await openDevice(name, name === "cpu" ? { threads: 1 } : {});
    return device;
  };
  afterAll(() => device?.close());
  const benchOf = async (more: Partial<Bench> = {}): Promise<Bench> => ({
    device: await open(),
    torch: undefined,
    foundTorch: { problem: "not looked for" },
    baselines: undefined,
    rounds: 1,
    shouldContinue: () => true,
    note: (text) => notes.push(text),
    ...more,
  });
  const baselines: BaselineName[] = name === "cpu" ? ["loop", "per-tensor"] : ["loop", "copy", "per-tensor"];

  test("reports bytes, records and times of the update and of every available baseline", async () => {
    const before = (await open()).memory().tensors;
    const row = await measure(await benchOf(), workloadOfSize("3x1000"), adamw);
    expect(row).toMatchObject({
      ...adamw,
      name: "3 × 1k",
      tensors: 3,
      elements: 3000,
      threads: name === "cpu" ? 1 : null,
      rounds: 1,
      bytes: 84_000,
      // Preparing the step's scalars and the update, for any number of tensors.
      launches: 2,
    });
    expect(Object.keys(row!.baselines).sort()).toEqual([...baselines].sort());
    expect(row!.baselines["per-tensor"]!.launches).toBe(6);
    expect(row!.baselines.loop!.launches).toBe(1);
    for (const { milliseconds, ratio } of Object.values(row!.baselines)) {
      expect(milliseconds.median).toBeGreaterThan(0);
      expect(ratio).toBeGreaterThan(0);
    }
    const { median, lower, upper } = row!.milliseconds;
    expect(lower).toBeLessThanOrEqual(median);
    expect(median).toBeLessThanOrEqual(upper);
    expect(row!.gigabytesPerSecond).toBeCloseTo(84_000 / median / 1e6, 6);
    expect(row!.hostMicroseconds.eager).toBeGreaterThan(0);
    expect(row!.hostMicroseconds.replayed).toBeGreaterThan(0);
    expect(notes).toContain(`without torch: ${problemOf("torch", await benchOf(), adamw)}`);
    expect(device.memory().tensors, "tensors left behind").toBe(before);
  });

  test.each([
    { optimizer: "adamw", dtype: "bfloat16-master", moments: "float32", bytes: 28 },
    { optimizer: "adam", dtype: "bfloat16", moments: "bfloat16", bytes: 14 },
    { optimizer: "sgd", dtype: "float32", moments: "float32", bytes: 12 },
    { optimizer: "momentum", dtype: "bfloat16", moments: "float32", bytes: 14 },
    { optimizer: "lion", dtype: "bfloat16-master", moments: "bfloat16", bytes: 16 },
  ] as const)("accepts $optimizer in $dtype with moments in $moments", async ({ bytes, ...setting }) => {
    const row = await measure(await benchOf({ baselines: ["loop"] }), workloadOfSize("1000"), setting);
    expect(row).toMatchObject({ ...setting, bytes: 1000 * bytes, launches: 2 });
    expect(Object.keys(row!.baselines)).toEqual(["loop"]);
  });

  test("of one tensor omits the per-tensor baseline", async () => {
    const row = await measure(await benchOf(), workloadOfSize("1000"), adamw);
    expect(Object.keys(row!.baselines).sort()).toEqual(baselines.filter((one) => one !== "per-tensor").sort());
  });

  test("refuses a requested baseline that is not available", async () => {
    const bench = await benchOf({ baselines: ["torch"] });
    const words = [
      "--baseline: expected an available baseline, got torch:",
      name === "cpu" ? "not looked for" : "emulated",
    ];
    await expectError(() => measure(bench, workloadOfSize("10"), adamw), "invalid-argument", ...words);
  });

  test("that is stopped at once returns nothing and leaves nothing behind", async () => {
    const before = (await open()).memory().tensors;
    expect(await measure(await benchOf({ shouldContinue: () => false }), workloadOfSize("10"), adamw)).toBeUndefined();
    expect(device.memory().tensors).toBe(before);
  });
});
