// The loop that updates are compared with makes the same reads and writes as an update. Its result shows that it made
// them all.
import { describe, expect, test } from "vitest";
import type { DataType, Device } from "#lib/native/index.js";
import { type Tensor, tensor } from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { numbers } from "../support/numbers.js";
import { listOf } from "../tensor/support/records.js";

/** Types of an update's lists: updated tensors, gradients, moments, copies. */
const storages: readonly (readonly [rule: string, types: readonly DataType[], copies: boolean])[] = [
  ["sgd", ["float32", "float32"], false],
  ["adam", ["float32", "float32", "float32", "float32"], false],
  ["adamAmsgrad", ["float32", "float32", "bfloat16", "bfloat16", "bfloat16"], false],
  ["adam", ["float32", "bfloat16", "float32", "float32", "bfloat16"], true],
  ["lion", ["float32", "bfloat16", "bfloat16", "bfloat16"], true],
  ["sgdMomentum", ["bfloat16", "bfloat16", "float32"], false],
  ["adam", ["bfloat16", "bfloat16", "bfloat16", "bfloat16"], false],
];

// Less than a vector, and several blocks with a remainder after the last vector.
const sizes = [3, 70_001];

/** The bits of each element. */
async function bitsOf(one: Tensor): Promise<number[]> {
  const values = await one.read();
  return Array.from(values instanceof Uint16Array ? values : new Uint32Array(values.buffer, values.byteOffset));
}

/** The bits of the gradient that fit into an element of the other type. */
const fitted = (bits: number, type: DataType) => (type === "bfloat16" ? bits & 0xffff : bits);

await onEveryDevice("traffic", (device: Device) => {
  test.each(storages)("of %s in %j puts the gradient's bits into every written list", async (rule, types, copies) => {
    const lists = types.map((dtype, l) => sizes.map((n) => tensor(device, numbers(n, l), [n], { dtype })));
    const before = await Promise.all(lists.map((list) => Promise.all(list.map(bitsOf))));
    const native = lists.map((list) => listOf(device, list));
    device.enqueue("traffic", [], { rule }, native);
    for (const [l, list] of lists.entries())
      for (const [t, one] of list.entries()) {
        const gradient = before[1]![t]!;
        const initial = before[l]![t]!;
        const isCopy = copies && l === types.length - 1;
        const expected = initial.map((bits, i) => {
          const added = fitted(gradient[i]!, types[l]!);
          return l === 1 ? bits : isCopy ? added : (bits ^ added) >>> 0;
        });
        expect(await bitsOf(one), `list ${l}, tensor ${t}`).toEqual(expected);
      }
    for (const one of lists.flat()) one.dispose();
  });

  describe("is refused for lists that no update takes", () => {
    const of = (dtype: DataType, size: number) => tensor(device, new Float32Array(size), [size], { dtype });
    test.each([
      { why: "another number of lists", given: [["float32", 4]], words: "expected parameters, gradients" },
      {
        why: "other types",
        given: [
          ["float32", 4],
          ["bfloat16", 4],
        ],
        words: "gradients must be float32",
      },
      {
        why: "other sizes",
        given: [
          ["float32", 4],
          ["float32", 5],
        ],
        words: "tensor 0 of list 1",
      },
    ] as const)("$why", async ({ given, words }) => {
      const tensors = given.map(([dtype, size]) => of(dtype, size));
      const lists = tensors.map((one) => listOf(device, [one]));
      await expectError(() => device.enqueue("traffic", [], { rule: "sgd" }, lists), "invalid-argument", words);
      for (const one of tensors) one.dispose();
    });
  });
});
