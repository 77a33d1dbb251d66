import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { beforeAll, describe, expect, test } from "vitest";
import { lastLine, run } from "../cli/support/cli.js";
import { numbers } from "../support/numbers.js";
import { exampleFolder, examplesIn, root } from "./support/examples.js";

const page = readFileSync(join(root, "docs/your-own-data.md"), "utf8");

/** A section of the page, from its heading to the next one of its level. */
function section(title: string): string {
  const [, text] = new RegExp(`^## ${title}\\n([\\s\\S]*?)(?=^## |$(?![\\s\\S]))`, "m").exec(page) ?? [];
  if (text === undefined) throw new Error(`the page has no section ${title}`);
  return text;
}

/** The commands of a section, as lists of arguments. */
function commandsOf(title: string): string[][] {
  return [...section(title).matchAll(/^ {4}npx stepsize (.*)$/gm)].map(([, text = ""]) => text.split(" "));
}

describe("images, from an empty folder", () => {
  const { path, output } = exampleFolder();

  /** Writes a picture: bright above and dark below for cats, the other way round for dogs. */
  async function picture(file: string, kind: "cat" | "dog", salt: number): Promise<void> {
    const [width, height] = [40, 30];
    const noise = numbers(width * height * 3, salt);
    const pixels = Uint8Array.from(noise, (value, i) => {
      const isAbove = i < noise.length / 2;
      return 100 + 40 * value + (isAbove === (kind === "cat") ? 80 : 0);
    });
    await sharp(pixels, { raw: { width, height, channels: 3 } }).toFile(join(path(), file));
  }

  beforeAll(async () => {
    for (const folder of ["pets/cat", "pets/dog", "unsorted"]) mkdirSync(join(path(), folder), { recursive: true });
    const endings = ["jpg", "png", "webp"];
    for (const kind of ["cat", "dog"] as const)
      for (let i = 0; i < 30; i++)
        await picture(`pets/${kind}/${i}.${endings[i % 3]}`, kind, i + (kind === "cat" ? 1 : 99));
    await picture("new.jpg", "dog", 1000);
    await picture("unsorted/1.png", "cat", 1001);
    await picture("unsorted/2.webp", "dog", 1002);
  });

  test("the commands train, evaluate and predict", async () => {
    const outcomes = [];
    for (const args of commandsOf("Images")) {
      const outcome = await run(args, { cwd: path() });
      expect(outcome.code, outcome.stderr).toBe(0);
      outcomes.push(outcome);
    }
    expect(outcomes).toHaveLength(5);
    const [trained, evaluated, predicted, one, all] = outcomes;
    expect(trained?.stderr).toContain("48 images to train, 12 to test");
    expect(trained?.stdout).toMatch(/^test accuracy {2}100\.00 %/);
    expect(evaluated?.stdout).toMatch(/12 items\naccuracy 100\.00 %[\s\S]*\ncat [\s\S]*\ndog /);
    expect(predicted?.stdout).toMatch(/^new\.jpg {2}dog \d+\.\d % {2}cat \d+\.\d %\n$/);
    expect(one?.stdout).toMatch(/^new\.jpg {2}dog \d+\.\d %\n$/);
    const { predictions } = lastLine(all?.stdout ?? "") as {
      predictions: { image: string; classes: { name: string }[] }[];
    };
    expect(predictions.map(({ image, classes }) => [image, classes[0]?.name])).toEqual([
      ["unsorted/1.png", "cat"],
      ["unsorted/2.webp", "dog"],
    ]);
  });

  test("the program trains", () => {
    const [program = "", ...more] = examplesIn(section("Images"));
    expect(more).toEqual([]);
    expect(output(program)).toMatch(/^10 [\d.]+\n20 [\d.]+\n30 [\d.]+\ncat or dog: accuracy 1\n$/);
  });
});

describe("arrays, from an empty folder", () => {
  const { output } = exampleFolder();
  const [arrays = "", generator = "", ...more] = examplesIn(section("Arrays"));

  test("the dataset of arrays is learned", () => {
    expect(more).toEqual([]);
    const [, accuracy] = /^100 [\d.]+\n200 [\d.]+\n300 [\d.]+\naccuracy ([\d.]+)\n$/.exec(output(arrays)) ?? [];
    expect(Number(accuracy)).toBeGreaterThan(0.9);
  });

  test("the batches of a generator are learned", () => {
    expect(output(generator)).toBe("0.0000\n-1.00, 2.00\n");
  });
});
