import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type HostTensor, readSafetensors, writeSafetensors } from "#lib/weights/index.js";
import { bits } from "../support/compare.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const folder = temporaryFolders();

const some = new Map<string, HostTensor>([
  ["bytes", { dtype: "uint8", shape: [5], data: Uint8Array.of(1, 2, 3, 4, 255) }],
  ["weights", { dtype: "float32", shape: [2, 3], data: Float32Array.of(0.1, -0, Number.NaN, Infinity, 1e-45, -2) }],
  ["counters", { dtype: "float64", shape: [2], data: Float64Array.of(Math.PI, -1e300) }],
  ["none", { dtype: "float32", shape: [0, 3], data: new Float32Array(0) }],
  ["scalar", { dtype: "int32", shape: [], data: Int32Array.of(-7) }],
  ['ünï "quoted".0', { dtype: "int32", shape: [1], data: Int32Array.of(2 ** 31 - 1) }],
]);

async function written(tensors: ReadonlyMap<string, HostTensor> = some, metadata: Record<string, string> = {}) {
  const path = join(folder(), "some.safetensors");
  await writeSafetensors(path, tensors, metadata);
  return path;
}

/** Parses the file according to the format's description, without the library. */
function parse(file: Buffer) {
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + length).toString()) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const { __metadata__: metadata, ...entries } = header;
  return { start: 8 + length, metadata, entries, data: file.subarray(8 + length) };
}

/** Writes a file with this header followed by `size` bytes of data. */
function fileWith(header: unknown, size = 0): string {
  const json = Buffer.isBuffer(header)
    ? header
    : Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const path = join(folder(), "made.safetensors");
  writeFileSync(path, Buffer.concat([length, json, Buffer.alloc(size)]));
  return path;
}

