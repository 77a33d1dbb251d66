import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type Color, png } from "../data/support/image-files.js";
import { temporaryFolders } from "../support/folders.js";
import { lastLine, run } from "./support/cli.js";

const folder = temporaryFolders();
let cwd: string;

const colors: Readonly<Record<string, Color>> = { red: [220, 20, 20], green: [20, 220, 20], blue: [20, 20, 220] };
const train = ["train", "--model", "mlp", "--batch", "8", "--threads", "1", "--budget", "4", "--checkpoint-every", "2"];

/** Writes ten pictures of each color, a little different each. */
async function pictures(dir: string, names = Object.keys(colors)): Promise<void> {
  for (const name of names) {
    mkdirSync(join(dir, name), { recursive: true });
    const [r = 0, g = 0, b = 0] = colors[name] ?? [];
    for (let i = 0; i < 10; i++) writeFileSync(join(dir, name, `${i}.png`), await png([r + i, g + i, b + i], 6, 4));
  }
}

beforeAll(async () => {
  cwd = folder();
  await pictures(join(cwd, "colors"));
  const { code, stderr } = await run([...train, "--data", "images:colors", "--size", "4x3", "--run", "run"], { cwd });
  expect(code, stderr).toBe(0);
});

describe("train", () => {
  test("lists the files that it cannot read, or leaves them out and names them", async () => {
    copyFiles("colors", "bad");
    writeFileSync(join(cwd, "bad", "red", "x.png"), "no image");
    writeFileSync(join(cwd, "bad", "blue", "y.png"), "");
    const args = [...train, "--data", "images:bad", "--size", "4x3"];
    const refused = await run([...args, "--run", "refused"], { cwd });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(
      "bad: 2 of 32 files cannot be used as images; remove them, or leave them out with",
    );
    expect(refused.stderr).toMatch(/\n {2}\S+\/bad\/blue\/y\.png: expected an image, found an empty file\n/);
    expect(refused.stderr).toMatch(/\n {2}\S+\/bad\/red\/x\.png: expected an image that sharp can read \(.*\)\n/);
    const skipped = await run([...args, "--on-error", "skip", "--run", "skipped"], { cwd });
    expect(skipped.code, skipped.stderr).toBe(0);
    expect(skipped.stderr).toContain("left out 2 unreadable files:\n");
    expect(skipped.stderr).toMatch(/\n {2}\S+\/bad\/red\/x\.png: /);
    expect(skipped.stderr).toContain("24 images to train, 6 to test");
  });

  test("resumes with the same images in another place, and refuses other images, sizes and fits", async () => {
    const moved = join(cwd, "moved");
    const resume = ["train", "--resume", "run"];
    for (const [flag, value] of [
      ["--size", "5"],
      ["--fit", "letterbox"],
      ["--channels", "1"],
    ] as const) {
      const { code, stderr } = await run([...resume, flag, value], { cwd });
      expect(code).toBe(2);
      expect(stderr).toMatch(new RegExp(`^error: ${flag}: the run to resume .* which cannot be changed\n$`));
    }
    renameSync(join(cwd, "colors"), moved);
    try {
      const lost = await run(resume, { cwd });
      expect(lost.stderr).toMatch(/colors: there is no such folder; .* say with --data where they are/);
      const found = await run([...resume, "--data", "images:moved", "--on-error", "skip"], { cwd });
      expect(found.code, found.stderr).toBe(0);
    } finally {
      renameSync(moved, join(cwd, "colors"));
    }
    await pictures(join(cwd, "others"));
    // A picture of the other colors, in a file that is trained with.
    for (let i = 0; i < 10; i++)
      copyFileSync(join(cwd, "others", "red", `${i}.png`), join(cwd, "others", "blue", `${i}.png`));
    const other = await run([...resume, "--data", "images:others"], { cwd });
    expect(other.code).toBe(1);
    expect(other.stderr).toContain("the checkpoint is of another run: the data was");
  });
});

describe("evaluate", () => {
  test("has the classes, the size and the fit from the model", async () => {
    const { code, stdout, stderr } = await run(["evaluate", "run", "--data", "images:colors", "--json"], { cwd });
    expect(code, stderr).toBe(0);
    const { items, classes } = lastLine(stdout) as { items: number; classes: { name: string; items: number }[] };
    expect(items).toBe(6);
    expect(classes.map(({ name, items }) => [name, items])).toEqual([
      ["blue", 2],
      ["green", 2],
      ["red", 2],
    ]);
  });

  test("fits the pictures as the training did", async () => {
    const letterbox = ["--data", "images:colors", "--size", "6x6", "--fit", "letterbox", "--run", "letterbox"];
    const trained = await run([...train, ...letterbox], { cwd });
    expect(trained.code, trained.stderr).toBe(0);
    const { testLoss } = JSON.parse(readFileSync(join(cwd, "letterbox", "result.json"), "utf8"));
    const { stdout } = await run(["evaluate", "letterbox", "--data", "images:colors", "--json"], { cwd });
    // With the default fit, the pictures have no bars, and the loss is 6e-5 higher. Here only the order of sums differs.
    expect(lastLine(stdout)).toMatchObject({ loss: expect.closeTo(testLoss, 12) });
  });

  test("takes other pictures, which may lack a class, and all of them with --split all", async () => {
    await pictures(join(cwd, "two"), ["red", "green"]);
    const of = async (...more: string[]) =>
      run(["evaluate", "run", "--data", "images:two", "--json", ...more], { cwd });
    const all = await of("--split", "all");
    expect(all.code, all.stderr).toBe(0);
    const { items, classes } = lastLine(all.stdout) as { items: number; classes: { name: string; items: number }[] };
    expect(items).toBe(20);
    expect(classes.map(({ name, items }) => [name, items])).toEqual([
      ["blue", 0],
      ["green", 10],
      ["red", 10],
    ]);
    const none = await of("--split", "validation");
    expect(none.code).toBe(2);
    expect(none.stderr).toContain("split: expected one that images:two has");
    mkdirSync(join(cwd, "two", "pink"));
    const unknown = await of();
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain("expected folders of the classes blue, green, red, found pink");
    rmSync(join(cwd, "two", "pink"), { recursive: true });
  });
});

/** Copies the folder of pictures. */
function copyFiles(from: string, to: string): void {
  for (const name of Object.keys(colors)) {
    mkdirSync(join(cwd, to, name), { recursive: true });
    for (let i = 0; i < 10; i++) copyFileSync(join(cwd, from, name, `${i}.png`), join(cwd, to, name, `${i}.png`));
  }
}
