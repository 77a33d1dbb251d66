// Parts of a tensor are read and written in place, and nothing else is.
import fc from "fast-check";
import { expect, test } from "vitest";
import { arrayOf, dataTypes } from "#lib/native/addon.js";
import { embedding, reshape, tensor, zeros } from "#lib/tensor/index.js";
import { onEveryDevice } from "../support/devices.js";
import { expectError } from "../support/errors.js";

await onEveryDevice("parts of a tensor", (device) => {
  test("have the values of the whole tensor", async () => {
    const part = fc.record({ first: fc.nat(60), count: fc.nat(60) });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...dataTypes),
        fc.nat(60),
        fc.array(part, { maxLength: 5 }),
        async (dtype, size, parts) => {
          // A single class for the type checker, which cannot call a union of them.
          const Elements = arrayOf[dtype] as typeof Float32Array;
          const expected = Elements.from({ length: size }, (_, i) => i + 1);
          const x = tensor(device, expected, [size], { dtype });
          for (const [round, { first: from, count: maxCount }] of parts.entries()) {
            const first = Math.min(from, size);
            const count = Math.min(maxCount, size - first);
            const data = Elements.from({ length: count }, (_, i) => 100 + 10 * round + (i % 10));
            expected.set(data, first);
            device.native.writePart(x.handle, first, data);
            // The call copies its argument, so changing it has no effect.
            data.fill(0);
            const read = device.native.readPart(x.handle, first, count);
            expect(await read).toEqual(expected.slice(first, first + count));
          }
          expect(await x.read()).toEqual(expected);
          x.dispose();
        },
      ),
      { numRuns: 60 },
    );
  });

  test("count as a change if written, and after a failed operation are spoiled until written", async () => {
    const ids = tensor(device, Int32Array.of(9));
    const x = reshape(embedding(ids, zeros(device, [2, 6])), [6]);
    const { version } = x.handle;
    const { native } = device;
    await expectError(() => native.readPart(x.handle, 2, 2), "device-failed", "9");
    native.writePart(x.handle, 2, Float32Array.of(1, 2));
    expect(x.handle.version).toBeGreaterThan(version);
    expect(await native.readPart(x.handle, 2, 2)).toEqual(Float32Array.of(1, 2));
    await expectError(() => native.readPart(x.handle, 0, 3), "device-failed");
    await expectError(() => x.read(), "device-failed");
    native.writePart(x.handle, 0, Float32Array.of(3, 4));
    native.writePart(x.handle, 4, Float32Array.of(5, 6));
    expect(await x.read()).toEqual(Float32Array.of(3, 4, 1, 2, 5, 6));
  });
});