describe("writeSafetensors", () => {
  it("writes the format: a header of names, types, shapes and offsets, then the bytes", async () => {
    const { entries, metadata, data, start } = parse(readFileSync(await written(some, { by: "a test", of: "é" })));
    expect(metadata).toEqual({ by: "a test", of: "é", "stepsize.crc32": expect.any(String) });
    expect(Object.keys(entries).sort()).toEqual([...some.keys()].sort());
    const codes = { float32: "F32", float64: "F64", int32: "I32", uint8: "U8", bfloat16: "BF16" };
    for (const [name, { dtype, shape, data: values }] of some) {
      const entry = entries[name]!;
      expect(entry.dtype).toBe(codes[dtype]);
      expect(entry.shape).toEqual(shape);
      const [from, to] = entry.data_offsets;
      expect(data.subarray(from, to).equals(bits(values))).toBe(true);
      expect((start + from) % values.BYTES_PER_ELEMENT).toBe(0);
    }
    expect(start % 8).toBe(0);
    const spans = Object.values(entries).map(({ data_offsets }) => data_offsets);
    const ends = [0, ...spans.map(([, to]) => to)].sort((a, b) => a - b);
    expect(spans.map(([from]) => from).sort((a, b) => a - b)).toEqual(ends.slice(0, -1));
    expect(ends.at(-1)).toBe(data.length);
  });

  const python = spawnSync("python3", ["-c", "import safetensors.numpy"]).status === 0;
  it.skipIf(!python)("is readable by the format's own package (skipped if python3 has no safetensors)", async () => {
    const script = `import sys, json, safetensors.numpy as s
t = s.load_file(sys.argv[1])
print(json.dumps({k: [str(v.dtype), list(v.shape), v.tobytes().hex()] for k, v in t.items()}))`;
    const read = JSON.parse(execFileSync("python3", ["-c", script, await written()], { encoding: "utf8" }));
    const expected = [...some].map(([name, { dtype, shape, data }]) => [
      name,
      [dtype, shape, bits(data).toString("hex")],
    ]);
    expect(read).toEqual(Object.fromEntries(expected));
  });

  it("preserves every bit of any tensors", async () => {
    const arrays = { float32: Float32Array, float64: Float64Array, int32: Int32Array, uint8: Uint8Array } as const;
    const one = fc
      .tuple(
        fc.constantFrom("float32", "float64", "int32", "uint8"),
        fc.array(fc.nat({ max: 3 }), { maxLength: 3 }),
        fc.nat(255),
      )
      .map(([dtype, shape, fill]): HostTensor => {
        const size = shape.reduce((product, length) => product * length, 1);
        const Type = arrays[dtype];
        return { dtype, shape, data: new Type(new Uint8Array(size * Type.BYTES_PER_ELEMENT).fill(fill).buffer) };
      });
    // "__metadata__" is the only name that the format reserves.
    const names = fc.string({ maxLength: 6 }).filter((name) => name !== "__metadata__" && name !== "__proto__");
    const path = join(folder(), "any.safetensors");
    await fc.assert(
      fc.asyncProperty(fc.dictionary(names, one), fc.dictionary(names, fc.string()), async (tensors, metadata) => {
        await writeSafetensors(path, new Map(Object.entries(tensors)), metadata);
        const back = await readSafetensors(path);
        expect(back.metadata).toEqual({ ...metadata });
        expect(new Set(back.tensors.keys())).toEqual(new Set(Object.keys(tensors)));
        for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
          const read = back.tensors.get(name)!;
          expect(read).toMatchObject({ dtype, shape });
          expect(bits(read.data).equals(bits(data))).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("writes checksums as documented", async () => {
    const file = readFileSync(await written(some, { by: "a test" }));
    const { start, metadata, entries, data } = parse(file);
    const sums = JSON.parse((metadata as unknown as Record<string, string>)["stepsize.crc32"]!) as {
      format: string;
      header: string;
      tensors: Record<string, string>;
    };
    const hex = (bytes: Uint8Array) => crc32(bytes).toString(16).padStart(8, "0");
    expect(sums.format).toBe("stepsize-crc32-1");
    const expected = Object.entries(entries).map(
      ([
        name,
        {
          data_offsets: [from, to],
        },
      ]) => [name, hex(data.subarray(from, to))],
    );
    expect(sums.tensors).toEqual(Object.fromEntries(expected));
    const text = file.subarray(0, start).toString("latin1");
    expect(hex(Buffer.from(text.replace(sums.header, "00000000"), "latin1"))).toBe(sums.header);
  });

  it("refuses metadata that look like checksums, and data that do not match their shape", async () => {
    const path = join(folder(), "no.safetensors");
    for (const metadata of [{ "stepsize.crc32": "x" }, { other: 'a "stepsize-crc32-1"' }])
      await expectError(
        () => writeSafetensors(path, some, metadata),
        "invalid-argument",
        "metadata.",
        "stepsize.crc32",
      );
    const one = (tensor: object) =>
      new Map([["x", { dtype: "float32", shape: [2], data: new Float32Array(2), ...tensor }]]);
    for (const [tensor, ...words] of [
      [{ shape: [3] }, "data", "Float32Array of 3 elements"],
      [{ dtype: "float64" }, "data", "Float64Array"],
      [{ dtype: "float16" }, "dtype", "float32, float64"],
      [{ shape: [-1] }, "shape"],
    ] as const)
      await expectError(
        () => writeSafetensors(path, one(tensor) as never, {}),
        "invalid-argument",
        "tensors: x",
        ...words,
      );
    expect(existsSync(path)).toBe(false);
  });

  it("creates the folder, and leaves no other file behind", async () => {
    const path = join(folder(), "a", "b", "c.safetensors");
    await writeSafetensors(path, some, {});
    expect(existsSync(path)).toBe(true);
    expect(readdirSync(join(path, ".."))).toEqual(["c.safetensors"]);
  });

  it("leaves one whole file if several calls write to it at the same time", async () => {
    const path = join(folder(), "one.safetensors");
    const large = (fill: number) =>
      new Map<string, HostTensor>([
        ["x", { dtype: "uint8", shape: [1 << (16 + fill)], data: new Uint8Array(1 << (16 + fill)).fill(fill) }],
      ]);
    await Promise.all([5, 4, 3, 2, 1, 0].map((fill) => writeSafetensors(path, large(fill), {})));
    const { data } = (await readSafetensors(path)).tensors.get("x")!;
    expect(data).toEqual(large(data[0] as number).get("x")?.data);
    expect(readdirSync(join(path, ".."))).toEqual(["one.safetensors"]);
  });
});

describe("readSafetensors", () => {
  it("refuses a file that is cut at any byte", async () => {
    const whole = readFileSync(await written());
    const { start, entries } = parse(whole);
    const boundaries = [
      0,
      7,
      8,
      9,
      start - 1,
      start,
      ...Object.values(entries).flatMap((e) => e.data_offsets.map((at) => start + at)),
    ];
    const path = join(folder(), "cut.safetensors");
    for (const at of new Set([...boundaries, ...Array.from({ length: whole.length }, (_, i) => i)])) {
      if (at === whole.length) continue;
      writeFileSync(path, whole.subarray(0, at));
      await expectError(() => readSafetensors(path), "invalid-file", path, "byte ", "expected", "found");
    }
  });

  const entry = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  it.each([
    { what: "text that is not JSON", header: "{bad", size: 0, words: ["byte 8", "a JSON header", "{bad"] },
    { what: "an array", header: [], size: 0, words: ["byte 8", "a JSON object"] },
    { what: "null", header: "null", size: 0, words: ["byte 8", "a JSON object"] },
    { what: "an entry that is null", header: { x: null }, size: 0, words: ["byte 8", "x of type", "undefined"] },
    { what: "an entry that is a number", header: { x: 3 }, size: 0, words: ["byte 8", "x of type"] },
    {
      what: "an unknown type",
      header: { x: { ...entry, dtype: "F8_E4M3" } },
      size: 8,
      words: ["byte 8", "F32", "F8_E4M3"],
    },
    { what: "no type", header: { x: { ...entry, dtype: undefined } }, size: 8, words: ["byte 8", "x of type"] },
    {
      what: "a negative size",
      header: { x: { ...entry, shape: [-2] } },
      size: 8,
      words: ["byte 8", "x with a shape", "[-2]"],
    },
    {
      what: "a fractional size",
      header: { x: { ...entry, shape: [0.5] } },
      size: 8,
      words: ["byte 8", "x with a shape"],
    },
    {
      what: "a shape that is not a list",
      header: { x: { ...entry, shape: 2 } },
      size: 8,
      words: ["byte 8", "x with a shape"],
    },
    {
      what: "a negative offset",
      header: { x: { ...entry, data_offsets: [-8, 0] } },
      size: 8,
      words: ["byte 8", "data_offsets", "[-8, 0]"],
    },
    { what: "one offset", header: { x: { ...entry, data_offsets: [8] } }, size: 8, words: ["byte 8", "data_offsets"] },
    {
      what: "offsets in the wrong order",
      header: { x: { ...entry, data_offsets: [8, 0] } },
      size: 8,
      words: ["byte 8", "8 bytes", "-8"],
    },
    {
      what: "offsets that do not fit the shape",
      header: { x: { ...entry, data_offsets: [0, 12] } },
      size: 12,
      words: ["byte 8", "x of 8 bytes", "12"],
    },
    {
      what: "an end past the file",
      header: { x: { ...entry, shape: [4], data_offsets: [0, 16] } },
      size: 8,
      words: ["the 16 bytes of x", "cut short"],
    },
    {
      what: "sizes whose product is not a number",
      header: { x: { ...entry, shape: [2 ** 53 - 1, 2 ** 53 - 1] } },
      size: 8,
      words: ["byte 8"],
    },
    { what: "two tensors of the same bytes", header: { x: entry, y: entry }, size: 8, words: ["at 8", "y at 0"] },
    {
      what: "tensors that overlap",
      header: { x: entry, y: { ...entry, data_offsets: [4, 12] } },
      size: 12,
      words: ["at 8", "y at 4"],
    },
    {
      what: "a gap",
      header: { x: entry, y: { ...entry, data_offsets: [12, 20] } },
      size: 20,
      words: ["at 8", "y at 12"],
    },
    {
      what: "bytes that belong to no tensor",
      header: { x: entry },
      size: 9,
      words: ["the end of the file", "1 more bytes"],
    },
    { what: "metadata that is not an object", header: { __metadata__: 3 }, size: 0, words: ["byte 8", "__metadata__"] },
    {
      what: "a name twice",
      header: '{"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "x": {}}',
      size: 1,
      words: ["byte 8", "every name once", '"x" again'],
    },
    {
      what: "a field twice",
      header: '{"x": {"dtype": "U8", "dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}',
      size: 1,
      words: ["byte 8", "every name once", '"dtype" again'],
    },
    ...["4.0", "4e0", "-0"].map((size) => ({
      what: `a size written ${size}`,
      header: `{"x": {"dtype": "U8", "shape": [${size}], "data_offsets": [0, 4]}}`,
      size: 4,
      words: ["byte 8", "a number written with digits alone", `"${size}"`, "byte 40"],
    })),
    {
      what: "leading white space",
      header: ' {"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}',
      size: 1,
      words: ["byte 8", "begins with {"],
    },
    {
      what: "invalid UTF-8",
      header: Buffer.from('{"x\xff": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}', "latin1"),
      size: 1,
      words: ["byte 8", "UTF-8"],
    },
    {
      what: "100,000 brackets",
      header: `{"x": ${"[".repeat(100_000)}${"]".repeat(100_000)}}`,
      size: 0,
      words: ["byte 8", "nesting of at most 64"],
    },
    {
      what: "a shape of more axes than any library's tensors have",
      header: { x: { ...entry, shape: [2, ...Array.from({ length: 100 }, () => 1)] } },
      size: 8,
      words: ["byte 8", "x with a shape of at most 64"],
    },
    {
      what: "sizes around a zero whose product is not a number",
      header: { x: { dtype: "U8", shape: Array.from({ length: 30 }, () => 2 ** 52).concat(0), data_offsets: [0, 1] } },
      size: 1,
      words: ["byte 8", "x of 0 bytes"],
    },
    { what: "metadata of numbers", header: { __metadata__: { a: 1 } }, size: 0, words: ["byte 8", "__metadata__"] },
  ])("refuses a header with $what", async ({ header, size, words }) => {
    const path = fileWith(header, size);
    await expectError(() => readSafetensors(path), "invalid-file", path, ...words);
  });

  it("refuses 100,000 names for the same bytes", async () => {
    const entries = Array.from({ length: 100_000 }, (_, i) => [`tensor-${i}`, entry]);
    const path = fileWith(Object.fromEntries(entries), 8);
    await expectError(() => readSafetensors(path), "invalid-file", path, "the next tensor at 8", "at 0");
  });

  it("shortens quotes of a header in messages, and escapes control characters", async () => {
    const long = "x".repeat(1_000_000);
    const files: [string, number][] = [
      [`{"${long}": 3}`, 0],
      [`{"x": {"dtype": "${long}"}}`, 0],
      [`{"x": {"dtype": "U8", "shape": ["${long}"], "data_offsets": [0, 1]}}`, 1],
      [`{"x": {"dtype": "U8", "shape": [1], "data_offsets": ["${long}"]}}`, 1],
      [`{"__metadata__": {"${long}": ["${long}"]}}`, 0],
      [`{"${long}": 1, "${long}": 1}`, 0],
      [`{"\u001b[31m\u202e": 3}`, 0],
      [`{"x": {"dtype": "\u001b]0;\u0007"}}`, 0],
      ["\u001b[31m", 0],
    ];
    for (const [header, size] of files) {
      const path = fileWith(header, size);
      const error = await readSafetensors(path).then(
        () => undefined,
        (thrown: unknown) => thrown as Error,
      );
      expect(error).toMatchObject({ name: "StepsizeError", code: "invalid-file" });
      expect(error?.message.length).toBeLessThan(600);
      expect(error?.message).toMatch(/^[^\p{Cc}\p{Cf}]*$/u);
    }
  });

  it("reads null metadata, and a tensor that is named like a property of every object", async () => {
    const { tensors, metadata } = await readSafetensors(
      fileWith('{"__metadata__":null,"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
    );
    expect(metadata).toEqual({});
    expect([...tensors.keys()]).toEqual(["__proto__"]);
  });

  it("refuses a header longer than the format allows without reading it", async () => {
    const path = join(folder(), "long.safetensors");
    const bytes = Buffer.alloc(64);
    for (const length of [100_000_001n, 2n ** 63n, 2n ** 64n - 1n]) {
      bytes.writeBigUInt64LE(length);
      writeFileSync(path, bytes);
      await expectError(() => readSafetensors(path), "invalid-file", "byte 0", "header length");
    }
  });

  it("reads a header with trailing spaces, in any order of the bytes, and without metadata", async () => {
    const header = `${JSON.stringify({
      b: { dtype: "U8", shape: [2], data_offsets: [3, 5] },
      a: { dtype: "U8", shape: [3], data_offsets: [0, 3] },
      empty: { dtype: "F64", shape: [0], data_offsets: [3, 3] },
    })}   `;
    const { tensors, metadata } = await readSafetensors(fileWith(header, 5));
    expect(metadata).toEqual({});
    expect([...tensors].map(([name, { shape }]) => [name, ...shape])).toEqual([
      ["b", 2],
      ["a", 3],
      ["empty", 0],
    ]);
  });

  it("fails only with a file error if bytes are wrong", async () => {
    const whole = readFileSync(await written(some, { note: "x" }));
    const path = join(folder(), "flipped.safetensors");
    const { start } = parse(whole);
    const change = fc.tuple(fc.nat({ max: start - 1 }), fc.integer({ min: 1, max: 255 }));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const bytes = Buffer.from(whole);
        for (const [at, flip] of changes) bytes[at] = (bytes[at] as number) ^ flip;
        writeFileSync(path, bytes);
        const error = await readSafetensors(path).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        // A changed letter in a name or a text may go undetected. Everything else is a file error.
        if (error !== undefined) expect(error).toMatchObject({ name: "StepsizeError", code: "invalid-file" });
      }),
      { numRuns: 300 },
    );
  });

  it("distinguishes a missing file from one that cannot be read", async () => {
    const missing = join(folder(), "none.safetensors");
    await expectError(() => readSafetensors(missing), "not-found", missing);
    const directory = folder();
    await expectError(() => readSafetensors(directory), "invalid-file", directory, "is a folder");
    // Reading the pipe would never end.
    const pipe = join(folder(), "pipe");
    execFileSync("mkfifo", [pipe]);
    for (const path of [pipe, "/dev/zero"])
      await expectError(() => readSafetensors(path), "invalid-file", path, "expected a file");
  });
});
