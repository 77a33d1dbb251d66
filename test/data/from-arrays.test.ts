import { describe, expect, it } from "vitest";
import { expectError } from "../support/errors.js";
import { data } from "./support/data.js";

describe("fromArrays", () => {
  it.each([
    { dtype: "uint8", inputs: Uint8Array.of(1, 2, 3, 4, 5, 6) },
    { dtype: "float32", inputs: Float32Array.of(1, 2, 3, 4, 5, 6) },
    { dtype: "int32", inputs: Int32Array.of(1, 2, 3, 4, 5, 6) },
  ])("keeps $dtype and copies it into shared memory", ({ dtype, inputs }) => {
    const set = data.fromArrays({ inputs, labels: Int32Array.of(0, 1) });
    expect(set.length).toBe(2);
    expect(set.inputs).toMatchObject({ shape: [3], dtype });
    inputs[0] = 99;
    expect([...set.inputs.data]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(set.inputs.data.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(set.inputs.data.constructor).toBe(inputs.constructor);
  });

  it("uses shared memory without a copy", () => {
    const inputs = new Float32Array(new SharedArrayBuffer(16));
    expect(data.fromArrays({ inputs, labels: [0, 1] }).inputs.data).toBe(inputs);
  });

  it("accepts a Node Buffer as bytes", () => {
    const set = data.fromArrays({ inputs: Buffer.from([1, 2]), labels: Uint8Array.of(3, 4) });
    expect(set.inputs.data).toEqual(Uint8Array.of(1, 2));
    expect(set.labels).toEqual(Int32Array.of(3, 4));
  });

  it("takes the shape from nested arrays", () => {
    const inputs = [
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      [
        [7, 8],
        [9, 10],
        [11, 0.5],
      ],
    ];
    const set = data.fromArrays({ inputs, labels: [0, 1], classes: ["no", "yes"], name: "toy" });
    expect(set.inputs).toMatchObject({ shape: [3, 2], dtype: "float32" });
    expect([...set.inputs.data]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0.5]);
    expect(set).toMatchObject({ length: 2, classes: ["no", "yes"], name: "toy" });
  });

  it("gives nested or flat numbers the requested shape", () => {
    expect(data.fromArrays({ inputs: [1, 2, 3, 4], labels: [0], shape: [2, 2, 1] }).inputs.shape).toEqual([2, 2, 1]);
    const nested = [
      [1, 2],
      [3, 4],
    ];
    expect(data.fromArrays({ inputs: nested, labels: [0, 1], shape: [1, 2, 1] }).inputs.shape).toEqual([1, 2, 1]);
  });

  it("accepts float targets: one number per item, nested, or with a shape", () => {
    const inputs = new Float32Array(6);
    const labels = Float32Array.of(0.5, 1.5, 2.5);
    expect(data.fromArrays({ inputs, labels }).labels).toEqual({ data: labels, shape: [] });
    expect(data.fromArrays({ inputs, labels, shape: [2] }).labels).toEqual({ data: labels, shape: [] });
    expect(data.fromArrays({ inputs, labels, shape: [6] }).labels).toEqual({ data: labels, shape: [3] });
    const nested = [
      [1, 0],
      [0.5, 0.5],
    ];
    const expected = { data: Float32Array.of(1, 0, 0.5, 0.5), shape: [2] };
    expect(data.fromArrays({ inputs, labels: nested }).labels).toEqual(expected);
    expect(data.fromArrays({ inputs, labels: expected }).labels).toEqual(expected);
  });

  const inputs = new Float32Array(4);
  it.each([
    {
      words: "labels[1]: expected a class index of at least 0, or -100 for an item that does not count, got -1",
      labels: Int32Array.of(0, -1),
    },
    {
      words: "labels[0]: expected a class index from 0 to 1, or -100 for an item that does not count, got 2",
      labels: [2, 0],
      classes: ["a", "b"],
    },
    { words: "labels[1]: expected a class index (targets go in a Float32Array), got 0.5", labels: [0, 0.5] },
    { words: "labels[0]: expected a class index", labels: [2 ** 31, 0] },
    { words: "labels: expected class indices, a Float32Array", labels: "cat" },
    { words: "labels: expected class indices, a Float32Array", labels: undefined },
    { words: "labels.shape: expected an array of integers", labels: { data: new Float32Array(2), shape: [0] } },
    { words: "labels.data: expected whole targets of 3", labels: { data: new Float32Array(4), shape: [3] } },
    { words: 'labels: expected one for each of 2 items, got "1 labels"', labels: [0], shape: [2] },
    { words: "labels: expected one for each of 2 items", labels: [[1], [2], [3]], shape: [2] },
    { words: "labels: expected numbers for 4 items", labels: new Float32Array(6), shape: [1] },
    { words: "labels[1]: expected a finite number, got NaN", labels: Float32Array.of(0, Number.NaN) },
    { words: "inputs: expected numbers for 3 items", labels: [0, 1, 2] },
    { words: "inputs: expected whole items of 3 numbers (shape [3]), got 4", labels: [0], shape: [3] },
    { words: "inputs: expected at least one item", inputs: [], labels: [] },
    { words: "inputs: expected at least one item", inputs: new Uint8Array(4), labels: new Int32Array(0) },
    { words: "inputs[2]: expected a finite number, got Infinity", inputs: Float32Array.of(1, 2, Infinity, 4) },
    { words: "inputs[1]: expected an array of length 2, like its neighbors", inputs: [[1, 2], [3]] },
    { words: "inputs[1]: expected an array of length 2, like its neighbors", inputs: [[1, 2], 3] },
    { words: "inputs[1][0]: expected a number that float32 can hold", inputs: [[1], [[2]]] },
    { words: 'inputs[1][0]: expected a number that float32 can hold, got "2"', inputs: [[1], ["2"]] },
    { words: "inputs[0][0]: expected a number that float32 can hold, got 1e+39", inputs: [[1e39], [1]] },
    { words: "inputs: expected a Uint8Array, Float32Array, Int32Array", inputs: new Float64Array(4) },
    { words: "inputs: expected a Uint8Array", inputs: undefined },
    { words: "shape: expected an array of integers of at least 1", shape: [2, 0] },
    { words: "shape: expected an array of integers of at least 1", shape: 4 },
    {
      words: "shape: expected that of one of 2 items",
      inputs: [
        [1, 2],
        [3, 4],
      ],
      shape: [1],
    },
    { words: "classes: expected an array of names", classes: [1, 2] },
  ])("refuses with: $words", async ({ words, ...given }) => {
    const call = () => data.fromArrays({ inputs, labels: [0, 1], ...given } as never);
    await expectError(call, "invalid-argument", words);
  });

  it("refuses a call without options", async () => {
    await expectError(
      () => data.fromArrays(undefined as never),
      "invalid-argument",
      "fromArrays: expected an object with the options inputs, labels",
    );
  });
});
