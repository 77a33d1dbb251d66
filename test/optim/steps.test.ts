import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { resnet } from "#lib/models/index.js";
import type { Device } from "#lib/native/index.js";
import { Linear, Sequential } from "#lib/nn/index.js";
import { Adam, AdamW, SGD } from "#lib/optim/index.js";
import * as schedule from "#lib/schedule/index.js";
import { backward, ones, sum, tensor } from "#lib/tensor/index.js";
import { bits } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { type Kind, Reference, type RuleOptions } from "./support/reference.js";
import {
  gradientValues,
  initialValues,
  make,
  parameterOf,
  readAll,
  relativeError,
  setGradient,
} from "./support/runs.js";

/** ‖ours − float64‖ / ‖parameter‖ after a few steps: the same bound as for 20 steps, see rules.test.ts. */
const tolerance = 1e-6;

interface Clipped {
  readonly maxNorm: number;
  readonly norm: number;
  readonly gradients: readonly (readonly number[])[];
}
const { clipping } = JSON.parse(readFileSync(new URL("../golden/optimizers.json", import.meta.url), "utf8")) as {
  clipping: readonly Clipped[];
};

/**
 * Creates parameters of 0 with a learning rate of 1. After one step of SGD they hold the negated gradient that was
 * applied.
 */
function gradientProbe(device: Device, gradients: readonly Float32Array[], options: object) {
  const parameters = gradients.map((values) => parameterOf(device, new Float32Array(values.length)));
  parameters.forEach((parameter, i) => {
    setGradient(parameter, gradients[i]!);
  });
  const optimizer = new SGD(parameters, { lr: 1, ...options });
  const applied = async () => (await readAll(parameters)).map((values) => values.map((value) => -value));
  return { optimizer, parameters, applied };
}

const kinds: Kind[] = ["SGD", "Adam", "AdamW", "Lion"];
const optionsOf = (kind: Kind): RuleOptions => (kind === "SGD" ? { lr: 0.05, momentum: 0.9 } : { lr: 0.01 });

