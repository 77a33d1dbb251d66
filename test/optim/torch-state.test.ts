// Continuing a run of PyTorch: loading its optimizer state from a safetensors file, and the steps that follow.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type HostTensor, readSafetensors } from "#lib/files/safetensors.js";
import type { Device } from "#lib/native/index.js";
import { BatchNorm, Conv2d, Module, Parameter } from "#lib/nn/index.js";
import type { Optimizer } from "#lib/optim/index.js";
import * as schedule from "#lib/schedule/index.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import type { Kind, RuleOptions } from "./support/reference.js";
import { bitsByName, gradientValues, make, relativeError, scheduleOf, setGradient } from "./support/runs.js";

interface TorchRun {
  readonly optimizer: Kind;
  readonly options: { readonly weight_decay?: number } & Omit<RuleOptions, "weightDecay">;
  /** Values after the last step, in float64. */
  readonly parameters: Readonly<Record<string, readonly number[]>>;
}
/** From test/golden/torch_state.py: SGD with a Nesterov momentum, Adam with decay, AdamW with AMSGrad. */
const golden = JSON.parse(readFileSync(new URL("../golden/torch_state.json", import.meta.url), "utf8")) as {
  readonly before: number;
  readonly after: number;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly runs: Readonly<Record<string, TorchRun>>;
};
const file = fileURLToPath(new URL("../golden/torch_state.safetensors", import.meta.url));
const stored = (await readSafetensors(file)).tensors;

const { before, after } = golden;
const names = Object.keys(golden.shapes);
const runs = Object.keys(golden.runs);

/**
 * ‖ours − PyTorch‖ / ‖PyTorch‖ after ten steps from the same float32 numbers. Each step rounds the parameter once or
 * twice, by at most 6e-8 of its size; see rules.test.ts. A state that is read wrongly would change the first digits:
 * without it the same steps end 1e-2 to 1e-1 away.
 */
const tolerance = 1e-6;

/** The tensor in the file for a parameter of a run, or for its optimizer state. */
function entry(run: string, name: string): HostTensor {
  return stored.get(`${run}/${name}`) ?? expect.fail(`${run}/${name} is not in the file`);
}

/** The parameters at the stop, their optimizer, and PyTorch's state of it. */
function setUp(device: Device, run: string, changes: object = {}) {
  const { optimizer: kind, options } = golden.runs[run]!;
  const { weight_decay: weightDecay, ...same } = options;
  const parameters = names.map((name) => {
    const { data, shape } = entry(run, name);
    const parameter = new Parameter(tensor(device, data, shape));
    parameter.name = name;
    return parameter;
  });
  const rule = { ...same, ...(weightDecay !== undefined && { weightDecay }), ...changes };
  const optimizer = make(kind, parameters, rule as RuleOptions);
  const state = new Map<string, Tensor>();
  for (const [path, { data, shape }] of stored)
    if (path.startsWith(`${run}/`) && path.includes("."))
      state.set(path.slice(run.length + 1), tensor(device, data, shape));
  const steps = (count: number) => {
    for (let step = before; step < before + count; step++) {
      for (const [i, parameter] of parameters.entries())
        setGradient(parameter, gradientValues(parameter.size, step, 100 * (i + 1)));
      optimizer.step();
    }
  };
  const errors = () =>
    Promise.all(
      parameters.map(async (parameter) =>
        relativeError((await parameter.read()) as Float32Array, golden.runs[run]!.parameters[parameter.name]!),
      ),
    );
  return { parameters, optimizer, state, steps, errors };
}

/** PyTorch's SGD does not count its steps, so the caller passes the number. */
const countOf = (run: string) => (run === "sgd" ? before : undefined);

test("the file holds PyTorch's state under PyTorch's names", () => {
  const kept = {
    sgd: ["momentum_buffer"],
    adam: ["exp_avg", "exp_avg_sq"],
    adamw: ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
  };
  const expected = Object.entries(kept).flatMap(([run, moments]) =>
    names.flatMap((name) =>
      [name, ...moments.map((moment) => `${name}.${moment}`), ...(run === "sgd" ? [] : [`${name}.step`])].map(
        (path) => `${run}/${path}`,
      ),
    ),
  );
  expect([...stored.keys()].sort()).toEqual(expected.sort());
});

