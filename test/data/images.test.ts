import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, realpathSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { beforeAll, describe, expect, it } from "vitest";
import type { ArrayDataset } from "#lib/data/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { besideFolders, compiled } from "./support/compiled.js";
import { data } from "./support/data.js";
import { type Color, plain, png, written } from "./support/image-files.js";

const folder = temporaryFolders();
const red: Color = [200, 10, 30];
const blue: Color = [10, 20, 220];
let redPng: Buffer;
let bluePng: Buffer;

beforeAll(async () => {
  redPng = await png(red);
  bluePng = await png(blue);
});

/** A folder with `train/` and `test/`, so that no image is held back, and one image of two classes in each. */
function pair(files: Readonly<Record<string, Uint8Array | string>> = {}): string {
  return written(folder(), {
    "train/red/1.png": redPng,
    "train/blue/1.png": bluePng,
    "test/red/1.png": redPng,
    "test/blue/1.png": bluePng,
    ...files,
  });
}

/** The pixels of an item as numbers. */
function pixelsOf({ inputs }: ArrayDataset, item = 0): number[] {
  const size = inputs.shape.reduce((product, extent) => product * extent, 1);
  return [...inputs.data.subarray(item * size, (item + 1) * size)];
}

/** Decodes one image through a folder of two classes. */
async function decoded(bytes: Uint8Array, options: Parameters<typeof data.images>[1]): Promise<number[]> {
  const dir = written(folder(), { "train/a/1": bytes, "train/b/1": redPng, "test/a/1": redPng, "test/b/1": redPng });
  return pixelsOf(await data.images(dir, options));
}

const repeated = (color: readonly number[], times: number) => Array.from({ length: times }, () => color).flat();

describe("a folder with a folder per class", () => {
  it("has the sorted folders as classes, and files by class and name", async () => {
    const set = await data.images(pair({ "train/blue/0.png": await png([1, 2, 3]) }), { size: 2 });
    expect(set.classes).toEqual(["blue", "red"]);
    expect(set.inputs).toMatchObject({ shape: [2, 2, 3], dtype: "uint8" });
    expect([...(set.labels as Int32Array)]).toEqual([0, 0, 1]);
    const items = [0, 1, 2].map((item) => pixelsOf(set, item));
    expect(items).toEqual([repeated([1, 2, 3], 4), repeated(blue, 4), repeated(red, 4)]);
  });

  it("gives batches whose labels belong to their images", async () => {
    const set = await data.images(pair(), { size: 4 });
    const batches = set.batches({ size: 2, seed: 3 });
    const { inputs, labels } = await batches.at(0);
    await batches.close();
    const firstOf = [...(labels as Int32Array)].map((_, i) => inputs.data[i * 48]);
    expect(firstOf).toEqual([...(labels as Int32Array)].map((label) => (label === 0 ? blue : red)[0]));
  });

  it("takes a width and a height, and one channel", async () => {
    const set = await data.images(pair(), { size: { width: 3, height: 5 }, channels: 1 });
    expect(set.inputs.shape).toEqual([5, 3, 1]);
    expect(new Set(pixelsOf(set)).size).toBe(1);
  });

  it("ignores hidden files, those of file managers, and files beside the classes", async () => {
    const dir = pair({
      "train/red/.DS_Store": "x",
      "train/red/Thumbs.db": "x",
      "train/.cache/1.png": "x",
      "train/labels.csv": "x",
      "README.md": "x",
    });
    expect(await data.images(dir, { size: 2 })).toMatchObject({ length: 2, classes: ["blue", "red"] });
  });

  it("follows symbolic links to files and folders", async () => {
    const dir = pair();
    const elsewhere = written(folder(), { "green/1.png": await png([0, 255, 0]) });
    symlinkSync(join(elsewhere, "green"), join(dir, "train", "green"));
    symlinkSync(join(elsewhere, "green"), join(dir, "test", "green"));
    symlinkSync(join(elsewhere, "green", "1.png"), join(dir, "train", "red", "2.png"));
    const set = await data.images(dir, { size: 1 });
    expect(set.classes).toEqual(["blue", "green", "red"]);
    expect([...set.inputs.data]).toEqual([...blue, 0, 255, 0, ...red, 0, 255, 0]);
  });

  it("reports progress, and stops at a signal", async () => {
    const seen: [number, number][] = [];
    await data.images(pair(), { size: 2, onProgress: (...progress) => seen.push(progress) });
    expect(seen).toEqual([
      [1, 2],
      [2, 2],
    ]);
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(data.images(pair(), { size: 2, signal })).rejects.toThrow("enough");
  });

  it("has a digest of its content, not of its place", async () => {
    const digestOf = async (dir: string, options: object = {}) => {
      const batches = (await data.images(dir, { size: 2, ...options })).batches({ size: 1 });
      return batches.digest?.();
    };
    const digest = await digestOf(pair());
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(await digestOf(pair())).toBe(digest);
    expect(await digestOf(pair({ "train/red/1.png": bluePng }))).not.toBe(digest);
    expect(await digestOf(pair(), { size: 3 })).not.toBe(digest);
  });
});

