import { describe, expect, it } from "vitest";
import { fromArrays } from "#lib/data/index.js";
import type { Device } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { SGD } from "#lib/optim/index.js";
import { cpuDevices } from "../support/devices.js";
import {
  bitsOf,
  budget,
  type Change,
  device,
  dropping,
  endOf,
  lossesOf,
  lowPrecision,
  type Recipe,
  recordsOf,
  residual,
  runOf,
} from "./support/runs.js";

/** The losses and the final state of a whole run. */
async function whole({ make }: Recipe, on: Device, change: { seed?: number } & Change = {}) {
  const run = make(on, change);
  const losses = lossesOf(await recordsOf(run.trainer));
  await run.data.close();
  return { losses, ...(await endOf(run)) };
}

describe.each([residual, dropping, lowPrecision])("equal seeds give the same bits: $title", (recipe) => {
  it.each(cpuDevices)("in every run, and with 1, 2 and 3 threads ($label)", async ({ options }) => {
    const first = await whole(recipe, await device({ ...options, threads: 1 }));
    expect(first.losses).toHaveLength(budget);
    for (const threads of [1, 2, 3]) expect(await whole(recipe, await device({ ...options, threads }))).toEqual(first);
  });

  it("and different seeds give different losses", async () => {
    const on = await device();
    const { losses } = await whole(recipe, on);
    expect((await whole(recipe, on, { seed: 1 })).losses[0]).not.toBe(losses[0]);
    expect((await whole(recipe, on, { batches: { seed: 9 } })).losses[0]).not.toBe(losses[0]);
  });
});

it("a model's weights depend only on its seed", async () => {
  const weights = async (seed: number) => bitsOf(residual.make(await device(), { seed }).model.stateDict());
  expect(await weights(7)).toEqual(await weights(7));
  expect((await weights(7))["stem.weight"]).not.toBe((await weights(8))["stem.weight"]);
});

it("batches prefetched on another thread have the same bits as batches gathered directly", async () => {
  // 16 images of 64 × 64 bytes are the smallest batch that is gathered on another thread.
  const set = fromArrays({
    inputs: Uint8Array.from({ length: 64 * 64 * 64 }, (_, i) => (i * 7919) % 251),
    labels: Int32Array.from({ length: 64 }, (_, i) => i % 4),
    shape: [64, 64, 1],
  });
  const losses = async (prefetch: number) => {
    const on = await device();
    const model = new nn.Sequential(new nn.Flatten(), new nn.Linear(64 * 64, 4, { device: on }));
    const source = set.batches({ size: 16, prefetch, augment: { pad: 2, flip: true } });
    expect(source).toHaveProperty("offThread", prefetch > 0);
    const optimizer = new SGD(model.parameters(), { lr: 0.05 });
    const preprocessing = {
      shape: [64, 64, 1],
      dtype: "uint8",
      scale: 1 / 255,
      mean: [0.5],
      std: [0.3],
    } as const;
    const run = runOf({ model, optimizer, loss: nn.crossEntropy, data: source, budget: 10, card: { preprocessing } });
    const found = lossesOf(await recordsOf(run.trainer));
    await source.close();
    return found;
  };
  const plain = await losses(0);
  expect(new Set(plain).size).toBe(10);
  for (const prefetch of [1, 2]) expect(await losses(prefetch)).toEqual(plain);
});
