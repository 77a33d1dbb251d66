// With zeroGradients the update writes zeros to the gradients in the same pass that reads them.
import { expect, test } from "vitest";
import { SGD } from "#lib/optim/index.js";
import * as schedule from "#lib/schedule/index.js";
import { bits } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import type { Kind, RuleOptions } from "./support/reference.js";
import { bitsByName, gradientValues, make, parameterOf, scheduleOf, setGradient } from "./support/runs.js";
import { storages } from "./support/storages.js";

// Sizes of zero, less than a vector, one more than whole vectors, and over a chunk of 16384.
const sizes = [0, 3, 1025, 20_001];
const rules: { kind: Kind; options: RuleOptions }[] = [
  { kind: "SGD", options: { lr: 0.05 } },
  { kind: "SGD", options: { lr: 0.05, momentum: 0.9 } },
  { kind: "AdamW", options: { lr: 0.01 } },
  { kind: "Adam", options: { lr: 0.01, amsgrad: true } },
  { kind: "Lion", options: { lr: 0.01 } },
];

await onEveryDevice("zeroGradients", (device) => {
  const cases = rules.flatMap((rule) => storages.map((storage) => ({ ...rule, storage, title: storage.title })));
  test.each(cases)("zeroes the gradients in place: $kind $options, $title", async ({ kind, options, storage }) => {
    const run = (zeroGradients: boolean | undefined) => {
      const parameters = sizes.map((size, i) => parameterOf(device, size, `p${i}`, i + 1, storage.dtype));
      const all = { ...options, ...storage.options, nonFinite: "skip", clipNorm: 1, zeroGradients };
      return { parameters, optimizer: make(kind, parameters, all as RuleOptions) };
    };
    const [zeroing, leaving] = [run(true), run(undefined)];
    for (let step = 0; step < 4; step++) {
      for (const { parameters } of [zeroing, leaving])
        for (const [i, parameter] of parameters.entries()) {
          const gradient = gradientValues(sizes[i]!, step, 100 * (i + 1));
          // The third step is skipped.
          setGradient(parameter, step === 2 && i === 2 ? gradient.with(1024, Number.NaN) : gradient);
        }
      const before = await Promise.all(leaving.parameters.map(({ grad }) => grad!.read()));
      const gradients = zeroing.parameters.map(({ grad }) => grad);
      for (const { optimizer } of [zeroing, leaving]) optimizer.step();
      for (const [i, { grad }] of zeroing.parameters.entries()) {
        // The tensor stays the same and all its bits are 0, at a skipped step too.
        expect(grad).toBe(gradients[i]);
        expect(
          bits(await grad!.read()).every((byte) => byte === 0),
          `gradient ${i} after step ${step}`,
        ).toBe(true);
      }
      for (const [i, { grad }] of leaving.parameters.entries())
        expect(bits(await grad!.read()).equals(bits(before[i]!)), `gradient ${i} after step ${step}`).toBe(true);
    }
    const [a, b] = [zeroing, leaving].map(({ parameters, optimizer }) =>
      bitsByName([...parameters.map((one) => [one.name, one] as const), ...optimizer.stateDict()]),
    );
    expect(await a).toEqual(await b);
    expect(await zeroing.optimizer.stats()).toMatchObject({ iteration: 4, updates: 3, skipped: 1 });
    for (const { parameters, optimizer } of [zeroing, leaving]) {
      optimizer.dispose();
      for (const parameter of parameters) {
        parameter.zeroGrad();
        parameter.dispose();
      }
    }
  });

  test("zeroes the gradients after a stop too", async () => {
    const parameter = parameterOf(device, 9);
    const optimizer = new SGD([parameter], { lr: 1, nonFinite: "stop", zeroGradients: true });
    setGradient(parameter, gradientValues(9, 0).with(3, Number.NaN));
    optimizer.step();
    const value = await parameter.read();
    for (let step = 0; step < 2; step++) {
      parameter.grad!.write(gradientValues(9, step));
      optimizer.step();
      expect(await parameter.grad!.read()).toEqual(new Float32Array(9));
    }
    expect(await parameter.read()).toEqual(value);
  });

  test("creates no gradient for a parameter without one", () => {
    const parameters = [parameterOf(device, 3), parameterOf(device, 3)];
    const optimizer = new SGD(parameters, { lr: 1, zeroGradients: true });
    setGradient(parameters[1]!, gradientValues(3, 0));
    optimizer.step();
    expect(parameters[0]!.grad).toBeUndefined();
  });
});

await onEveryDevice("the learning rates of the last step", (device) => {
  test("are reported for every group, as the device resolved them", async () => {
    const parameters = ["a", "b", "c"].map((name) => parameterOf(device, 3, name));
    const cosine = schedule.cosine({ budget: 8, maxLr: 0.3 });
    const groups = [
      { where: (name: string) => name === "c", lr: scheduleOf([0.5, 0.25, 0.125, 0.0625]) },
      { where: (name: string) => name === "a", lr: 0.1 },
    ];
    for (const tabulated of [false, true]) {
      const optimizer = new SGD(parameters, { lr: cosine, groups });
      expect((await optimizer.stats()).learningRates).toEqual([0, 0, 0]);
      if (tabulated) optimizer.tabulate(4);
      for (let step = 0; step < 4; step++) {
        for (const parameter of parameters) setGradient(parameter, gradientValues(3, step));
        const next = optimizer.learningRates();
        optimizer.step();
        // Both sides are float64, so the numbers are identical.
        expect((await optimizer.stats()).learningRates).toEqual([cosine(step), 0.5 / 2 ** step, 0.1]);
        expect((await optimizer.stats()).learningRates).toEqual(next);
      }
    }
  });

  test("are reported for a skipped step too", async () => {
    const parameter = parameterOf(device, 3);
    const optimizer = new SGD([parameter], { lr: scheduleOf([0.5, 0.25]), nonFinite: "skip" });
    for (const value of [1, Number.NaN]) {
      setGradient(parameter, new Float32Array(3).fill(value));
      optimizer.step();
    }
    const expected = { iteration: 2, updates: 1, skipped: 1, learningRates: [0.25] };
    expect(await optimizer.stats()).toMatchObject(expected);
  });
});
