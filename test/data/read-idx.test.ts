import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectError } from "../support/errors.js";
import { filled, temporaryFolders } from "../support/folders.js";
import { data } from "./support/data.js";
import { idxBytes, idxTypes } from "./support/idx-bytes.js";

const folder = temporaryFolders();
const arrays = {
  uint8: Uint8Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  float32: Float32Array,
  float64: Float64Array,
};

function file(bytes: Uint8Array, name = "file"): string {
  const path = join(folder(), name);
  writeFileSync(path, bytes);
  return path;
}

describe("readIdx", () => {
  it.each(idxTypes)("reads $dtype in the machine's byte order", async ({ dtype, values }) => {
    const read = await data.readIdx(file(idxBytes(dtype, [5], values)));
    expect(read.dtype).toBe(dtype);
    expect(read.shape).toEqual([5]);
    expect(read.data).toBeInstanceOf(arrays[dtype]);
    expect([...read.data]).toEqual([...arrays[dtype].from(values)]);
    expect(read.data.buffer).toBeInstanceOf(SharedArrayBuffer);
  });

  it("reads any shape, plain or gzipped, whatever its name", async () => {
    const path = join(folder(), "plain.gz");
    const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(shapes, fc.boolean(), fc.constantFrom(...idxTypes), async (shape, zip, { dtype }) => {
        const length = shape.reduce((product, extent) => product * extent, 1);
        const values = Array.from({ length }, (_, i) => i % 100);
        const bytes = idxBytes(dtype, shape, values);
        writeFileSync(path, zip ? gzipSync(bytes) : bytes);
        const read = await data.readIdx(path);
        expect(read).toMatchObject({ dtype, shape });
        expect([...read.data]).toEqual(values);
      }),
      { numRuns: 60 },
    );
  });

  it("names the byte at which a file is truncated, for every length", async () => {
    const whole = idxBytes("int16", [2, 3], [1, 2, 3, 4, 5, 6]);
    const path = join(folder(), "cut");
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      const expected =
        length < 4
          ? "a header of at least 4 bytes"
          : length < 12
            ? "a header of 12 bytes for 2 dimensions"
            : "12 bytes of data for 2 × 3 elements of type int16";
      const found = length < 12 ? length : length - 12;
      const words = `${path}: byte ${length}: expected ${expected}, found the end of the file after ${found}`;
      await expectError(() => data.readIdx(path), "invalid-file", words);
    }
  });

  it("names the byte at which a file should have ended", async () => {
    const path = file(Buffer.concat([idxBytes("uint8", [3], [1, 2, 3]), Buffer.alloc(2)]));
    await expectError(() => data.readIdx(path), "invalid-file", "byte 11: expected the end", "found 2 more bytes");
  });

  it("checks the size of extents whose product is beyond any file", async () => {
    const bytes = idxBytes("float64", new Array(40).fill(2 ** 32 - 1), []);
    await expectError(() => data.readIdx(file(bytes)), "invalid-file", "byte 164: expected Infinity bytes");
  });

  it.each([
    { what: "the first byte", at: 0, value: 0x47, words: "byte 0: expected the magic number 00 00" },
    { what: "the second byte", at: 1, value: 1, words: "found 00 01" },
    { what: "the element type", at: 2, value: 0x0a, words: "byte 2: expected an element type of 08, 09" },
    { what: "the element type", at: 2, value: 0x0f, words: "found 0f" },
    { what: "the rank", at: 3, value: 0, words: "byte 3: expected at least 1 dimension, found 0" },
  ])("refuses a wrong value of $what", async ({ at, value, words }) => {
    const bytes = idxBytes("uint8", [1], [7]);
    bytes[at] = value;
    await expectError(() => data.readIdx(file(bytes)), "invalid-file", words);
  });

  it("reports damaged or truncated gzip data", async () => {
    const zipped = gzipSync(idxBytes("uint8", [50], new Uint8Array(50)));
    const cut = zipped.subarray(0, zipped.length - 9);
    await expectError(() => data.readIdx(file(cut)), "invalid-file", "expected gzip data");
    const broken = Buffer.from(zipped);
    broken[zipped.length - 6]! ^= 0xff;
    await expectError(() => data.readIdx(file(broken)), "invalid-file", "expected gzip data");
  });

  it("lists the files next to a missing file", async () => {
    const dir = filled(folder(), { "one.idx": "", "two.idx": "" });
    const path = join(dir, "three.idx");
    await expectError(() => data.readIdx(path), "not-found", path, "one.idx, two.idx");
    await expectError(() => data.readIdx(join(folder(), "x")), "not-found", "is empty");
    await expectError(() => data.readIdx(join(dir, "no", "x")), "not-found", "folder cannot be read");
    await expectError(() => data.readIdx(dir), "invalid-file", `${dir}: is a folder`);
    await expectError(() => data.readIdx(""), "invalid-argument", "path: expected");
  });
});
