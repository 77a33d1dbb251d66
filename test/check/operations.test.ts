// The cases of operations: that they are complete, that they pass on every device, and what the comparisons find.
import { afterAll, describe, expect, test } from "vitest";
import { operationChecks, type Tolerance } from "#lib/check/operation-cases.js";
import {
  compareClosely,
  compareExactly,
  compareRuns,
  poisons,
  type Result,
  type Run,
  runCase,
} from "#lib/check/operation-runs.js";
import { operationsStage } from "#lib/check/stages/operations.js";
import { type Device, type DeviceOptions, findAddon, openDevice } from "#lib/native/index.js";
import { onEveryDevice } from "../support/devices.js";

const { operations } = findAddon("cpu").addon!;
const cpu = await openDevice("cpu");

describe("the cases", () => {
  test("exist for every operation of the table", () => {
    expect(Object.keys(operationChecks)).toEqual([...operations]);
  });

  test.each(Object.entries(operationChecks))(
    "of %s have every storage that the operation takes",
    async (name, checks) => {
      const run = () => runCase(cpu, name, checks, checks.cases.ragged, { storage: "bfloat16" });
      // A call without inputs of the case's storage is the same in both.
      const inputs = [...checks.cases.ragged.inputs, ...(checks.cases.ragged.lists ?? []).flat()];
      const isTaken = inputs.some(({ dtype }) => dtype === "stored") && (await run().then(() => true, () => false)); // biome-ignore format: one line
      expect(checks.storages).toEqual(isTaken ? ["float32", "bfloat16"] : ["float32"]);
    },
  );
});

await onEveryDevice("operations agree with the CPU, and their outputs were poisoned", (device) => {
  const opened: Device[] = [];
  afterAll(() => Promise.all(opened.map((one) => one.close())));
  const open = async (options: DeviceOptions) => {
    const one = await openDevice(device.name, options);
    opened.push(one);
    return one;
  };
  const context = {
    device,
    scale: "reduced" as const,
    reference: async () => cpu,
    open,
    measured: () => {},
  };

  test.each(operationsStage.groups())("$name", async ({ cases }) => {
    for (const { name, run } of cases.filter((one) => /^(aligned|ragged),/.test(one.name))) {
      const { fault, message, measured } = await run(context);
      expect(fault, `${name}: ${message}`).toBeUndefined();
      // A CPU refuses TF32.
      if (device.name === "cpu" && name.endsWith("TF32")) continue;
      const [poisoned, outputs] = String(measured?.["poisoned"]).split(" of ");
      expect(poisoned, name).toBe(outputs);
    }
  });
});

describe("the cases in TF32", () => {
  const group = operationsStage.groups().find(({ name }) => name === "matmul")!;
  const ragged = group.cases.find(({ name }) => name === "ragged, TF32")!;
  const check = (device: Device) =>
    ragged.run({
      device,
      scale: "reduced",
      reference: async () => cpu,
      open: () => openDevice(device.name),
      measured: () => {},
    });

  test("find a device that multiplies float32", async () => {
    expect(await check(cpu)).toEqual({ fault: "wrong", message: "TF32 on a CPU: undefined" });
    if (!findAddon("cuda-emulated").addon) return;
    const device = await openDevice("cuda:emulated");
    expect(await check(device)).toMatchObject({ fault: "wrong" });
    await device.close();
  });
});

