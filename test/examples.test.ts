import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { temporaryFolders } from "./support/folders.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = temporaryFolders();

/**
 * Runs an example with the command in its first lines, and returns its output. Files are written to a temporary folder.
 */
async function run(name: string): Promise<{ lines: string[]; text: string; place: string }> {
  const place = folder();
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ["--import", "tsx", join("examples", `${name}.ts`)],
    {
      cwd: root,
      env: { ...process.env, TMPDIR: place },
      timeout: 600_000,
    },
  );
  expect(stderr).toBe("");
  return { lines: stdout.trimEnd().split("\n"), text: stdout, place };
}

/** The numbers in the first group of a pattern's matches. */
function numbers(text: string, pattern: RegExp): number[] {
  return [...text.matchAll(pattern)].map((match) => Number(match[1]));
}

describe("examples run as written", () => {
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

  it("custom-module.ts learns the curve despite the outliers", async () => {
    const { text } = await run("custom-module");
    expect(text).toContain("parameters: first.weight, first.bias, second.weight, second.bias, scale\n");
    expect(numbers(text, /^x = +[-\d.]+: ([-\d.]+)/gm)).toHaveLength(5);
    expect(numbers(text, /largest error: ([\d.]+)/g)[0]).toBeLessThan(0.6);
  });

  it("from-arrays.ts classifies the moons with a custom loop", async () => {
    const { text } = await run("from-arrays");
    const losses = numbers(text, /^step \d+: loss ([\d.]+)/gm);
    expect(losses).toHaveLength(6);
    expect(losses.at(-1)).toBeLessThan(0.1 * losses[0]!);
    expect(numbers(text, /right on (\d+) of 100 points/g)[0]).toBeGreaterThanOrEqual(97);
    // Only parameters and their momentum are left, and nothing of the 300 steps.
    expect(numbers(text, /in use: (\d+) bytes/g)[0]).toBeLessThan(20_000);
  });

  it("schedules.ts prints the rates in columns", async () => {
    const { lines } = await run("schedules");
    expect(lines[0]).toMatch(/^step +0 +50 +250 +500 +750 +950 +999 +mean$/);
    expect(lines.find((line) => line.startsWith("UBA, phi 2 "))).toMatch(
      / 0\.10000 .* 0\.04992 .* 0\.00000 +0\.05000$/,
    );
    expect(lines.find((line) => line.startsWith("constant"))).toMatch(/^constant( +0\.10000){8}$/);
    expect(lines.at(-1)).toBe("made again: rate 0.05860 at step 500");
  });

  it("resume.ts continues with the same bits", async () => {
    const { lines, place } = await run("resume");
    expect(lines[0]).toMatch(/^stopped: 25 steps done/);
    expect(lines[1]).toBe("resumed at step 25 of 60");
    expect(lines[2]).toMatch(/^finished: 60 steps done/);
    expect(lines[3]).toBe("identical to the uninterrupted run: yes");
    expect(readdirSync(place).filter((name) => name.startsWith("stepsize"))).toEqual([]);
  });

  it("one-step.ts agrees with plain code at every stage of every step", async () => {
    const { text } = await run("one-step");
    expect(numbers(text, /^step (\d):/gm)).toEqual([0, 1, 2, 3, 4]);
    const differences = numbers(text, /… {2}(\S+)$/gm);
    expect(differences).toHaveLength(5 * 8);
    // Sums of at most eight float32 numbers, each rounded to 6e-8 of itself, some with cancellation: measured 4e-7. A
    // missing stage changes the first digits.
    expect(Math.max(...differences)).toBeLessThan(4e-6);
    // The gradient norm exceeds 0.2 in every step, so clipping is part of the comparison.
    expect(Math.min(...numbers(text, /gradient norm +([\d.]+)/g))).toBeGreaterThan(0.2);
  });

  it("plain-javascript.ts trains caller-owned arrays", async () => {
    const { text } = await run("plain-javascript");
    const losses = numbers(text, /^step \d+: loss ([\d.]+)/gm);
    expect(losses).toHaveLength(6);
    expect(losses.at(-1)).toBeLessThan(0.02 * losses[0]!);
    expect(numbers(text, /^after (\d+) steps/gm)).toEqual([300]);
    expect(numbers(text, /right on (\d+) of 200$/gm)[0]).toBeGreaterThanOrEqual(198);
  });

  it("tensorflow-js.ts agrees with Adam of TensorFlow.js, and trains with UBA", async () => {
    const { text } = await run("tensorflow-js");
    const pairs = [...text.matchAll(/loss ([\d.]+) with tfjs's Adam, ([\d.]+) here$/gm)];
    expect(pairs).toHaveLength(6);
    // tfjs computes 1 - 0.999^t in float32, with a relative error of up to 2.7e-5 in 50 steps, so the length of its
    // steps has an error of 1.3e-5. A rate that is wrong by 1e-3 changes these losses by at most 4.9e-3, so 1.3e-5
    // changes them by 6.4e-5. The rounding of everything else is about 1e-7. With epsilon at its other usual place,
    // before the correction, the losses differ by 1.3e-1.
    const tolerance = 1e-4;
    for (const [, theirs, ours] of pairs) expect(Math.abs(Number(ours) / Number(theirs) - 1)).toBeLessThan(tolerance);
    expect(numbers(text, /largest relative difference over 50 steps: (\S+)$/gm)[0]).toBeLessThan(tolerance);
    const losses = numbers(text, /^ {2}step \d+: loss ([\d.]+), learning rate/gm);
    expect(losses).toHaveLength(6);
    expect(losses.at(-1)).toBeLessThan(1e-3 * losses[0]!);
  });

  it("worker-thread.ts shows the parameters in training to the main thread", async () => {
    const { text } = await run("worker-thread");
    const losses = numbers(text, /^step \d+: loss (\S+),/gm);
    const distances = numbers(text, /^step \d+: .*, (\S+) from the truth$/gm);
    expect([losses.length, distances.length]).toEqual([8, 8]);
    // The parameters that the main thread sees with each loss: at the start, on the way, and at the end.
    expect(distances[0]).toBeGreaterThan(5);
    expect(distances[2]).toBeLessThan(0.1 * distances[0]!);
    // The data have no noise, so only float32 rounding and Adam's oscillation remain: measured 4e-6.
    expect(numbers(text, /^after 400 steps: (\S+) from/gm)[0]).toBeLessThan(1e-4);
    expect(losses.at(-1)).toBeLessThan(1e-8 * losses[0]!);
    expect(text).toMatch(
      /^weights: 2\.000, -1\.000, 0\.500, 3\.000, -2\.000, -?0\.000, 1\.000, -0\.500; bias: 4\.000$/m,
    );
  });

  // test/draw-digits.test.ts has the tests of the page.
  it("the list of tested examples is complete", () => {
    const names = [
      "custom-module.ts",
      "draw-digits",
      "from-arrays.ts",
      "one-step.ts",
      "plain-javascript.ts",
      "resume.ts",
      "schedules.ts",
      "tensorflow-js.ts",
      "train-mnist.ts",
      "worker-thread.ts",
    ];
    expect(readdirSync(join(root, "examples")).sort()).toEqual(names);
  });
});
