import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { mlp } from "#lib/models/index.js";
import type { Device } from "#lib/native/index.js";
import { crossEntropy } from "#lib/nn/index.js";
import { AdamW, SGD } from "#lib/optim/index.js";
import { backward, type Tensor, tensor, tidy } from "#lib/tensor/index.js";
import { scheduleOf } from "../optim/support/runs.js";
import { onEveryDevice } from "../support/devices.js";
import { labelsOf, numbers } from "../support/numbers.js";
import { worstRatio } from "./support/training.js";

/** 20 steps of PyTorch 1.13 in float64: see test/golden/mlp.py. */
interface Run {
  readonly rates: readonly number[];
  readonly losses: readonly number[];
}
const golden = JSON.parse(readFileSync(new URL("../golden/mlp.json", import.meta.url), "utf8")) as {
  sgd: Run & { momentum: number };
  adamw: Run & { weightDecay: number };
};

const sizes = [784, 64, 32, 10] as const;
const scales = [2 ** -4, 2 ** -2, 2 ** -2];
const batch = 16;
const batches = 4;

function hashedModel(device: Device) {
  const model = mlp({ inputs: sizes[0], hidden: sizes.slice(1, -1), classes: sizes[3], device });
  const parameters = [...model.namedParameters()];
  const state = parameters.map(([name, { size, shape }], k): [string, Tensor] => {
    const scale = name.endsWith("bias") ? 2 ** -4 : scales[k / 2]!;
    return [
      name,
      tensor(
        device,
        numbers(size, 10 + k).map((value) => value * scale),
        shape,
      ),
    ];
  });
  model.loadStateDict(new Map(state));
  return model;
}

async function train(device: Device, optimizerOf: (model: ReturnType<typeof hashedModel>) => SGD | AdamW) {
  const model = hashedModel(device);
  const optimizer = optimizerOf(model);
  const losses: Promise<number>[] = [];
  for (let step = 0; step < 20; step++) {
    const images = numbers(batch * sizes[0], 1000 + (step % batches)).map((value) => Math.max(0, value));
    const labels = labelsOf(batch, 2000 + (step % batches), sizes[3]);
    tidy(() => {
      const loss = crossEntropy(model.forward(tensor(device, images, [batch, 28, 28, 1])), tensor(device, labels));
      losses.push(loss.item());
      backward(loss);
      optimizer.step();
      optimizer.zeroGrad();
    });
  }
  return Promise.all(losses);
}

await onEveryDevice("20 losses of an MLP in training match PyTorch in float64", (device) => {
  // A loss of about 2 is rounded to 1e-7 of itself, and sums of 784 products add a few more errors of this size. The
  // steps are small and the path is not yet chaotic, so differences do not grow much. Measured: below 1e-6.
  const tolerance = 1e-5;

  test("the losses decrease, so that the comparison covers learning", () => {
    for (const { losses } of [golden.sgd, golden.adamw]) expect(losses[19]! / losses[3]!).toBeLessThan(0.85);
  });

  test("SGD with momentum", async () => {
    const { rates, momentum, losses } = golden.sgd;
    const got = await train(device, (model) => new SGD(model.parameters(), { lr: scheduleOf(rates), momentum }));
    expect(worstRatio(got, losses)).toBeLessThan(tolerance);
  });

  test("AdamW", async () => {
    const { rates, weightDecay, losses } = golden.adamw;
    const got = await train(device, (model) => new AdamW(model.parameters(), { lr: scheduleOf(rates), weightDecay }));
    expect(worstRatio(got, losses)).toBeLessThan(tolerance);
  });
});
