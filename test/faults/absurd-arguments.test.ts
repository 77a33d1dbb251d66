// Arguments that would need unbounded time, memory or stack are refused at once. An argument that is not refused hangs
// or ends the process.
import { afterAll, describe, expect, test } from "vitest";
import { requestedStudy } from "#lib/cli/commands/compare-config.js";
import { readPnm } from "#lib/cli/commands/pnm.js";
import { parseIndices } from "#lib/cli/commands/predict-images.js";
import { data, models, nn, openDevice, ops, SGD, schedule, Trainer, tensor, theory, tidy } from "#lib/index.js";
import { expectError } from "../support/errors.js";

const device = await openDevice("cpu");
afterAll(() => device.close());

/** An array that contains itself. */
const cyclic: unknown[] = [];
cyclic.push(cyclic);
/** Arrays nested deeper than the stack allows. */
const deep = Array.from({ length: 100_000 }).reduce<unknown>((inside) => [inside], 1);
/** 1000⁶ numbers in seven arrays. */
const shared = Array.from({ length: 5 }).reduce<unknown>((row) => Array(1000).fill(row), Array(1000).fill(1));
/** An empty array of the maximum length. */
const empty = new Array(2 ** 32 - 1) as never[];

const small = { vocabulary: 9, context: 4, width: 8, layers: 1, heads: 2, hidden: 8, device };
const mlp = models.mlp({ inputs: 2, hidden: [3], classes: 2, device });
const set = data.fromArrays({
  inputs: [
    [1, 2],
    [3, 4],
  ],
  labels: [0, 1],
});
const batches = set.batches({ size: 1 });
const training = { model: mlp, loss: nn.crossEntropy, data: batches, budget: 3 };
const sgd = () => new SGD(mlp.parameters(), { lr: 0.1 });

describe("arrays", () => {
  test.each<[string, unknown]>([
    ["that contain themselves", cyclic],
    ["100,000 deep", deep],
    ["of 10^18 numbers that share their rows", shared],
    ["of 2^32 − 1 empty slots", empty],
    ["with a row of 2^32 − 1 empty slots", [empty]],
  ])("%s are refused as a tensor and as a dataset", async (_, value) => {
    await expectError(() => tensor(device, value as number[]), "invalid-argument", "data");
    await expectError(() => data.fromArrays({ inputs: value as never, labels: [0] }), "invalid-argument", "inputs");
    await expectError(() => data.fromArrays({ inputs: [[1]], labels: value as never }), "invalid-argument", "labels");
  });

  test.each<[string, () => unknown]>([
    ["a shape", () => ops.zeros(device, empty)],
    ["the shape of a tensor of data", () => tensor(device, [1], empty)],
    ["a shape to reshape to", () => ops.reshape(tensor(device, [1]), empty)],
    ["names of classes", () => data.fromArrays({ inputs: [[1]], labels: [0], classes: empty })],
    ["indices", () => set.subset(empty)],
    ["hidden layers", () => models.mlp({ inputs: 2, hidden: empty, classes: 2, device })],
    ["phases", () => schedule.uba({ budget: 9, maxLr: 1, phases: empty })],
    ["milestones", () => schedule.step({ budget: 9, maxLr: 1, milestones: empty })],
    ["schedules", () => schedule.joinSchedules(empty)],
    ["parameters", () => new SGD(empty, { lr: 0.1 })],
    [
      "steps",
      () => new Trainer({ ...training, optimizer: sgd() }).run({ evaluateEvery: { steps: empty, data: batches } }),
    ],
  ])("of 2^32 − 1 empty slots are refused as %s", async (_, call) => {
    await expectError(call, "invalid-argument");
  });

  test("an operation checks the number of lists before it reads them", async () => {
    const one = tensor(device, [1]).handle;
    for (let operation = 0; operation < 200; operation++)
      for (const tensors of [[], [one], [one, one], empty])
        await expectError(() => device.native.enqueue(operation, tensors, {}, empty), "invalid-argument");
    await expectError(() => device.native.overlap(empty, 0), "invalid-argument", "lists[0]");
    await expectError(() => device.native.list().set(empty), "invalid-argument", "tensors[0]");
  });

  test("tidy accepts a value that contains itself, and one longer than the stack", () => {
    const long = Array(300_000).fill(0) as unknown[];
    expect(tidy(() => long)).toBe(long);
    expect(tidy(() => cyclic)).toBe(cyclic);
  });
});

