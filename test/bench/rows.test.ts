import { afterAll, describe, expect, test } from "vitest";
import { costOf } from "#lib/bench/cost.js";
import { benchGroups, copyMilliseconds, type MeasuredRow, matrixRate, relate, Stopwatch } from "#lib/bench/index.js";
import { recordsOfStep, type TrainingSubject, trainingSubjects } from "#lib/bench/training-rows.js";
import { findAddon, openDevice } from "#lib/native/index.js";

const row = (more: Partial<MeasuredRow>): MeasuredRow => {
  const time = more.milliseconds?.median ?? 1;
  return {
    group: "elements",
    name: "a row",
    contender: "stepsize",
    rounds: 3,
    ...more,
    milliseconds: { median: time, lower: time, upper: time },
  };
};
const at = (median: number) => ({ median, lower: median, upper: median });
const copies = [
  row({ group: "copy", name: "large", cost: { bytes: 3e6, flops: 0 }, milliseconds: at(5) }),
  row({ group: "copy", name: "small", cost: { bytes: 1e6, flops: 0 }, milliseconds: at(1) }),
];

describe("the time of a copy", () => {
  test.each([
    [1e6, 1],
    [3e6, 5],
    // Halfway between two sizes, half of the way between their times.
    [2e6, 3],
    // Outside of them, the rate of the nearest size.
    [0.5e6, 0.5],
    [6e6, 10],
  ])("of %d bytes", (bytes, time) => {
    expect(copyMilliseconds(copies, bytes)).toBeCloseTo(time, 12);
  });

  test("is unknown if no copy was measured", () => {
    expect(copyMilliseconds([row({ cost: { bytes: 1, flops: 0 } })], 1)).toBeUndefined();
  });
});

describe("rows of one run", () => {
  const product = row({ group: "products", name: "p", cost: { bytes: 1, flops: 4e9 }, milliseconds: at(2) });
  const rival = { ...product, contender: "PyTorch" as const, milliseconds: at(1) };

  test("memory-bound rows are compared with a copy of as many bytes", () => {
    const [, , related] = relate([...copies, row({ cost: { bytes: 2e6, flops: 0 }, milliseconds: at(6) })]);
    expect(related!.rate).toEqual({ value: 2e6 / 6 / 1e6, unit: "GB/s" });
    expect(related!.share).toBeCloseTo(0.5, 12);
    expect(related).not.toHaveProperty("torch");
  });

  test("the copies themselves have a rate and no share", () => {
    const [large] = relate(copies);
    expect(large!.rate).toEqual({ value: 3e6 / 5 / 1e6, unit: "GB/s" });
    expect(large).not.toHaveProperty("share");
  });

  test("products are compared with the fastest product of any contender", () => {
    expect(matrixRate([product])).toBe(2);
    expect(matrixRate([product, rival])).toBe(4);
    const [ours, theirs] = relate([product, rival]);
    expect(ours).toMatchObject({ rate: { value: 2, unit: "TFLOP/s" }, share: 0.5, torch: 0.5 });
    expect(theirs).toMatchObject({ rate: { value: 4, unit: "TFLOP/s" }, share: 1 });
    expect(theirs).not.toHaveProperty("torch");
  });

  test("without a limit there is no share, and PyTorch's training step takes the work of the library's", () => {
    const step = row({ group: "olmo-36m", name: "s", cost: { bytes: 1, flops: 8e9 }, milliseconds: at(4) });
    const { cost: _, ...torch } = { ...step, contender: "PyTorch" as const };
    const [ours, theirs] = relate([step, torch]);
    expect(ours).not.toHaveProperty("share");
    expect(theirs!.rate).toEqual({ value: 2, unit: "TFLOP/s" });
    expect(relate([torch])[0]).not.toHaveProperty("rate");
  });
});