await onEveryDevice("a run of PyTorch continues", (device) => {
  test.each(runs)("%s", async (run) => {
    const { optimizer, state, steps, errors } = setUp(device, run);
    await optimizer.loadTorchState(state, countOf(run));
    // The tensors were copied.
    for (const one of state.values()) one.dispose();
    expect(optimizer.iteration).toBe(before);
    expect(await optimizer.stats()).toMatchObject({
      iteration: before,
      updates: before,
      skipped: 0,
      stoppedAt: undefined,
    });
    steps(after);
    for (const error of await errors()) expect(error).toBeLessThan(tolerance);
    expect(optimizer.iteration).toBe(before + after);
    expect(await optimizer.stats()).toMatchObject({ iteration: before + after, updates: before + after });
  });

  test.each(runs)("%s ends at other values without its state, so the test can detect a wrong state", async (run) => {
    const { steps, errors } = setUp(device, run);
    steps(after);
    for (const error of await errors()) expect(error).toBeGreaterThan(100 * tolerance);
  });

  test.each(["adam", "adamw"])("%s: a given number of steps overrides the one in the state", async (run) => {
    const { optimizer, state, steps, errors } = setUp(device, run);
    await optimizer.loadTorchState(state, 3);
    expect(optimizer.iteration).toBe(3);
    steps(after);
    // The bias is corrected as if the moments had seen only three gradients.
    for (const error of await errors()) expect(error).toBeGreaterThan(100 * tolerance);
  });

  test("a state that was loaded before is replaced", async () => {
    const { optimizer, parameters, state, steps, errors } = setUp(device, "adamw");
    steps(4);
    for (const parameter of parameters) parameter.write(entry("adamw", parameter.name).data);
    await optimizer.loadTorchState(state);
    steps(after);
    for (const error of await errors()) expect(error).toBeLessThan(tolerance);
  });

  test("the schedule continues at the stopped step, tabulated or not", async () => {
    const rates = schedule.linear({ budget: before + after, maxLr: 0.01 });
    const ends: unknown[] = [];
    for (const tabulated of [false, true]) {
      const { optimizer, parameters, state, steps } = setUp(device, "adam", { lr: rates });
      if (tabulated) optimizer.tabulate();
      await optimizer.loadTorchState(state);
      expect(optimizer.learningRates()).toEqual([rates(before)]);
      steps(1);
      expect((await optimizer.stats()).learningRates).toEqual([rates(before)]);
      steps(3);
      ends.push(await bitsByName(parameters.map((one) => [one.name, one] as const)));
    }
    expect(ends[1]).toEqual(ends[0]);
  });

  test("a parameter without an entry in the state starts without moments", async () => {
    const { optimizer, state } = setUp(device, "adam");
    for (const name of ["exp_avg", "exp_avg_sq", "step"]) state.delete(`bias.${name}`);
    await optimizer.loadTorchState(state);
    expect(optimizer.iteration).toBe(before);
    expect([...optimizer.stateDict().keys()]).toEqual(["state", "updates", "weight.expAvg", "weight.expAvgSq"]);
  });

  describe("a state is refused without a change:", () => {
    const complaints: Record<string, [string, (state: Map<string, Tensor>) => number | undefined, string]> = {
      "a name that PyTorch does not use": [
        "adam",
        (state) => void state.set("weight.velocity", state.get("weight.exp_avg")!),
        "expected <parameter>.momentum_buffer, <parameter>.exp_avg, <parameter>.exp_avg_sq, <parameter>.max_exp_avg_sq, <parameter>.step, found weight.velocity",
      ],
      "a name without a parameter": [
        "adam",
        (state) => void state.set("step", state.get("weight.step")!),
        "found step",
      ],
      "the library's name for a moment": [
        "adam",
        (state) => void state.set("weight.expAvg", state.get("weight.exp_avg")!),
        "found weight.expAvg",
      ],
      "a parameter that the optimizer does not have": [
        "adam",
        (state) => void state.set("other.exp_avg", state.get("weight.exp_avg")!),
        "other.exp_avg is not part of this optimizer",
      ],
      "another rule's state": [
        "adam",
        (state) => void state.set("weight.max_exp_avg_sq", state.get("weight.exp_avg")!),
        "weight.max_exp_avg_sq is not part of this optimizer",
      ],
      "no number of steps": ["sgd", () => undefined, "it has no step; say how many steps were made"],
      "an invalid number of steps": ["sgd", () => -1, "step is -1"],
      "half a step": [
        "adam",
        (state) => {
          for (const name of names) state.set(`${name}.step`, tensor(device, [1.5]));
          return undefined;
        },
        "step is 1.5",
      ],
      "one moment without the other": [
        "adam",
        (state) => void state.delete("bias.exp_avg_sq"),
        "bias.exp_avg_sq is missing",
      ],
      "another size": [
        "adam",
        (state) => void state.set("weight.exp_avg", state.get("bias.exp_avg")!),
        "weight.exp_avg is [9], expected [33,7]",
      ],
      "as many values in another shape": [
        "adam",
        (state) => void state.set("weight.exp_avg", state.get("weight.exp_avg")!.reshape([7, 33])),
        "weight.exp_avg is [7,33], expected [33,7]",
      ],
      "the numbers of state_dict() for names": [
        "adam",
        (state) => {
          for (const [i, name] of names.entries())
            for (const kept of ["exp_avg", "exp_avg_sq", "step"]) {
              state.set(`${i}.${kept}`, state.get(`${name}.${kept}`)!);
              state.delete(`${name}.${kept}`);
            }
          return undefined;
        },
        "0.exp_avg is not part of this optimizer (PyTorch's state_dict() numbers the parameters; write their names",
      ],
      "another type": [
        "adam",
        (state) => void state.set("bias.exp_avg", tensor(device, new Float64Array(9))),
        "bias.exp_avg is float64, expected float32",
      ],
    };
    test.each(Object.keys(complaints))("%s", async (title) => {
      const [run, change, words] = complaints[title]!;
      const { optimizer, parameters, state, steps } = setUp(device, run);
      steps(2);
      const all = () => bitsByName([...parameters.map((one) => [one.name, one] as const), ...optimizer.stateDict()]);
      const there = await all();
      const memory = device.memory().tensors;
      const given = change(state);
      const made = device.memory().tensors - memory;
      await expect(optimizer.loadTorchState(state, given)).rejects.toMatchObject({
        code: "invalid-file",
        message: expect.stringContaining(words),
      });
      expect(await all()).toEqual(there);
      expect(optimizer.iteration).toBe(2);
      expect(await optimizer.stats()).toMatchObject({ iteration: 2, updates: 2 });
      // The collector may have freed what earlier tests left. Nothing may have been added.
      expect(device.memory().tensors).toBeLessThanOrEqual(memory + made);
    });

    test("a step that is not a single number", async () => {
      const { optimizer, state } = setUp(device, "adam");
      state.set("bias.step", tensor(device, [1, 2]));
      await expect(optimizer.loadTorchState(state)).rejects.toThrow(/item/);
      expect(optimizer.iteration).toBe(0);
      expect((await optimizer.stats()).iteration).toBe(0);
    });

    test("a schedule with an invalid rate", async () => {
      const { optimizer, state } = setUp(device, "adam", { lr: scheduleOf([Number.NaN]) });
      await expect(optimizer.loadTorchState(state)).rejects.toMatchObject({ code: "invalid-argument" });
      expect(optimizer.iteration).toBe(0);
    });
  });
});

