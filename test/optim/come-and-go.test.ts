// Parameters whose first gradient comes late, that have gradients at some steps only, or that are frozen for a while.
// Each parameter counts its own updates, as in PyTorch. So does a captured step, and so does a resumed run.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Capture, Device } from "#lib/native/index.js";
import type { Optimizer } from "#lib/optim/index.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import { type Kind, Reference, type RuleOptions } from "./support/reference.js";
import {
  bitsByName,
  gradientValues,
  initialValues,
  make,
  parameterOf,
  readAll,
  relativeError,
  scheduleOf,
} from "./support/runs.js";
import { storages } from "./support/storages.js";

type Lists = readonly (readonly number[])[];
/** From PyTorch 2.6 in float64 (for Lion, from a separate program): see test/golden/optimizer_steps.py. */
interface Golden {
  readonly comeAndGo: readonly {
    readonly optimizer: Kind;
    readonly options: RuleOptions;
    /** Options by parameter that differ from the shared options. */
    readonly groups?: Readonly<Record<string, Partial<RuleOptions>>>;
    /** Values after 8 and after 20 steps. */
    readonly parameters: readonly Lists[];
  }[];
  readonly stopped: readonly {
    readonly optimizer: Kind;
    readonly options: RuleOptions;
    readonly stop: number;
    readonly start: Lists;
    readonly state: Readonly<Record<string, readonly number[]>>;
    readonly end: Lists;
  }[];
  readonly oneCycle: readonly {
    readonly optimizer: Kind;
    readonly options: RuleOptions;
    readonly rates: readonly number[];
    readonly momenta: readonly number[];
    readonly parameters: Lists;
  }[];
}
const golden: Golden = JSON.parse(readFileSync(new URL("../golden/optimizer_steps.json", import.meta.url), "utf8"));

const steps = 20;
const stored = [8, 20];
const sizes = [9, 4, 5, 3];
/** The steps at which each parameter has a gradient: always, late, alternating, and except while it is frozen. */
const takesPart = [
  () => true,
  (step: number) => step >= 7,
  (step: number) => step % 3 !== 1,
  (step: number) => step < 5 || step >= 12,
];
const gradientOf = (i: number, step: number) => gradientValues(sizes[i]!, step, 100 * (i + 1));

// Twenty roundings of a parameter by 6e-8 of its size each; see rules.test.ts.
const tolerance = 1e-6;

const runs = golden.comeAndGo.map((run) => ({
  ...run,
  title: `${run.optimizer} ${JSON.stringify({ ...run.options, ...(run.groups && { groups: run.groups }) })}`,
}));

interface Run {
  readonly optimizer: Kind;
  readonly options: object;
  readonly groups?: Readonly<Record<string, object>>;
}

/** Parameters, their gradients as persistent tensors, and the optimizer. */
function setUp(
  device: Device,
  { optimizer: kind, options, groups = {} }: Run,
  dtype: "float32" | "bfloat16" = "float32",
) {
  const parameters = sizes.map((size, i) => parameterOf(device, size, `p${i}`, i + 1, dtype));
  const chosen = Object.entries(groups).map(([i, more]) => ({ ...more, where: (name: string) => name === `p${i}` }));
  const optimizer = make(kind, parameters, { ...options, groups: chosen } as never);
  const gradients = parameters.map(({ size }) => tensor(device, new Float32Array(size), [size], { dtype }));
  /** Sets the gradients of the parameters for a step. */
  const give = (step: number) => {
    for (const [i, parameter] of parameters.entries()) {
      const values = gradientOf(i, step);
      gradients[i]!.write(dtype === "bfloat16" ? lowBits(values) : values);
      parameter.grad = takesPart[i]!(step) ? gradients[i] : undefined;
    }
  };
  const everything = async () =>
    Object.fromEntries(
      await bitsByName([...parameters.map((one) => [one.name, one] as const), ...optimizer.stateDict()]),
    );
  const dispose = () => {
    optimizer.dispose();
    for (const one of [...parameters, ...gradients]) one.dispose();
  };
  return { parameters, optimizer, give, everything, dispose };
}

/** The upper halves of the values. The gradients here have few digits, which bfloat16 holds exactly. */
function lowBits(values: Float32Array): Uint16Array {
  return Uint16Array.from(new Uint32Array(values.slice().buffer), (bits) => bits >>> 16);
}