describe("the splits", () => {
  it("may have val/ for validation", async () => {
    const dir = pair({ "val/red/1.png": redPng, "val/red/2.png": redPng, "val/blue/1.png": bluePng });
    const lengths = await Promise.all(
      (["train", "validation", "test"] as const).map(
        async (split) => (await data.images(dir, { size: 2, split })).length,
      ),
    );
    expect(lengths).toEqual([2, 3, 2]);
  });

  it("together are all images", async () => {
    expect(await data.images(pair(), { size: 1, split: "all" })).toHaveLength(4);
    const held = written(folder(), Object.fromEntries(["a/1", "a/2", "b/1", "b/2"].map((name) => [name, redPng])));
    expect(await data.images(held, { size: 1, split: "all" })).toMatchObject({
      length: 4,
      name: expect.stringMatching(/\(all\)$/),
    });
  });

  it("take val/ as the test split if there is no test/", async () => {
    const dir = pair({ "test/red/2.png": redPng });
    renameSync(join(dir, "test"), join(dir, "val"));
    expect(await data.images(dir, { size: 2, split: "test" })).toHaveLength(3);
    await expectError(() => data.images(dir, { size: 2, split: "validation" }), "not-found", "no validation split");
  });

  it("hold back a fifth of each class, always the same files", async () => {
    const dir = folder();
    const files: Record<string, Uint8Array> = {};
    for (let i = 0; i < 20; i++) files[`a/${i}.png`] = await png([i, 0, 0], 2, 2);
    for (let i = 0; i < 10; i++) files[`b/${i}.png`] = await png([i, 1, 0], 2, 2);
    for (let i = 0; i < 2; i++) files[`c/${i}.png`] = await png([i, 2, 0], 2, 2);
    written(dir, files);
    const idsOf = async (split: "train" | "test", place = dir) => {
      const set = await data.images(place, { size: 1, split });
      return Array.from({ length: set.length }, (_, i) => `${pixelsOf(set, i)[1]}-${pixelsOf(set, i)[0]}`);
    };
    const [train, test] = [await idsOf("train"), await idsOf("test")];
    const perClass = (ids: string[]) => ["0", "1", "2"].map((c) => ids.filter((id) => id.startsWith(c)).length);
    expect([perClass(train), perClass(test)]).toEqual([
      [16, 8, 1],
      [4, 2, 1],
    ]);
    expect(new Set([...train, ...test]).size).toBe(32);
    expect(await idsOf("test", written(folder(), files))).toEqual(test);
    // The order of a class is not that of its names.
    expect(test.slice(0, 4)).not.toEqual(["0-0", "0-1", "0-2", "0-3"]);
  });

  it("have the same classes in train/ and test/", async () => {
    await expectError(
      () => data.images(pair({ "test/green/1.png": redPng })),
      "invalid-file",
      "test: expected folders of the classes blue, red, found green",
    );
    await expectError(
      () => data.images(pair({ "train/green/1.png": redPng })),
      "invalid-file",
      "test: expected the same classes as in train/, found none of the class green",
    );
  });

  it("may have the classes of a model, of which some are absent", async () => {
    const set = await data.images(pair(), { size: 1, split: "test", classes: ["red", "green", "blue"] });
    expect(set.classes).toEqual(["red", "green", "blue"]);
    expect([...(set.labels as Int32Array)]).toEqual([2, 0]);
    await expectError(
      () => data.images(pair(), { classes: ["red", "green"] }),
      "invalid-file",
      "expected folders of the classes red, green, found blue",
    );
  });

  it("are refused if a folder is none of them, or train/ has no classes", async () => {
    await expectError(
      () => data.images(pair({ "extra/x/1.png": redPng })),
      "invalid-file",
      "beside train/, found extra",
    );
    const flat = written(folder(), { "train/1.png": redPng, "test/1.png": redPng });
    await expectError(
      () => data.images(flat),
      "invalid-file",
      "train: expected one folder of images per class",
      "found 1 files and no folder",
    );
    const two = pair({ "val/red/1.png": redPng, "val/blue/1.png": redPng, "valid/red/1.png": redPng });
    await expectError(() => data.images(two), "invalid-file", "one folder with images for validation");
  });

  it("are classes if other classes are beside a class called train", async () => {
    const dir = written(folder(), {
      "bus/1.png": redPng,
      "bus/2.png": redPng,
      "train/1.png": redPng,
      "train/2.png": redPng,
    });
    expect((await data.images(dir, { size: 1 })).classes).toEqual(["bus", "train"]);
  });
});

