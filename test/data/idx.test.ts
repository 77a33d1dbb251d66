import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { expectError } from "../support/errors.js";
import { filled, temporaryFolders } from "../support/folders.js";
import { data } from "./support/data.js";
import { idxBytes } from "./support/idx-bytes.js";

const folder = temporaryFolders();
const pixels = Uint8Array.from({ length: 12 }, (_, i) => i * 20);
const images = idxBytes("uint8", [2, 3, 2], pixels);
const labels = idxBytes("uint8", [2], [9, 0]);

describe("idx", () => {
  it.each([
    { mark: "-", end: "" },
    { mark: ".", end: "" },
    { mark: "-", end: ".gz" },
    { mark: ".", end: ".gz" },
  ])("finds train-images$mark idx3-ubyte$end", async ({ mark, end }) => {
    const pack = end === "" ? (bytes: Uint8Array) => bytes : gzipSync;
    const dir = filled(folder(), {
      [`train-images${mark}idx3-ubyte${end}`]: pack(images),
      [`train-labels${mark}idx1-ubyte${end}`]: pack(labels),
    });
    const set = await data.idx(dir);
    expect(set.length).toBe(2);
    expect(set.inputs).toMatchObject({ shape: [3, 2, 1], dtype: "uint8" });
    expect(set.inputs.data).toEqual(new Uint8Array(pixels));
    expect(set.inputs.data.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(set.labels).toEqual(Int32Array.of(9, 0));
    expect(set.classes).toEqual(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    expect(set.name).toBe(`${dir} (train)`);
  });

  it("reads the test split from the t10k files", async () => {
    const dir = filled(folder(), { "t10k-images-idx3-ubyte": images, "t10k-labels-idx1-ubyte": labels });
    expect((await data.idx(dir, { split: "test" })).length).toBe(2);
    await expectError(() => data.idx(dir), "not-found", "train-images-idx3-ubyte or", "the folder has t10k-images");
    await expectError(() => data.idx(dir, { split: "x" as never }), "invalid-argument", 'split: expected "train"');
  });

  it("accepts names or a number of classes, and refuses labels beyond them", async () => {
    const dir = filled(folder(), { "train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels });
    const names = Array.from({ length: 12 }, (_, i) => `class ${i}`);
    expect((await data.idx(dir, { classes: names })).classes).toEqual(names);
    expect((await data.idx(dir, { classes: 11 })).classes).toHaveLength(11);
    const refused = "byte 8: expected a label from 0 to 8 for item 0, found 9";
    await expectError(() => data.idx(dir, { classes: 9 }), "invalid-file", "train-labels-idx1-ubyte", refused);
    await expectError(() => data.idx(dir, { classes: 0 }), "invalid-argument", "classes: expected a number");
    await expectError(() => data.idx(dir, { classes: [] }), "invalid-argument", "classes: expected a number");
  });

  it.each([
    { what: "fewer labels", labels: idxBytes("uint8", [1], [9]), words: "byte 4: expected 2 labels" },
    { what: "more labels", labels: idxBytes("uint8", [3], [9, 0, 1]), words: "byte 4: expected 2 labels" },
    { what: "labels of two dimensions", labels: idxBytes("uint8", [2, 1], [9, 0]), words: "byte 3: expected 1 dim" },
    { what: "labels of another type", labels: idxBytes("int32", [2], [9, 0]), words: "byte 2: expected elements" },
    { what: "images of two dimensions", images: idxBytes("uint8", [2, 6], pixels), words: "byte 3: expected 3 dim" },
    { what: "images of another type", images: idxBytes("int8", [2, 3, 2], pixels), words: "uint8, found int8" },
    {
      what: "no images",
      images: idxBytes("uint8", [0, 3, 2], []),
      labels: idxBytes("uint8", [0], []),
      words: "expected at least one image",
    },
  ])("refuses $what", async (files) => {
    const dir = filled(folder(), {
      "train-images-idx3-ubyte": files.images ?? images,
      "train-labels-idx1-ubyte": files.labels ?? labels,
    });
    await expectError(() => data.idx(dir), "invalid-file", dir, files.words);
  });

  it("lists the files that it looked for and the files of the folder", async () => {
    const empty = folder();
    await expectError(() => data.idx(empty), "not-found", empty, "train-images-idx3-ubyte.gz", "is empty");
    const half = filled(folder(), { "train-images-idx3-ubyte": images });
    await expectError(() => data.idx(half), "not-found", "train-labels.idx1-ubyte", "has train-images-idx3-ubyte");
    await expectError(() => data.idx(`${empty}/none`), "not-found", "folder cannot be read");
    await expectError(() => data.idx(undefined as never), "invalid-argument", "dir: expected the path of a folder");
    const crowd = filled(folder(), Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`file-${i}`, ""])));
    await expectError(() => data.idx(crowd), "not-found", " and 5 more");
  });
});
