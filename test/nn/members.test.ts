import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { createContext, runInContext } from "node:vm";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { openDevice } from "#lib/native/index.js";
import { Buffer, Dropout, Linear, Module, Parameter, ReLU } from "#lib/nn/index.js";
import { SGD } from "#lib/optim/index.js";
import { add, linear, matmul, ones, sum, type Tensor, tensor } from "#lib/tensor/index.js";
import { expectError } from "../support/errors.js";

const device = await openDevice("cpu");
const layer = () => new Linear(2, 2, { device, bias: false });
const parameter = () => new Parameter(ones(device, [2]));

/** A module that has these properties and no function. */
class Holder extends Module {
  constructor(parts: object = {}) {
    super();
    Object.assign(this, parts);
  }
  forward(x: Tensor): Tensor {
    return x;
  }
}

const paths = (model: Module) => [...model.namedParameters().keys()];

describe("members are found", () => {
  test.each<[string, () => object, string[]]>([
    ["in a plain object", () => ({ heads: { a: layer(), b: layer() } }), ["heads.a.weight", "heads.b.weight"]],
    ["in an object without prototype", () => ({ x: Object.assign(Object.create(null), { a: parameter() }) }), ["x.a"]],
    ["in a frozen object", () => ({ x: Object.freeze({ a: parameter() }) }), ["x.a"]],
    [
      "in a Map, by its keys",
      () => ({
        m: new Map([
          ["b", layer()],
          ["a", layer()],
        ]),
      }),
      ["m.b.weight", "m.a.weight"],
    ],
    [
      "in a Map with numbers as keys",
      () => ({
        m: new Map([
          [3, parameter()],
          [1, parameter()],
        ]),
      }),
      ["m.3", "m.1"],
    ],
    ["in a Set, by their places", () => ({ s: new Set([parameter(), layer()]) }), ["s.0", "s.1.weight"]],
    ["in arrays in arrays", () => ({ a: [[layer()], [1, layer()]] }), ["a.0.0.weight", "a.1.1.weight"]],
    [
      "in any mixture",
      () => ({ a: [{ m: new Map([["k", [new Set([parameter()])]]]) }], z: parameter() }),
      ["a.0.m.k.0.0", "z"],
    ],
    ["in a subclass of Array", () => ({ a: class extends Array {}.from([layer()]) }), ["a.0.weight"]],
    ["under a symbol, by its description", () => ({ [Symbol("head")]: layer() }), ["head.weight"]],
    ["in a module inside a container", () => ({ a: { b: new Holder({ c: { d: parameter() } }) } }), ["a.b.c.d"]],
  ])("%s", (_, parts, expected) => {
    const model = new Holder(parts());
    expect(paths(model)).toEqual(expected);
    expect([...model.stateDict().keys()]).toEqual(expected);
    // A second call gives the same paths in the same order, so no state is left from the first.
    expect(model.parameters().map(({ name }) => name)).toEqual(expected);
  });

  test("in properties that are not enumerable", () => {
    const model = new Holder();
    Object.defineProperty(model, "hidden", { value: layer() });
    expect(paths(model)).toEqual(["hidden.weight"]);
  });

  test("in containers of another realm", () => {
    const parts = { p: parameter(), q: parameter(), r: parameter(), s: parameter() };
    const context = createContext({ parts });
    const made = runInContext(
      "({ o: { p: parts.p }, a: [parts.q], m: new Map([['k', parts.r]]), s: new Set([parts.s]) })",
      context,
    );
    expect(paths(new Holder(made))).toEqual(["o.p", "a.0", "m.k", "s.0"]);
  });

  test("once, on the first path, even if there are cycles", () => {
    const shared = layer();
    const container: Record<string, unknown> = { shared };
    container["self"] = container;
    container["list"] = [container, shared, [shared]];
    const model = new Holder({ first: container, second: container, third: new Map([["s", shared]]) });
    Object.assign(model, { me: model });
    expect(paths(model)).toEqual(["first.shared.weight"]);
    expect(model.modules()).toEqual([model, shared]);
  });

  test("and are trained, frozen, switched, saved and loaded like others", async () => {
    class Net extends Module {
      readonly layers = new Map([
        ["in", layer()],
        ["out", layer()],
      ]);
      readonly drop = { after: new Dropout(0.5) };
      readonly scale = [[parameter()]];
      forward(x: Tensor): Tensor {
        const hidden = this.drop.after.forward(this.layers.get("in")!.forward(x));
        return this.layers.get("out")!.forward(hidden).multiply(this.scale[0]![0]!);
      }
    }
    const model = new Net();
    const before = await Promise.all(model.parameters().map((one) => one.read()));
    const optimizer = new SGD(model.parameters(), { lr: 0.1 });
    sum(model.eval().forward(ones(device, [3, 2]))).backward();
    optimizer.step();
    const after = await Promise.all(model.parameters().map((one) => one.read()));
    after.forEach((values, i) => {
      expect(values).not.toEqual(before[i]);
    });
    expect(model.drop.after.training).toBe(false);
    expect(model.train().counters()).toEqual({ "drop.after": 0 });
    expect(
      model
        .freeze()
        .parameters()
        .every(({ requiresGrad }) => !requiresGrad),
    ).toBe(true);
    const other = new Net();
    other.loadStateDict(model.stateDict());
    expect(await other.layers.get("out")!.weight.read()).toEqual(after[1]);
  });

  test("without running a getter", () => {
    const model = new Holder({ a: layer() });
    const get = () => expect.fail("a getter ran");
    Object.defineProperty(model, "lazy", { get, enumerable: true });
    Object.assign(model, { box: Object.defineProperty({}, "lazy", { get, enumerable: true }) });
    expect(paths(model)).toEqual(["a.weight"]);
  });

  test("next to values without members: numbers, views, dates, functions, weak references", () => {
    const model = new Holder({
      numbers: [1, [2, 3]],
      view: new Float32Array(4),
      buffer: new ArrayBuffer(4),
      date: new Date(),
      text: new String("x"),
      pattern: /x/,
      promise: Promise.resolve(1),
      weak: new WeakRef(layer()),
      device,
      act: Math.tanh,
      vocabulary: new Map([["a", 1]]),
      options: { hidden: [1, 2], nested: { deep: null } },
      plain: ones(device, [1]),
      a: layer(),
    });
    expect(paths(model)).toEqual(["a.weight"]);
  });
});

