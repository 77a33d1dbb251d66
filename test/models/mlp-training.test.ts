import { expect, test } from "vitest";
import { trainedLosses, trainings, worstRatio } from "#lib/check/trainings.js";
import { onEveryDevice } from "../support/devices.js";

/** 20 steps of PyTorch 1.13 in float64: see test/golden/mlp.py. `stepsize check` makes the same. */
const ofMlp = trainings.filter(({ name }) => name.startsWith("mlp-"));

await onEveryDevice("20 losses of an MLP in training match PyTorch in float64", (device) => {
  test("the losses decrease, so that the comparison covers learning", () => {
    expect(ofMlp.map(({ name }) => name)).toEqual(["mlp-sgd", "mlp-adamw"]);
    for (const { losses } of ofMlp) expect(losses[19]! / losses[3]!).toBeLessThan(0.85);
  });

  test.each(ofMlp)("$name", async ({ losses, tolerance, start }) => {
    expect(worstRatio(await trainedLosses(start(device), 20), losses)).toBeLessThan(tolerance);
  });
});
