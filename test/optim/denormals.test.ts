// A CPU computes with denormal numbers up to a hundred times more slowly than with others. No step stores one on any
// device. The threads that run kernels treat them as zero. JavaScript's own thread is not affected.
import { describe, expect, test } from "vitest";
import * as ops from "#lib/tensor/index.js";
import { cpuDevices, devices, onEveryDevice, open } from "../support/devices.js";
import type { Kind, RuleOptions } from "./support/reference.js";
import { initialValues, make, parameterOf, setGradient } from "./support/runs.js";
import { storages } from "./support/storages.js";

const leastNormal = 2 ** -126;

// The betas are exact in float32, and small enough for both moments to decay to zero within 4,000 steps.
const rules: { kind: Kind; options: RuleOptions; betas: readonly number[] }[] = [
  { kind: "SGD", options: { lr: 0.01, momentum: 0.9375 }, betas: [0.9375] },
  { kind: "Adam", options: { lr: 0.01, betas: [0.875, 0.9375] }, betas: [0.875, 0.9375] },
  { kind: "AdamW", options: { lr: 0.25, weightDecay: 0.5, betas: [0.875, 0.9375] }, betas: [0.875, 0.9375] },
  { kind: "AdamW", options: { lr: 0.01, amsgrad: true, betas: [0.875, 0.9375] }, betas: [0.875, 0.9375, 1] },
  { kind: "Lion", options: { lr: 0.01, betas: [0.875, 0.9375] }, betas: [0.9375] },
];

/** The values as float32, from either storage type. */
function floats(values: unknown): Float32Array {
  if (values instanceof Float32Array) return values;
  const halves = values as Uint16Array;
  return new Float32Array(Uint32Array.from(halves, (bits) => bits << 16).buffer);
}

const isDenormal = (value: number) => value !== 0 && Math.abs(value) < leastNormal;

await onEveryDevice("4,000 steps with zero gradients", (device) => {
  describe.each(storages)("$title", (storage) => {
    test.each(rules)("leave no denormal number: $kind $options", async ({ kind, options, betas }) => {
      const size = 20;
      const parameter = parameterOf(device, size, "p", 1, storage.dtype);
      const optimizer = make(kind, [parameter], { ...options, ...storage.options } as RuleOptions);
      // Magnitudes from 1 to 1e-30, so that elements become denormal at many different steps.
      const gradient = initialValues(size).map((value, i) => value * 10 ** (-1.5 * i));
      setGradient(parameter, gradient);
      optimizer.step();
      optimizer.tabulate();
      ops.fill(parameter.grad!, 0);
      const captured = device.capture(() => optimizer.step());
      const kept = [...optimizer.stateDict()].filter(([name]) => name !== "state" && name !== "updates");
      const moments = kept.filter(([name]) => !name.endsWith(".master"));
      expect(moments.length).toBe(betas.length);
      const read = () => Promise.all(moments.map(async ([, tensor]) => floats(await tensor.read())));
      const first = await read();
      let steps = 0;
      for (const target of [1, 200, 600, 650, 1300, 4000]) {
        captured.replay(target - steps);
        steps = target;
        for (const [i, values] of (await read()).entries()) {
          const what = `${moments[i]![0]} after ${steps} steps`;
          expect(values.filter(isDenormal), what).toEqual(new Float32Array(0));
          // Without a gradient a moment is multiplied by its beta, here in float64. A bfloat16 moment is rounded
          // stochastically and is left out.
          if (moments[i]![1].dtype === "bfloat16") continue;
          for (const [j, value] of values.entries()) {
            const exact = first[i]![j]! * betas[i]! ** steps;
            const allowed = leastNormal + steps * 2 ** -24 * Math.abs(exact);
            expect(Math.abs(value - exact), `${what}, element ${j}`).toBeLessThanOrEqual(allowed);
          }
        }
      }
      for (const [name, tensor] of [...kept, ["p", parameter] as const])
        expect(floats(await tensor.read()).filter(isDenormal), name).toEqual(new Float32Array(0));
      // All moments have decayed to zero except the maximum, and Adam's bfloat16 momenta of the first step.
      if (!storage.options.momentType?.startsWith("b"))
        for (const [i, values] of (await read()).entries())
          if (betas[i]! < 1) expect(values.every((value) => value === 0)).toBe(true);
      captured.dispose();
      optimizer.dispose();
    });
  });

  test("a step keeps the smallest normal number in a parameter and a second moment, and flushes smaller ones to zero", async () => {
    const below = 1 - 2 ** -23;
    const parameter = parameterOf(device, Float32Array.of(leastNormal, -leastNormal, 2 * below * leastNormal, 0), "p");
    const optimizer = make("Adam", [parameter], { lr: 0, betas: [0, 0] });
    setGradient(parameter, Float32Array.of(2 ** -63, -(2 ** -63), 2 ** -63 * below, 2 ** -62));
    optimizer.step();
    expect([...(await parameter.read())]).toEqual([leastNormal, -leastNormal, 2 * below * leastNormal, 0]);
    expect([...(await optimizer.stateDict().get("p.expAvgSq")!.read())]).toEqual([
      leastNormal,
      leastNormal,
      0,
      2 ** -124,
    ]);
    optimizer.dispose();
    const halved = parameterOf(
      device,
      Float32Array.of(2 * leastNormal, -2 * leastNormal, 2 * below * leastNormal),
      "h",
    );
    const decay = make("SGD", [halved], { lr: 0.5, weightDecay: 1 });
    setGradient(halved, new Float32Array(3));
    decay.step();
    expect([...(await halved.read())].map((value) => value + 0)).toEqual([leastNormal, -leastNormal, 0]);
    decay.dispose();
  });

  test("a gradient whose square is denormal adds nothing to the second moment", async () => {
    const parameter = parameterOf(device, Float32Array.of(1, 1, 1, 1), "p");
    const optimizer = make("Adam", [parameter], { lr: 0.1, betas: [0.5, 0.5] });
    setGradient(parameter, Float32Array.of(1e-19, 1e-20, 1e-30, 1e-18));
    optimizer.step();
    const second = (await optimizer.stateDict().get("p.expAvgSq")!.read()) as Float32Array;
    for (const [i, exact] of [0.5e-38, 0.5e-40, 0.5e-60, 0.5e-36].entries())
      expect(Math.abs(second[i]! - exact)).toBeLessThan(leastNormal);
    expect(second[3]).toBeGreaterThan(0);
    optimizer.dispose();
  });
});

