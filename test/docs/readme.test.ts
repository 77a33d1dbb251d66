import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { format, type ResultsFile } from "../../bench/markdown.js";
import { exampleFolder, examplesIn, root } from "./support/examples.js";

const readme = readFileSync(join(root, "README.md"), "utf8");

describe("the README", () => {
  const folder = exampleFolder();

  test("the example runs as written and learns", () => {
    const printed = folder.output(examplesIn(readme)[0] as string);
    // A hundred steps with 128 images. Guessing gives 0.1.
    expect(Number(printed.match(/accuracy: ([\d.]+)/)?.[1])).toBeGreaterThan(0.93);
    expect(existsSync(join(folder.path(), "run/checkpoint-100.safetensors"))).toBe(true);
  });

  test("the figures are those of the results file that it names", () => {
    const [, file, table] = readme.match(/<!-- figures from (\S+) -->([\s\S]*?)<!-- end of figures -->/) as string[];
    const results = JSON.parse(readFileSync(join(root, file as string), "utf8")) as ResultsFile;
    expect(table?.trim()).toBe(format(results));
  });

  test("the tables of studies are those of the studies' results", () => {
    const studies = [...readme.matchAll(/<!-- from (docs\/studies\/\S+) -->([\s\S]*?)<!-- end -->/g)];
    expect(studies.length).toBeGreaterThan(0);
    for (const [, file, table] of studies) {
      const results = readFileSync(join(root, file as string), "utf8").split("\n");
      const rows = (table as string).split("\n").filter((line) => line.startsWith("|"));
      expect(rows.length).toBeGreaterThan(3);
      expect(rows.filter((row) => !results.includes(row))).toEqual([]);
    }
  });

  test("every linked file exists", () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map((match) => match[1] as string);
    expect(links.length).toBeGreaterThan(3);
    expect(links.filter((link) => !existsSync(join(root, link)))).toEqual([]);
  });
});
