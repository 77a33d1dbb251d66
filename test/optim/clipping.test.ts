// Clipping over the whole range of float32: squares that overflow or underflow, norms that float32 cannot hold, scales
// and coefficients beyond its range, and non-finite gradients. The reference is PyTorch's clip_grad_norm_ in float64.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { SGD } from "#lib/optim/index.js";
import type { Tensor } from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import { parameterOf, setGradient } from "./support/runs.js";

/** A number, the text of a number that JSON cannot represent, or null for NaN. */
type Value = number | string | null;
interface Clipped {
  readonly name: string;
  readonly gradients: readonly (readonly Value[])[];
  readonly gradientScale: number;
  readonly clipNorm: number;
  readonly norm: Value;
  /** Values after one step with a learning rate of 1, starting from zeros. */
  readonly parameters: readonly (readonly Value[])[];
}
const numberOf = (value: Value) =>
  value === null || value === "nan" ? Number.NaN : Number(String(value).replace("inf", "Infinity"));

/** From PyTorch 2.6 in float64: see test/golden/optimizer_steps.py. */
const golden: { clipping: readonly Clipped[] } = JSON.parse(
  readFileSync(new URL("../golden/optimizer_steps.json", import.meta.url), "utf8"),
);

/** The bfloat16 value of a number: its upper half, rounded to nearest even. */
function roundedLow(value: number): number {
  const [bits] = new Uint32Array(Float32Array.of(value).buffer);
  if (!Number.isFinite(value)) return value;
  const rounded = (bits! + 0x7fff + ((bits! >> 16) & 1)) & 0xffff0000;
  return new Float32Array(Uint32Array.of(rounded).buffer)[0]!;
}

/** The same as {@link golden}, computed with PyTorch's formula for gradients rounded to bfloat16. */
function clippedLow({ gradients, gradientScale, clipNorm, ...rest }: Clipped): Clipped {
  const low = gradients.map((one) => one.map((value) => roundedLow(Math.fround(numberOf(value)))));
  const norm = Math.hypot(...low.flat().map((value) => value * gradientScale));
  const ratio = clipNorm / (norm + 1e-6);
  const coefficient = Math.min(ratio, 1);
  const parameters = low.map((one) => one.map((value) => 0 - value * gradientScale * coefficient));
  return { ...rest, gradients: low, gradientScale, clipNorm, norm, parameters };
}

/** The tolerance is relative to the largest expected number of the tensor, and 0 below the smallest normal number. */
function expectValues(got: ArrayLike<number>, expected: readonly Value[], what: string): void {
  for (const [i, value] of expected.entries()) {
    const exact = numberOf(value);
    if (Number.isNaN(exact)) expect(got[i], `${what}[${i}]`).toBeNaN();
    // The norm of three numbers, its division and three products round by 6e-8 each.
    else expect(Math.abs(got[i]! - exact), `${what}[${i}]`).toBeLessThanOrEqual(1e-6 * Math.abs(exact) + 2 ** -126);
  }
}

await onEveryDevice("clipping", (device) => {
  for (const dtype of ["float32", "bfloat16"] as const)
    describe(dtype, () => {
      const cases = golden.clipping.map((one) => (dtype === "bfloat16" ? clippedLow(one) : one));

      function stepOf({ gradients, gradientScale, clipNorm }: Clipped, nonFinite?: "stop" | "skip") {
        const parameters = gradients.map((one, i) =>
          parameterOf(device, new Float32Array(one.length), `p${i}`, 1, dtype),
        );
        const optimizer = new SGD(parameters, { lr: 1, clipNorm, gradientScale, nonFinite });
        for (const [i, parameter] of parameters.entries())
          setGradient(parameter, Float32Array.from(gradients[i]!, numberOf));
        optimizer.step();
        const state = optimizer.stateDict();
        const updated = parameters.map((parameter, i): Tensor => state.get(`p${i}.master`) ?? parameter);
        const read = () => Promise.all(updated.map(async (one) => (await one.read()) as Float32Array));
        return { optimizer, read };
      }

      test.each(cases)("matches PyTorch if $name", async (one) => {
        const { optimizer, read } = stepOf(one);
        const values = await read();
        for (const [i, parameter] of one.parameters.entries()) expectValues(values[i]!, parameter, `p${i}`);
        const { norm, updates } = await optimizer.stats();
        expect(updates).toBe(1);
        const exact = numberOf(one.norm);
        if (Number.isFinite(exact)) expect(Math.abs(norm - exact)).toBeLessThanOrEqual(1e-6 * exact);
        else expect(norm).toBe(exact);
        optimizer.dispose();
      });

      test.each(cases.flatMap((one) => (["stop", "skip"] as const).map((policy) => ({ ...one, policy }))))(
        "with nonFinite $policy updates or skips the step if $name",
        async ({ policy, ...one }) => {
          const { optimizer, read } = stepOf(one, policy);
          const finite = one.gradients.flat().every((value) => Number.isFinite(numberOf(value)));
          const { updates, skipped, stoppedAt } = await optimizer.stats();
          expect({ updates, skipped, stoppedAt }).toEqual({
            updates: finite ? 1 : 0,
            skipped: finite ? 0 : 1,
            stoppedAt: finite || policy === "skip" ? undefined : 0,
          });
          const values = await read();
          for (const [i, parameter] of one.parameters.entries())
            expectValues(values[i]!, finite ? parameter : parameter.map(() => 0), `p${i}`);
          optimizer.dispose();
        },
      );
    });
});
