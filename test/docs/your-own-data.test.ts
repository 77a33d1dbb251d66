import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
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

describe("a table, from an empty folder", () => {
  const { path, output } = exampleFolder();

  beforeAll(() => {
    const cities = ["Bern", "Basel", "Chur"];
    const noise = numbers(300, 5);
    const rows = Array.from(noise, (value, i) => {
      const [area, rooms] = [40 + ((i * 37) % 120), 1 + ((i * 7) % 5)];
      const price = 5 * area + 20 * rooms + 100 * (i % 3) + 10 * value;
      return [area, i % 10 === 0 ? "" : rooms, cities[i % 3], price.toFixed(1)];
    });
    const csv = (from: readonly (readonly unknown[])[]) => ["area,rooms,city,price", ...from.map(String)].join("\n");
    writeFileSync(join(path(), "houses.csv"), csv(rows));
    writeFileSync(join(path(), "new.csv"), csv([[100, 3, "Bern", ""]]));
  });

  test("the commands train, evaluate and predict", async () => {
    const outcomes = [];
    for (const args of commandsOf("Tables")) {
      const outcome = await run(args, { cwd: path() });
      expect(outcome.code, outcome.stderr).toBe(0);
      outcomes.push(outcome);
    }
    expect(outcomes).toHaveLength(4);
    const [trained, evaluated, predicted] = outcomes;
    expect(trained?.stderr).toContain('the target "price" has numbers: regression');
    const [, explained] = /^test +RMSE [\d.]+, R² ([\d.]+)/.exec(trained?.stdout ?? "") ?? [];
    expect(Number(explained)).toBeGreaterThan(0.9);
    expect(evaluated?.stdout).toMatch(
      / on houses\.csv \(test\), \d+ rows\nRMSE [\d.]+, MAE [\d.]+ in the unit of price, R² /,
    );
    expect(predicted?.stdout).toMatch(/^area,rooms,city,price,prediction\n100,3,Bern,,\d+\.?\d*\n$/);
    expect(readFileSync(join(path(), "with-prices.csv"), "utf8")).toBe(predicted?.stdout);
  });

  test("the program trains and predicts", () => {
    const [program = "", ...more] = examplesIn(section("Tables"));
    expect(more).toEqual([]);
    const [, rmse, value] =
      /^100 [\d.]+\n200 [\d.]+\nRMSE ([\d.]+)\n\[ \{ value: ([\d.]+) \} \]\n$/.exec(output(program)) ?? [];
    // The targets have a standard deviation of about 190.
    expect(Number(rmse)).toBeLessThan(60);
    expect(Number(value)).toBeGreaterThan(400);
    expect(Number(value)).toBeLessThan(700);
  });
});

describe("a text, from an empty folder", () => {
  const { path, output } = exampleFolder();

  beforeAll(() => {
    const words = ["river", "stone", "light", "garden"];
    const lines = Array.from(
      numbers(400, 3),
      (_, i) => `The ${words[(i * 7) % 4]} is near the ${words[(i * 5) % 3]}.\n`,
    );
    writeFileSync(join(path(), "book.txt"), lines.join(""));
  });

  test("the commands tokenize, train and generate", async () => {
    const outcomes = [];
    for (const args of commandsOf("Text")) {
      const outcome = await run(args, { cwd: path() });
      expect(outcome.code, outcome.stderr).toBe(0);
      outcomes.push(outcome);
    }
    const [tokenized, trained, generated, ...more] = outcomes;
    expect(more).toEqual([]);
    expect(tokenized?.stdout).toMatch(/^book: bytes[\s\S]*\ntrain +1 [\s\S]*\nvalidation +1 [\s\S]*\ntest +1 /);
    expect(trained?.stdout).toMatch(/perplexity/);
    expect(generated?.stdout).toMatch(/^The/);
  });

  test("the program trains and generates", () => {
    const [program = "", ...more] = examplesIn(section("Text"));
    expect(more).toEqual([]);
    expect(output(program)).toMatch(/^10 [\d.]+\n20 [\d.]+\n/);
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
