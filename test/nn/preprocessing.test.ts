import { expect, test } from "vitest";
import { openDevice } from "#lib/native/index.js";
import { Preprocessing, type PreprocessingOptions } from "#lib/nn/index.js";
import { tensor } from "#lib/tensor/index.js";
import { expectClose } from "../support/compare.js";
import { devices, onEveryDevice, open } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { labelsOf, numbers } from "../support/numbers.js";

const options: PreprocessingOptions = {
  shape: [4, 5, 3],
  dtype: "uint8",
  scale: 1 / 255,
  mean: [0.49, 0.48, 0.44],
  std: [0.25, 0.24, 0.26],
};

/** (x·scale − mean)/deviation per channel, in float64. */
function expected(raw: ArrayLike<number>, { scale, mean, std }: PreprocessingOptions): Float64Array {
  return Float64Array.from(raw, (value, i) => (value * scale - mean[i % 3]!) / (std[i % 3] || 1));
}

// Values up to 2.2: three roundings, of which one is of the factor.
const allowed = 3;

await onEveryDevice("preprocessing", (device) => {
  const bytes = Uint8Array.from(labelsOf(2 * 60, 1, 256));

  test("normalises bytes per channel, to float32 of the same shape", async () => {
    const result = new Preprocessing(options).apply(tensor(device, bytes, [2, 4, 5, 3]));
    expect([result.shape, result.dtype]).toEqual([[2, 4, 5, 3], "float32"]);
    expectClose(await result.read(), expected(bytes, options), allowed);
  });

  test("takes float32 as well", async () => {
    const own = { ...options, dtype: "float32", scale: 2 } as const;
    const raw = numbers(60, 2);
    const result = new Preprocessing(own).apply(tensor(device, raw, [1, 4, 5, 3]));
    // Twice numbers below 1, over deviations of a quarter: up to 10.
    expectClose(await result.read(), expected(raw, own), 4 * allowed);
  });

  test("a channel that never changes is not divided by its deviation of 0", async () => {
    const own = { ...options, std: [0.25, 0, 0.26] };
    const result = new Preprocessing(own).apply(tensor(device, bytes, [2, 4, 5, 3]));
    expectClose(await result.read(), expected(bytes, own), allowed);
  });

  test("the raw batch stays, and nothing else does from the second call on", () => {
    const preprocessing = new Preprocessing(options);
    const raw = tensor(device, bytes, [2, 4, 5, 3]);
    preprocessing.apply(raw).dispose();
    const { tensors } = device.memory();
    for (let i = 0; i < 5; i++) preprocessing.apply(raw).dispose();
    expect(device.memory().tensors).toBe(tensors);
    expect(raw.disposed).toBe(false);
  });

  test("its JSON makes the same one again", async () => {
    const restored = new Preprocessing(JSON.parse(JSON.stringify(new Preprocessing(options))));
    expect(restored.options).toEqual(options);
  });

  test("a mean or deviation that is not one per channel is refused", async () => {
    await expectError(
      () => new Preprocessing({ ...options, mean: [0.5] }),
      "invalid-argument",
      "preprocessing.mean",
      "3",
    );
    const deviation = [1, 1, 1, 1];
    await expectError(() => new Preprocessing({ ...options, std: deviation }), "invalid-argument", "preprocessing.std");
    const { std: _, ...without } = options;
    await expectError(
      () => new Preprocessing(without as PreprocessingOptions),
      "invalid-argument",
      "preprocessing.std",
    );
  });
});

test("one object serves several devices in turn", async () => {
  const preprocessing = new Preprocessing(options);
  const bytes = new Uint8Array(60).fill(100);
  const both = await Promise.all([open(devices[0]!), openDevice("cpu")]);
  for (const device of [...both, ...both]) {
    const result = preprocessing.apply(tensor(device, bytes, [1, 4, 5, 3]));
    expectClose(await result.read(), expected(bytes, options), allowed);
  }
  await Promise.all(both.map((device) => device.close()));
});
