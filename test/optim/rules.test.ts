import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { AdamW } from "#lib/optim/index.js";
import { bits } from "../support/compare.js";
import { cpuDevices, onEveryDevice, open } from "../support/devices.js";
import { type Kind, Reference, type RuleOptions } from "./support/reference.js";
import {
  gradientValues,
  initialValues,
  make,
  parameterOf,
  readAll,
  relativeError,
  scheduleOf,
  setGradient,
} from "./support/runs.js";

/** From PyTorch 1.13 in float64 (for Lion, from a separate program): see test/golden/optimizers.py. */
interface TorchRun {
  readonly optimizer: Kind;
  readonly options: RuleOptions;
  /** Values after each of the stored steps. */
  readonly parameters: readonly (readonly number[])[];
  readonly rates?: readonly number[];
  readonly momenta?: readonly number[];
}
interface Golden {
  readonly stored: readonly number[];
  readonly runs: readonly TorchRun[];
  readonly groups: {
    readonly lr: number;
    readonly options: readonly Partial<RuleOptions>[];
    readonly parameters: readonly (readonly number[])[];
  };
}
const golden: Golden = JSON.parse(readFileSync(new URL("../golden/optimizers.json", import.meta.url), "utf8"));

const steps = 20;
const runs = golden.runs.map((run) => {
  const { lr: _, ...shown } = run.options;
  const scheduled = `${run.rates ? ", scheduled rate" : ""}${run.momenta ? " and momentum" : ""}`;
  return { ...run, title: `${run.optimizer} ${JSON.stringify(shown).replaceAll('"', "")}${scheduled}` };
});

/** The options that the schedule of a run sets at a step. */
function changesAt({ rates, momenta }: TorchRun, step: number): Partial<RuleOptions> {
  return { ...(rates && { lr: rates[step]! }), ...(momenta && { momentum: momenta[step]! }) };
}

describe("the float64 reference agrees with PyTorch, and for Lion with another program", () => {
  // Both are float64 and differ in the order of operations, which gives a few units of 1e-16 per step.
  const tolerance = 1e-14;

  test("for every rule", () => {
    expect(new Set(runs.map(({ optimizer }) => optimizer))).toEqual(new Set(["SGD", "Adam", "AdamW", "Lion"]));
    expect(new Set(runs.map(({ title }) => title)).size).toBe(runs.length);
  });

  test.each(runs)("$title", (run) => {
    const reference = new Reference(run.optimizer, run.options, initialValues(9));
    const stored: Float64Array[] = [];
    for (let step = 0; step < steps; step++) {
      reference.step(gradientValues(9, step), changesAt(run, step));
      if (golden.stored.includes(step + 1)) stored.push(reference.parameter.slice());
    }
    expect(stored.length).toBe(3);
    stored.forEach((values, i) => {
      expect(relativeError(values, run.parameters[i]!)).toBeLessThan(tolerance);
    });
  });
});

/**
 * ‖ours − float64‖ / ‖parameter‖ after 20 steps. Each step rounds the parameter once, by at most 6e-8 of its size. 20
 * roundings in one direction would give 1.2e-6; with random signs they give about 1e-7. AdamW's decay is a second
 * rounding, up to 5e-7 for a single element. Earlier float32 errors of the rule are multiplied by the learning rate, so
 * they are small compared with the parameter.
 */
const tolerance = 1e-6;

// Sizes of zero, one, around a vector of 8 lanes, around a quarter of a chunk, and over two chunks of 16384.
const sizes = [0, 1, 7, 8, 9, 4097, 40_000];

const expected = new Map<string, Float64Array[]>();
function expectedOf(run: TorchRun & { title: string }): Float64Array[] {
  const known = expected.get(run.title);
  if (known) return known;
  const made = sizes.map((size, i) => {
    const reference = new Reference(run.optimizer, run.options, initialValues(size, i + 1));
    for (let step = 0; step < steps; step++)
      reference.step(gradientValues(size, step, 100 * (i + 1)), changesAt(run, step));
    return reference.parameter;
  });
  expected.set(run.title, made);
  return made;
}

