// Test runners load the library and a program's code into different realms (vitest's vmThreads, Jest). Arrays, objects,
// errors and promises of one realm are not instances of the other's classes.
import { cpSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { createContext, runInContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { StepsizeError } from "#lib/errors.js";
import * as lib from "#lib/index.js";
import { isError, isPlainObject, isPromise, messageOf } from "#lib/realms.js";
import { expectError } from "./support/errors.js";
import { temporaryFolders } from "./support/folders.js";

type Tensor = lib.Tensor;
const { data, nn, ops, theory, schedule, tensor } = lib;
const folder = temporaryFolders();
const context = createContext({});
/** A value created in another realm. */
const foreign = <T>(code: string): T => runInContext(`(${code})`, context) as T;
const floats = (...values: number[]) => foreign<Float32Array>(`new Float32Array([${values}])`);
const ints = (...values: number[]) => foreign<Int32Array>(`new Int32Array([${values}])`);
const device = await lib.openDevice("cpu");

/** Values of any realm in a form that can be compared. */
const plain = (values: ArrayLike<number>) => Array.from(values);

test("the arrays of these tests are from another realm", () => {
  expect(floats(1) instanceof Float32Array).toBe(false);
  expect(foreign<object>("{}") instanceof Object).toBe(false);
});

describe("arrays of another realm are accepted", () => {
  test.each([
    ["Float32Array", "float32"],
    ["Float64Array", "float64"],
    ["Int32Array", "int32"],
    ["Uint8Array", "uint8"],
    ["Uint16Array", "bfloat16"],
  ])("by tensor: a %s as %s", async (name, dtype) => {
    const values = foreign<Float32Array>(`new ${name}([1, 2, 3, 4])`);
    const made = tensor(device, values, foreign<number[]>("[2, 2]"));
    expect([made.dtype, made.shape]).toEqual([dtype, [2, 2]]);
    expect(plain(await made.read())).toEqual([1, 2, 3, 4]);
    made.write(foreign(`new ${name}([4, 3, 2, 1])`));
    expect(plain(await made.read())).toEqual([4, 3, 2, 1]);
  });

  test("by tensor: another type than requested, a derived class, shared memory, nested numbers", async () => {
    expect(plain(await tensor(device, ints(1, 2), [2], { dtype: "float32" }).read())).toEqual([1, 2]);
    const derived = foreign<Float32Array>("new (class Own extends Float32Array {})([1, 2])");
    expect(tensor(device, derived).dtype).toBe("float32");
    const shared = foreign<Float32Array>("new Float32Array(new SharedArrayBuffer(8))");
    expect(plain(await tensor(device, shared).read())).toEqual([0, 0]);
    const nested = tensor(device, foreign<number[][]>("[[1, 2], [3, 4]]"));
    expect([nested.dtype, nested.shape]).toEqual(["float32", [2, 2]]);
    for (const name of ["Int8Array", "BigInt64Array", "DataView"]) {
      const wrong = foreign<never>(name === "DataView" ? "new DataView(new ArrayBuffer(4))" : `new ${name}(2)`);
      await expectError(() => tensor(device, wrong), "invalid-argument", "data: expected a Float32Array", name);
    }
  });

  test.each<[string, () => Float32Array]>([
    ["in memory of its own", () => floats(...Array.from({ length: 12 }, (_, i) => i))],
    [
      "in shared memory",
      () =>
        foreign(
          "(() => { const a = new Float32Array(new SharedArrayBuffer(48)); a.set([...Array(12).keys()]); return a; })()",
        ),
    ],
  ])("by fromArrays, %s", async (_, make) => {
    const inputs = make();
    const labels = [
      ints(0, 1, 0, 1),
      foreign<Uint8Array>("new Uint8Array([0, 1, 0, 1])"),
      foreign<number[]>("[0, 1, 0, 1]"),
    ];
    for (const each of labels) {
      const set = data.fromArrays(Object.assign(foreign<object>("{}"), { inputs, labels: each, shape: [3] }) as never);
      const batch = await set.batches({ size: 4, shuffle: false }).at(0);
      expect(plain(batch.inputs.data)).toEqual(plain(inputs));
      expect(plain(batch.labels as Int32Array)).toEqual([0, 1, 0, 1]);
      expect(batch.inputs.dtype).toBe("float32");
    }
    const targets = [
      floats(1, 2, 3, 4),
      foreign<number[][]>("[[1], [2], [3], [4]]"),
      { data: floats(1, 2, 3, 4), shape: foreign<number[]>("[1]") },
    ];
    for (const each of targets) {
      const set = data.fromArrays({ inputs, labels: each, shape: [3] });
      const [batch] = [await set.subset(foreign("new Uint32Array([3, 0])")).batches({ size: 2, shuffle: false }).at(0)];
      expect(plain((batch.labels as { data: Float32Array }).data)).toEqual([4, 1]);
    }
    expect(data.fromArrays({ inputs, labels: ints(0, 1, 0, 1), shape: [3] }).statistics().mean).toEqual([
      4.5, 5.5, 6.5,
    ]);
  });

  test("by fromArrays, gathered on another thread", async () => {
    const inputs = foreign<Uint8Array>("new Uint8Array(40 * 10000).fill(7)");
    const source = data
      .fromArrays({ inputs, labels: foreign<Int32Array>("new Int32Array(40)"), shape: [100, 100, 1] })
      .batches({ size: 20 });
    expect(source).toHaveProperty("offThread", true);
    expect((await source.at(0)).inputs.data.every((value) => value === 7)).toBe(true);
    await source.close();
  });

  test("by fromIterable, with the same training results", async () => {
    const model = new nn.Linear(2, 3, { device });
    const given = (make: typeof floats, classes: typeof ints) => ({
      inputs: { data: make(1, 2, 3, 4), shape: [2, 2] },
      labels: classes(0, 2),
    });
    const evaluation = async (batch: lib.data.GivenBatch) => {
      const source = data.fromIterable([batch]);
      const prepare = (raw: Tensor) => raw;
      return lib.evaluate(source, { model, device, loss: nn.crossEntropy, prepare });
    };
    const reference = await evaluation(
      given(
        (...v) => Float32Array.of(...v),
        (...v) => Int32Array.of(...v),
      ),
    );
    expect(await evaluation(given(floats, ints))).toEqual(reference);
    const found = await lib.curvature(model, await data.fromIterable([given(floats, ints)]).at(0), { steps: 2 });
    expect(found.loss).toBeCloseTo(reference.loss, 6);
  });

  test("by optimizers, with the same bits", () => {
    const step = (parameter: Float32Array, gradient: Float32Array) => {
      new lib.AdamW(foreign<Float32Array[]>("[]").concat([parameter]), { lr: 0.1, betas: foreign("[0.8, 0.9]") }).step([
        gradient,
      ]);
      return plain(parameter);
    };
    expect(step(floats(1, 2), floats(3, -4))).toEqual(step(Float32Array.of(1, 2), Float32Array.of(3, -4)));
    const bits = foreign<Uint16Array>("new Uint16Array([0x3f80])");
    new lib.SGD([bits], { lr: 1, masterWeights: false }).step([foreign<Uint16Array>("new Uint16Array([0x3f80])")]);
    expect(plain(bits)).toEqual([0]);
  });

  test("by the schedules and their theory", () => {
    const options = foreign<lib.schedule.UbaOptions>("{ budget: 4, maxLr: 1, phi: 2 }");
    expect(plain(schedule.tabulate(schedule.uba(options)))).toEqual(
      plain(schedule.tabulate(schedule.uba({ ...options }))),
    );
    const range = foreign<[number, number]>("[1, 10]");
    expect(theory.worstCase(foreign<Float64Array>("new Float64Array([0.1, 0.2])"), range)).toEqual(
      theory.worstCase([0.1, 0.2], [1, 10]),
    );
  });

  test("by tokenizers and axes", async () => {
    expect(data.tokenizerOf(foreign("{ kind: 'bytes' }")).decode(ints(104, 105))).toBe("hi");
    expect(plain(await ops.sum(ops.ones(device, foreign("[2, 3]")), foreign("[0, 1]")).read())).toEqual([6]);
  });
});

describe("objects of another realm", () => {
  test("keep the tensors that tidy returns in them", async () => {
    const box = lib.tidy(() =>
      Object.assign(foreign<{ list: unknown[] }>("{ list: [] }"), { x: ops.ones(device, [1]) }),
    );
    expect(box.x.disposed).toBe(false);
    const list = lib.tidy(() => foreign<Tensor[]>("[]").concat([ops.ones(device, [1])]));
    expect(list[0]!.disposed).toBe(false);
  });

  test("are refused if they are promises and a block must return at once", async () => {
    const late = () => foreign<Promise<void>>("Promise.resolve()");
    await expectError(() => lib.tidy(late), "invalid-argument", "promise");
    await expectError(() => lib.noGrad(late), "invalid-argument", "promise");
    await expectError(() => device.capture(late as never), "invalid-argument", "async");
  });

  test("are recognized by their kind", () => {
    expect(
      ["{}", "Object.create(null)", "[]", "new Map()", "new (class A {})()", "3"].map((code) =>
        isPlainObject(foreign(code)),
      ),
    ).toEqual([true, true, false, false, false, false]);
    expect(
      ["Promise.resolve()", "{ then() {} }", "{}", "null", "() => 1"].map((code) => isPromise(foreign(code))),
    ).toEqual([true, true, false, false, false]);
    expect(["new TypeError('x')", "{}", "null", "'x'"].map((code) => isError(foreign(code)))).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(["new TypeError('what')", "'text'", "undefined"].map((code) => messageOf(foreign(code)))).toEqual([
      "what",
      "text",
      "undefined",
    ]);
  });
});

describe("another copy of the package", () => {
  /** Loads the library again, as a second installation would: separate modules, the same addon. */
  async function secondCopy(): Promise<typeof lib> {
    const copy = folder();
    cpSync(resolve("dist"), join(copy, "dist"), { recursive: true });
    cpSync(resolve("package.json"), join(copy, "package.json"));
    for (const name of ["build", "lib", "node_modules"]) symlinkSync(resolve(name), join(copy, name));
    return import(/* @vite-ignore */ pathToFileURL(join(copy, "dist", "index.js")).href) as Promise<typeof lib>;
  }

  test("has tensors and modules that are refused by name, and errors that are recognized", async () => {
    const other = await secondCopy();
    expect(other.Tensor).not.toBe(lib.Tensor);
    const there = await other.openDevice("cpu");
    const x = other.tensor(there, [1], [1], { requiresGrad: true });
    const words = "a Tensor of another copy of stepsize (the package is installed or loaded twice: use one)";
    await expectError(() => new lib.SGD([x as never], { lr: 1 }), "invalid-argument", "parameters[0]", words);
    class Net extends nn.Module {
      readonly head = new other.nn.Linear(2, 2, { device: there });
      forward(input: Tensor): Tensor {
        return input;
      }
    }
    await expectError(() => new Net().parameters(), "invalid-state", "head: ", "a Linear of another copy of stepsize");
    const error = (() => {
      try {
        other.schedule.uba({ budget: 0, maxLr: 1 });
      } catch (thrown) {
        return thrown;
      }
      return undefined;
    })();
    expect(error instanceof StepsizeError).toBe(true);
    expect(new Error("x") instanceof StepsizeError).toBe(false);
    class Derived extends StepsizeError {}
    expect(error instanceof Derived).toBe(false);
    expect(new Derived("unsupported", "x") instanceof Derived).toBe(true);
    await there.close();
  });
});
