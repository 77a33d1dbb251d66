// Memory is released once it is no longer used, and reused. If none is left, the error message says what to do.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as t from "#lib/tensor/index.js";
import { devices, onEveryDevice, open } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { calls } from "./support/cases.js";

await onEveryDevice("memory of tensors", (device) => {
  const usage = () => {
    const { allocated, tensors } = device.memory();
    return { allocated, tensors };
  };

  it.each(calls)("returns to its initial amount after forward, backward and dispose: %s", (_, arbitrary) => {
    for (const call of fc.sample(arbitrary, { numRuns: 5, seed: 1 })) {
      const before = usage();
      const inputs = call.inputs.map(({ data, shape }) =>
        t.tensor(device, data, shape, { dtype: "float32", requiresGrad: true }),
      );
      // tidy, because running statistics and labels are created inside.
      t.tidy(() =>
        call
          .compute(...inputs)
          .sum()
          .backward(),
      );
      expect(device.memory().tensors, call.title).toBe(before.tensors + 2 * inputs.length);
      for (const input of inputs) {
        input.grad?.dispose();
        input.dispose();
      }
      expect(usage(), call.title).toEqual(before);
    }
  });

  it("returns to its initial amount after a forward pass without a gradient", () => {
    const x = t.tensor(device, [[1, 2], [3, 4]]); // biome-ignore format: a matrix
    const before = usage();
    // Log-probabilities, indices and statistics are kept only for a gradient.
    const loss = t.crossEntropy(x, t.tensor(device, Int32Array.of(0, 1)));
    const pooled = t.maxPool2d(x.reshape([1, 2, 2, 1]), { size: 2 });
    // The loss keeps its weight, which is two numbers.
    expect(device.memory().tensors).toBe(before.tensors + 5);
    loss.dispose();
    pooled.dispose();
  });

  it("of a cross-entropy is one number per row, not per class", () => {
    const logits = t.zeros(device, [64, 1000]);
    logits.requiresGrad = true;
    const labels = t.zeros(device, [64], "int32");
    const before = usage();
    const loss = t.crossEntropy(logits, labels);
    expect(device.memory().allocated - before.allocated).toBeLessThan(1000);
    loss.backward();
    loss.dispose();
    for (const one of [logits, labels]) one.dispose();
    logits.grad?.dispose();
  });

  it("is held until the last view is disposed of", () => {
    const x = t.zeros(device, [1000]);
    const before = usage();
    const view = x.reshape([10, 100]).detach();
    expect(device.memory().allocated).toBe(before.allocated);
    x.dispose();
    expect(device.memory().allocated).toBe(before.allocated);
    view.dispose();
  });

  it("is returned to the system by trim", () => {
    t.zeros(device, [100_000]).dispose();
    expect(device.memory().cached).toBeGreaterThanOrEqual(400_000);
    device.trim();
    expect(device.memory().cached).toBe(0);
  });
});

describe.each(devices)("a memory limit ($label)", (under) => {
  it("throws with the largest users of memory and advice, and the device stays usable", async () => {
    const device = await open(under, { memoryLimit: 1_000_000 });
    const small = Array.from({ length: 3 }, () => t.zeros(device, [10_000]));
    const large = t.zeros(device, [200, 1000]);
    await expectError(
      () => t.ones(device, [100_000]),
      "out-of-memory",
      "0.4 MB for float32[100000] do not fit",
      " MB are held, 0.0 MB cached in pieces that are too small, ",
      " MB free on the device and the device's memoryLimit is 1.0 MB",
      "tidy(() => ...)",
      // Memory is allocated in blocks of fixed sizes, which are up to an eighth larger than their contents.
      "1 × tensor [200,1000] (0.9 MB); 3 × tensor [10000] (0.1 MB)",
    );
    expect(device.memory().limit).toBe(1_000_000);
    large.dispose();
    // The block is cached for tensors of its size, and released for a tensor of another size.
    expect(await t.ones(device, [150_000]).sum().item()).toBe(150_000);
    for (const tensor of small) tensor.dispose();
    await device.close();
  });

  it("applies to the result of an operation, which then leaves nothing behind", async () => {
    const device = await open(under, { memoryLimit: 1_000_000 });
    const x = t.ones(device, [300, 1]);
    const product = () => x.matmul(x, { transposeB: true });
    const held = [product(), product()];
    const { allocated, tensors } = device.memory();
    await expectError(product, "out-of-memory", "matmul: 0.4 MB for float32[300,300]", "2 × matmul [300,300] (0.7 MB)");
    expect(device.memory()).toMatchObject({ allocated, tensors });
    held[0]!.dispose();
    expect(await product().sum().item()).toBe(90_000);
    await device.close();
  });
});