describe("the comparisons", () => {
  const result = (values: Float32Array | Uint16Array): Result => ({
    dtype: values instanceof Float32Array ? "float32" : "bfloat16",
    shape: [values.length],
    values,
  });
  const runOf = (values: Float32Array): Run => ({ results: [result(values)], poisoned: 1, outputs: 1 });
  const poisonedBy = (byte: number) => new Float32Array(new Uint8Array(4).fill(byte).buffer)[0]!;
  const tolerance: Tolerance = { relativeTo: "value", units: 2, reason: "" };
  const closely = (got: Float32Array, expected: Float32Array, more: Partial<Tolerance> = {}, sizes?: Float32Array) =>
    compareClosely(
      [result(got)],
      [result(expected)],
      { ...tolerance, ...more },
      { inputs: [] },
      sizes && [result(sizes)],
    );
  const unit = 2 ** -24;

  test("find elements that were not written", () => {
    const [first, second] = poisons.map((byte) => runOf(Float32Array.of(1, poisonedBy(byte), 3, poisonedBy(byte))));
    expect(compareRuns(first!, second!)).toEqual({
      fault: "unwritten",
      message: "result 0 [4]: 2 of 4 elements are not written, the first at 1",
    });
  });

  test("find results that differ from run to run", () => {
    const finding = compareRuns(runOf(Float32Array.of(1, 2, 3)), runOf(Float32Array.of(1, 2.5, 3)));
    expect(finding).toEqual({
      fault: "unstable",
      message: "result 0 [3]: element 1 is 2 in one run and 2.5 in the next",
    });
    expect(compareRuns(runOf(Float32Array.of(1)), runOf(Float32Array.of(1)))).toEqual({});
    // A NaN that both runs wrote is a value.
    expect(compareRuns(runOf(Float32Array.of(Number.NaN)), runOf(Float32Array.of(Number.NaN)))).toEqual({});
  });

  test("find bits that differ, also of the sign of zero, and accept any NaN for a NaN", () => {
    const of = (...values: number[]) => [result(Float32Array.from(values))];
    expect(compareExactly(of(1, Number.NaN), of(1, Number.NaN))).toEqual({});
    expect(compareExactly(of(-0, 2), of(0, 2))).toMatchObject({
      fault: "wrong",
      message: "result 0 [2]: 1 of 2 elements differ, the first at 0: -0 instead of 0",
    });
    expect(compareExactly([], of(1))).toMatchObject({ fault: "wrong" });
  });

  test("judge an error by its tolerance", () => {
    const at = (error: number) => closely(Float32Array.of(1 + error), Float32Array.of(1));
    expect(at(2 * unit)).toEqual({ error: 1 });
    expect(at(4 * unit)).toMatchObject({ fault: "wrong", error: 2 });
    expect(closely(Float32Array.of(1024 * (1 + 2 * unit)), Float32Array.of(1024)).fault).toBeUndefined();
    // Below the scale, the error is relative to the scale.
    expect(closely(Float32Array.of(unit), Float32Array.of(0))).toEqual({ error: 0.5 });
  });

  test("judge an error relative to magnitudes and to the largest element", () => {
    const [got, expected] = [Float32Array.of(unit * 100, 50), Float32Array.of(0, 50)];
    expect(closely(got, expected, { relativeTo: "magnitudes" }, Float32Array.of(50, 50))).toEqual({ error: 1 });
    expect(closely(got, expected, { relativeTo: "magnitudes" }, Float32Array.of(5, 50)).error).toBeCloseTo(10, 5);
    expect(closely(got, expected, { relativeTo: "largest" })).toEqual({ error: 1 });
  });

  test("accept one rounding step of bfloat16, and not two", () => {
    const at = (bits: number) =>
      compareClosely(
        [result(Uint16Array.of(bits))],
        [result(Uint16Array.of(0x3f80))],
        tolerance,
        { inputs: [] },
        undefined,
      );
    expect(at(0x3f81).fault).toBeUndefined();
    expect(at(0x3f82).fault).toBe("wrong");
  });

  test("find NaN and infinities where there should be numbers, and the other way round", () => {
    for (const [got, expected] of [
      [Number.NaN, 1],
      [1, Number.NaN],
      [Number.POSITIVE_INFINITY, 1],
      [1, Number.POSITIVE_INFINITY],
      [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
    ] as const)
      expect(closely(Float32Array.of(got), Float32Array.of(expected))).toEqual({
        fault: "wrong",
        message: `result 0 [1]: element 0 is ${got} instead of ${expected}`,
      });
    for (const same of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(closely(Float32Array.of(same), Float32Array.of(same)).fault).toBeUndefined();
  });
});