await onEveryDevice("the optimizer state of a model in PyTorch's names and layout", (device) => {
  /** A convolution and a norm after two steps, in a module with other names in PyTorch. */
  class Named extends Module {
    readonly stem = new Conv2d(2, 3, { kernel: 2, device });
    readonly norm = new BatchNorm(3, { device });
    readonly unused = new Parameter(tensor(device, new Float32Array(2)));
    forward(x: Tensor): Tensor {
      return x;
    }
    protected override torchName(member: string): string {
      return member === "stem" ? "conv1" : member;
    }
  }
  const trained = (kind: Kind, rule: object = {}) => {
    const model = new Named();
    const optimizer = make(kind, model.parameters(), { lr: 0.1, ...rule } as RuleOptions);
    for (let step = 0; step < 2; step++) {
      for (const [i, parameter] of [model.stem.weight, model.norm.gamma, model.norm.beta].entries())
        setGradient(parameter, gradientValues(parameter.size, step, 100 * (i + 1)));
      optimizer.step();
    }
    return { model, optimizer };
  };
  const shapesOf = (state: ReadonlyMap<string, Tensor>) =>
    Object.fromEntries([...state].map(([name, { shape }]) => [name, shape]));
  const read = async (one: Tensor | undefined) => [...((await one!.read()) as Float32Array)];

  test("Adam: has all moments and the step of each parameter, and nothing for a parameter without a gradient", async () => {
    const { optimizer } = trained("Adam", { amsgrad: true });
    const state = await optimizer.toTorchState();
    const moments = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
    const shapes = { "conv1.weight": [3, 2, 2, 2], "norm.weight": [3], "norm.bias": [3] };
    expect(shapesOf(state)).toEqual(
      Object.fromEntries(
        Object.entries(shapes).flatMap(([name, shape]) => [
          [`${name}.step`, []],
          ...moments.map((moment) => [`${name}.${moment}`, shape]),
        ]),
      ),
    );
    expect(await state.get("norm.bias.step")!.item()).toBe(2);
  });

  test("SGD: has the momentum buffer, channels first", async () => {
    const { optimizer } = trained("SGD", { momentum: 0.9 });
    const torch = await read((await optimizer.toTorchState()).get("conv1.weight.momentum_buffer"));
    const buffer = await read(optimizer.stateDict().get("stem.weight.momentumBuffer"));
    for (let o = 0; o < 3; o++)
      for (let i = 0; i < 2; i++)
        for (let pixel = 0; pixel < 4; pixel++)
          expect(torch[(o * 2 + i) * 4 + pixel]).toBe(buffer[(o * 4 + pixel) * 2 + i]);
    expect([...(await trained("SGD").optimizer.toTorchState())]).toEqual([]);
  });

  test.each([
    ["PyTorch's names", (name: string) => name],
    [
      "the library's names",
      (name: string) =>
        name.replace("conv1", "stem").replace("norm.weight", "norm.gamma").replace("norm.bias", "norm.beta"),
    ],
  ])("is loaded again under %s with the same bits", async (_, rename) => {
    const { optimizer } = trained("Adam");
    const state = new Map([...(await optimizer.toTorchState())].map(([name, one]) => [rename(name), one]));
    const other = make("Adam", new Named().parameters(), { lr: 0.1 } as RuleOptions);
    await other.loadTorchState(state);
    const without = async (one: Optimizer<never>) => {
      const bits = await bitsByName(one.stateDict());
      // The statistics of the last step are not part of PyTorch's state.
      bits.delete("state");
      return bits;
    };
    expect(await without(other)).toEqual(await without(optimizer));
    expect(other.iteration).toBe(2);
  });

  test("is refused if moments have the library's order of axes", async () => {
    const { optimizer } = trained("SGD", { momentum: 0.9 });
    const state = await optimizer.toTorchState();
    state.set("conv1.weight.momentum_buffer", tensor(device, new Float32Array(24), [3, 2, 4, 1]));
    await expect(optimizer.loadTorchState(state, 2)).rejects.toMatchObject({
      code: "invalid-file",
      message: expect.stringContaining("conv1.weight.momentum_buffer is [3,2,4,1], expected [3,2,2,2]"),
    });
  });

  test("uses the index for parameters of two models with the same names", async () => {
    const [first, second] = [new Named(), new Named()];
    const optimizer = make("SGD", [...first.parameters(), ...second.parameters()], {
      lr: 0.1,
      momentum: 0.9,
    } as RuleOptions);
    for (const parameter of first.parameters()) setGradient(parameter, gradientValues(parameter.size, 0));
    optimizer.step();
    expect([...(await optimizer.toTorchState()).keys()]).toEqual(
      ["0", "1", "2", "3"].map((name) => `${name}.momentum_buffer`),
    );
  });

  test("is refused with master weights in both directions, because PyTorch has none", async () => {
    const model = new Named().setPrecision("bf16");
    const optimizer = make("Adam", model.parameters(), { lr: 0.1 } as RuleOptions);
    await expect(optimizer.toTorchState()).rejects.toMatchObject({ code: "unsupported" });
    await expect(optimizer.loadTorchState(new Map(), 1)).rejects.toMatchObject({ code: "unsupported" });
  });
});
