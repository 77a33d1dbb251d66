import { describe, expect, it } from "vitest";
import * as models from "#lib/models/index.js";
import type { Device } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { AdamW } from "#lib/optim/index.js";
import * as t from "#lib/tensor/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { library, run } from "./support/children.js";
import {
  card,
  device,
  dropping,
  endOf,
  images,
  lossesOf,
  lowPrecision,
  plainMLP,
  recordsOf,
  residual,
  runOf,
} from "./support/runs.js";

const folder = temporaryFolders();

it.each([residual, dropping, lowPrecision])(
  "memory is constant after every step from the second on: $title",
  async ({ make }) => {
    const on = await device();
    const { trainer } = make(on);
    const held: string[] = [];
    for await (const { step } of trainer.run()) {
      const { allocated, tensors } = on.memory();
      if (step >= 2) held.push(`${allocated} bytes in ${tensors} tensors`);
    }
    expect(held.length).toBeGreaterThan(8);
    expect(new Set(held).size).toBe(1);
  },
);

it("memory is constant in a custom loop with backward, step and zeroGrad", async () => {
  const on = await device();
  const model = plainMLP(on);
  const optimizer = new AdamW(model.parameters(), { lr: 0.01 });
  const [x, y] = [t.zeros(on, [8, 12, 12, 1]), t.tensor(on, Int32Array.of(0, 1, 2, 3, 0, 1, 2, 3))];
  const held: number[] = [];
  for (let step = 0; step < 6; step++) {
    const loss = nn.crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    await loss.item();
    loss.dispose();
    if (step >= 1) held.push(on.memory().allocated);
  }
  expect(new Set(held).size).toBe(1);
});

it("resident memory is constant between step 50 and step 500", async () => {
  // The limit is 4 MiB in 450 steps, so 9 KiB that stay per step would exceed it. V8's background work would hide this:
  // its compiler takes 5 to 20 MiB until about step 1000, and its young generation may grow to 48 MiB. The flags below
  // turn off the compiler and keep the young generation small. The run then takes half a MiB in all.
  const result = (await run(
    folder(),
    `import { data, models, nn, openDevice, AdamW, Trainer } from ${library};
    const device = await openDevice("cpu");
    const model = models.resnet({ depth: 8, width: 4, channels: 1, classes: 4, device });
    const set = data.fromArrays({
      inputs: Uint8Array.from({ length: 128 * 400 }, (_, i) => (i * 7919) % 251),
      labels: Int32Array.from({ length: 128 }, (_, i) => i % 4),
      shape: [20, 20, 1],
    });
    const optimizer = new AdamW(model.parameters(), { lr: 1e-3, clipNorm: 1 });
    const preprocessing = { shape: [20, 20, 1], dtype: "uint8", scale: 1 / 255, mean: [0.5], std: [0.5] };
    const batches = set.batches({ size: 32 });
    const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: batches, budget: 501, card: { preprocessing } });
    const at = {};
    for await (const { step } of trainer.run()) {
      if (step !== 50 && step !== 500) continue;
      gc();
      const { rss, heapUsed } = process.memoryUsage();
      at[step] = { rss, heapUsed, ...device.memory() };
    }
    console.log(JSON.stringify(at));
    await batches.close();`,
    { flags: ["--max-semi-space-size=1", "--no-opt", "--no-maglev", "--single-threaded"] },
  )) as Record<string, { rss: number; heapUsed: number; allocated: number; cached: number; tensors: number }>;
  const [early, late] = [result["50"]!, result["500"]!];
  expect(late.allocated).toBe(early.allocated);
  expect(late.tensors).toBe(early.tensors);
  expect(late.cached).toBe(early.cached);
  expect((late.rss - early.rss) / 2 ** 20).toBeLessThan(4);
  expect((late.heapUsed - early.heapUsed) / 2 ** 20).toBeLessThan(2);
});