await onEveryDevice("clipping and scaling", (device) => {
  const torchGradients = [5, 1, 30].map((size, i) => gradientValues(size, i));

  test.each(clipping)("clipNorm $maxNorm matches clip_grad_norm_", async ({ maxNorm, norm, gradients }) => {
    const { optimizer, applied } = gradientProbe(device, torchGradients, { clipNorm: maxNorm });
    optimizer.step();
    (await applied()).forEach((values, i) => {
      expect(relativeError(values, gradients[i]!)).toBeLessThan(tolerance);
    });
    const stats = await optimizer.stats();
    expect(stats.norm / norm).toBeCloseTo(1, 6);
    expect(stats.coefficient).toBeCloseTo(Math.min(1, maxNorm / norm), 6);
  });

  test("a gradient below the norm limit keeps its bits", async () => {
    const { optimizer, applied } = gradientProbe(device, torchGradients, { clipNorm: 1000 });
    optimizer.step();
    expect(await applied()).toEqual(torchGradients);
  });

  test("one norm is computed over the parameters of all groups", async () => {
    const groups = [{ where: (name: string) => name === "1", lr: 1 }];
    const clipped = gradientProbe(device, [Float32Array.of(3), Float32Array.of(4)], { clipNorm: 0.5, groups });
    clipped.optimizer.step();
    const [first, second] = await clipped.applied();
    expect(first![0]).toBeCloseTo(0.3, 6);
    expect(second![0]).toBeCloseTo(0.4, 6);
    expect((await clipped.optimizer.stats()).norm).toBe(5);
  });

  test("the norm of many elements is accurate to float32", async () => {
    const gradient = gradientValues(40_000, 0);
    const { optimizer } = gradientProbe(device, [gradient], { clipNorm: 1 });
    optimizer.step();
    const exact = Math.sqrt(gradient.reduce((total, value) => total + value * value, 0));
    // 40,000 squares in sums of at most 16384/16 terms: the rounding errors of each sum add up to about 1e-6 at worst.
    expect(Math.abs((await optimizer.stats()).norm / exact - 1)).toBeLessThan(1e-6);
  });

  // PyTorch divides by the norm plus 10⁻⁶, which matters if the norm is equally small.
  test("a norm of 1e-6 is clipped to half of itself", async () => {
    const { optimizer, applied } = gradientProbe(device, [Float32Array.of(6e-7, 8e-7)], { clipNorm: 1e-6 });
    optimizer.step();
    const [values] = await applied();
    expect(values![0]! / 3e-7).toBeCloseTo(1, 6);
    expect(values![1]! / 4e-7).toBeCloseTo(1, 6);
    expect((await optimizer.stats()).coefficient).toBeCloseTo(0.5, 6);
  });

  // The second step has gradients twice as long and therefore another coefficient. The coefficient of the first step
  // must not be used.
  test("more parameters than one block has threads are clipped by one norm, and all are updated", async () => {
    const gradients = Array.from({ length: 600 }, (_, i) => gradientValues(3, i));
    const { optimizer, parameters, applied } = gradientProbe(device, gradients, { clipNorm: 1 });
    const exact = Math.hypot(...gradients.flatMap((values) => [...values]));
    for (const factor of [1, 2]) {
      for (const [i, parameter] of parameters.entries())
        setGradient(
          parameter,
          gradients[i]!.map((value) => factor * value),
        );
      optimizer.step();
      expect(Math.abs((await optimizer.stats()).norm / (factor * exact) - 1)).toBeLessThan(1e-6);
      for (const [i, values] of (await applied()).entries()) {
        const expected = gradients[i]!.map((value) => (factor * value) / exact);
        expect(relativeError(values, expected), `parameter ${i}`).toBeLessThan(tolerance);
      }
    }
  });

  test.each([0.25, -0.5, 0])("gradientScale %f multiplies every gradient", async (gradientScale) => {
    const { optimizer, applied } = gradientProbe(device, torchGradients, { gradientScale });
    optimizer.step();
    // Adding 0 turns −0 into 0.
    const scaled = torchGradients.map((values) => values.map((value) => value * gradientScale + 0));
    expect((await applied()).map((values) => values.map((value) => value + 0))).toEqual(scaled);
  });

  test.each([0.25, -0.25])("gradientScale %f is applied before clipping", async (gradientScale) => {
    const { optimizer, applied } = gradientProbe(device, [Float32Array.of(12, -16)], {
      gradientScale,
      clipNorm: 0.5,
    });
    optimizer.step();
    const [values] = await applied();
    const sign = Math.sign(gradientScale);
    expect(values![0]).toBeCloseTo(0.3 * sign, 6);
    expect(values![1]).toBeCloseTo(-0.4 * sign, 6);
    expect((await optimizer.stats()).norm).toBe(5);
  });

  test("gradientScale may be given for a single step", async () => {
    const { optimizer, applied } = gradientProbe(device, [Float32Array.of(8)], { gradientScale: 0.5 });
    optimizer.step({ gradientScale: 0.25 });
    expect((await applied())[0]![0]).toBe(2);
    optimizer.step();
    expect((await applied())[0]![0]).toBe(2 + 4);
  });

  test("maximize clips the same way and moves in the opposite direction", async () => {
    const { optimizer, applied } = gradientProbe(device, [Float32Array.of(3, 4)], { clipNorm: 1, maximize: true });
    optimizer.step();
    const [values] = await applied();
    expect(values![0]).toBeCloseTo(-0.6, 6);
    expect(values![1]).toBeCloseTo(-0.8, 6);
  });
});

