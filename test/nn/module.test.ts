import { describe, expect, test } from "vitest";
import type { Device } from "#lib/native/index.js";
import { Buffer, Dropout, Linear, Module, Parameter, ReLU, Sequential } from "#lib/nn/index.js";
import { add, backward, multiply, ones, sum, type Tensor, tensor, zeros } from "#lib/tensor/index.js";
import { bits } from "../support/compare.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";

/** x·scale + offset, with a count of its calls on the device. It has parameters, a buffer and other properties. */
class Affine extends Module {
  readonly scale: Parameter;
  readonly offset: Parameter;
  readonly calls: Buffer;
  readonly label = "affine";
  readonly plain: Tensor;

  constructor(device: Device, features = 2) {
    super();
    this.scale = new Parameter(ones(device, [features]));
    this.offset = new Parameter(zeros(device, [features]));
    this.calls = new Buffer(zeros(device, [1]));
    this.plain = zeros(device, [7]);
  }

  forward(x: Tensor): Tensor {
    return add(multiply(x, this.scale), this.offset);
  }
}

/** Has members of every kind: properties, arrays, and modules in modules. */
class Nested extends Module {
  readonly first: Affine;
  readonly parts: readonly Module[];
  readonly absent = undefined;
  readonly weights: readonly Parameter[];

  constructor(device: Device) {
    super();
    this.first = new Affine(device);
    this.parts = [new Affine(device), new Sequential(new ReLU(), new Affine(device))];
    this.weights = [new Parameter(ones(device, [1])), new Parameter(ones(device, [1]))];
  }

  forward(x: Tensor): Tensor {
    return this.parts.reduce((value, part) => part.forward(value), this.first.forward(x));
  }
}

const affineParameters = ["scale", "offset"];

await onEveryDevice("members of a module", (device) => {
  test("parameters are found in properties, arrays and nested modules, in order", () => {
    const model = new Nested(device);
    const expected = [
      ...["first", "parts.0", "parts.1.layers.1"].flatMap((path) => affineParameters.map((name) => `${path}.${name}`)),
      "weights.0",
      "weights.1",
    ];
    expect([...model.namedParameters().keys()]).toEqual(expected);
    expect(model.parameters().map(({ name }) => name)).toEqual(expected);
    expect(model.parameters()[2]).toBe((model.parts[0] as Affine).scale);
  });

  test("the state contains parameters and buffers only", () => {
    expect([...new Affine(device).stateDict().keys()]).toEqual(["scale", "offset", "calls"]);
    expect(new Nested(device).stateDict().get("parts.1.layers.1.calls")?.shape).toEqual([1]);
  });

  test("parameters require gradients, buffers do not", () => {
    const { scale, calls } = new Affine(device);
    expect([scale.requiresGrad, calls.requiresGrad]).toEqual([true, false]);
  });

  test("modules are listed from the outside in", () => {
    const model = new Nested(device);
    const [sequential] = model.parts.slice(1) as [Sequential];
    expect(model.modules()).toEqual([model, model.first, model.parts[0], sequential, ...sequential.layers]);
  });

  test("a parameter or module on two paths is listed once, under the first", () => {
    class Tied extends Module {
      readonly encoder = new Linear(3, 3, { device });
      readonly decoder = this.encoder.weight;
      readonly again = this.encoder;
      readonly self = this;
      forward(x: Tensor): Tensor {
        return this.again.forward(this.encoder.forward(x));
      }
    }
    const model = new Tied();
    expect([...model.namedParameters().keys()]).toEqual(["encoder.weight", "encoder.bias"]);
    expect([...model.stateDict().keys()]).toEqual(["encoder.weight", "encoder.bias"]);
    expect(model.modules()).toEqual([model, model.encoder]);
  });

  test("train and eval apply to every module and return the outermost", () => {
    const model = new Nested(device);
    expect(model.modules().every(({ training }) => training)).toBe(true);
    expect(model.eval()).toBe(model);
    expect(model.modules().some(({ training }) => training)).toBe(false);
    expect(model.train()).toBe(model);
    expect(model.modules().every(({ training }) => training)).toBe(true);
  });

  test("freeze stops training of a submodule and removes its gradients, and unfreezing resumes training", () => {
    const model = new Nested(device);
    const learn = () => backward(sum(model.forward(ones(device, [3, 2]))));
    learn();
    expect(model.first.freeze()).toBe(model.first);
    expect(model.first.scale.grad).toBeUndefined();
    learn();
    expect(model.first.scale.grad).toBeUndefined();
    expect((model.parts[0] as Affine).scale.grad).toBeDefined();
    model.freeze(false);
    learn();
    expect(model.first.scale.grad).toBeDefined();
  });

  test("a model with only frozen parameters records no graph", () => {
    const model = new Nested(device).freeze();
    expect(model.forward(ones(device, [3, 2])).requiresGrad).toBe(false);
  });

  test("gradients accumulate until zeroGrad, which releases their memory", async () => {
    const model = new Affine(device);
    const learn = () => backward(sum(model.forward(ones(device, [3, 2]))));
    learn();
    learn();
    expect(await model.offset.grad!.read()).toEqual(Float32Array.of(6, 6));
    const { grad } = model.offset;
    model.zeroGrad();
    expect([model.offset.grad, model.scale.grad, grad!.disposed]).toEqual([undefined, undefined, true]);
  });

  test("dispose releases parameters, buffers and gradients", () => {
    const before = device.memory().tensors;
    const model = new Affine(device);
    model.plain.dispose();
    backward(sum(model.forward(ones(device, [3, 2]))));
    model.dispose();
    expect([model.scale.disposed, model.calls.disposed, model.offset.grad]).toEqual([true, true, undefined]);
    // The input and the loss are left.
    expect(device.memory().tensors).toBeLessThanOrEqual(before + 2);
  });

  test("a parameter takes over the memory of its values", () => {
    const values = ones(device, [3]);
    const parameter = new Parameter(values);
    expect([values.disposed, parameter.disposed, parameter.shape]).toEqual([true, false, [3]]);
  });
});

