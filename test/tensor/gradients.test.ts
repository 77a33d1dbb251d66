// Every differentiable operation and its gradient agree with a definition in float64, for random calls that include
// sizes of 0 and 1.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import { expectClose } from "../support/compare.js";
import { openAll } from "../support/devices.js";
import { numbers } from "../support/numbers.js";
import { elements, type Values } from "../support/reference.js";
import type { Call } from "./support/call.js";
import { calls } from "./support/cases.js";

const devices = await openAll();

/**
 * The gradient of Σ weights·f(inputs) with respect to input `which`, by central differences. In float64 with a step of
 * 2⁻¹⁸, curvature and rounding leave an error of about 10⁻⁹, which is below the resolution of float32.
 */
function finiteDifferences({ inputs, reference }: Call, which: number, weights: ArrayLike<number>): Float64Array {
  const step = 2 ** -18;
  const input = inputs[which]!;
  const at = (i: number, offset: number): number => {
    const moved = Float64Array.from(input.data);
    moved[i]! += offset;
    const { data } = reference(...inputs.with(which, { shape: input.shape, data: moved }));
    return data.reduce((total, value, j) => total + value * weights[j]!, 0);
  };
  return input.data.map((_, i) => (at(i, step) - at(i, -step)) / (2 * step));
}

function upload(device: Tensor["device"], { shape, data }: Values): Tensor {
  return tensor(device, data, shape, { dtype: "float32", requiresGrad: true });
}

describe.each(calls)("%s", (name, arbitrary) => {
  it("agrees with its definition, forward and backward", async () => {
    await fc.assert(
      fc.asyncProperty(arbitrary, async (call) => {
        const expected = call.reference(...call.inputs);
        const weights = numbers(elements(expected.shape), 7);
        const gradients = call.inputs.map((_, i) => finiteDifferences(call, i, weights));
        // All sums here are short. Normalizing two or three numbers that nearly agree magnifies rounding errors about
        // 30 times. A score of attention is a sum of up to 3 · 18 products. The absolute error of a score is the
        // relative error of a probability, and the backward pass multiplies it by the scale of 3.
        const magnifies = ["batchNorm", "layerNorm", "causalAttention"].includes(name);
        const allowed = magnifies ? 64 : 16;
        for (const { label, device } of devices) {
          const inputs = call.inputs.map((input) => upload(device, input));
          const output = call.compute(...inputs).keep();
          expect(output.shape, `shape on ${label}: ${call.title}`).toEqual(expected.shape);
          output
            .multiply(tensor(device, weights, expected.shape))
            .sum()
            .backward();
          expectClose(await output.read(), expected.data, allowed, `${call.title} on ${label}`);
          for (const [i, gradient] of gradients.entries()) {
            expect(inputs[i]!.grad!.shape).toEqual(call.inputs[i]!.shape);
            const what = `the gradient of input ${i} of ${call.title} on ${label}`;
            expectClose(await inputs[i]!.grad!.read(), gradient, allowed, what);
          }
        }
      }),
      // The message contains the call. Shrinking it would take minutes.
      { numRuns: 40, endOnFailure: true },
    );
  });
});
