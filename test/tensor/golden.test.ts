// Compares every operation and its gradient with PyTorch in float64 (test/golden/operations.py).
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as t from "#lib/tensor/index.js";
import { expectClose } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { labelsOf, numbers } from "../support/numbers.js";
import { elements } from "../support/reference.js";

interface Stored {
  readonly shape: readonly number[];
  /** `values` holds every `step`-th element. */
  readonly step: number;
  readonly values: readonly number[];
}
interface Golden {
  readonly operation: string;
  readonly options: Record<string, never>;
  readonly inputs: readonly { readonly shape: readonly number[]; readonly center: number }[];
  readonly output: Stored;
  readonly gradients: readonly Stored[];
  readonly labels?: number;
  readonly more?: { readonly runningMean: Stored; readonly runningVariance: Stored };
}

const file = new URL("../golden/operations.json", import.meta.url);
const cases = JSON.parse(readFileSync(file, "utf8")) as Golden[];

async function expectStored(tensor: t.Tensor, { shape, step, values }: Stored, allowed: number, what: string) {
  expect(tensor.shape, what).toEqual(shape);
  const got = (await tensor.read()).filter((_: number, i: number) => i % step === 0);
  expectClose(got, values, allowed, what);
}

/** Number of terms in the longest sum behind the output and the gradients. A softmax counts as a sum. */
function longestSum({ operation, inputs, output }: Golden): number {
  const shapes = inputs.map(({ shape }) => shape);
  if (operation === "matmul") return Math.max(...shapes.flat());
  // A score is a sum over the head's elements, and each result is a sum over the positions.
  if (operation === "causalAttention") return shapes[0]![1]! + shapes[0]![3]!;
  if (operation !== "conv2d") return Math.max(...shapes.map(elements));
  const [outputs, height, width, channels] = shapes[1] as [number, number, number, number];
  return Math.max(height * width * Math.max(channels, outputs), elements(output.shape) / outputs);
}

const byName = Object.fromEntries(Object.entries(t)) as unknown as Record<string, (...all: unknown[]) => t.Tensor>;

function run(golden: Golden, inputs: readonly t.Tensor[], rest: readonly t.Tensor[]): t.Tensor {
  const { operation, options } = golden;
  const [a, b, c] = inputs as [t.Tensor, t.Tensor, t.Tensor];
  const [runningMean, runningVariance] = rest as [t.Tensor, t.Tensor];
  switch (operation) {
    case "batchNorm":
      return t.batchNorm(a, { gamma: b, beta: c, runningMean, runningVariance }, options);
    case "batchNormInference":
      return t.batchNormInference(a, { gamma: b, beta: c, runningMean, runningVariance }, options);
    case "crossEntropy":
      return t.crossEntropy(a, t.tensor(a.device, labelsOf(a.shape[0]!, 50, golden.labels!)), options);
    case "embedding": {
      const ids = options["ids"] as unknown as readonly number[];
      return t.embedding(t.tensor(a.device, labelsOf(elements(ids), 50, golden.labels!), ids), a);
    }
    case "layerNorm":
      return t.layerNorm(a, b && { gamma: b, beta: c }, options);
    case "rmsNorm":
      return t.rmsNorm(a, b, options);
    case "affine":
      return t.affine(a, options["scale"]!, options["shift"]);
    case "sum":
    case "mean":
      return operation === "sum" ? t.sum(a, options["axes"]) : t.mean(a, options["axes"]);
    default: {
      return byName[operation]!(...inputs, options);
    }
  }
}

await onEveryDevice("agreement with PyTorch", (device) => {
  describe.each([...new Set(cases.map(({ operation }) => operation))])("%s", (name) => {
    it.each(
      cases
        .filter(({ operation }) => operation === name)
        .map((golden) => ({
          golden,
          title: `${golden.inputs.map(({ shape }) => `[${shape}]`).join(" ")} ${JSON.stringify(golden.options)}`,
        })),
    )("$title", async ({ golden }) => {
      const inputs = golden.inputs.map(({ shape, center }, salt) =>
        t.tensor(device, numbers(elements(shape), salt, center), shape, { requiresGrad: true }),
      );
      const channels = golden.inputs[0]!.shape.at(-1) ?? 1;
      const rest = [t.tensor(device, numbers(channels, 3)), t.tensor(device, numbers(channels, 4, 2))];
      const output = run(golden, inputs, rest);
      const weights = t.tensor(device, numbers(output.size, 99), output.shape);
      const loss = output.keep().multiply(weights).sum();
      loss.backward();

      // About twice the largest observed error, which is 0.7·√k on the build without fused multiply-add.
      const allowed = 1.5 * Math.sqrt(longestSum(golden));
      await expectStored(output, golden.output, allowed, "the output");
      for (const [i, gradient] of golden.gradients.entries())
        await expectStored(inputs[i]!.grad!, gradient, allowed, `the gradient of input ${i}`);
      if (golden.more) {
        await expectStored(rest[0]!, golden.more.runningMean, allowed, "the running mean");
        await expectStored(rest[1]!, golden.more.runningVariance, allowed, "the running variance");
      }
    });
  });
});
