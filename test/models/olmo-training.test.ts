import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { batches, type DecoderShape, decoderLoss, hashedDecoder, worstRatio } from "#lib/check/trainings.js";
import { olmo } from "#lib/models/index.js";
import { AdamW } from "#lib/optim/index.js";
import { backward, tidy } from "#lib/tensor/index.js";
import { scheduleOf } from "../optim/support/runs.js";
import { onEveryDevice } from "../support/devices.js";
import { decode, expectGradients, expectSameGradients, fromBfloat16, unpack } from "./support/training.js";

/** Name, norm, and scalar product with hashed numbers. */
type Gradient = readonly [string, number, number];

/** From PyTorch 1.13 in float64: see test/golden/olmo.py. */
interface Golden {
  readonly shape: DecoderShape;
  readonly items: number;
  readonly rates: readonly number[];
  readonly parameters: readonly (readonly [string, readonly number[]])[];
  readonly free: readonly number[];
  readonly checkpoints: readonly { readonly loss: number; readonly weights: string; readonly gradients: string }[];
  readonly wide: readonly {
    readonly shape: DecoderShape;
    readonly items: number;
    readonly loss: number;
    readonly gradients: readonly Gradient[];
  }[];
}
const golden: Golden = JSON.parse(readFileSync(new URL("../golden/olmo.json", import.meta.url), "utf8"));
await onEveryDevice("an OLMo decoder matches PyTorch in float64", (device) => {
  // Float32 is more accurate here than in a ResNet, because batch norm's differences of nearly equal numbers are
  // absent. Observed errors are 3e-7 for losses, also at the end of the free run, and 2e-6 for gradients. A position
  // off by one, or a missing scale, changes results by 1e-3.
  const lossTolerance = 2e-6;
  const gradientTolerance = 2e-5;
  const freeTolerance = 2e-6;

  test("has the same parameters, by name, shape and order", () => {
    const model = olmo({ ...golden.shape, device });
    expect([...model.namedParameters()].map(([name, { shape }]) => [name, shape])).toEqual(golden.parameters);
  });

  test.each(golden.checkpoints.map((checkpoint, step) => [String(step), checkpoint] as const))(
    "has the same loss and gradients at checkpoint %s",
    async (step, { loss: expected, weights, gradients }) => {
      const model = olmo({ ...golden.shape, device });
      model.loadStateDict(unpack(device, fromBfloat16(decode(weights, Uint16Array)), golden.parameters));
      const loss = decoderLoss(model, golden.shape, golden.items, Number(step) % batches);
      backward(loss);
      expect(worstRatio([await loss.item()], [expected])).toBeLessThan(lossTolerance);
      const torch = unpack(device, decode(gradients, Float32Array), golden.parameters);
      await expectSameGradients(model.namedParameters(), torch, gradientTolerance);
    },
  );

  test("has the same losses in a free run with AdamW", async () => {
    const model = hashedDecoder(device, golden.shape);
    const lr = scheduleOf(golden.rates);
    const optimizer = new AdamW(model.parameters(), { lr, betas: [0.9, 0.95], epsilon: 1e-6, weightDecay: 0.1 });
    const losses: Promise<number>[] = [];
    for (let step = 0; step < golden.free.length; step++)
      tidy(() => {
        const loss = decoderLoss(model, golden.shape, golden.items, step % batches);
        losses.push(loss.item());
        backward(loss);
        optimizer.step();
        optimizer.zeroGrad();
      });
    expect(worstRatio(await Promise.all(losses), golden.free)).toBeLessThan(freeTolerance);
  });

  test.each(golden.wide.map((wide) => [wide.shape.norm, wide] as const))(
    "has the same loss, gradient norms and products in the nano model with %s",
    async (_, { shape, items, loss: expected, gradients }) => {
      const model = hashedDecoder(device, shape);
      const loss = decoderLoss(model, shape, items, 0);
      backward(loss);
      expect(worstRatio([await loss.item()], [expected])).toBeLessThan(lossTolerance);
      await expectGradients(model.namedParameters(), gradients, gradientTolerance);
    },
  );
});