describe.each(devices)("memory blocks ($label)", (under) => {
  const megabyte = 2 ** 18; // elements

  it("are split for smaller tensors, and joined after those are disposed of", async () => {
    const device = await open(under);
    t.zeros(device, [8 * megabyte]).dispose();
    const [{ cached, peak }] = [device.memory()];
    const parts = [3, 2, 1, 2].map((size) => t.full(device, [size * megabyte], size));
    expect(device.memory()).toMatchObject({ allocated: cached, cached: 0, peak });
    // Each tensor has a separate part.
    for (const [i, size] of [3, 2, 1, 2].entries()) expect(new Set(await parts[i]!.read())).toEqual(new Set([size]));
    // Freed from the middle, the end and the front. Adjacent free parts are joined into one block.
    for (const i of [1, 2, 3, 0]) parts[i]!.dispose();
    t.zeros(device, [8 * megabyte]).dispose();
    expect(device.memory()).toMatchObject({ allocated: 0, cached, peak });
    device.trim();
    expect(device.memory().cached).toBe(0);
    await device.close();
  });

  it("stay if they are partly in use when the rest is trimmed", async () => {
    const device = await open(under);
    t.zeros(device, [8 * megabyte]).dispose();
    const kept = t.full(device, [megabyte], 7);
    const { allocated, cached } = device.memory();
    expect(cached).toBeGreaterThan(0);
    device.trim();
    expect(device.memory()).toMatchObject({ allocated, cached });
    expect(new Set(await kept.read())).toEqual(new Set([7]));
    kept.dispose();
    device.trim();
    expect(device.memory()).toMatchObject({ allocated: 0, cached: 0 });
    await device.close();
  });

  it("of a large tensor are given to a small one only if there is no other", async () => {
    const device = await open(under, { memoryLimit: 8 * 4 * megabyte });
    t.zeros(device, [7 * megabyte]).dispose();
    const large = device.memory().cached;
    const small = t.full(device, [16], 1);
    expect(device.memory()).toMatchObject({ cached: large, allocated: 64 });
    small.dispose();
    device.trim();
    // Half of a segment is in use, so it cannot be released, and the limit allows no other.
    t.zeros(device, [8 * megabyte]).dispose();
    const half = t.zeros(device, [4 * megabyte]);
    const other = t.full(device, [16], 1);
    expect(device.memory()).toMatchObject({ allocated: 4 * 4 * megabyte + 64, cached: 4 * 4 * megabyte - 64 });
    for (const one of [half, other]) one.dispose();
    await device.close();
  });

  it("take at most twice the largest step if sizes differ from step to step", async () => {
    const device = await open(under);
    const step = (length: number) =>
      t.tidy(() => {
        let x = t.ones(device, [length, 64]);
        for (let i = 0; i < 10; i++) x = x.square();
        return void x;
      });
    step(1024);
    const { peak } = device.memory();
    for (let length = 1000; length > 100; length -= 37) step(length);
    expect(device.memory().peak).toBeLessThan(2 * peak);
    await device.close();
  });
});

it.each(devices)("the next step gets the same blocks ($label)", async (under) => {
  // A separate device is opened because on a shared one the collector may free tensors of earlier tests during any
  // wait.
  const device = await open(under);
  const w = t.ones(device, [2, 2]);
  w.requiresGrad = true;
  const step = async () => {
    const loss = t.tidy(() => {
      const result = t.ones(device, [500, 2]).matmul(w).relu().square().mean();
      result.backward();
      return result;
    });
    await loss.item();
    loss.dispose();
  };
  await step();
  await step();
  const afterTwo = device.memory();
  for (let i = 0; i < 20; i++) await step();
  expect(device.memory()).toEqual(afterTwo);
  await device.close();
});
