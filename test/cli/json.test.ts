// `--json` prints one JSON document to standard output and nothing else, whatever the command.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { commands } from "#lib/cli/program.js";
import { temporaryFolders } from "../support/folders.js";
import { run } from "./support/cli.js";
import { side, tinyData, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();
const [cwd, data] = [folder(), tinyData(folder())];
const settings = trainTiny(data).slice(1, -2);

/** A call of every command, and some fields of its document. */
const calls: Readonly<Record<string, readonly [args: readonly string[], fields: readonly string[]]>> = {
  train: [
    [...settings, "--budget", "3"],
    ["steps", "testAccuracy", "run"],
  ],
  "find-lr": [
    [...settings, "--steps", "20"],
    ["points", "suggestion", "divergence"],
  ],
  evaluate: [["run"], ["checkpoint", "loss", "accuracy"]],
  predict: [["--checkpoint", "run", "image.raw"], ["predictions"]],
  export: [
    ["--checkpoint", "run", "--to", "safetensors"],
    ["out", "bytes"],
  ],
  tokenize: [
    ["texts", "--out", "tokens"],
    ["out", "splits"],
  ],
  generate: [
    ["text-run", "--tokens", "4", "--prompt", "the "],
    ["prompt", "text", "tokens"],
  ],
  schedule: [
    ["uba", "--budget", "30000"],
    ["name", "options", "learningRates"],
  ],
  curvature: [
    ["run", "--batch", "8", "--steps", "3"],
    ["lambdaMax", "suggestion"],
  ],
  compare: [
    [
      ...["--kind", "quadratics", "--schedules", "uba,linear", "--condition-numbers", "10", "--budgets", "8"],
      ...["--stability-limits", "2", "--floors", "0"],
    ],
    ["format"],
  ],
  bench: [
    ["optimizer", "--sizes", "1000", "--rounds", "1", "--baseline", "loop", "--threads", "1"],
    ["rows", "device"],
  ],
  check: [
    ["--device", "cpu", "--stage", "operations", "--only", "square"],
    ["passed", "stages"],
  ],
  info: [[], ["cpu", "addons"]],
};

beforeAll(async () => {
  writeFileSync(join(cwd, "image.raw"), new Uint8Array(side * side));
  mkdirSync(join(cwd, "texts"));
  for (let i = 0; i < 20; i++) writeFileSync(join(cwd, "texts", `${i}.txt`), "the cat sat on the mat. ".repeat(9));
  expect((await run([...trainTiny(data), "--budget", "2", "--run", "run"], { cwd })).code).toBe(0);
  expect((await run(["tokenize", "texts", "--out", "made"], { cwd })).code).toBe(0);
  const text = ["--data", "tokens:made", "--context", "16", "--batch", "4", "--budget", "1", "--threads", "1"];
  const trained = await run(["train", ...text, "--run", "text-run"], { cwd });
  expect(trained.code, trained.stderr).toBe(0);
});

test("the list of calls is complete", () => {
  // The page of `watch` is for people.
  const names = commands.map(({ name }) => name).filter((name) => name !== "watch");
  expect(Object.keys(calls).sort()).toEqual(names.sort());
});

describe("--json prints one document", () => {
  test.each(Object.entries(calls))("%s", async (name, [args, fields]) => {
    const { code, stdout, stderr } = await run([name, ...args, "--json"], { cwd });
    expect(code, stderr).toBe(0);
    const document = JSON.parse(stdout);
    for (const field of fields) expect(document).toHaveProperty(field);
    expect(stdout.endsWith("\n")).toBe(true);
  });
});

test("schedule --json has every rate", async () => {
  const { learningRates } = JSON.parse((await run(["schedule", "linear", "--budget", "4", "--json"])).stdout);
  expect(learningRates).toHaveLength(4);
  expect(learningRates[0]).toBeGreaterThan(learningRates[3]);
  expect(existsSync(join(cwd, "runs/1/result.json"))).toBe(true);
});
