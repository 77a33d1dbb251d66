import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectError } from "../support/errors.js";
import { filled, temporaryFolders } from "../support/folders.js";
import { data } from "./support/data.js";

const folder = temporaryFolders();
const trainFiles = [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`);

/** What the file of an item has at channel, row and column: different in each of the four. */
function pixel(item: number, channel: number, y: number, x: number): number {
  return (item * 101 + channel * 67 + y * 31 + x * 7) % 256;
}

/** Records as the format has them: a label, then the red, the green and the blue plane. */
function records(firstItem: number, labels: number[]): Uint8Array {
  const bytes = labels.flatMap((label, i) => {
    const record = [label];
    for (let channel = 0; channel < 3; channel++)
      for (let y = 0; y < 32; y++) for (let x = 0; x < 32; x++) record.push(pixel(firstItem + i, channel, y, x));
    return record;
  });
  return Uint8Array.from(bytes);
}

function training(): Record<string, Uint8Array> {
  return Object.fromEntries(trainFiles.map((name, i) => [name, records(2 * i, [i, 9 - i])]));
}

describe("cifar10", () => {
  it("reads the five training files in order, with the channels last", async () => {
    const set = await data.cifar10(filled(folder(), training()));
    expect(set.length).toBe(10);
    expect(set.inputs).toMatchObject({ shape: [32, 32, 3], dtype: "uint8" });
    expect([...(set.labels as Int32Array)]).toEqual([0, 9, 1, 8, 2, 7, 3, 6, 4, 5]);
    const expected = new Uint8Array(10 * 3072);
    let at = 0;
    for (let item = 0; item < 10; item++)
      for (let y = 0; y < 32; y++)
        for (let x = 0; x < 32; x++)
          for (let channel = 0; channel < 3; channel++) expected[at++] = pixel(item, channel, y, x);
    expect(Buffer.compare(set.inputs.data as Uint8Array, expected)).toBe(0);
    expect(set.inputs.data.buffer).toBeInstanceOf(SharedArrayBuffer);
  });

  it("reads the test file alone", async () => {
    const set = await data.cifar10(filled(folder(), { "test_batch.bin": records(3, [4, 4, 2]) }), { split: "test" });
    expect(set.name).toBe("cifar10 (test)");
    expect([...(set.labels as Int32Array)]).toEqual([4, 4, 2]);
    expect(set.inputs.data[1]).toBe(pixel(3, 1, 0, 0));
  });

  it("names the classes, by batches.meta.txt if it exists", async () => {
    const file = { "test_batch.bin": records(0, [0]) };
    const usual = await data.cifar10(filled(folder(), file), { split: "test" });
    expect(usual.classes).toEqual("airplane automobile bird cat deer dog frog horse ship truck".split(" "));
    const names = "abcdefghij".split("");
    const named = filled(folder(), { ...file, "batches.meta.txt": `${names.join("\r\n")}\r\n\r\n` });
    expect((await data.cifar10(named, { split: "test" })).classes).toEqual(names);
    const wrong = filled(folder(), { ...file, "batches.meta.txt": "cat\ndog\n" });
    const message = "batches.meta.txt: byte 0: expected 10 class names, one a line, found 2";
    await expectError(() => data.cifar10(wrong, { split: "test" }), "invalid-file", message);
  });

  it("names the byte at which a file is truncated", async () => {
    const whole = records(0, [1, 2]);
    for (const [length, at, rest] of [
      [1, 0, 1],
      [3072, 0, 3072],
      [3074, 3073, 1],
      [6145, 3073, 3072],
    ] as const) {
      const dir = filled(folder(), { "test_batch.bin": whole.subarray(0, length) });
      const words = `byte ${at}: expected whole records of 3073 bytes, found the end of the file after ${rest}`;
      await expectError(() => data.cifar10(dir, { split: "test" }), "invalid-file", "test_batch.bin", words);
    }
    const dir = filled(folder(), { "test_batch.bin": "" });
    await expectError(() => data.cifar10(dir, { split: "test" }), "invalid-file", "at least one record");
  });

  it("detects a training file that was cut between two records", async () => {
    const dir = filled(folder(), { ...training(), "data_batch_4.bin": records(0, [1]) });
    const words = "data_batch_4.bin: byte 3073: expected as many records as the first file has (2), found 1";
    await expectError(() => data.cifar10(dir), "invalid-file", words);
  });

  it("refuses a label above 9", async () => {
    const dir = filled(folder(), { "test_batch.bin": records(0, [9, 10]) });
    const words = "byte 3073: expected a label from 0 to 9, found 10";
    await expectError(() => data.cifar10(dir, { split: "test" }), "invalid-file", words);
  });

  it("lists the missing files and the files of the folder", async () => {
    const empty = folder();
    await expectError(() => data.cifar10(empty), "not-found", empty, trainFiles.join(" or "), "is empty");
    const { "data_batch_3.bin": _dropped, ...others } = training();
    const dir = filled(folder(), others);
    const words = "looked for data_batch_3.bin; the folder has data_batch_1.bin, data_batch_2.bin, data_batch_4.bin";
    await expectError(() => data.cifar10(dir), "not-found", words);
    const origin = ["there is no such file or folder", "cifar-10-binary.tar.gz", "kriz/cifar.html"];
    await expectError(() => data.cifar10(`${empty}/none`), "not-found", ...origin);
    await expectError(() => data.cifar10(""), "invalid-argument", "path: expected", "kriz/cifar.html");
  });
});

describe("cifar10 from an archive", () => {
  /** Packs a folder of the files with GNU tar. */
  function archive(
    options: string,
    files: Record<string, Uint8Array | string> = { ...training(), "readme.html": "x" },
  ) {
    const [parent, target] = [folder(), join(folder(), "cifar-10-binary.tar.gz")];
    mkdirSync(join(parent, "cifar-10-batches-bin"));
    filled(join(parent, "cifar-10-batches-bin"), files);
    execFileSync("tar", [options, target, "cifar-10-batches-bin"], { cwd: parent });
    return target;
  }

  it.each(["czf", "cf"])("reads the same as from a folder (tar %s)", async (options) => {
    const names = { "batches.meta.txt": "abcdefghij".split("").join("\n") };
    const [packed, plain] = await Promise.all([
      data.cifar10(archive(options, { ...training(), ...names })),
      data.cifar10(filled(folder(), { ...training(), ...names })),
    ]);
    expect(packed.inputs.data).toEqual(plain.inputs.data);
    expect(packed.labels).toEqual(plain.labels);
    expect(packed.classes).toEqual("abcdefghij".split(""));
  });

  it("says what an archive has instead", async () => {
    const python = archive("czf", { data_batch_1: "x", test_batch: "x" });
    await expectError(
      () => data.cifar10(python, { split: "test" }),
      "not-found",
      "looked for test_batch.bin; the folder has data_batch_1, test_batch",
    );
  });

  it("refuses an archive that is cut short, damaged, or none", async () => {
    const [packed, plain] = [readFileSync(archive("czf")), readFileSync(archive("cf"))];
    const refused = async (bytes: Uint8Array, ...words: string[]) => {
      const path = join(filled(folder(), { file: bytes }), "file");
      await expectError(() => data.cifar10(path), "invalid-file", path, ...words);
    };
    await refused(packed.subarray(0, packed.length >> 1), "expected gzip data");
    await refused(plain.subarray(0, 2000), "byte 2000: expected the rest of a tar archive");
    await refused(plain.subarray(0, 700), "byte 700: expected the rest of a tar archive");
    const damaged = Uint8Array.from(plain);
    damaged[3] = 1;
    await refused(damaged, "byte 0: expected a header of a tar archive", "another checksum");
    await refused(Buffer.alloc(600, "no archive "), "byte 0: expected a header of a tar archive");
    await refused(new Uint8Array(0), "expected a tar archive, plain or gzipped, found an empty file");
  });

  it("refuses a file that is far larger than those of CIFAR-10", async () => {
    const path = archive("cf", { "test_batch.bin": records(0, [1]) });
    const bytes = readFileSync(path);
    // The header of the file, whose size is written as 11 octal digits.
    const header = bytes.indexOf("cifar-10-batches-bin/test_batch.bin");
    bytes.write("77777777777", header + 124, "latin1");
    bytes.write("        ", header + 148, "latin1");
    const sum = bytes.subarray(header, header + 512).reduce((total, byte) => total + byte, 0);
    bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, header + 148, "latin1");
    writeFileSync(path, bytes);
    await expectError(
      () => data.cifar10(path, { split: "test" }),
      "invalid-file",
      "at most 307300000 bytes for test_batch",
    );
  });
});