await onEveryDevice("non-finite gradients", (device) => {
  const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  // The last of 4097 elements is beyond the last whole vector.
  const size = 4097;
  const spoiled = (step: number, value: number) => gradientValues(size, step).with(size - 1, value);

  describe.each(kinds)("%s", (kind) => {
    test.each(bad)("stop: no step changes anything after a gradient with %f", async (value) => {
      const parameters = [parameterOf(device, size), parameterOf(device, 3)];
      const optimizer = make(kind, parameters, { ...optionsOf(kind), nonFinite: "stop" } as RuleOptions);
      const step = (first: Float32Array, at: number) => {
        setGradient(parameters[0]!, first);
        setGradient(parameters[1]!, gradientValues(3, at));
        optimizer.step();
      };
      const everything = async () =>
        Buffer.concat(
          (
            await readAll([
              ...parameters,
              ...[...optimizer.stateDict()].flatMap(([n, t]) => (n === "state" || n === "updates" ? [] : t)),
            ])
          ).map(bits),
        );
      step(gradientValues(size, 0), 0);
      step(gradientValues(size, 1), 1);
      const before = await everything();
      step(spoiled(2, value), 2);
      expect(await optimizer.stats()).toMatchObject({ iteration: 3, updates: 2, skipped: 1, stoppedAt: 2 });
      step(gradientValues(size, 3), 3);
      step(spoiled(4, value), 4);
      expect((await everything()).equals(before)).toBe(true);
      expect(await optimizer.stats()).toMatchObject({ iteration: 5, updates: 2, skipped: 1, stoppedAt: 2 });
    });

    test.each(bad)("skip: a step with %f in a gradient has no effect", async (value) => {
      const parameter = parameterOf(device, size);
      // Dampening distinguishes the first update from the others. The bias correction counts updates.
      const options = { ...optionsOf(kind), ...(kind === "SGD" && { dampening: 0.5 }) };
      const optimizer = make(kind, [parameter], { ...options, nonFinite: "skip" } as RuleOptions);
      const reference = new Reference(kind, options, initialValues(size));
      for (let step = 0; step < 8; step++) {
        const skip = step === 0 || step === 4 || step === 5;
        setGradient(parameter, skip ? spoiled(step, value) : gradientValues(size, step));
        optimizer.step();
        if (!skip) reference.step(gradientValues(size, step));
      }
      expect(relativeError((await parameter.read()) as Float32Array, reference.parameter)).toBeLessThan(tolerance);
      expect(await optimizer.stats()).toMatchObject({ iteration: 8, updates: 5, skipped: 3, stoppedAt: undefined });
    });
  });

  test("skip: the schedule continues", async () => {
    const parameter = parameterOf(device, Float32Array.of(0));
    const lr = schedule.linear({ budget: 4, maxLr: 1 });
    const optimizer = new SGD([parameter], { lr, nonFinite: "skip" });
    for (const value of [Number.NaN, 1]) {
      setGradient(parameter, Float32Array.of(value));
      optimizer.step();
    }
    expect(await parameter.item()).toBe(-Math.fround(lr(1)));
  });

  test("without a policy, NaN changes only the elements that have a NaN gradient", async () => {
    const parameter = parameterOf(device, 3);
    const optimizer = new SGD([parameter], { lr: 0.1 });
    setGradient(parameter, Float32Array.of(1, Number.NaN, 1));
    optimizer.step();
    expect([...(await parameter.read())].map(Number.isNaN)).toEqual([false, true, false]);
  });

  test("stop can be combined with clipping", async () => {
    const { optimizer, applied } = gradientProbe(device, [Float32Array.of(1, Number.POSITIVE_INFINITY)], {
      nonFinite: "stop",
      clipNorm: 1,
    });
    optimizer.step();
    expect((await applied())[0]!.map(Math.abs)).toEqual(Float32Array.of(0, 0));
    expect((await optimizer.stats()).stoppedAt).toBe(0);
  });
});

