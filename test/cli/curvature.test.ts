import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { adamPreconditioner, curvature } from "#lib/curvature/index.js";
import { idx } from "#lib/data/index.js";
import { openDevice } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { SGD } from "#lib/optim/index.js";
import { suggest } from "#lib/schedule/theory/index.js";
import { sourcesInWords } from "#lib/tasks/index.js";
import { Trainer } from "#lib/train/index.js";
import { loadModel, readCheckpoint } from "#lib/weights/index.js";
import { filled, temporaryFolders } from "../support/folders.js";
import { lastLine, run, start } from "./support/cli.js";
import { classCount, tinyData, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();
const cwd = folder();
const images = tinyData(folder());
const threads = ["--threads", "1"];
const budget = 40;
const newest = `step-${budget}.safetensors`;
const look = (...args: string[]) => run(["curvature", ...args, ...threads], { cwd });

beforeAll(async () => {
  for (const [name, ...more] of [
    ["adam", "--model", "resnet8", "--batch", "32", "--optimizer", "adamw", "--validation", "0.25"],
    ["sgd", "--optimizer", "sgd", "--max-lr", "0.05"],
  ] as const) {
    const { code, stderr } = await run(trainTiny(images, "--budget", String(budget), "--run", name, ...more), { cwd });
    expect(code, stderr).toBe(0);
  }
});

/** What the library finds for the newest checkpoint of a run. */
async function expected(name: string, { adam = false, batch = 20, steps = 6, seed = 0 } = {}) {
  const path = join(cwd, name, "checkpoints", newest);
  const device = await openDevice("cpu", { threads: 1 });
  const { model, prepare } = await loadModel(path, { device });
  const whole = await idx(images, { split: "train", classes: classCount });
  const { train } = name === "adam" ? whole.split({ validation: 0.25, seed: 0 }) : { train: whole };
  const batches = train.batches({ size: batch, seed });
  const preconditioner = adam ? await adamPreconditioner(await readCheckpoint(path)) : undefined;
  const found = await curvature(model, await batches.at(0), { prepare, preconditioner, steps });
  await batches.close();
  await device.close();
  return found;
}

describe("the curvature of a checkpoint", () => {
  test("equals the library's result on a batch of the run's training items", async () => {
    const { code, stdout, stderr } = await look("--checkpoint", "adam", "--batch", "20", "--steps", "6", "--json");
    expect(code, stderr).toBe(0);
    const found = await expected("adam");
    const result = lastLine(stdout);
    expect(result).toMatchObject({ step: budget, batch: 20, seed: 0, adam: false, steps: 6, weights: found.weights });
    expect(result.of).toContain(newest);
    for (const name of [
      "loss",
      "gradientNorm",
      "lambdaMax",
      "lambdaMin",
      "noiseFloor",
      "distance",
      "gradients",
    ] as const)
      expect(result[name], name).toBe(found[name]);
    expect(result.ritz).toEqual(found.ritz);
    expect(result.lambdaQ).toEqual(found.lambdaQ);
    expect(Float64Array.from(result.matrix.diagonal)).toEqual(found.matrix.diagonal);
    // For people the same goes to standard error.
    expect(stdout.trim().split("\n").length).toBe(1);
    expect(stderr).toContain("λ_max");
  });

  test("is printed as a table, with the mass by curvature and a suggestion", async () => {
    const { code, stdout, stderr } = await look(
      "--checkpoint",
      `adam/checkpoints/${newest}`,
      "--steps",
      "6",
      "--batch",
      "20",
    );
    expect(code, stderr).toBe(0);
    const found = await expected("adam");
    expect(stdout.split(", 20 items of idx:")[0]).toBe(`adam/checkpoints/${newest} (after step ${budget})`);
    expect(stdout).toMatch(new RegExp(`λ_max +the largest curvature +${Number(found.lambdaMax.toPrecision(4))} `));
    for (const words of ["mass at negative curvature", "95 % of the mass is above", "κ_eff", "noise floor", "█"])
      expect(stdout).toContain(words);
    expect(stdout).toContain("This is a heuristic. The loss of a network is not quadratic");
    expect(stdout).toContain("Gradients are exact: noise is not in it");
    // The bars' shares are all of the mass.
    const shares = [...stdout.matchAll(/^ *(?:below|±|[\d.e-]+ …).* ([\d.]+) %/gm)].map(([, share]) => Number(share));
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(100, 0);
  });

  test("is divided by the run's second moments with --adam", async () => {
    const { code, stdout, stderr } = await look(
      "--checkpoint",
      "adam",
      "--adam",
      "--batch",
      "20",
      "--steps",
      "6",
      "--json",
    );
    expect(code, stderr).toBe(0);
    expect(lastLine(stdout).lambdaMax).toBe((await expected("adam", { adam: true })).lambdaMax);
    expect(stderr).toContain("the Hessian divided by √v̂ + ε of Adam");
  });

  test("is computed on another batch with another seed, and by default on all items if there are fewer than 512", async () => {
    const { stdout } = await look("--checkpoint", "sgd", "--batch", "20", "--steps", "6", "--seed", "3", "--json");
    expect(lastLine(stdout).loss).toBe((await expected("sgd", { seed: 3 })).loss);
    const { stdout: all } = await look("--checkpoint", "adam", "--steps", "2", "--json");
    // 96, of which a quarter was held back.
    expect(lastLine(all).batch).toBe(72);
  });

  test("is computed on other data with --data", async () => {
    const other = tinyData(folder());
    const { code, stdout, stderr } = await look(
      "--checkpoint",
      "adam",
      "--data",
      `idx:${other}`,
      "--steps",
      "2",
      "--json",
    );
    expect(code, stderr).toBe(0);
    expect(lastLine(stdout)).toMatchObject({ batch: 96, data: expect.stringContaining("idx:") });
  });
});

describe("the suggestion", () => {
  const suggestionOf = async (...args: string[]) => {
    const { code, stdout, stderr } = await look(...args, "--steps", "6", "--json");
    expect(code, stderr).toBe(0);
    return { ...lastLine(stdout), text: stderr };
  };

  test("is for the run's budget and highest rate if the curvature is that of its optimizer", async () => {
    const { suggestion, lambdaMax, lambdaQ, noiseFloor, text } = await suggestionOf("--checkpoint", "sgd");
    const range = [Math.max(lambdaQ.estimate, noiseFloor), lambdaMax] as const;
    expect(suggestion).toEqual({
      curvature: range,
      budget,
      ...suggest({ curvature: range, budget, maxLr: 0.05 }),
    });
    expect(text).toContain(`for ${budget} steps, theory suggests`);
    const { maxLr, minLr } = suggestion;
    expect(text).toContain(minLr === maxLr ? `--schedule constant --max-lr ${maxLr}` : "--schedule uba --phi");
    // AdamW's rates do not apply to plain gradient descent.
    const { suggestion: free } = await suggestionOf("--checkpoint", "adam");
    expect(free.maxLr).toBeCloseTo(1 / free.curvature[0], 6);
    const { suggestion: suggestionForAdam } = await suggestionOf("--checkpoint", "adam", "--adam");
    expect(suggestionForAdam.maxLr).toBeLessThanOrEqual(0.001);
  });

  test("is for another budget and rate if these are given", async () => {
    const { suggestion } = await suggestionOf(
      "--checkpoint",
      "adam",
      "--budget",
      "77",
      "--max-lr",
      "0.3",
      "--share",
      "0.7",
    );
    const { curvature: range } = suggestion;
    expect(suggestion).toEqual({
      curvature: range,
      budget: 77,
      ...suggest({ curvature: range, budget: 77, maxLr: 0.3 }),
    });
  });
});

test("fresh weights are the initial weights of a model with the given seed", async () => {
  const args = ["--model", "mlp", "--data", `idx:${images}`, "--classes", String(classCount), "--steps", "3", "--json"];
  const [first, same, other] = await Promise.all([look(...args), look(...args), look(...args, "--seed", "1")]);
  expect(first.code, first.stderr).toBe(0);
  expect(lastLine(first.stdout)).toMatchObject({ of: "mlp with fresh weights of seed 0", step: 0, batch: 96 });
  expect(same.stdout).toBe(first.stdout);
  // Of the same items, which are all there are: another order alone would change the last digits.
  expect(Math.abs(lastLine(other.stdout).loss - lastLine(first.stdout).loss)).toBeGreaterThan(1e-3);
  expect(lastLine(first.stdout).suggestion.budget).toBe(600);
});

test("--figure draws the spectrum", async () => {
  const { code, stderr } = await look(
    "--checkpoint",
    "sgd",
    "--steps",
    "5",
    "--batch",
    "20",
    "--figure",
    "figures/spectrum.svg",
  );
  expect(code, stderr).toBe(0);
  expect(stderr).toContain("wrote figures/spectrum.svg");
  const svg = readFileSync(join(cwd, "figures/spectrum.svg"), "utf8");
  expect(svg).toMatch(/^<svg/);
  expect(svg).toContain("λ_max");
  expect(svg).toContain(`sgd/checkpoints/${newest}`);
  // A stem for each Ritz value and the two marks.
  const { ritz } = await expected("sgd", { steps: 5 });
  expect([...svg.matchAll(/<line /g)].length).toBeGreaterThanOrEqual(ritz.length + 2);
  expect(svg).not.toContain("NaN");
});

test("Ctrl-C ends it after the current product and shows the results so far", async () => {
  const args = ["curvature", "--checkpoint", "sgd", "--steps", "5000", "--json", ...threads];
  const { child, done } = start(args, { cwd });
  let text = "";
  child.stderr?.on("data", (bytes) => (text += bytes));
  for (let i = 0; i < 3000 && !/product \d+\/5000 {2}.* left/.test(text); i++) await wait(10);
  child.kill("SIGINT");
  const { code, stdout, stderr } = await done;
  expect(code, stderr).toBe(130);
  const { steps, lambdaMax } = lastLine(stdout);
  expect(steps).toBeGreaterThan(1);
  expect(lambdaMax).toBeGreaterThan(0);
  expect(stderr).toContain("stopping after the current product");
  expect(stderr).toContain(`interrupted after ${steps} products; the result is from these`);
});

describe("refused uses", () => {
  test.concurrent.each([
    ["neither a checkpoint nor a model", [], "--checkpoint: expected a checkpoint or a run's folder, or --model"],
    ["a checkpoint and a model", ["--checkpoint", "sgd", "--model", "mlp"], "--model: expected none with --checkpoint"],
    ["an unknown model", ["--model", "resnet9"], "did you mean resnet8?"],
    [
      "Adam's moments of fresh weights",
      ["--model", "mlp", "--adam"],
      "--adam: expected a --checkpoint of a run with adam or adamw, got fresh weights",
    ],
    [
      "Adam's moments of a run without",
      ["--checkpoint", "sgd", "--adam"],
      "expected the state of Adam or AdamW, got SGD",
    ],
    ["one product", ["--checkpoint", "sgd", "--steps", "1"], "--steps: expected a whole number of at least 2, got 1"],
    ["a share of 1", ["--checkpoint", "sgd", "--share", "1"], "--share: expected a number above 0 and below 1, got 1"],
    [
      "more items than the data have",
      ["--checkpoint", "sgd", "--batch", "97"],
      "--batch: expected at most 96, the number of training items",
    ],
    [
      "a missing checkpoint",
      ["--checkpoint", "nowhere"],
      "--checkpoint: expected a file or folder, nowhere does not exist",
    ],
    [
      "a folder without a checkpoint",
      ["--checkpoint", "."],
      "--checkpoint: expected the folder of a run with a checkpoint, . has none",
    ],
    [
      "data of another shape",
      ["--checkpoint", "sgd", "--data", "mnist"],
      "--data: expected the input of",
      "uint8 of 28 × 28",
    ],
    ["a rate of 0", ["--checkpoint", "sgd", "--max-lr", "0"], "--max-lr: expected a number above 0, got 0"],
  ] as [string, string[], ...string[]][])("%s", async (_, args, ...messages) => {
    const { code, stdout, stderr } = await look(...args);
    expect({ code, stdout }, stderr).toEqual({ code: 2, stdout: "" });
    for (const message of messages) expect(stderr).toContain(message);
  });

  test("missing data", async () => {
    const { code, stderr } = await look("--checkpoint", "sgd", "--data", `idx:${folder()}`, "--classes", "3");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*train-images/);
  });

  test("a checkpoint outside of its run without --data", async () => {
    const copy = join(cwd, "alone.safetensors");
    writeFileSync(copy, readFileSync(join(cwd, `sgd/checkpoints/${newest}`)));
    const { code, stderr } = await look("--checkpoint", "alone.safetensors");
    expect(code).toBe(2);
    expect(stderr).toContain(`--data: expected ${sourcesInWords}, got none; the checkpoint is not in a run's folder`);
    const { code: with_ } = await look("--checkpoint", copy, "--data", `idx:${images}`, "--steps", "2");
    expect(with_).toBe(0);
  });

  test("a truncated checkpoint", async () => {
    const bytes = readFileSync(join(cwd, `sgd/checkpoints/${newest}`));
    const dir = filled(folder(), { "cut.safetensors": bytes.subarray(0, 5000) });
    const { code, stderr } = await look("--checkpoint", join(dir, "cut.safetensors"));
    expect(code).toBe(1);
    expect(stderr).toContain("cut.safetensors");
  });

  test("a custom model", async () => {
    const device = await openDevice("cpu");
    const model = new nn.Linear(64, 3, { device, seeds: 1 });
    const data = (await idx(images, { split: "train", classes: 3 })).batches({ size: 4 });
    const trainer = new Trainer({
      model,
      optimizer: new SGD(model.parameters(), { lr: 0.1 }),
      loss: nn.crossEntropy,
      data,
      budget: 1,
    });
    const path = join(folder(), "own.safetensors");
    await trainer.save(path);
    await Promise.all([data.close(), device.close()]);
    expect(existsSync(path)).toBe(true);
    const { code, stderr } = await look("--checkpoint", path, "--data", `idx:${images}`);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /expected a model of this library, got .* of your own code; call curvature\(model, batch\) in/,
    );
  });
});