describe("images are converted", () => {
  const size = 2;
  const four = (...color: number[]) => repeated(color, 4);

  it("from JPEG, WebP, GIF and TIFF", async () => {
    // The formats that lose precision keep a gray of 128 exactly.
    for (const format of ["jpeg", "webp", "gif", "tiff"] as const) {
      const bytes = await plain([128, 128, 128]).toFormat(format).toBuffer();
      expect(await decoded(bytes, { size }), format).toEqual(four(128, 128, 128));
    }
  });

  it("from gray to RGB and back", async () => {
    const gray = await plain([77, 77, 77]).toColourspace("b-w").png().toBuffer();
    expect(await decoded(gray, { size })).toEqual(four(77, 77, 77));
    expect(await decoded(gray, { size, channels: 1 })).toEqual(four(77));
  });

  it("from 16 bits, by scaling", async () => {
    const values = Uint16Array.from({ length: 64 * 3 }, (_, i) => [51_400, 25_700, 257][i % 3] ?? 0);
    const bytes = await sharp(values, { raw: { width: 8, height: 8, channels: 3 } })
      .toColourspace("rgb16")
      .png()
      .toBuffer();
    expect(await sharp(bytes).metadata()).toMatchObject({ depth: "ushort" });
    expect(await decoded(bytes, { size })).toEqual(four(200, 100, 1));
    const gray = await sharp(new Uint16Array(64).fill(51_400), { raw: { width: 8, height: 8, channels: 1 } })
      .toColourspace("grey16")
      .png()
      .toBuffer();
    expect(await sharp(gray).metadata()).toMatchObject({ depth: "ushort", channels: 1 });
    expect(await decoded(gray, { size, channels: 1 })).toEqual(four(200));
  });

  it("from CMYK, within what the conversion to inks loses", async () => {
    const bytes = await plain([200, 100, 50]).toColourspace("cmyk").jpeg({ quality: 100 }).toBuffer();
    expect(await sharp(bytes).metadata()).toMatchObject({ space: "cmyk", channels: 4 });
    const pixels = await decoded(bytes, { size });
    // Inks cannot show every color. A conversion that took the inks for colors would give 55, 155 or more.
    const error = pixels.map((value, i) => Math.abs(value - ([200, 100, 50][i % 3] ?? 0)));
    expect(Math.max(...error)).toBeLessThan(40);
  });

  it("from transparency, by blending with white", async () => {
    const of = (alpha: number) =>
      sharp({ create: { width: 8, height: 8, channels: 4, background: { r: 0, g: 0, b: 100, alpha } } })
        .png()
        .toBuffer();
    expect(await decoded(await of(0), { size })).toEqual(four(255, 255, 255));
    expect(await decoded(await of(1), { size })).toEqual(four(0, 0, 100));
  });

  it("from an animation, of which only the first frame counts", async () => {
    for (const format of ["gif", "webp"] as const) {
      const frames = [await png([255, 255, 255]), await png([0, 0, 0])];
      const bytes = await sharp(frames, { join: { animated: true } })
        .toFormat(format)
        .toBuffer();
      expect(await sharp(bytes, { animated: true }).metadata()).toMatchObject({ pages: 2 });
      expect(await decoded(bytes, { size }), format).toEqual(four(255, 255, 255));
    }
  });

  it("as their EXIF orientation says", async () => {
    // White on the left and black on the right, to be turned clockwise: white is above.
    const turned = await plain([0, 0, 0], 2, 2)
      .composite([{ input: await png([255, 255, 255], 1, 2), left: 0, top: 0 }])
      .png()
      .withMetadata({ orientation: 6 })
      .toBuffer();
    expect(await sharp(turned).metadata()).toMatchObject({ orientation: 6 });
    expect(await decoded(turned, { size, channels: 1 })).toEqual([255, 255, 0, 0]);
  });

  it("to the size, cut at the center or between black bars", async () => {
    // Columns of black, white, white, black.
    const wide = await plain([0, 0, 0], 4, 2)
      .composite([{ input: await png([255, 255, 255], 2, 2), left: 1, top: 0 }])
      .png()
      .toBuffer();
    expect(await decoded(wide, { size, channels: 1 })).toEqual([255, 255, 255, 255]);
    const white = await png([255, 255, 255], 4, 2);
    const whole = await decoded(white, { size: 4, channels: 1, fit: "letterbox" });
    expect(whole).toEqual([0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]);
  });
});

