import { describe, expect, test } from "vitest";
import { DifferenceProduct, type Surface } from "#lib/curvature/difference-product.js";
import { LossSurface } from "#lib/curvature/loss-surface.js";
import type { Device } from "#lib/native/index.js";
import { onEveryDevice, physicalDevices } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { normals } from "./support/matrices.js";
import { type Case, cases, multiply, weightsOf } from "./support/references.js";

const norm = (vector: Float64Array) => Math.hypot(...vector);
const unit = (vector: Float64Array) => vector.map((value) => value / norm(vector));
const apart = (a: Float64Array, b: Float64Array) => norm(a.map((value, i) => value - b[i]!));

/** A case on a device with weights multiplied and inputs divided by `scale`, which gives the same outputs. */
async function scaledCase({ batch, loss, model: make, reference }: Case, device: Device, scale: number) {
  const model = make(device);
  const weights = await weightsOf(model);
  let offset = 0;
  const factors = new Float64Array(weights.length);
  for (const parameter of model.parameters()) {
    // Scales only the weights that multiply the inputs, so that the outputs stay the same.
    const factor = parameter.name.endsWith("weight") && !parameter.name.startsWith("output") ? scale : 1;
    factors.fill(factor, offset, offset + parameter.size);
    parameter.write(Float32Array.from(weights.subarray(offset, offset + parameter.size), (w) => w * factor));
    offset += parameter.size;
  }
  const prepare = (x: Parameters<typeof model.forward>[0]) => x.multiply(1 / scale);
  const surface = await LossSurface.of({ model, batch, loss, prepare });
  const hessian = reference.hessian(weights);
  return {
    surface,
    gradient: reference.gradient(weights).map((value, i) => value / factors[i]!),
    exact: (v: Float64Array) =>
      multiply(
        hessian,
        v.map((x, i) => x / factors[i]!),
      ).map((x, i) => x / factors[i]!),
  };
}

await onEveryDevice(
  "Hessian-vector products from differences of gradients",
  (device) => {
    describe.each(cases)("of $title", (one) => {
      // Powers of two, which float32 scales without rounding.
      test.each([2 ** -12, 1, 2 ** 10])("are accurate to 1e-3 with weights scaled by %d", async (scale) => {
        const { surface, gradient, exact } = await scaledCase(one, device, scale);
        const slope = await surface.at();
        expect(apart(slope.gradient, gradient)).toBeLessThan(1e-5 * norm(gradient));
        const product = new DifferenceProduct(surface);
        const { disagreement } = await product.chooseDistance(slope.gradient);
        const v = unit(slope.gradient);
        const size = norm(exact(v));
        expect(apart(await product.of(v), exact(v))).toBeLessThan(Math.min(4 * disagreement, 1e-3 * size));
        surface.close();
      });

      test("use a distance whose error is at most 3 times that of the best in a wide range", async () => {
        const { surface, gradient, exact } = await scaledCase(one, device, 1);
        const v = unit(gradient);
        const product = new DifferenceProduct(surface);
        const { distance } = await product.chooseDistance(gradient);
        const error = async (at: number) => {
          const [ahead, behind] = await Promise.all([surface.at(v, at), surface.at(v, -at)]);
          return apart(
            ahead.gradient.map((g, i) => (g - behind.gradient[i]!) / (2 * at)),
            exact(v),
          );
        };
        const errors = await Promise.all(Array.from({ length: 25 }, (_, i) => error(surface.norm * 10 ** (i / 3 - 7))));
        expect(await error(distance)).toBeLessThan(3 * Math.min(...errors));
        // The ends of the range are much worse, so that an arbitrary choice would fail.
        expect(errors[0]).toBeGreaterThan(30 * Math.min(...errors));
        surface.close();
      });

      test("with a scale equal diag(s)·H·diag(s)", async () => {
        const { surface, exact } = await scaledCase(one, device, 1);
        const scale = Float64Array.from({ length: surface.size }, (_, i) => 10 ** (2 * Math.sin(i)));
        const product = new DifferenceProduct(surface, scale);
        const start = normals(surface.size, 1);
        await product.chooseDistance(start);
        const v = unit(normals(surface.size, 2));
        const expected = exact(v.map((x, i) => x * scale[i]!)).map((x, i) => x * scale[i]!);
        expect(apart(await product.of(v), expected)).toBeLessThan(2e-3 * norm(expected));
        surface.close();
      });
    });
  },
  physicalDevices,
);