await onEveryDevice("20 steps agree with the float64 reference", (device) => {
  test.each(runs)("$title", async (run) => {
    const parameters = sizes.map((size, i) => parameterOf(device, size, `p${i}`, i + 1));
    const lr = run.rates ? scheduleOf(run.rates, run.momenta) : run.options.lr;
    const optimizer = make(run.optimizer, parameters, { ...run.options, lr } as RuleOptions);
    for (let step = 0; step < steps; step++) {
      parameters.forEach((parameter, i) => {
        setGradient(parameter, gradientValues(sizes[i]!, step, 100 * (i + 1)));
      });
      optimizer.step();
    }
    const got = await readAll(parameters);
    expectedOf(run).forEach((values, i) => {
      expect(relativeError(got[i]!, values), `${sizes[i]} elements`).toBeLessThan(tolerance);
    });
    optimizer.dispose();
  });

  test("for an empty tensor alone", async () => {
    const parameter = parameterOf(device, 0);
    const optimizer = make("AdamW", [parameter], { lr: 0.1 });
    setGradient(parameter, new Float32Array(0));
    optimizer.step();
    expect((await parameter.read()).length).toBe(0);
    expect((await optimizer.stats()).updates).toBe(1);
  });

  test("for groups with different options in one step", async () => {
    const { lr, options, parameters: torch } = golden.groups;
    const parameters = torch.map((values, i) => parameterOf(device, values.length, `p${i}`, 10 + i));
    const groups = options.map((group, i) => ({ ...group, where: (name: string) => name === `p${i}` }));
    const optimizer = new AdamW(parameters, { lr, groups });
    for (let step = 0; step < steps; step++) {
      parameters.forEach((parameter, i) => {
        setGradient(parameter, gradientValues(parameter.size, step, 1000 * (i + 1)));
      });
      optimizer.step();
    }
    (await readAll(parameters)).forEach((values, i) => {
      expect(relativeError(values, torch[i]!), `group ${i}`).toBeLessThan(tolerance);
    });
  });
});

// One case for each kernel, and every scalar that a step prepares.
const kernels: { kind: Kind; options: RuleOptions }[] = [
  { kind: "SGD", options: { lr: 0.05, weightDecay: 0.1 } },
  { kind: "SGD", options: { lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 0.1 } },
  { kind: "Adam", options: { lr: 0.01, weightDecay: 0.1 } },
  { kind: "AdamW", options: { lr: 0.01, amsgrad: true, betas: [0.9, 0.8] } },
  { kind: "Lion", options: { lr: 0.01, weightDecay: 0.1 } },
];

describe.each(cpuDevices.map((one) => [one.label, one] as const))("a step gives the same bits (%s)", (_, one) => {
  test.each(kernels)("for any number of threads: $kind $options", async ({ kind, options }) => {
    const results = await Promise.all(
      [1, 2, 3].map(async (threads) => {
        const device = await open(one, { threads });
        const parameters = sizes.map((size, i) => parameterOf(device, size, `p${i}`, i + 1));
        // Clipping is on, so that the sum of the norm over all tensors is compared too.
        const optimizer = make(kind, parameters, { ...options, clipNorm: 1 } as RuleOptions);
        for (let step = 0; step < 5; step++) {
          parameters.forEach((parameter, i) => {
            setGradient(parameter, gradientValues(sizes[i]!, step, 100 * (i + 1)));
          });
          optimizer.step();
        }
        const values = await readAll(parameters);
        await device.close();
        return Buffer.concat(values.map(bits));
      }),
    );
    expect(results[0]!.length).toBe(4 * sizes.reduce((total, size) => total + size, 0));
    expect(results[1]!.equals(results[0]!)).toBe(true);
    expect(results[2]!.equals(results[0]!)).toBe(true);
  });

  test.each(kernels)(
    "for a hundred tensors and for one tensor with the same data: $kind $options",
    async ({ kind, options }) => {
      const device = await open(one, { threads: 2 });
      // Tensors of 0 to 99 elements have every remainder of a vector, at every offset.
      const bounds = Array.from({ length: 101 }, (_, i) => (i * (i - 1)) / 2);
      const whole = parameterOf(device, bounds[100]!);
      const parts = Array.from({ length: 100 }, (_, i) =>
        parameterOf(device, initialValues(bounds[100]!).slice(bounds[i], bounds[i + 1])),
      );
      const together = make(kind, [whole], options);
      const apart = make(kind, parts, options);
      for (let step = 0; step < 5; step++) {
        const gradient = gradientValues(bounds[100]!, step);
        setGradient(whole, gradient);
        parts.forEach((part, i) => {
          setGradient(part, gradient.slice(bounds[i], bounds[i + 1]));
        });
        together.step();
        apart.step();
      }
      const values = await readAll(parts);
      expect(Buffer.concat(values.map(bits)).equals(bits(await whole.read()))).toBe(true);
      await device.close();
    },
  );
});