await onEveryDevice("the parameters that a step changes", (device) => {
  test("parameters without a gradient keep their bits and have no state", async () => {
    const parameters = [parameterOf(device, 5, "a"), parameterOf(device, 5, "b", 2)];
    const optimizer = new AdamW(parameters, { lr: 0.1, weightDecay: 0.5 });
    setGradient(parameters[0]!, gradientValues(5, 0));
    optimizer.step();
    const [a, b] = await readAll(parameters);
    expect(a).not.toEqual(initialValues(5));
    expect(b).toEqual(initialValues(5, 2));
    expect([...optimizer.stateDict().keys()]).toEqual(["state", "updates", "a.expAvg", "a.expAvgSq"]);
  });

  test("a step without any gradient throws", () => {
    const optimizer = new SGD([parameterOf(device, 2)], { lr: 0.1 });
    expect(() => optimizer.step()).toThrow(/no parameter has a gradient/);
    expect(optimizer.iteration).toBe(0);
  });

  test("SGD: the set of gradients may change from step to step, and a momentum is kept meanwhile", async () => {
    const parameters = [parameterOf(device, 9, "a"), parameterOf(device, 17, "b", 2), parameterOf(device, 3, "c", 3)];
    const options = { lr: 0.05, momentum: 0.9, weightDecay: 0.1 };
    const optimizer = new SGD(parameters, options);
    const references = parameters.map((p, i) => new Reference("SGD", options, initialValues(p.size, i + 1)));
    for (const [step, present] of [[0, 1], [0], [1, 2], [0, 1, 2], [2]].entries()) {
      optimizer.zeroGrad();
      for (const i of present) {
        const gradient = gradientValues(parameters[i]!.size, step, 100 * (i + 1));
        setGradient(parameters[i]!, gradient);
        references[i]!.step(gradient);
      }
      optimizer.step();
    }
    (await readAll(parameters)).forEach((values, i) => {
      expect(relativeError(values, references[i]!.parameter)).toBeLessThan(tolerance);
    });
  });

  // The parameters have the same sizes but separate counts and groups.
  test("parameters of one size that alternate use the rate of their group and their own count", async () => {
    const names = ["a", "b", "c"];
    const parameters = names.map((name, i) => parameterOf(device, 9, name, i + 1));
    const lrs = [0.01, 0.02, 0.04];
    const groups = lrs.map((lr, i) => ({ lr, where: (name: string) => name === names[i] }));
    const optimizer = new Adam(parameters, { lr: 1, groups });
    const references = lrs.map((lr, i) => new Reference("Adam", { lr }, initialValues(9, i + 1)));
    for (const [step, present] of [[0], [1], [2], [0, 1], [1, 2], [0, 2], [2], [1], [0, 1]].entries()) {
      optimizer.zeroGrad();
      for (const i of present) {
        const gradient = gradientValues(9, step, 100 * (i + 1));
        setGradient(parameters[i]!, gradient);
        references[i]!.step(gradient);
      }
      optimizer.step();
    }
    for (const [i, values] of (await readAll(parameters)).entries())
      expect(relativeError(values, references[i]!.parameter), names[i]).toBeLessThan(tolerance);
  });

  test("Lion: elements without a sign do not move", async () => {
    const parameter = parameterOf(device, Float32Array.of(1, 2, 3), "p");
    const optimizer = make("Lion", [parameter], { lr: 0.5 });
    setGradient(parameter, Float32Array.of(0, -0, 1));
    optimizer.step();
    expect([...(await parameter.read())]).toEqual([1, 2, 2.5]);
  });

  test("Adam: a parameter whose first gradient comes late starts with a first update, as in PyTorch", async () => {
    const parameters = [parameterOf(device, 9, "a"), parameterOf(device, 17, "b", 2)];
    const optimizer = new Adam(parameters, { lr: 0.01 });
    const reference = new Reference("Adam", { lr: 0.01 }, initialValues(17, 2));
    for (let step = 0; step < 6; step++) {
      setGradient(parameters[0]!, gradientValues(9, step));
      if (step >= 3) setGradient(parameters[1]!, gradientValues(17, step));
      if (step >= 3) reference.step(gradientValues(17, step));
      optimizer.step();
    }
    expect(relativeError((await parameters[1]!.read()) as Float32Array, reference.parameter)).toBeLessThan(tolerance);
  });

  test("a gradient of another shape throws, is named, and changes nothing", async () => {
    const parameters = [parameterOf(device, 9, "a"), parameterOf(device, 17, "b", 2)];
    const optimizer = new Adam(parameters, { lr: 0.01 });
    const reference = new Reference("Adam", { lr: 0.01 }, initialValues(9));
    setGradient(parameters[0]!, gradientValues(9, 0));
    parameters[1]!.grad = tensor(device, gradientValues(16, 0));
    expect(() => optimizer.step()).toThrow(/the gradient of b is float32\[16\], the parameter float32\[17\]/);
    expect(optimizer.iteration).toBe(0);
    parameters[1]!.grad = undefined;
    optimizer.step();
    reference.step(gradientValues(9, 0));
    expect(await optimizer.stats()).toMatchObject({ iteration: 1, updates: 1 });
    expect(relativeError((await parameters[0]!.read()) as Float32Array, reference.parameter)).toBeLessThan(tolerance);
  });

  test("frozen layers stay unchanged even if they still have an old gradient", async () => {
    const seeds = 1;
    const model = new Sequential(new Linear(3, 4, { device, seeds }), new Linear(4, 2, { device, seeds }));
    const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
    const train = () => {
      backward(sum(model.forward(ones(device, [2, 3]))));
      optimizer.step();
    };
    train();
    model.layers[0]!.freeze();
    const before = await readAll(model.parameters());
    train();
    const after = await readAll(model.parameters());
    const names = [...model.namedParameters().keys()];
    expect(names.filter((_, i) => !bits(after[i]!).equals(bits(before[i]!)))).toEqual([
      "layers.1.weight",
      "layers.1.bias",
    ]);
    model.layers[0]!.freeze(false);
    model.zeroGrad();
    train();
    const last = await readAll(model.parameters());
    expect(names.filter((_, i) => bits(last[i]!).equals(bits(after[i]!)))).toEqual([]);
  });

  test("zeroGrad directly after a step does not affect the step", async () => {
    const parameter = parameterOf(device, 4097);
    const optimizer = new SGD([parameter], { lr: 0.5 });
    const reference = new Reference("SGD", { lr: 0.5 }, initialValues(4097));
    for (let step = 0; step < 3; step++) {
      setGradient(parameter, gradientValues(4097, step));
      optimizer.step();
      optimizer.zeroGrad();
      expect(parameter.grad).toBeUndefined();
      reference.step(gradientValues(4097, step));
    }
    expect(relativeError((await parameter.read()) as Float32Array, reference.parameter)).toBeLessThan(tolerance);
  });
});

