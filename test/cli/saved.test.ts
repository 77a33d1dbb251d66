import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { beforeAll, describe, expect, test } from "vitest";
import { temporaryFolders } from "../support/folders.js";
import { lastLine, run } from "./support/cli.js";
import { classCount, side, testItems, tinyData, tinyImages, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();
const { pixels, labels } = tinyImages(testItems, 5);
const size = side * side;
const imageAt = (item: number) => pixels.subarray(item * size, (item + 1) * size);
let cwd: string;
let data: string;
let images: string;

interface Predictions {
  readonly predictions: readonly { image: string; classes: readonly { name: string; probability: number }[] }[];
}

async function predict(...args: string[]): Promise<Predictions["predictions"]> {
  const { code, stdout, stderr } = await run(["predict", "--checkpoint", "run", "--json", ...args], { cwd });
  expect(code, stderr).toBe(0);
  return (lastLine(stdout) as Predictions).predictions;
}

beforeAll(async () => {
  cwd = folder();
  data = tinyData(folder());
  images = join(data, "t10k-images-idx3-ubyte");
  const { code, stderr } = await run(trainTiny(data, "--budget", "25", "--run", "run"), { cwd });
  expect(code, stderr).toBe(0);
});

describe("evaluate", () => {
  test("has the results of the run, from the run's folder alone", async () => {
    const { code, stdout } = await run(["evaluate", "--checkpoint", "run", "--json", "--batch", "7"], { cwd });
    expect(code).toBe(0);
    const { items, accuracy, loss, step } = lastLine(stdout);
    const result = JSON.parse(readFileSync(join(cwd, "run/result.json"), "utf8"));
    expect({ items, accuracy, step }).toEqual({ items: testItems, accuracy: result.testAccuracy, step: 25 });
    expect(loss).toBeCloseTo(result.testLoss, 6);
  });

  test("prints a table with a row for each class", async () => {
    const { stdout } = await run(["evaluate", "--checkpoint", "run", "--split", "train"], { cwd });
    expect(stdout).toContain("(train), 96 items");
    expect(stdout).toMatch(/class +items +recall +precision +mostly mistaken for\n0 /);
    expect(stdout.trimEnd().split("\n").slice(-classCount)).toHaveLength(classCount);
  });

  test("accepts a checkpoint outside of any run, and requires --data for it", async () => {
    copyFileSync(join(cwd, "run/checkpoints/step-25.safetensors"), join(cwd, "model.safetensors"));
    const without = await run(["evaluate", "--checkpoint", "model.safetensors"], { cwd });
    expect(without.code).toBe(2);
    expect(without.stderr).toContain("--data: expected");
    const withData = await run(["evaluate", "--checkpoint", "model.safetensors", "--data", `idx:${data}`], { cwd });
    expect(withData.code).toBe(0);
  });

  test("refuses data of another size and a damaged file", async () => {
    const other = await run(["evaluate", "--checkpoint", "run", "--data", "mnist"], { cwd });
    expect(other.code).toBe(2);
    expect(other.stderr).toContain("uint8 of 8 × 8 × 1, got uint8 of 28 × 28 × 1");
    copyFileSync(join(cwd, "run/checkpoints/step-25.safetensors"), join(cwd, "cut.safetensors"));
    truncateSync(join(cwd, "cut.safetensors"), 9000);
    const cut = await run(["evaluate", "--checkpoint", "cut.safetensors", "--data", `idx:${data}`], { cwd });
    expect(cut.code).toBe(1);
    expect(cut.stderr).toContain("it is cut short");
  });
});

describe("predict", () => {
  test("agrees with evaluate on every item", async () => {
    const predictions = await predict("--index", `0-${testItems - 1}`, images);
    expect(predictions).toHaveLength(testItems);
    const { stdout } = await run(["evaluate", "--checkpoint", "run", "--json"], { cwd });
    const { classes } = lastLine(stdout) as { classes: { name: string; correct: number; predicted: number }[] };
    const guesses = predictions.map((prediction) => prediction.classes[0]?.name);
    for (const { name, correct, predicted } of classes) {
      expect(guesses.filter((guess) => guess === name)).toHaveLength(predicted);
      expect(guesses.filter((guess, i) => guess === name && String(labels[i]) === name)).toHaveLength(correct);
    }
    // If all predictions were the same, agreement would prove little.
    expect(new Set(guesses).size).toBeGreaterThan(1);
    for (const { classes: ranked } of predictions) {
      const probabilities = ranked.map(({ probability }) => probability);
      expect(probabilities).toEqual([...probabilities].sort((a, b) => b - a));
      expect(probabilities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5);
    }
  });

  test("gives the same result for an image as binary PGM, plain PGM, raw bytes and IDX", async () => {
    const image = imageAt(3);
    writeFileSync(join(cwd, "a.pgm"), Buffer.concat([Buffer.from(`P5\n# made up\n${side} ${side}\n255\n`), image]));
    writeFileSync(join(cwd, "b.pgm"), `P2 ${side} ${side} 255\n${[...image].join(" ")}\n`);
    writeFileSync(join(cwd, "c.raw"), image);
    const files = await predict("a.pgm", "b.pgm", "c.raw");
    const [inside] = await predict("--index", "3", images);
    expect(files.map((one) => one.image)).toEqual(["a.pgm", "b.pgm", "c.raw"]);
    for (const { classes } of files) expect(classes).toEqual(inside?.classes);
    const [another] = await predict("--index", "4", images);
    expect(another?.classes).not.toEqual(inside?.classes);
  });

  test("prints the three likeliest classes as text", async () => {
    const { stdout } = await run(["predict", "--checkpoint", "run", "--index", "0", images], { cwd });
    expect(stdout).toMatch(/\[0\]( {2}[012] \d+\.\d %){3}\n$/);
  });

  test("gives the same result for a PNG file, and resizes a larger one", async () => {
    const pixels = { raw: { width: side, height: side, channels: 1 } } as const;
    await sharp(imageAt(3), pixels).toColourspace("b-w").png().toFile(join(cwd, "d.png"));
    await sharp(imageAt(3), pixels).resize(24, 32, { fit: "fill" }).jpeg().toFile(join(cwd, "larger.jpg"));
    const [[png, larger], [inside]] = [await predict("d.png", "larger.jpg"), await predict("--index", "3", images)];
    expect(png?.classes).toEqual(inside?.classes);
    expect(larger?.classes).toHaveLength(classCount);
    expect(larger?.classes).not.toEqual(inside?.classes);
  });

  test("prints as many classes as --top names, with a run's folder in place of --checkpoint", async () => {
    const { stdout } = await run(["predict", "run", "--top", "1", "--index", "0,1", images], { cwd });
    expect(stdout).toMatch(/^(.*\[[01]\] {2}[012] \d+\.\d %\n){2}$/);
    const all = await predict("--top", "9", "--index", "0", images);
    expect(all[0]?.classes).toHaveLength(classCount);
  });

  test("takes the files of a folder, and names those that it cannot read beside the results", async () => {
    const inner = join(cwd, "pictures", "inner");
    mkdirSync(join(cwd, "pictures", ".hidden"), { recursive: true });
    mkdirSync(inner);
    writeFileSync(join(inner, "a.raw"), imageAt(3));
    writeFileSync(join(cwd, "pictures", "notes.txt"), "no image");
    writeFileSync(join(cwd, "pictures", ".hidden", "b.raw"), imageAt(3));
    const args = ["predict", "--checkpoint", "run", "--json", "pictures", "absent*.png"];
    const { code, stdout, stderr } = await run(args, { cwd });
    expect(code).toBe(1);
    expect(lastLine(stdout)).toMatchObject({
      predictions: [{ image: "pictures/inner/a.raw" }],
      unreadable: [{ image: "pictures/notes.txt" }, { image: "absent*.png" }],
    });
    expect(stderr).toMatch(/^pictures\/notes\.txt: expected an image that sharp can read \(/m);
    expect(stderr).toMatch(/^absent\*\.png: there is no such file, and a pattern is expanded by the shell/m);
    expect(stderr).toContain("error: 2 of 3 files cannot be read; they are named above");
  });

  test.each([
    [
      "an image of another size",
      "wide.pgm",
      "P2 2 1 255 0 0",
      1,
      "expected an image of 8 × 8 pixels with 1 channel, found one of 1 × 2",
    ],
    ["a color image", "c.ppm", `P3 8 8 1 ${"0 ".repeat(192)}`, 1, "found one of 8 × 8 pixels with 3 channels"],
    ["too few bytes", "few.bin", "abc", 1, "8 × 8 pixels with 1 channel: 64 bytes, found 3 bytes"],
    ["a damaged image", "a.png", "\x89PNG", 1, "expected an image that sharp can read"],
  ])("refuses %s", async (_, name, content, code, message) => {
    writeFileSync(join(cwd, name), content);
    const outcome = await run(["predict", "--checkpoint", "run", name], { cwd });
    expect(outcome.code).toBe(code);
    expect(outcome.stderr).toContain(`${name}: expected`);
    expect(outcome.stderr).toContain(message);
  });

  test.each([
    ["no image", [], "file: expected at least one file or folder"],
    ["an IDX file without --index", ["IMAGES"], "--index: expected indices of the 40 images"],
    ["an index past the end", ["--index", "40", "IMAGES"], "--index: expected at most 39"],
    [
      "an invalid index",
      ["--index", "5-3", "IMAGES"],
      '--index: expected numbers from 0, such as 3, 0-9 or 0,2,7-9, at most a million, got "5-3"',
    ],
  ])("%s is a usage error", async (_, args, message) => {
    const all = args.map((arg) => (arg === "IMAGES" ? images : arg));
    const { code, stderr } = await run(["predict", "--checkpoint", "run", ...all], { cwd });
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });
});