await onEveryDevice("state of a module", (device) => {
  const states = async (model: Module) =>
    globalThis.Buffer.concat(await Promise.all([...model.stateDict().values()].map(async (t) => bits(await t.read()))));

  test("is loaded by another model of the same structure as a copy with the same bits", async () => {
    const [from, to] = [1, 2].map(
      (seeds) => new Sequential(new Linear(5, 3, { device, seeds }), new Affine(device, 3)),
    );
    from!.layers[1]!.stateDict().get("calls")!.write(Float32Array.of(42));
    expect((await states(to!)).equals(await states(from!))).toBe(false);
    to!.loadStateDict(from!.stateDict());
    const taken = await states(to!);
    expect(taken.equals(await states(from!))).toBe(true);
    from!.parameters()[0]!.write(new Float32Array(15));
    expect((await states(to!)).equals(taken)).toBe(true);
    expect(to!.parameters().every(({ requiresGrad }) => requiresGrad)).toBe(true);
  });

  describe("is refused if it does not match:", () => {
    const cases: [string, (state: Map<string, Tensor>) => void, string][] = [
      ["missing", (state) => state.delete("first.offset"), "first.offset is missing"],
      ["left over", (state) => state.set("head.weight", zeros(device, [1])), "head.weight is not part of the model"],
      [
        "of another shape",
        (state) => state.set("parts.0.scale", zeros(device, [2, 1])),
        "parts.0.scale is float32[2,1], the model has float32[2]",
      ],
      [
        "of another type",
        (state) => state.set("weights.1", tensor(device, Int32Array.of(1))),
        "weights.1 is int32[1], the model has float32[1]",
      ],
    ];

    test.each(cases)("%s is named, and nothing is changed", async (_, change, message) => {
      const model = new Nested(device);
      const state = new Map(new Nested(device).stateDict());
      state.get("first.scale")!.write(Float32Array.of(5, 5));
      change(state);
      const before = await states(model);
      await expectError(() => model.loadStateDict(state), "invalid-file", message);
      expect((await states(model)).equals(before)).toBe(true);
    });

    test("several differences are reported together: five of them, and the number of others", async () => {
      const model = new Nested(device);
      await expectError(() => model.loadStateDict(new Map()), "invalid-file", "first.scale is missing", "and 6 more");
      const six = new Map([...model.stateDict()].slice(6));
      await expectError(() => model.loadStateDict(six), "invalid-file", "parts.0.calls is missing");
    });
  });
});

await onEveryDevice("counters", (device) => {
  const make = () =>
    new Sequential(new Dropout(0.5, { seeds: 3 }), new Linear(50, 50, { device }), new Dropout(0.25, { seeds: 4 }));
  const input = () => ones(device, [4, 50]);

  test("are listed by path for the modules that draw random numbers", () => {
    const model = make();
    expect(model.counters()).toEqual({ "layers.0": 0, "layers.2": 0 });
    model.forward(input());
    model.forward(input());
    model.eval().forward(input());
    expect(model.counters()).toEqual({ "layers.0": 2, "layers.2": 2 });
    const dropout = new Dropout(0.5);
    expect(dropout.counters()).toEqual({ "": 0 });
  });

  test("make another model drop the same elements after they are loaded", async () => {
    const [first, second] = [make(), make()];
    for (let call = 0; call < 3; call++) first.forward(input());
    second.loadCounters(JSON.parse(JSON.stringify(first.counters())));
    for (let call = 0; call < 2; call++)
      expect(await second.forward(input()).read()).toEqual(await first.forward(input()).read());
    second.loadCounters({});
    expect(second.counters()).toEqual({ "layers.0": 0, "layers.2": 0 });
    expect(await second.forward(input()).read()).not.toEqual(await first.forward(input()).read());
  });
});
