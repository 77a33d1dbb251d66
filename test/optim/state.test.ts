import { describe, expect, test } from "vitest";
import type { Device } from "#lib/native/index.js";
import { Linear, Sequential } from "#lib/nn/index.js";
import type { Optimizer } from "#lib/optim/index.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import { bits } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import type { Kind, RuleOptions } from "./support/reference.js";
import { gradientValues, initialValues, make, parameterOf, readAll, setGradient } from "./support/runs.js";

const cases: { kind: Kind; options: RuleOptions; moments: readonly string[] }[] = [
  { kind: "SGD", options: { lr: 0.05 }, moments: [] },
  { kind: "SGD", options: { lr: 0.05, momentum: 0.9, dampening: 0.5 }, moments: ["momentumBuffer"] },
  { kind: "Adam", options: { lr: 0.01 }, moments: ["expAvg", "expAvgSq"] },
  {
    kind: "AdamW",
    options: { lr: 0.01, amsgrad: true, betas: [0.9, 0.8] },
    moments: ["expAvg", "expAvgSq", "maxExpAvgSq"],
  },
  { kind: "Lion", options: { lr: 0.01, weightDecay: 0.1 }, moments: ["expAvg"] },
];

const sizes = [9, 4097];
const parametersOf = (device: Device) => sizes.map((size, i) => parameterOf(device, size, `p${i}`, i + 1));
type Parameters = ReturnType<typeof parametersOf>;

function steps(optimizer: Optimizer<never>, parameters: Parameters, from: number, to: number, present = [0, 1]): void {
  for (let step = from; step < to; step++) {
    optimizer.zeroGrad();
    for (const i of present) setGradient(parameters[i]!, gradientValues(sizes[i]!, step, 100 * (i + 1)));
    optimizer.step();
  }
}

