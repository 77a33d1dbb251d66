// An update with non-finite numbers gives PyTorch's results if no check skips the step.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { onEveryDevice } from "../support/devices.js";
import { gradientValues, initialValues, make, parameterOf, setGradient } from "./support/runs.js";

/** Numbers from PyTorch, with null for NaN. */
type Values = readonly (number | null)[];
/** From PyTorch 2.6 in float64: see test/golden/optimizer_steps.py. */
interface Golden {
  readonly amsgradWithNan: readonly {
    readonly optimizer: "Adam" | "AdamW";
    readonly steps: readonly Record<"parameter" | "exp_avg" | "exp_avg_sq" | "max_exp_avg_sq", Values>[];
  }[];
}
const golden: Golden = JSON.parse(readFileSync(new URL("../golden/optimizer_steps.json", import.meta.url), "utf8"));

/**
 * NaN at the same places as in PyTorch, and elsewhere the same numbers, to a few roundings of float32 in numbers up to
 * 4.
 */
function expectValues(got: ArrayLike<number>, expected: Values, what: string): void {
  expect(got.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) {
    if (value === null) expect(got[i], `${what}[${i}]`).toBeNaN();
    else expect(Math.abs(got[i]! - value), `${what}[${i}]`).toBeLessThan(1e-6);
  }
}

await onEveryDevice("NaN", (device) => {
  test.each(golden.amsgradWithNan)(
    "stays in the maximum of AMSGrad: $optimizer",
    async ({ optimizer: kind, steps }) => {
      const parameter = parameterOf(device, initialValues(9), "p");
      const optimizer = make(kind, [parameter], { lr: 0.01, betas: [0.9, 0.8], amsgrad: true });
      for (const [step, expected] of steps.entries()) {
        const gradient = gradientValues(9, step);
        setGradient(parameter, step === 1 ? gradient.with(2, Number.NaN) : gradient);
        optimizer.step();
        const state = optimizer.stateDict();
        const read = async (name: string) => (await state.get(`p.${name}`)!.read()) as Float32Array;
        expectValues(await read("expAvg"), expected.exp_avg, `expAvg after step ${step}`);
        expectValues(await read("expAvgSq"), expected.exp_avg_sq, `expAvgSq after step ${step}`);
        expectValues(await read("maxExpAvgSq"), expected.max_exp_avg_sq, `maxExpAvgSq after step ${step}`);
        expectValues((await parameter.read()) as Float32Array, expected.parameter, `the parameter after step ${step}`);
      }
      optimizer.dispose();
    },
  );
});
