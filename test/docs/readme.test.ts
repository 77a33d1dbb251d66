import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { format, type ResultsFile } from "../../bench/markdown.js";

const root = resolve(import.meta.dirname, "../..");
const readme = readFileSync(join(root, "README.md"), "utf8");

describe("the README", () => {
  // Inside the clone, because the example imports the package by its name.
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(root, "dist", "readme-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("its example runs as written, and learns", () => {
    const code = readme.match(/```ts\n([\s\S]*?)```/)?.[1] as string;
    const file = join(folder, "example.ts");
    writeFileSync(file, code);
    const run = spawnSync(process.execPath, [join(root, "node_modules/tsx/dist/cli.mjs"), file], {
      cwd: folder,
      encoding: "utf8",
    });
    expect(run.status, run.stderr).toBe(0);
    // A hundred steps of 128 images; chance is 0.1.
    expect(Number(run.stdout.match(/accuracy: ([\d.]+)/)?.[1])).toBeGreaterThan(0.93);
    expect(existsSync(join(folder, "run/checkpoint-100.safetensors"))).toBe(true);
  });

  test("its figures are those of the results file it names", () => {
    const [, file, table] = readme.match(/<!-- figures from (\S+) -->([\s\S]*?)<!-- end of figures -->/) as string[];
    const results = JSON.parse(readFileSync(join(root, file as string), "utf8")) as ResultsFile;
    expect(table?.trim()).toBe(format(results));
  });

  test("its tables of studies are those of the studies' results", () => {
    const studies = [...readme.matchAll(/<!-- from (docs\/studies\/\S+) -->([\s\S]*?)<!-- end -->/g)];
    expect(studies.length).toBeGreaterThan(0);
    for (const [, file, table] of studies) {
      const results = readFileSync(join(root, file as string), "utf8").split("\n");
      const rows = (table as string).split("\n").filter((line) => line.startsWith("|"));
      expect(rows.length).toBeGreaterThan(3);
      expect(rows.filter((row) => !results.includes(row))).toEqual([]);
    }
  });

  test("every file it links to is there", () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map((match) => match[1] as string);
    expect(links.length).toBeGreaterThan(3);
    expect(links.filter((link) => !existsSync(join(root, link)))).toEqual([]);
  });
});