test("the float64 reference counts updates per parameter, as PyTorch does", () => {
  for (const { optimizer, options, groups = {}, parameters } of golden.comeAndGo)
    for (const [i, size] of sizes.entries()) {
      const reference = new Reference(optimizer, { ...options, ...groups[String(i)] }, initialValues(size, i + 1));
      for (let step = 0; step < steps; step++) {
        if (takesPart[i]!(step)) reference.step(gradientOf(i, step));
        const at = stored.indexOf(step + 1);
        if (at >= 0) expect(relativeError(reference.parameter, parameters[at]![i]!)).toBeLessThan(1e-14);
      }
    }
});

await onEveryDevice("parameters with gradients at some steps only", (device) => {
  test.each(runs)("match PyTorch: $title", async (run) => {
    const { parameters, optimizer, give, dispose } = setUp(device, run);
    for (let step = 0; step < steps; step++) {
      give(step);
      optimizer.step();
      const at = stored.indexOf(step + 1);
      if (at < 0) continue;
      const values = await readAll(parameters);
      for (const [i, expected] of run.parameters[at]!.entries())
        expect(relativeError(values[i]!, expected), `p${i} after ${step + 1} steps`).toBeLessThan(tolerance);
    }
    const counts = sizes.map((_, i) => Array.from({ length: steps }, (_, s) => s).filter(takesPart[i]!).length);
    expect(await optimizer.stateDict().get("updates")!.read()).toEqual(Int32Array.from(counts));
    dispose();
  });

  test.each(runs)("get the same bits from captured steps: $title", async (run) => {
    const eager = setUp(device, run);
    const captured = setUp(device, run);
    captured.optimizer.tabulate();
    const graphs = new Map<string, Capture>();
    for (let step = 0; step < steps; step++) {
      eager.give(step);
      eager.optimizer.step();
      captured.give(step);
      const who = takesPart.map((one) => one(step)).join();
      if (!graphs.has(who))
        graphs.set(
          who,
          device.capture(() => captured.optimizer.step()),
        );
      graphs.get(who)!.replay();
    }
    expect(graphs.size).toBeGreaterThan(3);
    const [expected, got] = await Promise.all([eager.everything(), captured.everything()]);
    // A captured run creates the optimizer state of every parameter before its first gradient.
    for (const [name, text] of Object.entries(expected)) expect(got[name], name).toBe(text);
    for (const graph of graphs.values()) graph.dispose();
    eager.dispose();
    captured.dispose();
  });

  describe.each(storages)("$title", ({ dtype, options }) => {
    test.each([
      { optimizer: "SGD", options: { lr: 0.05, momentum: 0.9, dampening: 0.3, ...options } },
      { optimizer: "AdamW", options: { lr: 0.01, amsgrad: true, clipNorm: 1, ...options } },
    ] as const)("continue with the same bits after a resume: $optimizer", async (run) => {
      for (const stop of [6, 11]) {
        const whole = setUp(device, run, dtype as "float32");
        const first = setUp(device, run, dtype as "float32");
        const second = setUp(device, run, dtype as "float32");
        for (let step = 0; step < steps; step++) {
          if (step === stop) {
            for (const [i, parameter] of second.parameters.entries())
              parameter.write((await first.parameters[i]!.read()) as Float32Array);
            second.optimizer.loadStateDict(await copied(device, first.optimizer));
            second.optimizer.iteration = stop;
          }
          for (const { give, optimizer } of [whole, step < stop ? first : second]) {
            give(step);
            optimizer.step();
          }
        }
        expect(await second.everything()).toEqual(await whole.everything());
        for (const one of [whole, first, second]) one.dispose();
      }
    });
  });

  test.each(golden.stopped)("continue from PyTorch's state: $optimizer, stopped after $stop steps", async (run) => {
    const { parameters, optimizer, give, dispose } = setUp(device, run);
    for (const [i, parameter] of parameters.entries()) parameter.write(Float32Array.from(run.start[i]!));
    const state = new Map(
      Object.entries(run.state).map(([name, values]) => {
        const shape = name.endsWith(".step") ? [] : [values.length];
        return [name, tensor(device, Float32Array.from(values), shape)] as const;
      }),
    );
    // The state of SGD has no count. It only shows that there is a buffer.
    await optimizer.loadTorchState(state, run.optimizer === "SGD" ? run.stop : undefined);
    expect(optimizer.iteration).toBe(run.stop);
    for (let step = run.stop; step < steps; step++) {
      give(step);
      optimizer.step();
    }
    const values = await readAll(parameters);
    for (const [i, expected] of run.end.entries())
      expect(relativeError(values[i]!, expected), `p${i}`).toBeLessThan(tolerance);
    dispose();
  });

  test("continue as before from the state of an earlier version, which has one count for all parameters", async () => {
    const run = { optimizer: "Adam", options: { lr: 0.01 } } as const;
    const stop = 6;
    const first = setUp(device, run);
    const second = setUp(device, run);
    const exact = sizes.map((size, i) => new Reference("Adam", { lr: 0.01 }, initialValues(size, i + 1)));
    for (let step = 0; step < stop; step++) {
      first.give(step);
      first.optimizer.step();
      // The earlier version also counted steps without a gradient, as if the gradient had been zero.
      for (const [i, one] of exact.entries()) if (takesPart[i]!(step)) one.step(gradientOf(i, step));
    }
    for (const [i, one] of first.parameters.entries()) second.parameters[i]!.write((await one.read()) as Float32Array);
    const state = await copied(device, first.optimizer);
    state.delete("updates");
    second.optimizer.loadStateDict(state);
    second.give(stop);
    second.optimizer.step();
    // p1 gets its first gradient at a later step and has none at this one.
    expect(await second.optimizer.stateDict().get("updates")!.read()).toEqual(Int32Array.of(7, 0, 7, 6));
    // p0 was updated at every step, so its count is the same in both versions.
    exact[0]!.step(gradientOf(0, stop));
    expect(relativeError((await second.parameters[0]!.read()) as Float32Array, exact[0]!.parameter)).toBeLessThan(
      tolerance,
    );
    first.dispose();
    second.dispose();
  });

  test("count no update at a skipped step", async () => {
    const run = { optimizer: "Adam", options: { lr: 0.01, nonFinite: "skip" } } as const;
    const { parameters, optimizer, give, dispose } = setUp(device, run);
    for (let step = 0; step < 3; step++) {
      give(step);
      if (step === 1) parameters[0]!.grad!.write(new Float32Array(9).fill(Number.NaN));
      optimizer.step();
    }
    expect(await optimizer.stateDict().get("updates")!.read()).toEqual(Int32Array.of(2, 0, 2, 2));
    dispose();
  });
});

