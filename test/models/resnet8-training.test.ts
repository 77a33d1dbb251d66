import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { batches, hashedResNet, resNetImages, resNetLoss, worstRatio } from "#lib/check/trainings.js";
import { type ResNet, resnet } from "#lib/models/index.js";
import { SGD } from "#lib/optim/index.js";
import { backward, tidy } from "#lib/tensor/index.js";
import { relativeError, scheduleOf } from "../optim/support/runs.js";
import { onEveryDevice } from "../support/devices.js";
import { decode, expectGradients, expectSameGradients, fromBfloat16, unpack } from "./support/training.js";

/** From PyTorch 1.13 in float64: see test/golden/resnet8.py. */
interface Golden {
  readonly shape: readonly [number, number, number, number];
  readonly width: number;
  readonly momentum: number;
  readonly rates: readonly number[];
  /** Names and shapes in the order of the packed arrays. */
  readonly parameters: readonly (readonly [string, readonly number[]])[];
  readonly free: readonly number[];
  readonly afterFive: {
    readonly running: { readonly mean: readonly number[]; readonly variance: readonly number[] };
    readonly logits: readonly number[];
  };
  readonly checkpoints: readonly { readonly loss: number; readonly weights: string; readonly gradients: string }[];
  readonly wide: {
    readonly shape: readonly [number, number, number, number];
    readonly width: number;
    readonly loss: number;
    /** Name, norm, and scalar product with hashed numbers. */
    readonly gradients: readonly (readonly [string, number, number])[];
  };
}
const golden: Golden = JSON.parse(readFileSync(new URL("../golden/resnet8.json", import.meta.url), "utf8"));

const classes = 10;

await onEveryDevice("a ResNet-8 matches PyTorch in float64", (device) => {
  // A loss passes about twenty layers of float32, each accurate to 1e-7 of its values. Losses near 2 have an error of
  // at most 1e-6. Gradients pass the layers twice, and batch norm subtracts nearly equal numbers: at most 1e-5 of the
  // norm of a tensor. An arithmetic error, such as a biased variance (1 part in 72), is far above both.
  const lossTolerance = 1e-5;
  const gradientTolerance = 1e-4;
  // A free run carries the differences of each step into the next. They stay below 1e-6 over 20 steps.
  const freeTolerance = 1e-5;

  test("has the same parameters, by name, shape and order", () => {
    const model = resnet({ depth: 8, classes, channels: golden.shape[3], width: golden.width, device });
    expect([...model.namedParameters()].map(([name, { shape }]) => [name, shape])).toEqual(golden.parameters);
    expect(golden.parameters.filter(([name]) => name.includes("shortcut.")).length).toBe(2);
  });

  test.each(golden.checkpoints.map((checkpoint, step) => [String(step), checkpoint] as const))(
    "has the same loss and gradients at checkpoint %s",
    async (step, { loss: expected, weights, gradients }) => {
      const model = resnet({ depth: 8, classes, channels: golden.shape[3], width: golden.width, device });
      const loaded = unpack(device, fromBfloat16(decode(weights, Uint16Array)), golden.parameters);
      for (const [name, buffer] of model.stateDict()) if (!loaded.has(name)) loaded.set(name, buffer);
      model.loadStateDict(loaded);
      const loss = resNetLoss(model, golden.shape, Number(step) % batches);
      backward(loss);
      expect(worstRatio([await loss.item()], [expected])).toBeLessThan(lossTolerance);
      const torch = unpack(device, decode(gradients, Float32Array), golden.parameters);
      await expectSameGradients(model.namedParameters(), torch, gradientTolerance);
    },
  );

  test("has the same losses in a free run, and the same running statistics and evaluation after five steps", async () => {
    const model = hashedResNet(device, golden.shape[3], golden.width);
    const lr = scheduleOf(golden.rates);
    const optimizer = new SGD(model.parameters(), { lr, momentum: golden.momentum });
    const losses: Promise<number>[] = [];
    for (let step = 0; step < 20; step++) {
      if (step === 5) await expectAfterFive(model);
      tidy(() => {
        const loss = resNetLoss(model, golden.shape, step % batches);
        losses.push(loss.item());
        backward(loss);
        optimizer.step();
        optimizer.zeroGrad();
      });
    }
    const got = await Promise.all(losses);
    expect(worstRatio(got, golden.free)).toBeLessThan(freeTolerance);
    expect(golden.free[19]! / golden.free[3]!).toBeLessThan(0.4);
  });

  async function expectAfterFive(model: ResNet): Promise<void> {
    const { running, logits } = golden.afterFive;
    const { runningMean, runningVariance } = model.stemNorm;
    expect(relativeError(await runningMean.read(), running.mean)).toBeLessThan(freeTolerance);
    expect(relativeError(await runningVariance.read(), running.variance)).toBeLessThan(freeTolerance);
    const evaluated = model.eval().forward(resNetImages(device, golden.shape, batches));
    expect(relativeError(await evaluated.read(), logits)).toBeLessThan(freeTolerance);
    model.train();
  }

  test("has the same loss, gradient norms and products at width 16 with three channels", async () => {
    const { shape, width, loss: expected, gradients } = golden.wide;
    const model = hashedResNet(device, shape[3], width);
    const loss = resNetLoss(model, shape, 0);
    backward(loss);
    expect(worstRatio([await loss.item()], [expected])).toBeLessThan(lossTolerance);
    await expectGradients(model.namedParameters(), gradients, gradientTolerance);
  });
});