describe("the groups", () => {
  const [full, small] = [benchGroups("full"), benchGroups("small")];

  test("have the same rows with full and small sizes", () => {
    const shape = (groups: typeof full) =>
      groups.map(({ name, rows }) => [name, rows.map(({ title: { group, contender } }) => [group, contender])]);
    expect(shape(small)).toEqual(shape(full));
  });

  test("have no title twice", () => {
    for (const groups of [full, small]) {
      const titles = groups.flatMap(({ rows }) => rows.map(({ title }) => Object.values(title).join("|")));
      expect(new Set(titles).size).toBe(titles.length);
    }
  });

  test("copies come first and PyTorch last", () => {
    expect(full[0]!.name).toBe("copy");
    expect(full.at(-1)!.name).toBe("PyTorch");
  });

  test("every row of PyTorch has one of the library to be compared with", () => {
    const ours = new Set(
      full.slice(0, -1).flatMap(({ rows }) => rows.map(({ title }) => `${title.group} ${title.name}`)),
    );
    for (const { title } of full.at(-1)!.rows) expect(ours).toContain(`${title.group} ${title.name}`);
  });
});

// PyTorch's rows are tested in cases.test.ts. Optimizer steps take a second each on a CPU, because of pauses, and
// steps of resnet18 several on the emulated GPU.
const others = benchGroups("small").filter(({ name }) => name !== "PyTorch");
const emulated = others.filter(({ name }) => ["copy", "optimizer", "olmo-36m"].includes(name));
const onDevices = findAddon("cuda-emulated").addon
  ? ([
      ["cpu", others.filter(({ name }) => name !== "optimizer")],
      ["cuda:emulated", emulated],
    ] as const)
  : ([["cpu", others]] as const);

describe.each(onDevices)("measured on %s", async (name, groups) => {
  const device = await openDevice(name);
  afterAll(() => device.close());

  test.each(groups.flatMap(({ rows }) => rows.map((one) => [`${one.title.group}: ${one.title.name}`, one] as const)))(
    "%s",
    async (_, { title, measure }) => {
      const before = device.memory().tensors;
      const stopwatch = new Stopwatch(device);
      const rows = await measure({ device, stopwatch, rounds: 1, shouldContinue: () => true });
      stopwatch.dispose();
      // A CPU has no products in TF32.
      if (name === "cpu" && title.name.includes("TF32")) return expect(rows).toEqual([]);
      expect(rows[0]).toMatchObject({ ...title, rounds: 1, predictedMilliseconds: expect.any(Number) });
      for (const { milliseconds, cost } of rows) {
        expect(milliseconds.median).toBeGreaterThan(0);
        expect(cost!.bytes).toBeGreaterThan(0);
      }
      // A list of tensors is also measured as a replay.
      expect(rows.length).toBe(
        title.group === "optimizer" && /tensors|10 ×/.test(title.name) && !/norm/.test(title.name) ? 2 : 1,
      );
      expect(device.memory().tensors, "tensors left behind").toBe(before);
    },
  );
});

test("a training step has the floating-point operations of its products", async () => {
  const device = await openDevice("cpu");
  const [resnet18, olmo] = trainingSubjects("full", 1);
  const flopsOf = async (subject: TrainingSubject) =>
    (await recordsOfStep(device, subject)).reduce((sum, record) => sum + costOf(record).flops, 0);
  // torchvision states 1.814 billion multiply-adds for an image of 224 × 224. Backward, every product has two
  // gradients, except that of the images in the first convolution.
  const first = 112 ** 2 * 64 * (7 * 7 * 3);
  expect(await flopsOf(resnet18!)).toBe(2 * (3 * 1_814_073_344 - first));
  // Per token: four matrices of attention and three of the feed-forward layer in 8 blocks, and the output layer; per
  // pair of tokens that is not masked: two products forward and five backward of 384 numbers.
  const matrices = 8 * (4 * 384 ** 2 + 3 * 384 * 1280) + 50_304 * 384;
  expect(await flopsOf(olmo!)).toBe(2 * 3 * 1024 * matrices + 8 * ((1024 * 1025) / 2) * 384 * 2 * (2 + 5));
  await device.close();
});

test("a measurement that is stopped before its first pass has no rows", async () => {
  const device = await openDevice("cpu");
  for (const { rows } of others) {
    const stopwatch = new Stopwatch(device);
    expect(await rows[0]!.measure({ device, stopwatch, rounds: 1, shouldContinue: () => false })).toEqual([]);
    stopwatch.dispose();
  }
  await device.close();
});