test.each<[string, () => unknown]>([
  ["layers of a decoder", () => models.olmo({ ...small, layers: 1e9 })],
  ["a width", () => models.olmo({ ...small, width: 2e14, heads: 1e14 })],
  ["a vocabulary", () => models.olmo({ ...small, vocabulary: 1e15 })],
  ["a hidden size", () => models.mlp({ inputs: 2, hidden: [1e12], classes: 2, device })],
  ["many hidden layers", () => models.mlp({ inputs: 2, hidden: Array(5000).fill(2), classes: 2, device })],
  ["a depth", () => models.resnet({ depth: 6e9 + 2, classes: 2, device })],
  ["a size of batches", () => set.batches({ size: 1e15 })],
  ["batches read ahead", () => set.batches({ size: 1, prefetch: 1e9 })],
  ["batches of a step", () => new Trainer({ ...training, optimizer: sgd(), accumulate: 1e15 })],
  ["pixels around an image", () => set.batches({ size: 1, augment: { pad: 1e15 } })],
  ["classes", () => data.idx("/none", { classes: 1e9 })],
  ["threads", () => openDevice("cpu", { threads: 1e9 })],
  ["steps of the best descent", () => theory.minimax({ curvature: [0.1, 1], budget: 1e9, maxLr: 1 })],
])("an absurd value is refused: %s", async (_, call) => {
  await expectError(call, "invalid-argument");
});

test.each<[string, () => unknown]>([
  ["of a schedule", () => schedule.tabulate(schedule.cosine({ budget: 1e15, maxLr: 1 }))],
  ["of a worst case", () => theory.worstCase({ length: 1e15 } as never, [0.1, 1])],
])("rates of 10^15 steps %s throw an out-of-memory error", async (_, call) => {
  await expectError(call, "out-of-memory");
});

describe("a study", () => {
  const given = { schedules: ["uba", "cosine"] };
  test.each<[string, object, string]>([
    ["budgets of quadratics", { kind: "quadratics", budgets: [1e9] }, "budgets"],
    ["budgets", { ...given, budgets: [1e9] }, "budgets"],
    ["steps", { ...given, steps: 1e15 }, "steps"],
    ["evaluations", { ...given, evaluations: 1e9 }, "evaluations"],
    ["seeds", { ...given, finalSeeds: Array.from({ length: 100_000 }, (_, i) => i) }, "final-seeds"],
    [
      "runs",
      {
        ...given,
        finalSeeds: Array.from({ length: 1000 }, (_, i) => i + 1),
        budgets: Array.from({ length: 200 }, (_, i) => (i + 1) / 200),
      },
      "runs",
    ],
  ])("with too many %s is refused", async (_, settings, word) => {
    await expectError(() => requestedStudy({}, settings as never), "invalid-argument", word);
  });
});

test("images of 65535² pixels in an almost empty file are refused before memory is allocated", () => {
  for (const kind of ["P2", "P3", "P5", "P6"])
    for (const maxValue of [255, 65_535])
      expect(() => readPnm("a.pnm", Buffer.from(`${kind} 65535 65535 ${maxValue}\n1 `))).toThrow(
        /byte \d+: expected \d+/,
      );
});

test("more than a million indices are refused, in one range or in several", () => {
  expect(parseIndices("0-9,0-9")).toHaveLength(20);
  expect(parseIndices("0-199999")).toHaveLength(200_000);
  for (const text of ["0-99999999", Array(3).fill("0-400000").join()])
    expect(() => parseIndices(text)).toThrow("--index: expected numbers from 0");
});
