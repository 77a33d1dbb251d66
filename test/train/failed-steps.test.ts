// A step that fails because of its batch ends the run with an error. Other runs continue, and so does a run resumed
// from a checkpoint.
import { join } from "node:path";
import { expect, it } from "vitest";
import { data, models, nn, SGD, schedule, Trainer } from "#lib/index.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const budget = 24;
const folder = temporaryFolders();

await onEveryDevice("a step with a label that is not a class", (device) => {
  const run = ({ accumulate = 1, badFrom = Number.POSITIVE_INFINITY } = {}) => {
    const model = models.mlp({ inputs: 3, hidden: [4], classes: 2, device, seed: 1 });
    const faults = { badFrom };
    const batch = (step: number) => ({
      inputs: { data: Float32Array.from({ length: 6 }, (_, i) => ((i * 7 + step * 3) % 11) / 11), shape: [2, 3] },
      labels: Int32Array.of(step % 2, step >= faults.badFrom ? 2 : (step >> 1) % 2),
    });
    const source = function* () {
      for (let step = 0; ; step++) yield batch(step);
    };
    const trainer = new Trainer({
      model,
      optimizer: new SGD(model.parameters(), {
        lr: schedule.cosine({ budget, maxLr: 0.1 }),
        momentum: 0.9,
        clipNorm: 1,
      }),
      loss: nn.crossEntropy,
      data: data.fromIterable(source),
      accumulate,
    });
    return { model, trainer, faults };
  };
  const lossesOf = async (trainer: Trainer, capture: boolean) => {
    const losses: number[] = [];
    for await (const { loss } of trainer.run({ capture })) losses.push(loss);
    return losses;
  };

  it.each([
    { capture: false, accumulate: 1 },
    { capture: true, accumulate: 1 },
    { capture: false, accumulate: 3 },
    { capture: true, accumulate: 3 },
  ])("ends the run with an error, and the run continues from a checkpoint: %j", async ({ capture, accumulate }) => {
    const expected = await lossesOf(run({ accumulate }).trainer, capture);
    const path = join(folder(), "before.safetensors");
    const { trainer, model, faults } = run({ accumulate, badFrom: 11 * accumulate + accumulate - 1 });
    await trainer.save(path);
    const [outcome, others] = await Promise.allSettled([
      lossesOf(trainer, capture),
      lossesOf(run({ accumulate }).trainer, capture),
    ]);
    expect(outcome).toMatchObject({ status: "rejected" });
    await expectError(
      () => Promise.reject((outcome as PromiseRejectedResult).reason),
      "device-failed",
      "crossEntropy(float32[2,2], int32[2])",
      "label 2 in row 1",
    );
    expect(others).toEqual({ status: "fulfilled", value: expected });
    // The weights and the optimizer state are spoiled and cannot be saved.
    await expectError(() => model.parameters()[0]?.read(), "device-failed", "label 2 in row 1");
    await expectError(() => trainer.save(path), "device-failed", "label 2 in row 1");
    faults.badFrom = Number.POSITIVE_INFINITY;
    await trainer.load(path);
    expect(await lossesOf(trainer, capture)).toEqual(expected);
  });
});