/** Copies of the optimizer state, as a checkpoint holds them. */
async function copied(device: Device, optimizer: Optimizer<never>): Promise<Map<string, Tensor>> {
  const state = new Map<string, Tensor>();
  for (const [name, { dtype, shape, ...one }] of [...optimizer.stateDict()].map(
    ([name, one]) => [name, { dtype: one.dtype, shape: one.shape, read: () => one.read() }] as const,
  ))
    state.set(name, tensor(device, await one.read(), shape, { dtype }));
  return state;
}

await onEveryDevice("a first beta that the schedule changes", (device) => {
  test.each(golden.oneCycle)("is corrected for bias as in PyTorch: $optimizer $options", async (run) => {
    const results: Record<string, string>[] = [];
    for (const tabulated of [false, true]) {
      const parameter = parameterOf(device, 9, "p");
      const optimizer = make(run.optimizer, [parameter], {
        ...run.options,
        lr: scheduleOf(run.rates, run.momenta),
      } as never);
      if (tabulated) optimizer.tabulate();
      const gradient = tensor(device, new Float32Array(9), [9]);
      parameter.grad = gradient;
      const captured = tabulated ? device.capture(() => optimizer.step()) : undefined;
      for (let step = 0; step < steps; step++) {
        gradient.write(gradientValues(9, step));
        if (captured) captured.replay();
        else optimizer.step();
        const at = stored.indexOf(step + 1);
        if (at < 0) continue;
        const values = (await parameter.read()) as Float32Array;
        expect(relativeError(values, run.parameters[at]!), `after ${step + 1} steps`).toBeLessThan(tolerance);
      }
      results.push(Object.fromEntries(await bitsByName([["p", parameter], ...optimizer.stateDict()])));
      captured?.dispose();
      optimizer.dispose();
    }
    expect(results[1]).toEqual(results[0]);
  });
});
