import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { temporaryFolders } from "./support/folders.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = temporaryFolders();

// What `npx tsx` runs, without npx between.
const tsx = createRequire(import.meta.url).resolve("tsx/cli");

/** Runs an example as its first lines say and gives its lines; what it writes goes to a folder of the test. */
async function run(name: string): Promise<{ lines: string[]; text: string; place: string }> {
  const place = folder();
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [tsx, join("examples", `${name}.ts`)], {
    cwd: root,
    env: { ...process.env, TMPDIR: place },
    timeout: 55_000,
  });
  expect(stderr).toBe("");
  return { lines: stdout.trimEnd().split("\n"), text: stdout, place };
}

/** The numbers that a pattern finds in its first group. */
function numbers(text: string, pattern: RegExp): number[] {
  return [...text.matchAll(pattern)].map((match) => Number(match[1]));
}

describe("the examples run as written", () => {
  it("train-mnist.ts trains, evaluates and saves", async () => {
    const { text, place } = await run("train-mnist");
    const losses = numbers(text, /^step \d+ of 100: loss ([\d.]+)/gm);
    expect(losses).toHaveLength(6);
    expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
    expect(numbers(text, /accuracy on 500 test images: ([\d.]+) %/g)[0]).toBeGreaterThan(88);
    const path = /saved as (.*)/.exec(text)?.[1] as string;
    expect(path.startsWith(place)).toBe(true);
    expect(existsSync(path)).toBe(true);
  });

  it("custom-module.ts learns the curve in spite of the outliers", async () => {
    const { text } = await run("custom-module");
    expect(text).toContain("parameters: first.weight, first.bias, second.weight, second.bias, scale\n");
    expect(numbers(text, /^x = +[-\d.]+: ([-\d.]+)/gm)).toHaveLength(5);
    expect(numbers(text, /largest error: ([\d.]+)/g)[0]).toBeLessThan(0.6);
  });

  it("from-arrays.ts tells the moons apart in a loop of its own", async () => {
    const { text } = await run("from-arrays");
    const losses = numbers(text, /^step \d+: loss ([\d.]+)/gm);
    expect(losses).toHaveLength(6);
    expect(losses.at(-1)).toBeLessThan(0.1 * losses[0]!);
    expect(numbers(text, /right on (\d+) of 100 points/g)[0]).toBeGreaterThanOrEqual(97);
    // Parameters and their momentum, and nothing of 300 steps.
    expect(numbers(text, /in use: (\d+) bytes/g)[0]).toBeLessThan(20_000);
  });

  it("schedules.ts prints the rates side by side", async () => {
    const { lines } = await run("schedules");
    expect(lines[0]).toMatch(/^step +0 +50 +250 +500 +750 +950 +999 +mean$/);
    expect(lines.find((line) => line.startsWith("UBA, phi 2 "))).toMatch(
      / 0\.10000 .* 0\.04992 .* 0\.00000 +0\.05000$/,
    );
    expect(lines.find((line) => line.startsWith("constant"))).toMatch(/^constant( +0\.10000){8}$/);
    expect(lines.at(-1)).toBe("made again: rate 0.05860 at step 500");
  });

  it("resume.ts goes on with the same bits", async () => {
    const { lines, place } = await run("resume");
    expect(lines[0]).toMatch(/^stopped: 28 steps done/);
    expect(lines[1]).toBe("resumed at step 28 of 60");
    expect(lines[2]).toMatch(/^finished: 60 steps done/);
    expect(lines[3]).toBe("identical to the uninterrupted run: yes");
    expect(readdirSync(place).filter((name) => name.startsWith("stepsize"))).toEqual([]);
  });

  it("and there is none that no test runs", () => {
    const names = ["custom-module.ts", "from-arrays.ts", "resume.ts", "schedules.ts", "train-mnist.ts"];
    expect(readdirSync(join(root, "examples")).sort()).toEqual(names);
  });
});