it("memory is bounded in a loop that never disposes but awaits one read per step", async () => {
  const { peak, rss, made } = (await run(
    folder(),
    `import { openDevice, ops } from ${library};
    const device = await openDevice("cpu");
    const x = ops.ones(device, [64, 1024]);
    let peak = 0;
    let made = 0;
    for (let step = 0; step < 3000; step++) {
      // Four tensors of 256 KiB and the mean.
      await ops.mean(x.add(step).relu().multiply(2).square()).item();
      made += 4 * x.size * 4;
      peak = Math.max(peak, device.memory().allocated);
    }
    console.log(JSON.stringify({ peak, made, rss: process.memoryUsage().rss }));`,
  )) as { peak: number; rss: number; made: number };
  expect(made).toBeGreaterThan(3e9);
  expect(peak).toBeLessThan(4e8);
  expect(rss).toBeLessThan(6e8);
});

describe("at the memory limit", () => {
  it("an error names tidy, dispose, the limit and the largest holders", async () => {
    const on = await device({ memoryLimit: 8e6 });
    const held = [t.zeros(on, [7, 200_000]), t.zeros(on, [300]), t.zeros(on, [300])];
    const words = [
      "tidy",
      "dispose",
      "memoryLimit is 8.0 MB",
      "Largest holders: 1 × tensor [7,200000]",
      "2 × tensor [300]",
    ];
    await expectError(() => t.zeros(on, [1000, 1000]), "out-of-memory", "float32[1000,1000]", ...words);
    held[0]?.dispose();
    expect(t.zeros(on, [1000, 1000]).size).toBe(1e6);
  });

  it.each([
    { when: "in its first step", before: 0 },
    { when: "later", before: 3 },
  ])(
    "a step that fails $when, at any allocation, changes nothing, and training continues with the same bits",
    async ({ before }) => {
      // Small batches and large layers, so that memory also runs out in the update, when AdamW's moments are allocated.
      const make = (on: Device) => {
        const model = models.mlp({ inputs: 144, hidden: [64], classes: 4, device: on });
        const optimizer = new AdamW(model.parameters(), { lr: 0.01, clipNorm: 0.1 });
        return runOf({
          model,
          optimizer,
          loss: nn.crossEntropy,
          data: images.batches({ size: 16 }),
          budget: 6,
          card,
        });
      };
      const [quiet, tight] = [await device(), await device({ memoryLimit: 300_000 })];
      const undisturbed = make(quiet);
      const losses = lossesOf(await recordsOf(undisturbed.trainer));

      const run = make(tight);
      const first: number[] = [];
      for await (const { loss } of run.trainer.run({ until: before })) first.push(loss);
      expect(run.trainer.step).toBe(before);
      // A little more memory is available each time, so that the step fails at one allocation after the other.
      const { allocated } = tight.memory();
      let failures = 0;
      for (let left = 0; left < 300_000 && run.trainer.step === before; left += 1024) {
        const held: t.Tensor[] = [];
        // Fills the memory until only `left` remains or the remaining memory is in smaller blocks.
        const holdMore = () => {
          try {
            return held.push(t.zeros(tight, [128]));
          } catch {
            return 0;
          }
        };
        while (tight.memory().allocated + left < 300_000 - 512 && holdMore() > 0);
        const error = await recordsOf(run.trainer).then(
          () => undefined,
          (thrown: Error) => thrown,
        );
        for (const one of held) one.dispose();
        if (run.trainer.step > before) break;
        expect(error).toMatchObject({ code: "out-of-memory" });
        expect(run.model.parameters().every(({ grad }) => grad === undefined)).toBe(true);
        // The moments are allocated in the first step and stay. Nothing else stays.
        if (before > 0) expect(tight.memory().allocated).toBeLessThanOrEqual(allocated);
        failures++;
      }
      expect(failures).toBeGreaterThan(20);
      expect(run.trainer.step).toBeGreaterThan(before);
      // The attempt that had enough memory continued from the restored state. The remaining steps follow now.
      await recordsOf(run.trainer);
      expect(await endOf(run)).toEqual(await endOf(undisturbed));
      expect(first).toEqual(losses.slice(0, before));
      expect(tight.memory().allocated).toBe(quiet.memory().allocated);
    },
  );
});