describe("bad files", () => {
  let broken: string;

  beforeAll(async () => {
    const noise = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 256);
    const jpeg = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg()
      .toBuffer();
    const files = {
      "train/red/0.jpg": jpeg.subarray(0, jpeg.length >> 1),
      "train/red/9.txt": "these are no pixels",
      "train/blue/2.png": "",
      "test/blue/3.png": redPng.subarray(0, 40),
    };
    broken = pair(files);
    symlinkSync(join(broken, "nowhere"), join(broken, "train", "blue", "link.png"));
  });

  it("are listed with their reasons", async () => {
    await expectError(
      () => data.images(broken, { size: 2 }),
      "invalid-file",
      `${broken}: 4 of 5 files cannot be used as images`,
      `${join(broken, "train/red/0.jpg")}: expected an image that sharp can read (`,
      `${join(broken, "train/red/9.txt")}: expected an image that sharp can read (`,
      `${join(broken, "train/blue/2.png")}: expected an image, found an empty file`,
      `${join(broken, "train/blue/link.png")}: is a broken symbolic link`,
      'onError: "skip" (--on-error skip)',
    );
  });

  it("are left out and named", async () => {
    const skipped: string[] = [];
    const onSkip = (path: string) => skipped.push(path.slice(broken.length + 1));
    const set = await data.images(broken, { size: 2, onError: "skip", onSkip });
    expect(skipped).toEqual(["train/blue/2.png", "train/blue/link.png", "train/red/0.jpg", "train/red/9.txt"]);
    expect(set.length).toBe(2);
    expect([pixelsOf(set, 0), pixelsOf(set, 1)]).toEqual([repeated(blue, 4), repeated(red, 4)]);
    expect([...(set.labels as Int32Array)]).toEqual([0, 1]);
    // The items that are left are those of a folder without the bad files.
    const [batches, clean] = [set.batches({ size: 1 }), (await data.images(pair(), { size: 2 })).batches({ size: 1 })];
    expect(await batches.digest?.()).toBe(await clean.digest?.());
  });

  it("may not be all that a class has", async () => {
    const dir = pair();
    writeFileSync(join(dir, "train", "red", "1.png"), "no image");
    await expectError(
      () => data.images(dir, { size: 2, onError: "skip" }),
      "invalid-file",
      "expected at least one readable image of the class red in the train split",
    );
  });
});

