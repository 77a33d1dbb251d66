// The operations of the benchmark: they are valid calls, in the library and in PyTorch, and their work is counted
// right.
import { afterAll, describe, expect, it } from "vitest";
import { costOf, type EnqueuedRecord } from "#lib/bench/cost.js";
import { findTorch, TorchPeer } from "#lib/bench/index.js";
import { operationCases } from "#lib/bench/operation-cases.js";
import { createInputs } from "#lib/bench/operation-rows.js";
import { efficiencies, predictedMilliseconds } from "#lib/bench/predictions.js";
import { observeRecords } from "#lib/bench/subjects.js";
import { type Device, openDevice } from "#lib/native/index.js";
import { execute } from "#lib/tensor/index.js";
import { cudaDevices, devices, onEveryDevice } from "../support/devices.js";

const cases = operationCases("small");
const full = operationCases("full");

await onEveryDevice(
  "the cases",
  (plain) => {
    let rounding: Device | undefined;
    afterAll(() => rounding?.close());
    const possible = cases.filter(({ float32Products }) => float32Products === undefined || plain.name !== "cpu");
    it.each(possible)("$name: a valid call of $operation, whose tensors have the counted work", async (one) => {
      if (one.float32Products) rounding ??= await openDevice(plain.name, { float32Products: one.float32Products });
      const device = one.float32Products && rounding ? rounding : plain;
      const inputs = createInputs(device, one.inputs);
      const records: EnqueuedRecord[] = [];
      const stop = observeRecords(device, (record) => records.push(record));
      const results = execute(one.operation, inputs, one.attributes);
      stop();
      for (const result of results) expect((await result.read()).length).toBe(result.size);
      // Counted from the shapes that the shape rule gave, and by the case itself.
      const { family, bytes, flops } = one;
      expect(records.map(costOf)).toEqual([{ family, bytes, flops }]);
      for (const each of [...inputs, ...results]) each.dispose();
    });
  },
  [...devices.filter(({ name }) => name === "cpu").slice(-1), ...cudaDevices],
);

it("the cases have the same operations with small and full sizes, and no name twice", () => {
  expect(full.map(({ operation, group, family }) => [operation, group, family])).toEqual(
    cases.map(({ operation, group, family }) => [operation, group, family]),
  );
  for (const all of [full, cases]) expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
  for (const { name, bytes, flops } of full)
    expect([name, Number.isSafeInteger(bytes), Number.isSafeInteger(flops)]).toEqual([name, true, true]);
});

describe("the work of a case in full size", () => {
  const half = 2;
  // The formulas are those of textbooks: a product of m × k and k × n numbers has 2·m·n·k operations, a convolution the
  // same for every output number, with k = kernel height × kernel width × channels.
  it.each([
    ["matmul 4096³", 3 * 4096 ** 2 * half, 2 * 4096 ** 3],
    ["matmul 4096³, float32", 3 * 4096 ** 2 * 4, 2 * 4096 ** 3],
    ["matmul 4096³, TF32", 3 * 4096 ** 2 * 4, 2 * 4096 ** 3],
    [
      "output layer 16384 × 384 × 50257, gradient of the weights",
      (16384 * 50257 + 16384 * 384 + 50257 * 384) * half,
      2 * 16384 * 384 * 50257,
    ],
    [
      "stem 7 × 7, 3 channels, stride 2",
      512 * (224 ** 2 * 3 + 112 ** 2 * 64) * half + 64 * 49 * 3 * half,
      2 * (512 * 112 ** 2 * 64) * (49 * 3),
    ],
    [
      "conv2d 3 × 3, 64 to 128 channels, stride 2, gradient of the images",
      512 * (56 ** 2 * 64 + 28 ** 2 * 128) * half + 128 * 9 * 64 * half,
      2 * (512 * 28 ** 2 * 128) * (9 * 64),
    ],
    // Query i sees i + 1 keys; two products of 64 numbers each.
    [
      "attention, 6 heads of 64",
      4 * (16 * 1024 * 6 * 64) * half + 2 * (16 * 6 * 1024) * 4,
      16 * 6 * ((1024 * 1025) / 2) * (2 * 2 * 64),
    ],
    [
      "attention, 8 heads of 128, gradient",
      8 * (16 * 1024 * 8 * 128) * half + 2 * (16 * 8 * 1024) * 4,
      16 * 8 * ((1024 * 1025) / 2) * (5 * 2 * 128),
    ],
    ["cross-entropy, 16384 × 50257", 16384 * 50257 * half + 4 * 16384 * 4 + 3 * 4, 0],
    ["RMSNorm, 16384 × 384, gradient", 3 * (16384 * 384) * half + 16384 * 4 + 2 * 384 * half, 0],
    ["batch norm, 512 × 56 × 56 × 64", 3 * (512 * 56 ** 2 * 64) * half + 2 * 64 * half + 6 * 64 * 4, 0],
    ["max pooling, 512 × 112 × 112 × 64", 512 * 64 * (112 ** 2 * half + 56 ** 2 * (half + 4)), 0],
    ["embedding, text ids", 16384 * 4 + 2 * 16384 * 384 * half, 0],
    ["embedding, text ids, gradient", 16384 * 4 + 16384 * 384 * half + 50304 * 384 * half, 0],
    ["add", 3 * 2 ** 26 * half, 0],
  ])("%s", (name, bytes, flops) => {
    expect(full.find((one) => one.name === name)).toMatchObject({ bytes, flops });
  });
});

describe("predictions for an H200", () => {
  it("follow from the larger of two times", () => {
    // A copy moves 4.3 TB/s.
    expect(predictedMilliseconds({ family: "copy", bytes: 4.3e9, flops: 0 })).toBeCloseTo(1.002, 9);
    // cuBLAS's rate is 790 TFLOP/s, of which a family reaches a part.
    const { matrix } = efficiencies.product;
    expect(predictedMilliseconds({ family: "product", bytes: 1, flops: 790e9 * matrix })).toBeCloseTo(1.002, 9);
    const { copy } = efficiencies.attention;
    expect(predictedMilliseconds({ family: "attention", bytes: 4.3e9 * copy, flops: 1 })).toBeCloseTo(1.002, 9);
  });

  it("use efficiencies from 0 to 1", () => {
    for (const [family, { copy, matrix }] of Object.entries(efficiencies))
      for (const share of [copy, matrix]) {
        expect(share, family).toBeGreaterThan(0);
        expect(share, family).toBeLessThanOrEqual(1);
      }
  });
});

const found = findTorch();
const problem = "problem" in found ? ` (skipped: ${found.problem})` : "";
describe.skipIf(problem !== "")(`PyTorch${problem}`, () => {
  const peer = TorchPeer.start(1, found);
  afterAll(() => peer?.close());

  it.each(cases.filter(({ torch }) => torch))(
    "knows $torch: $name",
    async ({ torch, inputs, attributes, float32Products }) => {
      const question = JSON.stringify({ operation: torch, device: "cpu", inputs, attributes, float32Products });
      expect(await peer!.ask(question, 1)).toMatchObject({ milliseconds: expect.any(Number) });
    },
  );
});
