// Attention with scores of any size: the probabilities, and the results computed from them, are accurate to a few
// epsilons. The inputs are chosen so that float32 holds every score exactly. The errors are then those of the softmax
// and its gradient.
import { describe, expect, it } from "vitest";
import * as t from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import { labelsOf } from "../support/numbers.js";
import { elements, type Values } from "../support/reference.js";
import { causalAttention, causalAttentionGradient } from "../support/sequence-reference.js";

/** Multiples of 1/2 from −2 to 2, which bfloat16 also holds exactly. */
const halves = (shape: readonly number[], salt: number): Values => ({
  shape,
  data: Float64Array.from(labelsOf(elements(shape), salt, 9), (value) => value / 2 - 2),
});

/** The same with another first number in every head, so that all scores are far from 0 and close to each other. */
function far(shape: readonly number[], salt: number, first: number): Values {
  const { data } = halves(shape, salt);
  const size = shape.at(-1)!;
  return { shape, data: data.map((value, i) => (i % size === 0 ? first : value)) };
}

/** Largest error in units of the type's epsilon, relative to the sum of the absolute values of the terms. */
const errorOf = (got: ArrayLike<number>, expected: Values, sizes: Values, epsilon: number) =>
  expected.data.reduce((max, value, i) => {
    const error = Math.abs(got[i]! - value) / (epsilon * (sizes.data[i]! + 1e-30));
    return Math.max(max, Number.isNaN(error) ? Infinity : error);
  }, 0);
const sized = ({ shape, data }: Values): Values => ({ shape, data: data.map(Math.abs) });

// Scores around first²/4: 6, 150, ±10⁴ and 10⁶. On CUDA, bfloat16 sizes of 16 use tensor cores and sizes of 20 do not.
const scales = [5, 24.5, 200, -200, 2000];
const shapes = [
  [2, 70, 2, 16],
  [1, 40, 1, 20],
];

await onEveryDevice("attention with large scores", (device) => {
  describe.each(["float32", "bfloat16"] as const)("%s", (dtype) => {
    it.each(shapes.flatMap((shape) => scales.map((first) => ({ shape, first }))))(
      "$shape, scores around ± $first²/4",
      async ({ shape, first }) => {
        const q = far(shape, 1, first);
        const k = far(shape, 2, Math.abs(first));
        const [v, g] = [halves(shape, 3), halves(shape, 4)];
        const [tq, tk, tv] = [q, k, v].map(({ data }) =>
          t.tensor(device, data, shape, { dtype, requiresGrad: true }),
        ) as [t.Tensor, t.Tensor, t.Tensor];
        const output = t.causalAttention(tq, tk, tv, { scale: 0.25 }).keep();
        t.asType(output, "float32")
          .multiply(t.tensor(device, g.data, shape, { dtype: "float32" }))
          .sum()
          .backward();
        const read = (x: t.Tensor) => t.asType(x, "float32").read();

        const epsilon = dtype === "float32" ? 2 ** -23 : 2 ** -8;
        const expected = causalAttention(q, k, v, 0.25);
        expect(errorOf(await read(output), expected, causalAttention(q, k, sized(v), 0.25), epsilon)).toBeLessThan(8);
        const { gradients, sizes } = causalAttentionGradient(q, k, v, g, 0.25);
        for (const [i, x] of [tq, tk, tv].entries())
          expect(
            errorOf(await read(x.grad!), gradients[i]!, sizes[i]!, epsilon),
            `gradient of input ${i}`,
          ).toBeLessThan(8);
      },
    );
  });
});
