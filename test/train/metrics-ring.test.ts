// Rows that captured work writes to the ring are returned unchanged and in order, whenever they are read.
import { expect, it } from "vitest";
import { affine, copy, execute, type Tensor, tensor } from "#lib/tensor/index.js";
import { MetricsRing } from "#lib/train/metrics-ring.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";

await onEveryDevice("a ring of metrics", (device) => {
  it("returns the rows of all replays since the last read, across its end and across pauses", async () => {
    const ring = new MetricsRing(device, 4);
    const values = [0.1, -0, Number.NaN].map((x) => tensor(device, x));
    const doubles = tensor(device, Float64Array.of(1 / 3));
    const next = tensor(device, 0);
    const capture = device.capture(() => {
      ring.write([next, values[0]!, doubles, values[2]!]);
      copy(next, affine(next, 1, 1));
    });
    let replays = 0;
    for (const count of [1, 3, 16, 0, 7, 16, 16]) {
      for (let i = 0; i < count; i++) {
        capture.replay();
        ring.wrote();
      }
      expect(ring.unread).toBe(count);
      const rows = await ring.read();
      const expected = Array.from({ length: count }, (_, i) => [replays + i, Math.fround(0.1), 1 / 3, Number.NaN]);
      expect(rows.map((row) => [...row])).toEqual(expected);
      replays += count;
    }
    capture.dispose();
    ring.dispose();
    for (const one of [...values, doubles, next]) one.dispose();
  });

  const row = (ring: Tensor, count: Tensor, values: Tensor, attributes = {}) =>
    execute("writeRow", [ring, count, values], attributes);

  it("accepts values of every type and number", async () => {
    const ring = tensor(device, new Float64Array(2 * 300).fill(9), [2, 300]);
    const count = tensor(device, Int32Array.of(1), []);
    const bytes = Uint8Array.from({ length: 250 }, (_, i) => i);
    for (const [column, values] of [tensor(device, bytes), tensor(device, Int32Array.of(-7))].entries())
      row(ring, count, values, { column: 250 * column });
    row(ring, count, tensor(device, [1.5], [1], { dtype: "bfloat16" }), { column: 251, last: true });
    const expected = [...new Array(300).fill(9), ...bytes, -7, 1.5, ...new Array(48).fill(9)];
    expect([...(await ring.read())]).toEqual(expected);
    expect([...(await count.read())]).toEqual([2]);
  });

  it("counts beyond 2³¹ and 2³² without writing outside its rows", async () => {
    for (const [start, at] of [
      [2 ** 31 - 1, 3],
      [-(2 ** 31), 0],
      [-1, 3],
    ] as const) {
      const ring = tensor(device, new Float64Array(4), [4, 1]);
      const count = tensor(device, Int32Array.of(start), []);
      row(ring, count, tensor(device, 5), { last: true });
      row(ring, count, tensor(device, 6), { last: true });
      const expected = new Float64Array(4);
      expected.set([5], at);
      expected.set([6], (at + 1) % 4);
      expect(await ring.read()).toEqual(expected);
    }
  });

  it("refuses rows of the wrong size", async () => {
    const ring = tensor(device, new Float64Array(6), [2, 3]);
    const count = tensor(device, Int32Array.of(0), []);
    const two = tensor(device, [1, 2]);
    await expectError(() => row(ring, count, two, { column: 2 }), "invalid-argument", "2 values from column 2 on");
    await expectError(() => row(two, count, two), "invalid-argument", "float64");
    await expectError(() => row(ring, two, two), "invalid-argument", "int32");
    const none = tensor(device, new Float64Array(0), [0, 3]);
    await expectError(() => row(none, count, two), "invalid-argument", "at least one row");
  });
});