await onEveryDevice("parameter groups", (device) => {
  test("one group excludes norms and biases from decay", async () => {
    const model = resnet({ depth: 8, classes: 10, width: 4, device });
    const optimizer = new AdamW(model.parameters(), {
      lr: 0.1,
      weightDecay: 0.5,
      groups: [{ where: (_, parameter) => parameter.shape.length === 1, weightDecay: 0 }],
    });
    const before = await readAll(model.parameters());
    for (const parameter of model.parameters())
      parameter.grad = tensor(device, new Float32Array(parameter.size), parameter.shape);
    optimizer.step();
    const after = await readAll(model.parameters());
    const factor = Math.fround(1 - 0.1 * 0.5);
    [...model.namedParameters().keys()].forEach((name, i) => {
      const decays = name.endsWith("weight");
      // Without a gradient Adam adds −0·…, which leaves a float32 unchanged.
      expect(after[i], name).toEqual(decays ? before[i]!.map((value) => value * factor) : before[i]);
    });
  });

  test("a parameter belongs to the first group that matches; other parameters use the shared options", async () => {
    const names = ["stem.weight", "stem.bias", "head.weight", "head.bias"];
    const parameters = names.map((name) => parameterOf(device, Float32Array.of(0), name));
    const optimizer = new SGD(parameters, {
      lr: 1,
      groups: [
        { where: (name) => name.startsWith("head."), lr: 10 },
        { where: (name) => name.endsWith(".bias"), lr: 100 },
      ],
    });
    for (const parameter of parameters) setGradient(parameter, Float32Array.of(-1));
    optimizer.step();
    expect((await readAll(parameters)).map(([value]) => value)).toEqual([1, 100, 10, 10]);
    expect(optimizer.learningRates()).toEqual([1, 10, 100]);
  });

  test("a parameter without a name is named by its index in the list", async () => {
    const parameters = [0, 0].map((value) => tensor(device, [value], [1], { requiresGrad: true }));
    const optimizer = new SGD(parameters, { lr: 1, groups: [{ where: (name) => name === "1", lr: 2 }] });
    for (const parameter of parameters) setGradient(parameter, Float32Array.of(-1));
    optimizer.step();
    expect((await readAll(parameters)).map(([value]) => value)).toEqual([1, 2]);
    expect([...optimizer.stateDict().keys()]).toEqual(["state", "updates"]);
  });

  test("all parameters may be in a group, and an undefined option means the shared one", async () => {
    const parameter = parameterOf(device, Float32Array.of(0));
    const group = { where: () => true, lr: undefined } as unknown as { where: () => boolean };
    const optimizer = new SGD([parameter], { lr: 0.25, groups: [group] });
    expect(optimizer.learningRates()).toEqual([0.25]);
  });

  // PyTorch applies no dampening without momentum. A group must not get it because another group has a buffer.
  test("a group without momentum ignores the dampening of a group with momentum", async () => {
    const parameters = [parameterOf(device, 9, "a"), parameterOf(device, 9, "b")];
    const shared = { lr: 0.05, momentum: 0.9, dampening: 0.5 };
    const optimizer = new SGD(parameters, { ...shared, groups: [{ where: (name) => name === "b", momentum: 0 }] });
    const references = [shared, { ...shared, momentum: 0 }].map((o) => new Reference("SGD", o, initialValues(9)));
    for (let step = 0; step < 4; step++) {
      for (const parameter of parameters) setGradient(parameter, gradientValues(9, step));
      for (const reference of references) reference.step(gradientValues(9, step));
      optimizer.step();
    }
    (await readAll(parameters)).forEach((values, i) => {
      expect(relativeError(values, references[i]!.parameter)).toBeLessThan(tolerance);
    });
  });

  test("each group has a separate schedule", () => {
    const parameters = [parameterOf(device, 1, "a"), parameterOf(device, 1, "b")];
    const [slow, fast] = [schedule.linear({ budget: 4, maxLr: 1 }), schedule.cosine({ budget: 4, maxLr: 8 })];
    const optimizer = new SGD(parameters, { lr: slow, groups: [{ where: (name) => name === "b", lr: fast }] });
    const seen: number[][] = [];
    for (let step = 0; step < 4; step++) {
      seen.push(optimizer.learningRates());
      for (const parameter of parameters) setGradient(parameter, Float32Array.of(1));
      optimizer.step();
    }
    expect(seen).toEqual([0, 1, 2, 3].map((step) => [slow(step), fast(step)]));
  });
});

