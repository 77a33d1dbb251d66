// A short training that includes every kind of allocation by the addon: steps, a captured step, reads, writing and
// reading a checkpoint, and a label that is not a class. failing-run.ts runs it with failing allocations.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { fromArrays } from "#lib/data/index.js";
import { StepsizeError } from "#lib/errors.js";
import { openDevice } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { AdamW } from "#lib/optim/index.js";
import { PhiloxStream } from "#lib/random.js";
import * as schedule from "#lib/schedule/index.js";
import { tensor } from "#lib/tensor/index.js";
import { Trainer } from "#lib/train/index.js";
import type { ModelCard } from "#lib/weights/index.js";

const side = 8;
const items = 12;
const card: ModelCard = {
  preprocessing: { shape: [side, side, 1], dtype: "uint8", scale: 1 / 255, mean: [0.5], std: [0.25] },
};
const noise = new PhiloxStream(4, 0);
const images = fromArrays({
  inputs: Uint8Array.from({ length: items * side * side }, () => noise.uint32() % 256),
  labels: Int32Array.from({ length: items }, (_, i) => i % 3),
  shape: [side, side, 1],
  name: "noise",
});

/**
 * Trains, and returns all weights and the optimizer state as one string. Errors are thrown after the device is closed.
 */
export async function shortTraining(folder: string, name: string): Promise<string> {
  const device = await (name === "cpu" ? openDevice(name, { threads: 2 }) : openDevice(name));
  const path = join(folder, "short.safetensors");
  const make = (seed: number) => {
    const place = { device, seeds: new nn.Seeds(seed) };
    const model = new nn.Sequential(
      new nn.Conv2d(1, 2, { ...place, kernel: 3, padding: 1 }),
      new nn.BatchNorm(2, place),
      new nn.ReLU(),
      new nn.Flatten(),
      new nn.Linear(2 * side * side, 3, place),
    );
    const optimizer = new AdamW(model.parameters(), {
      lr: schedule.uba({ budget: 2, maxLr: 0.01 }),
      clipNorm: 1,
      groups: [{ where: (name: string) => name.endsWith("bias"), weightDecay: 0 }],
    });
    const data = images.batches({ size: 6, seed: 1, prefetch: 0 });
    return { model, optimizer, trainer: new Trainer({ model, optimizer, loss: nn.crossEntropy, data, card }) };
  };
  try {
    const first = make(0);
    for await (const _ of first.trainer.run({ until: 1 }));
    await first.trainer.save(path);
    const second = make(1);
    await second.trainer.load(path);
    for await (const _ of second.trainer.run({ capture: true }));
    const logits = tensor(device, new Float32Array(6), [2, 3]);
    const late = nn.crossEntropy(logits, tensor(device, Int32Array.of(0, 7)));
    const outcome = await late.item().catch((error: unknown) => error);
    if (!(outcome instanceof StepsizeError)) throw new Error("a label that is not a class was not detected");
    if (outcome.code !== "device-failed") throw outcome;
    const parts: string[] = [];
    for (const [name, one] of [...second.model.stateDict(), ...second.optimizer.stateDict()]) {
      const values = await one.read();
      parts.push(`${name} ${Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64")}`);
    }
    return parts.join("\n");
  } finally {
    rmSync(path, { force: true });
    await closed(device);
  }
}

/** Closes a device. If closing fails for lack of memory, it is tried again. */
async function closed(device: { close(): Promise<void> }): Promise<void> {
  await device.close().catch(() => device.close());
}