describe("a folder that is not as described", () => {
  it.each<[what: string, files: Record<string, string>, message: string]>([
    ["one class", { "cat/1.png": "" }, "expected folders of at least two classes, found one folder, cat"],
    ["one folder too many", { "pets/cat/1": "", "pets/dog/1": "" }, "found one folder, pets; did you mean "],
    ["no class", { "1.png": "", "2.png": "" }, "found 2 files and no folder"],
    [
      "folders in a class",
      { "cat/x/1.png": "", "dog/1.png": "" },
      "cat: expected only images in the folder of a class",
    ],
    [
      "only hidden files in a class",
      { "cat/.x": "", "dog/1.png": "" },
      "cat: expected at least one image of this class",
    ],
    ["one image in a class", { "cat/1": "", "dog/1": "", "dog/2": "" }, "cat: expected at least two images"],
  ])("with %s", async (_, files, message) => {
    const dir = written(folder(), files);
    await expectError(() => data.images(dir), "invalid-file", dir, message);
  });

  it("because it is empty, is no folder or does not exist", async () => {
    const dir = folder();
    await expectError(() => data.images(dir), "invalid-file", "found an empty folder");
    await expectError(() => data.images(join(dir, "none")), "not-found", "there is no such folder");
    const file = join(written(dir, { "pets.zip": "x" }), "pets.zip");
    await expectError(() => data.images(file), "invalid-file", file, "found a file");
    mkdirSync(join(dir, "a"));
    mkdirSync(join(dir, "b"));
    await expectError(
      () => data.images(dir),
      "invalid-file",
      "a: expected at least one image of this class, found none",
    );
  });
});

describe("the package sharp", () => {
  /** Loads images with a copy of the compiled files, in a place from which only the given package can be seen. */
  function loadWith(sharpFiles?: Record<string, string>): string {
    const copy = realpathSync(folder());
    cpSync(dirname(compiled("data/index.js")), join(copy, "data"), { recursive: true });
    for (const name of besideFolders) cpSync(compiled(name), join(copy, name));
    if (sharpFiles) written(join(copy, "node_modules", "sharp"), sharpFiles);
    const load = `import { images } from ${JSON.stringify(join(copy, "data", "index.js"))};
      await images("none").catch(({ code, message }) => console.log(code, message));`;
    written(copy, { "package.json": '{ "type": "module" }', "load.js": load });
    return execFileSync(process.execPath, [join(copy, "load.js")], { cwd: copy, encoding: "utf8" });
  }

  const main = (text: string) => ({ "package.json": '{ "name": "sharp", "main": "main.js" }', "main.js": text });

  it("is asked for if it is missing, too old, or made for another machine", () => {
    expect(loadWith()).toMatch(/^not-found images none: the package sharp, .* install it with: npm install sharp\n$/);
    const old = loadWith(main('module.exports = () => {}; module.exports.versions = { sharp: "0.33.5" };'));
    expect(old).toMatch(/^not-found .*expected version 0\.34 or newer of the package sharp, found 0\.33\.5 in \//);
    const foreign = loadWith(main('throw new Error("Could not load\\nPossible solutions:\\nCould not load");'));
    expect(foreign).toMatch(/^not-found .*the package sharp cannot be loaded \(Could not load; Possible solutions:\);/);
    // A version that is new enough is used; there is no such folder.
    const recent = loadWith(main('module.exports = () => {}; module.exports.versions = { sharp: "1.0.0" };'));
    expect(recent).toMatch(/^not-found none: there is no such folder/);
  });
});

describe("wrong options", () => {
  it.each<[options: object, message: string]>([
    [{ size: 0 }, "images.size: expected a number of pixels from 1 to 65535"],
    [{ size: { width: 3 } }, "images.size"],
    [{ fit: "stretch" }, 'images.fit: expected "crop" or "letterbox"'],
    [{ channels: 4 }, "images.channels: expected 1 or 3"],
    [{ split: "val" }, "images.split"],
    [{ onError: "ignore" }, "images.onError"],
    [{ classes: [1] }, "images.classes"],
    [{ onProgress: 1 }, "images.onProgress"],
    [{ signal: 1 }, "images.signal"],
  ])("%j", async (options, message) => {
    await expectError(() => data.images(pair(), options as never), "invalid-argument", message);
  });

  it("a size whose images do not fit into memory", async () => {
    const names = Array.from({ length: 200 }, (_, i) => `${i % 2}/${i}`);
    const dir = written(folder(), Object.fromEntries(names.map((name) => [name, "x"])));
    await expectError(
      () => data.images(dir, { size: 65_535 }),
      "out-of-memory",
      "160 images of 65535 × 65535",
      "smaller size",
    );
  });
});