describe("the measured error", () => {
  /** Σ wᵢ²λᵢ/2 + cᵢwᵢ⁴/24 in float64. Along an axis everything is known, and products are symmetric. */
  const quartic = (curvatures: readonly number[], fourth: readonly number[], roughness = 0): Surface => {
    const weights = curvatures.map((_, i) => 1 + i / 3);
    return {
      norm: Math.hypot(...weights),
      async at(along, distance) {
        const gradient = Float64Array.from(weights, (w, i) => {
          const at = w + distance * along[i]!;
          const exact = curvatures[i]! * at + (fourth[i]! * at ** 3) / 6;
          return exact + roughness * Math.sin(1e7 * at);
        });
        return { loss: 0, gradient };
      },
    };
  };
  const exactly = (curvatures: readonly number[], fourth: readonly number[], v: Float64Array) =>
    v.map((x, i) => x * (curvatures[i]! + (fourth[i]! * (1 + i / 3) ** 2) / 2));

  test.each([
    ["a quadratic", [0, 0, 0, 0], 0],
    ["a loss with a fourth derivative", [4, -3, 5, 2], 0],
    ["a noisy one", [0, 0, 0, 0], 1e-6],
    ["a noisy one with a fourth derivative", [4, -3, 5, 2], 1e-6],
  ] as const)("bounds the error of the product: %s", async (_, fourth, roughness) => {
    const curvatures = [1, 2, 5, 9];
    for (let seed = 1; seed <= 12; seed++) {
      const product = new DifferenceProduct(quartic(curvatures, fourth, roughness));
      await product.chooseDistance(normals(4, 100 + seed));
      const v = unit(
        seed <= 4 ? Float64Array.from({ length: 4 }, (_, i) => (i + 1 === seed ? 1 : 0)) : normals(4, seed),
      );
      const before = product.gradients;
      const { product: made, error } = await product.measure(v);
      expect(product.gradients - before).toBe(6);
      expect(made).toEqual(await product.of(v));
      // Below 1e-9 the error is the rounding of float64.
      expect(apart(made, exactly(curvatures, fourth, v))).toBeLessThan(error + 1e-9);
      expect(error).toBeLessThan(1e-2);
    }
  });
});

describe("the distance of the difference", () => {
  const size = 100;
  const one = new Float64Array(size).fill(0.1);
  /** A gradient whose elements are the same function of the position along the first direction, except for noise. */
  const line = (at: (t: number, i: number) => number, length: number): Surface & { calls: number } => ({
    norm: length,
    calls: 0,
    async at(along, distance) {
      this.calls++;
      return { loss: 0, gradient: one.map((_, i) => at((along[i]! / 0.1) * distance, i)) };
    },
  });
  const rough = (height: number) => (t: number, i: number) => height * Math.sin((1e9 + 1e7 * i ** 2) * t);
  /** The difference between a product and a constant vector. */
  const off = (product: Float64Array, from: number) => norm(product.map((value) => value - from)) / Math.sqrt(size);

  test("balances nonlinearity against noise", async () => {
    // The gradient is 2t + 5t³ plus noise of height s. The errors are 5h² and about s/2h. Their sum is smallest near h
    // = (s/20)^(1/3).
    for (const height of [1e-3, 1e-6, 1e-9]) {
      const product = new DifferenceProduct(line((t, i) => 2 * t + 5 * t ** 3 + rough(height)(t, i), 1));
      const { distance, disagreement } = await product.chooseDistance(one);
      const best = (height / 20) ** (1 / 3);
      // The distances that are tried differ by a factor, so one of them is within a factor of 4.
      expect(distance).toBeGreaterThan(best / 8);
      expect(distance).toBeLessThan(best * 8);
      const error = off(await product.of(one), 2);
      expect(error).toBeLessThan(disagreement / Math.sqrt(size));
      expect(error).toBeLessThan(10 * (5 * best ** 2 + height / best / 2));
    }
  });

  test("is found farther away if gradients saturate and their differences vanish", async () => {
    // The gradient is flat beyond 1e-4. At the first distances the products differ by three quarters.
    const product = new DifferenceProduct(line((t, i) => Math.tanh(1e4 * t) + rough(1e-7)(t, i), 1));
    const { distance } = await product.chooseDistance(one);
    expect(distance).toBeLessThan(1e-4);
    expect(off(await product.of(one), 1e4)).toBeLessThan(100);
  });

  test("is proportional to the weights, and takes at most eight products if it starts close", async () => {
    for (const length of [1e-6, 1, 1e6]) {
      const surface = line((t, i) => 2 * (t / length) + 5 * (t / length) ** 3 + rough(1e-7)(t / length, i), length);
      const product = new DifferenceProduct(surface);
      const { distance } = await product.chooseDistance(one);
      expect(distance / length).toBeGreaterThan(1e-4);
      expect(distance / length).toBeLessThan(1e-1);
      expect(surface.calls).toBe(product.gradients);
      expect(surface.calls).toBeLessThanOrEqual(16);
    }
  });

  test("is found if all weights are zero", async () => {
    const product = new DifferenceProduct(line((t, i) => 2 * t + 5 * t ** 3 + rough(1e-7)(t, i), 0));
    await product.chooseDistance(one);
    expect(off(await product.of(one), 2)).toBeLessThan(1e-3);
  });

  test("decreases until the gradient is finite", async () => {
    const product = new DifferenceProduct(line((t, i) => (Math.abs(t) > 1e-5 ? Infinity : t + rough(1e-13)(t, i)), 1));
    const { distance } = await product.chooseDistance(one);
    expect(distance).toBeLessThan(1e-5);
    expect(off(await product.of(one), 1)).toBeLessThan(1e-5);
    const never = new DifferenceProduct(line(() => Number.NaN, 1));
    await expectError(() => never.chooseDistance(one), "non-finite", "not finite beside the weights");
  });
});