// The compiler cannot compute the result of this in advance.
const halfOf = (values: Float64Array) => values.map((value) => value / 2);

test.each(devices.map((one) => [one.label, one] as const))(
  "the JavaScript thread keeps denormal numbers while %s works",
  async (_, one) => {
    const device = await open(one, one.name === "cpu" ? { threads: 3 } : {});
    const parameter = parameterOf(device, 100_000, "p");
    const optimizer = make("AdamW", [parameter], { lr: 0.1, clipNorm: 1 } as RuleOptions);
    const expectDenormals = () => {
      const values = halfOf(Float64Array.of(2 ** -1022, 2 ** -1073, Math.fround(2 ** -148)));
      expect(values).toEqual(Float64Array.of(2 ** -1023, 2 ** -1074, 2 ** -149));
      expect(Math.fround(values[2]!)).toBe(2 ** -149);
    };
    for (let step = 0; step < 3; step++) {
      setGradient(parameter, initialValues(100_000, step));
      const product = ops.multiply(parameter, parameter);
      optimizer.step();
      expectDenormals();
      await product.read();
      expectDenormals();
    }
    await device.close();
    expectDenormals();
  },
);

test.each(cpuDevices.map((one) => [one.label, one] as const))(
  "a synchronous step over arrays does not change how the JavaScript thread treats denormal numbers: %s",
  async (_, one) => {
    const device = await open(one, { threads: 2 });
    const parameter = initialValues(50_000);
    const optimizer = make("SGD", [parameter as never], { lr: 0.1, momentum: 0.9, device } as never);
    (optimizer as unknown as { step(gradients: unknown[]): void }).step([initialValues(50_000, 2)]);
    expect(halfOf(Float64Array.of(2 ** -1022))).toEqual(Float64Array.of(2 ** -1023));
    await device.close();
  },
);

test.each(cpuDevices.map((one) => [one.label, one] as const))(
  "kernels treat denormal numbers as zero on every thread: %s",
  async (_, one) => {
    const device = await open(one, { threads: 4 });
    const size = 400_000;
    const values = new Float32Array(size).fill(2 ** -140);
    const x = parameterOf(device, values, "x");
    const product = (await ops.multiply(x, 2).read()) as Float32Array;
    expect(product.every((value) => value === 0)).toBe(true);
    const small = parameterOf(device, new Float32Array(size).fill(2 ** -100), "small");
    const square = (await ops.multiply(small, small).read()) as Float32Array;
    expect(square.every((value) => value === 0)).toBe(true);
    // Values that are only copied stay as they are.
    expect(await x.read()).toEqual(values);
    await device.close();
  },
);