await onEveryDevice("schedules", (device) => {
  test.each(kinds)("%s: a constant schedule gives the same bits as a number", async (kind) => {
    const parameters = [0.03, schedule.constant({ budget: 5, maxLr: 0.03 })].map((lr) => {
      const parameter = parameterOf(device, 100);
      const optimizer = make(kind, [parameter], { lr } as RuleOptions);
      for (let step = 0; step < 5; step++) {
        setGradient(parameter, gradientValues(100, step));
        optimizer.step();
      }
      return parameter;
    });
    const [number, scheduled] = await readAll(parameters);
    expect(scheduled).toEqual(number);
  });

  test("step s uses the rate of step s, and `iteration` is the index of the next step", async () => {
    const lr = schedule.uba({ budget: 6, maxLr: 1, phi: 3 });
    const parameter = parameterOf(device, Float32Array.of(0));
    const optimizer = new SGD([parameter], { lr });
    const seen: number[] = [];
    let before = 0;
    for (let step = 0; step < 6; step++) {
      expect(optimizer.iteration).toBe(step);
      expect(optimizer.learningRates()).toEqual([lr(step)]);
      setGradient(parameter, Float32Array.of(-1));
      optimizer.step();
      const value = await parameter.item();
      seen.push(value - before);
      before = value;
    }
    // The parameter is a float32 below 4, where one unit in the last place is 2.4e-7.
    seen.forEach((difference, step) => {
      expect(Math.abs(difference - lr(step))).toBeLessThan(5e-7);
    });
    optimizer.iteration = 2;
    expect(optimizer.learningRates()).toEqual([lr(2)]);
  });

  const oneCycle = schedule.oneCycle({ budget: 12, maxLr: 0.05, cycleMomentum: true });

  test("one-cycle sets the momentum of SGD, whatever the momentum option is", async () => {
    for (const options of [{ nesterov: false }, { momentum: 0.5, nesterov: true }]) {
      const parameter = parameterOf(device, 9);
      const optimizer = new SGD([parameter], { lr: oneCycle, ...options });
      const reference = new Reference("SGD", { lr: 0, ...options }, initialValues(9));
      for (let step = 0; step < 12; step++) {
        setGradient(parameter, gradientValues(9, step));
        optimizer.step();
        reference.step(gradientValues(9, step), { lr: oneCycle(step), momentum: oneCycle.momentum!(step) });
      }
      expect(relativeError((await parameter.read()) as Float32Array, reference.parameter)).toBeLessThan(tolerance);
    }
  });

  test.each(["Adam", "AdamW"] as const)("one-cycle sets the first beta of %s", async (kind) => {
    const parameter = parameterOf(device, 9);
    const optimizer = make(kind, [parameter], { lr: oneCycle, betas: [0.5, 0.99] } as unknown as RuleOptions);
    const reference = new Reference(kind, { lr: 0 }, initialValues(9));
    for (let step = 0; step < 12; step++) {
      setGradient(parameter, gradientValues(9, step));
      optimizer.step();
      reference.step(gradientValues(9, step), { lr: oneCycle(step), betas: [oneCycle.momentum!(step), 0.99] });
    }
    expect(relativeError((await parameter.read()) as Float32Array, reference.parameter)).toBeLessThan(tolerance);
  });
});