/** Copies the state through host memory, as a checkpoint file does. */
async function copyOf(state: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>> {
  const entries = [...state].map(async ([name, one]) => [name, await one.to(one.device)] as const);
  return new Map(await Promise.all(entries));
}

async function bitsOf(tensors: Iterable<Tensor>): Promise<Buffer> {
  const values = await Promise.all([...tensors].map((one) => one.read()));
  return Buffer.concat(values.map(bits));
}

await onEveryDevice("the state of an optimizer", (device) => {
  test.each(cases)("names its moments: $kind $options", ({ kind, options, moments }) => {
    const parameters = parametersOf(device);
    const optimizer = make(kind, parameters, options);
    expect([...optimizer.stateDict().keys()]).toEqual(["state", "updates"]);
    steps(optimizer, parameters, 0, 1);
    const expected = parameters.flatMap(({ name }) => moments.map((moment) => `${name}.${moment}`));
    const state = optimizer.stateDict();
    expect([...state.keys()]).toEqual(["state", "updates", ...expected]);
    for (const name of expected) expect(state.get(name)!.shape).toEqual(name.startsWith("p0") ? [9] : [4097]);
  });

  test.each(cases)(
    "continues with the same bits after loading into a new optimizer: $kind $options",
    async ({ kind, options }) => {
      const through = parametersOf(device);
      const uninterrupted = make(kind, through, options);
      steps(uninterrupted, through, 0, 8);

      const before = parametersOf(device);
      const first = make(kind, before, options);
      steps(first, before, 0, 5);
      const saved = await copyOf(first.stateDict());
      const values = await readAll(before);
      const after = values.map((data, i) => parameterOf(device, data, `p${i}`));
      const second = make(kind, after, options);
      second.loadStateDict(saved);
      steps(second, after, 5, 8);

      expect((await bitsOf(after)).equals(await bitsOf(through))).toBe(true);
      const states = [second, uninterrupted].map((one) => bitsOf(one.stateDict().values()));
      expect((await states[0]!).equals(await states[1]!)).toBe(true);
      expect(await second.stats()).toEqual(await uninterrupted.stats());
    },
  );

  test.each(cases)("undoes later steps if it is loaded back: $kind $options", async ({ kind, options }) => {
    const parameters = parametersOf(device);
    const optimizer = make(kind, parameters, options);
    // The second parameter has no gradient, and therefore no moments, when the state is saved.
    steps(optimizer, parameters, 0, 2, [0]);
    const saved = await copyOf(optimizer.stateDict());
    const values = await readAll(parameters);
    const again = async () => {
      steps(optimizer, parameters, 2, 5);
      return bitsOf(parameters);
    };
    const once = await again();
    parameters.forEach((parameter, i) => {
      parameter.write(values[i]!);
    });
    optimizer.loadStateDict(saved);
    expect((await again()).equals(once)).toBe(true);
  });

  test("keeps the names from construction, made unique by their index", () => {
    const model = new Sequential(new Linear(3, 2, { device }), new Linear(2, 2, { device, bias: false }));
    const other = new Linear(2, 2, { device, bias: false });
    model.parameters();
    other.parameters();
    const twin = parameterOf(device, 4, "weight");
    const parameters = [...model.parameters(), ...other.parameters(), twin];
    const optimizer = make("SGD", parameters, { lr: 0.1, momentum: 0.9 });
    // Both calls list the submodules separately and name their parameters "weight" and "bias".
    model.layers[0]!.zeroGrad();
    model.layers[1]!.freeze(false);
    for (const parameter of parameters) setGradient(parameter, new Float32Array(parameter.size));
    optimizer.step();
    expect([...optimizer.stateDict().keys()]).toEqual([
      "state",
      "updates",
      ...["layers.0.weight", "layers.0.bias", "layers.1.weight", "3", "4"].map((name) => `${name}.momentumBuffer`),
    ]);
  });

  test("includes a stop, which loading an earlier state ends", async () => {
    const parameters = parametersOf(device);
    const options = { lr: 0.1, nonFinite: "stop" } as RuleOptions;
    const optimizer = make("SGD", parameters, options);
    const fresh = await copyOf(optimizer.stateDict());
    setGradient(parameters[0]!, new Float32Array(9).fill(Number.NaN));
    optimizer.step();
    const stopped = await copyOf(optimizer.stateDict());

    const other = make("SGD", parameters, options);
    other.loadStateDict(stopped);
    expect((await other.stats()).stoppedAt).toBe(0);
    steps(other, parameters, 0, 1);
    expect(await parameters[0]!.read()).toEqual(initialValues(9));
    other.loadStateDict(fresh);
    steps(other, parameters, 0, 1);
    expect(await parameters[0]!.read()).not.toEqual(initialValues(9));
  });

  test("is copied when it is loaded, so the given tensors may be disposed of", async () => {
    const parameters = parametersOf(device);
    const optimizer = make("Adam", parameters, { lr: 0.1 });
    steps(optimizer, parameters, 0, 1);
    const saved = await copyOf(optimizer.stateDict());
    const expected = await bitsOf(saved.values());
    steps(optimizer, parameters, 1, 2);
    optimizer.loadStateDict(saved);
    for (const one of saved.values()) one.dispose();
    expect((await bitsOf(optimizer.stateDict().values())).equals(expected)).toBe(true);
  });

  describe("is refused without a change if it has", () => {
    /** The error message for a state that `change` has changed. The optimizer must stay as before. */
    async function complaint(change: (state: Map<string, Tensor>) => void): Promise<string> {
      const parameters = parametersOf(device);
      const optimizer = make("Adam", parameters, { lr: 0.1 });
      steps(optimizer, parameters, 0, 2);
      const state = await copyOf(optimizer.stateDict());
      steps(optimizer, parameters, 2, 3);
      const before = await bitsOf(optimizer.stateDict().values());
      change(state);
      let message = "";
      try {
        await optimizer.loadStateDict(state);
      } catch (error) {
        expect(error).toMatchObject({ name: "StepsizeError", code: "invalid-file" });
        message = (error as Error).message;
      }
      expect((await bitsOf(optimizer.stateDict().values())).equals(before)).toBe(true);
      return message;
    }

    test("moments of another optimizer", async () => {
      const message = await complaint((state) => {
        state.set("p0.momentumBuffer", state.get("p0.expAvg")!);
      });
      expect(message).toMatch(/p0\.momentumBuffer is not part of this optimizer/);
    });

    test("moments of another parameter", async () => {
      const message = await complaint((state) => {
        state.set("p7.expAvg", state.get("p0.expAvg")!);
      });
      expect(message).toMatch(/p7\.expAvg is not part/);
    });

    test("another size", async () => {
      const message = await complaint((state) => {
        state.set("p1.expAvg", state.get("p0.expAvg")!);
      });
      expect(message).toMatch(/p1\.expAvg has 9 values, expected 4097/);
    });

    test("the same number of values in another shape", async () => {
      const message = await complaint((state) => {
        state.set("p1.expAvg", state.get("p1.expAvg")!.reshape([17, 241]));
      });
      expect(message).toMatch(/p1\.expAvg is \[17,241\], expected \[4097\]/);
    });

    test("another type", async () => {
      const message = await complaint((state) => {
        state.set("p0.expAvgSq", tensor(device, new Float64Array(9)));
      });
      expect(message).toMatch(/p0\.expAvgSq.*float64.*float32/);
    });

    test("another number of groups", async () => {
      const message = await complaint((state) => {
        state.set("state", tensor(device, new Float64Array(12)));
      });
      expect(message).toMatch(/state has 12 values, expected 9/);
    });

    test("another number of parameters", async () => {
      const message = await complaint((state) => {
        state.set("updates", tensor(device, new Int32Array(3)));
      });
      expect(message).toMatch(/updates has 3 values, expected 2/);
    });

    test("no counters", async () => {
      const message = await complaint((state) => {
        state.delete("state");
      });
      expect(message).toMatch(/state is missing/);
    });

    test("only one of two moments", async () => {
      const message = await complaint((state) => {
        state.delete("p1.expAvgSq");
      });
      expect(message).toMatch(/p1\.expAvgSq is missing/);
    });

    test("several problems, which are all reported", async () => {
      const message = await complaint((state) => {
        state.delete("state");
        state.set("p1.expAvg", state.get("p0.expAvg")!);
      });
      expect(message).toMatch(/p1\.expAvg has 9 values.*state is missing/);
    });
  });

  test("is released by dispose, but not the parameters and gradients", () => {
    const parameters = parametersOf(device);
    for (const [i, parameter] of parameters.entries()) setGradient(parameter, gradientValues(sizes[i]!, 0));
    const before = device.memory().tensors;
    const optimizer = make("AdamW", parameters, { lr: 0.1, amsgrad: true, clipNorm: 1 } as RuleOptions);
    optimizer.step();
    expect(device.memory().tensors).toBeGreaterThan(before);
    optimizer.dispose();
    expect(device.memory().tensors).toBe(before);
  });

  test("uses constant memory from the second step on", async () => {
    const parameters = parametersOf(device);
    const optimizer = make("AdamW", parameters, { lr: 0.1, clipNorm: 1 } as RuleOptions);
    steps(optimizer, parameters, 0, 2);
    const { tensors, allocated } = device.memory();
    steps(optimizer, parameters, 2, 20);
    expect(device.memory()).toMatchObject({ tensors, allocated });
  });
});
