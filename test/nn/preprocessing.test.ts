import { expect, test } from "vitest";
import { openDevice } from "#lib/native/index.js";
import { Preprocessing, type PreprocessingOptions } from "#lib/nn/index.js";
import { cast, tensor } from "#lib/tensor/index.js";
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

// Values up to 2.2 with three roundings, one of which is the factor's.
const allowed = 3;

await onEveryDevice("preprocessing", (device) => {
  const bytes = Uint8Array.from(labelsOf(2 * 60, 1, 256));

  test("normalizes bytes per channel to float32 of the same shape", async () => {
    const result = new Preprocessing(options).apply(tensor(device, bytes, [2, 4, 5, 3]));
    expect([result.shape, result.dtype]).toEqual([[2, 4, 5, 3], "float32"]);
    expectClose(await result.read(), expected(bytes, options), allowed);
  });

  test("accepts float32 too", async () => {
    const changedOptions = { ...options, dtype: "float32", scale: 2 } as const;
    const raw = numbers(60, 2);
    const result = new Preprocessing(changedOptions).apply(tensor(device, raw, [1, 4, 5, 3]));
    // Numbers below 1, doubled and divided by deviations of a quarter: up to 10.
    expectClose(await result.read(), expected(raw, changedOptions), 4 * allowed);
  });

  test("moves images in the same pass, with the bits of normalizing moved images, and rounds them to bf16", async () => {
    // Moved down and across, mirrored or not, over each edge of the image, and out of it altogether.
    const moves = [[0, 0, 0], [1, -2, 0], [-3, 1, 1], [0, 0, 1], [4, 0, 0], [-1, -5, 1]]; // biome-ignore format: a matrix
    const [height, width, channels] = options.shape as [number, number, number];
    const raw = Uint8Array.from(labelsOf(moves.length * 60, 3, 256));
    const moved = raw.map((_, i) => {
      const [image, y, x, c] = [Math.floor(i / 60), Math.floor(i / 15) % 4, Math.floor(i / 3) % 5, i % 3];
      const [down, across, mirrored] = moves[image] as [number, number, number];
      const [fromY, fromX] = [y + down, (mirrored ? width - 1 - x : x) + across];
      const inside = fromY >= 0 && fromY < height && fromX >= 0 && fromX < width;
      return inside ? raw[((image * height + fromY) * width + fromX) * channels + c]! : 0;
    });
    const preprocessing = new Preprocessing(options);
    const shape = [moves.length, ...options.shape];
    const movesOnDevice = tensor(device, Int32Array.from(moves.flat()), [moves.length, 3]);
    const plain = preprocessing.apply(tensor(device, moved, shape));
    expect(await preprocessing.apply(tensor(device, raw, shape), { moves: movesOnDevice }).read()).toEqual(
      await plain.read(),
    );
    const low = preprocessing.apply(tensor(device, raw, shape), { moves: movesOnDevice, dtype: "bfloat16" });
    expect(await low.read()).toEqual(await cast(plain, "bfloat16").read());
  });

  test("refuses inputs that do not match", async () => {
    const preprocessing = new Preprocessing(options);
    const raw = tensor(device, bytes, [2, 4, 5, 3]);
    const moves = (...shape: number[]) => tensor(device, new Int32Array(6), shape);
    await expectError(
      () => preprocessing.apply(raw, { moves: moves(3, 2) }),
      "invalid-argument",
      "shape [2,3], got [3,2]",
    );
    const flat = tensor(device, bytes, [2, 20, 3]);
    await expectError(() => preprocessing.apply(flat, { moves: moves(2, 3) }), "invalid-argument", "must have 4 axes");
    await expectError(
      () => preprocessing.apply(tensor(device, bytes, [2, 3, 4, 5])),
      "invalid-argument",
      "shape [5], got [3]",
    );
  });

  test("does not divide a constant channel by its deviation of 0", async () => {
    const changedOptions = { ...options, std: [0.25, 0, 0.26] };
    const result = new Preprocessing(changedOptions).apply(tensor(device, bytes, [2, 4, 5, 3]));
    expectClose(await result.read(), expected(bytes, changedOptions), allowed);
  });

  test("keeps the raw batch and allocates nothing else from the second call on", () => {
    const preprocessing = new Preprocessing(options);
    const raw = tensor(device, bytes, [2, 4, 5, 3]);
    preprocessing.apply(raw).dispose();
    const { tensors } = device.memory();
    for (let i = 0; i < 5; i++) preprocessing.apply(raw).dispose();
    expect(device.memory().tensors).toBe(tensors);
    expect(raw.disposed).toBe(false);
  });

  test("can be restored from its JSON", async () => {
    const restored = new Preprocessing(JSON.parse(JSON.stringify(new Preprocessing(options))));
    expect(restored.options).toEqual(options);
  });

  test("refuses a mean or deviation without one number per channel", async () => {
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

test("preprocessing works on several devices in turn", async () => {
  const preprocessing = new Preprocessing(options);
  const bytes = new Uint8Array(60).fill(100);
  const both = await Promise.all([open(devices[0]!), openDevice("cpu")]);
  for (const device of [...both, ...both]) {
    const result = preprocessing.apply(tensor(device, bytes, [1, 4, 5, 3]));
    expectClose(await result.read(), expected(bytes, options), allowed);
  }
  await Promise.all(both.map((device) => device.close()));
});
