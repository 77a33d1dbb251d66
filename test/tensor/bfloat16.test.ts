// In bfloat16 every differentiable operation is its float32 operation on the same numbers, rounded once. float32 itself
// is checked against definitions in gradients.test.ts, so that here it is the oracle.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cast, type Tensor, tensor } from "#lib/tensor/index.js";
import { expectClose } from "../support/compare.js";
import { openAll } from "../support/devices.js";
import { numbers } from "../support/numbers.js";
import { elements, type Values } from "../support/reference.js";
import type { Call } from "./support/call.js";
import { calls } from "./support/cases.js";

const devices = await openAll();

/** Half the distance from 1 to the next bfloat16, in units of float32's epsilon: what one rounding costs. */
const rounding = 2 ** 15;

/** Steps between two bfloat16, given by their bits. */
function stepsBetween(a: number, b: number): number {
  const ordered = (bits: number) => (bits & 0x8000 ? -(bits & 0x7fff) : bits);
  return Math.abs(ordered(a) - ordered(b));
}

const inFloat32 = async (x: Tensor) => Array.from(await cast(x.detach(), "float32").read());

/** Output and gradients of a call on numbers that bfloat16 has, stored in this type. */
async function run(call: Call, device: Tensor["device"], dtype: "float32" | "bfloat16") {
  const stored = ({ shape, data }: Values) => cast(tensor(device, data, shape, { dtype: "bfloat16" }), dtype);
  const inputs = call.inputs.map((input) => Object.assign(stored(input), { requiresGrad: true }));
  const output = call.ours(...inputs).keep();
  const weights = stored({ shape: output.shape, data: Float64Array.from(numbers(elements(output.shape), 7)) });
  // A loss is float32 already.
  output.multiply(cast(weights, output.dtype)).sum().backward();
  return { output, gradients: inputs.map((input) => input.grad as Tensor) };
}

describe.each(calls)("%s in bfloat16", (_, arbitrary) => {
  it("is that of float32, rounded", { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(arbitrary, async (call) => {
        for (const { label, device } of devices) {
          const [wide, low] = [await run(call, device, "float32"), await run(call, device, "bfloat16")];
          const what = `${call.title} on ${label}`;
          const expected = await cast(wide.output.detach(), low.output.dtype).read();
          const got = await low.output.read();
          if (low.output.dtype === "bfloat16") {
            const worst = Math.max(0, ...Array.from(expected, (bits, i) => stepsBetween(bits, got[i]!)));
            // A product on tensor cores adds in another order, which may move a rounding to the neighbour.
            expect(worst, what).toBeLessThanOrEqual(label.startsWith("cpu") ? 0 : 1);
          } else {
            expectClose(got, expected, 16, what);
          }
          for (const [i, gradient] of low.gradients.entries()) {
            expect(gradient.dtype).toBe("bfloat16");
            // Some gradients are several operations on results that are rounded already, each with its rounding.
            const exact = await inFloat32(wide.gradients[i]!);
            expectClose(await inFloat32(gradient), exact, 6 * rounding, `the gradient of input ${i} of ${what}`);
          }
        }
      }),
      { numRuns: 30, endOnFailure: true },
    );
  });
});