await onEveryDevice("stats", (device) => {
  test("all values are zero before the first step", async () => {
    const optimizer = new SGD([parameterOf(device, 2)], { lr: 1 });
    expect(await optimizer.stats()).toMatchObject({
      iteration: 0,
      updates: 0,
      skipped: 0,
      stoppedAt: undefined,
      norm: 0,
    });
  });

  test("they include earlier enqueued steps and not later ones", async () => {
    const parameter = parameterOf(device, Float32Array.of(0, 0));
    const optimizer = new SGD([parameter], { lr: 1, clipNorm: 10 });
    setGradient(parameter, Float32Array.of(3, 4));
    optimizer.step();
    const first = optimizer.stats();
    setGradient(parameter, Float32Array.of(30, 40));
    optimizer.step();
    const second = optimizer.stats();
    expect(await first).toMatchObject({ iteration: 1, updates: 1, norm: 5, coefficient: 1 });
    expect(await second).toMatchObject({ iteration: 2, updates: 2, norm: 50 });
    expect((await second).coefficient).toBeCloseTo(0.2, 6);
  });

  test("the norm is measured only if clipping or the check needs it", async () => {
    const parameter = parameterOf(device, Float32Array.of(0, 0));
    const optimizer = new SGD([parameter], { lr: 1 });
    setGradient(parameter, Float32Array.of(3, 4));
    optimizer.step();
    expect(await optimizer.stats()).toMatchObject({ updates: 1, norm: 0, coefficient: 1 });
    expect(optimizer.checksGradients).toBe(false);
  });
});