describe("a member without a unique name is refused", () => {
  test.each<[string, () => object, string]>([
    ["a key that is an object", () => ({ m: new Map([[{}, layer()]]) }), "m.?: this part"],
    ["a key that is a symbol", () => ({ m: { n: new Map([[Symbol("x"), [parameter()]]]) } }), "m.n.?.0: "],
    ["a symbol without a description", () => ({ m: { [Symbol()]: layer() } }), "m.?: "],
    ["two with one name", () => ({ "a.b": parameter(), a: { b: parameter() } }), "a.b: two parts"],
    [
      "two keys of one Map",
      () => ({
        m: new Map<unknown, object>([
          [1, parameter()],
          ["1", parameter()],
        ]),
      }),
      "m.1: two",
    ],
  ])("%s", async (_, parts, words) => {
    await expectError(() => new Holder(parts()).parameters(), "invalid-state", words);
  });

  test("but a key whose value is not a member is accepted", () => {
    const model = new Holder({ m: new Map([[{}, { a: 1 }]]), a: layer(), [Symbol()]: [1] });
    expect(paths(model)).toEqual(["a.weight"]);
  });
});

describe("a member that the walk cannot reach is refused by name", () => {
  class Private extends Holder {
    readonly seen = layer();
    #secret: unknown;
    readonly #size = 2;
    constructor(secret: unknown) {
      super();
      this.#secret = secret;
    }
    get held() {
      return [this.#secret, this.#size];
    }
  }

  test.each<[string, () => unknown, string]>([
    ["a module", layer, "a parameter of shape [2, 2]"],
    ["a parameter", parameter, "a parameter of shape [2]"],
    ["a buffer", () => new Buffer(ones(device, [3])), "a buffer of shape [3]"],
    ["a layer that draws random numbers", () => new Dropout(0.1), "a Dropout"],
    ["a list", () => [new ReLU(), layer()], "a parameter"],
    ["a Map", () => new Map([[{}, layer()]]), "a parameter"],
    [
      "an object of another class",
      () =>
        new (class Other {
          readonly inner = layer();
        })(),
      "a parameter",
    ],
  ])("%s in a private field", async (_, make, what) => {
    const model = new Private(make());
    for (const list of [() => model.parameters(), () => model.stateDict(), () => model.train()])
      await expectError(list, "invalid-state", `#secret: holds ${what}`, "a private field of Private", "freeze");
    // Also below other modules, with the whole path, and in a derived class.
    class Derived extends Private {}
    const outer = new Holder({ blocks: [new ReLU(), new Derived(make())] });
    await expectError(() => outer.parameters(), "invalid-state", `blocks.1.#secret: holds ${what}`);
  });

  test("a module created in the private field itself", async () => {
    class Own extends Module {
      readonly #layer = layer();
      forward(x: Tensor): Tensor {
        return this.#layer.forward(x);
      }
    }
    await expectError(() => new Own().parameters(), "invalid-state", "#layer");
  });

  test("a module in an object of another class", async () => {
    class Head {
      readonly layer = layer();
    }
    const model = new Holder({ a: layer(), parts: [{ head: new Head() }] });
    await expectError(
      () => model.parameters(),
      "invalid-state",
      "parts.0.head: holds",
      "an object of Head",
      "extend Module",
    );
  });

  test.each<[string, (model: Private) => unknown]>([
    ["a module that is also in a public property", (model) => model.seen],
    ["a frozen layer", () => layer().freeze()],
    ["a list of frozen layers", () => [layer().freeze(), new Map([["k", layer().freeze()]])]],
    ["a layer without members", () => new ReLU()],
    ["a tensor", () => ones(device, [1])],
    ["numbers", () => [1, 2]],
    ["the module itself", (model) => model],
    ["a model around it", (model) => new Holder({ model, other: layer() })],
    ["a function", () => () => layer()],
    ["nothing", () => undefined],
  ])("but not %s", (_, make) => {
    class Late extends Private {
      #late: unknown;
      set(value: unknown) {
        this.#late = value;
        return this.#late;
      }
    }
    const model = new Late(0);
    model.set(make(model));
    expect(paths(model)).toEqual(["seen.weight"]);
  });

  test("in a worker thread too", async () => {
    const text = `
      import { parentPort } from "node:worker_threads";
      import { nn, openDevice } from ${JSON.stringify(pathToFileURL(resolve("dist/index.js")))};
      const device = await openDevice("cpu");
      class Own extends nn.Module { #layer = new nn.Linear(2, 2, { device }); forward(x) { return x; } }
      try { new Own().parameters(); parentPort.postMessage("accepted"); }
      catch (error) { parentPort.postMessage(error.message); }
      await device.close();`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(text)}`));
    const message = await new Promise((done, failed) => worker.once("message", done).once("error", failed));
    expect(message).toContain("#layer: holds a parameter");
    await worker.terminate();
  });
});

describe("a member that cannot be found is refused at the first step that would train it", () => {
  const x = ones(device, [3, 2]);
  const outside = new WeakMap<object, Linear>();

  /** A model with a visible layer and another one that only a closure reaches. */
  function modelWith(reach: (model: Module) => Linear): Module {
    class Net extends Module {
      readonly seen = layer();
      forward(input: Tensor): Tensor {
        return reach(this).forward(this.seen.forward(input));
      }
    }
    return new Net();
  }

  test.each<[string, () => Module]>([
    [
      "in a closure",
      () => {
        const hidden = layer();
        return modelWith(() => hidden);
      },
    ],
    [
      "in a WeakMap",
      () =>
        modelWith((model) => {
          if (!outside.has(model)) outside.set(model, layer());
          return outside.get(model)!;
        }),
    ],
    [
      "in a static field",
      () => {
        class Shared extends Holder {
          static readonly layer = layer();
        }
        return modelWith(() => Shared.layer);
      },
    ],
    [
      "behind a getter",
      () => {
        const hidden = layer();
        const model = modelWith((self) => (self as unknown as { lazy: Linear }).lazy);
        return Object.defineProperty(model, "lazy", { get: () => hidden });
      },
    ],
  ])("%s", async (_, make) => {
    const model = make();
    const optimizer = new SGD(model.parameters(), { lr: 0.1 });
    const before = await model.parameters()[0]!.read();
    for (let attempt = 0; attempt < 2; attempt++) {
      sum(model.forward(x)).backward();
      await expectError(() => optimizer.step(), "invalid-state", "step: a parameter of shape [2, 2] has a gradient");
    }
    expect(await model.parameters()[0]!.read()).toEqual(before);
    expect(optimizer.iteration).toBe(0);
  });

  test("but not if it is frozen, in another optimizer, or listed by the program", () => {
    const frozen = layer().freeze();
    const elsewhere = layer();
    const listed = layer();
    new SGD(elsewhere.parameters(), { lr: 0.1 });
    listed.parameters();
    for (const hidden of [frozen, elsewhere, listed]) {
      const model = modelWith(() => hidden);
      const optimizer = new SGD(model.parameters(), { lr: 0.1 });
      sum(model.forward(x)).backward();
      expect(() => optimizer.step()).not.toThrow();
    }
  });

  test("nor if it is a parameter of a separate loss, a plain tensor, or its gradient was already used", () => {
    const model = modelWith(() => frozenLayer);
    const frozenLayer = layer().freeze();
    const optimizer = new SGD(model.parameters(), { lr: 0.1 });
    const lone = parameter();
    sum(lone).backward();
    sum(model.forward(x)).backward();
    expect(() => optimizer.step()).not.toThrow();

    const scale = tensor(device, [1, 1], undefined, { requiresGrad: true });
    sum(add(model.forward(x), scale)).backward();
    expect(() => optimizer.step()).not.toThrow();

    const byHand = parameter();
    sum(add(model.forward(x), byHand)).backward();
    byHand.zeroGrad();
    expect(() => optimizer.step()).not.toThrow();
  });

  test("two models in one process are independent", () => {
    const [a, b] = [layer(), layer()];
    const optimizer = new SGD(a.parameters(), { lr: 0.1 });
    sum(matmul(x, b.weight)).backward();
    sum(linear(x, a.weight)).backward();
    expect(() => optimizer.step()).not.toThrow();
  });
});
