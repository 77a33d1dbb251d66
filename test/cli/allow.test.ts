// Resuming a run after its data were moved, and resuming with changes that --allow permits.
import { appendFileSync, cpSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { uba } from "#lib/schedule/index.js";
import { temporaryFolders } from "../support/folders.js";
import { lossesOf, metricsOf, run } from "./support/cli.js";
import { tinyData, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();
const cwd = folder();
const data = tinyData(folder());
const args = trainTiny(data, "--budget", "80", "--checkpoint-every", "10", "--phi", "5", "--warmup", "4");
const configOf = (name: string) => JSON.parse(readFileSync(join(cwd, name, "config.json"), "utf8"));
const changesOf = (name: string) =>
  readFileSync(join(cwd, name, "changes.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

function copy(name: string): number {
  cpSync(join(cwd, "stopped"), join(cwd, name), { recursive: true });
  return metricsOf(join(cwd, name)).length;
}

beforeAll(async () => {
  const { code, stderr } = await run([...args, "--run", "whole"], { cwd });
  expect(code, stderr).toBe(0);
  const interrupt = { signal: "SIGINT", file: join(cwd, "stopped/metrics.jsonl"), lines: 25 } as const;
  expect((await run([...args, "--run", "stopped"], { cwd, interrupt })).code).toBe(130);
});

describe("data that were moved", () => {
  test("are refused without --data; with it the run has the same bits, and the next resume finds them", async () => {
    const original = tinyData(folder());
    const moved = trainTiny(original, "--budget", "80", "--checkpoint-every", "10", "--phi", "5", "--warmup", "4");
    const interrupt = { signal: "SIGINT", file: join(cwd, "moved/metrics.jsonl"), lines: 25 } as const;
    expect((await run([...moved, "--run", "moved"], { cwd, interrupt })).code).toBe(130);
    const place = join(folder(), "elsewhere and renamed");
    renameSync(original, place);
    const lost = await run(["train", "--resume", "moved"], { cwd });
    expect([lost.code, lost.stderr]).toEqual([1, expect.stringContaining("say with --data where they are")]);
    const again = { signal: "SIGINT", file: join(cwd, "moved/metrics.jsonl"), lines: 45 } as const;
    const found = await run(["train", "--resume", "moved", "--data", `idx:${place}`], { cwd, interrupt: again });
    expect(found.code, found.stderr).toBe(130);
    expect(found.stderr).toContain(`data idx:${original} → idx:${place}`);
    expect(configOf("moved").data).toBe(`idx:${place}`);
    const { code, stderr } = await run(["train", "--resume", "moved"], { cwd });
    expect(code, stderr).toBe(0);
    expect(lossesOf(join(cwd, "moved"))).toEqual(lossesOf(join(cwd, "whole")));
    renameSync(place, original);
  });

  test("other data are refused, also under the old path, unless --allow data is given", async () => {
    const steps = copy("other");
    const other = tinyData(folder());
    const images = join(other, "train-images-idx3-ubyte");
    const bytes = readFileSync(images);
    bytes[100] = (bytes[100] as number) ^ 1;
    writeFileSync(images, bytes);
    const config = readFileSync(join(cwd, "other/config.json"), "utf8");
    const command = ["train", "--resume", "other", "--data", `idx:${other}`];
    const refused = await run(command, { cwd });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/the data was .*"digest".*--allow data/);
    expect(readFileSync(join(cwd, "other/config.json"), "utf8")).toBe(config);
    expect((await run([...command, "--allow", "data"], { cwd })).code).toBe(0);
    expect(metricsOf(join(cwd, "other"))).toHaveLength(80);
    expect(lossesOf(join(cwd, "other")).slice(0, steps)).toEqual(lossesOf(join(cwd, "whole")).slice(0, steps));
    // From then on these are its data.
    expect((await run(["train", "--resume", "other"], { cwd })).code).toBe(0);
  });
});

describe("another schedule", () => {
  test.each([
    ["--budget", "160", "--budget: the run to resume has 80; to change it, add --allow schedule"],
    ["--max-lr", "0.002", "--max-lr: the run to resume has 0.001; to change it, add --allow schedule"],
    ["--schedule", "cosine", '--schedule: the run to resume has "uba"; to change it, add --allow schedule'],
    ["--seed", "7", "--seed: the run to resume has 0, which cannot be changed"],
  ])("%s is refused without --allow, and the message says how to proceed", async (flag, value, message) => {
    for (const allow of [[], ["--allow", "data"]]) {
      const { code, stderr } = await run(["train", "--resume", "whole", flag, value, ...allow], { cwd });
      expect([code, stderr]).toEqual([2, expect.stringContaining(`error: ${message}`)]);
    }
  });

  test("continues at its rate of that step, is recorded, and needs no second permission", async () => {
    const steps = copy("longer");
    const command = ["train", "--resume", "longer", "--allow", "schedule", "--budget", "160", "--max-lr", "0.002"];
    const interrupt = { signal: "SIGINT", file: join(cwd, "longer/metrics.jsonl"), lines: steps + 20 } as const;
    const first = await run(command, { cwd, interrupt });
    expect(first.code, first.stderr).toBe(130);
    expect(first.stderr).toContain(`from step ${steps} on: budget 80 → 160, maxLr 0.001 → 0.002`);
    expect(configOf("longer")).toMatchObject({ budget: 160, maxLr: 0.002, phi: 5, warmup: 4 });
    const { code, stderr } = await run(["train", "--resume", "longer"], { cwd });
    expect(code, stderr).toBe(0);
    const plans = [
      uba({ budget: 80, maxLr: 0.001, phi: 5, warmup: 4 }),
      uba({ budget: 160, maxLr: 0.002, phi: 5, warmup: 4 }),
    ] as const;
    const metrics = metricsOf(join(cwd, "longer"));
    expect(metrics).toHaveLength(160);
    for (const { step, learningRate } of metrics as unknown as { step: number; learningRate: number }[])
      expect(learningRate).toBe(plans[step < steps ? 0 : 1](step));
    expect(lossesOf(join(cwd, "longer")).slice(0, steps)).toEqual(lossesOf(join(cwd, "whole")).slice(0, steps));
    expect(changesOf("longer")).toEqual([
      { step: steps, field: "budget", before: 80, after: 160 },
      { step: steps, field: "maxLr", before: 0.001, after: 0.002 },
    ]);
    expect(readFileSync(join(cwd, "longer/report.html"), "utf8")).toContain("Changed settings");
  });

  test("a finished run continues", async () => {
    cpSync(join(cwd, "whole"), join(cwd, "over"), { recursive: true });
    const more = ["--allow", "schedule", "--budget", "100", "--schedule", "constant"];
    const { code, stderr } = await run(["train", "--resume", "over", ...more], { cwd });
    expect(code, stderr).toBe(0);
    expect(metricsOf(join(cwd, "over"))).toHaveLength(100);
    expect(configOf("over")).toMatchObject({ schedule: "constant", budget: 100 });
    expect(configOf("over").phi).toBeUndefined();
    expect(lossesOf(join(cwd, "over")).slice(0, 80)).toEqual(lossesOf(join(cwd, "whole")));
  });

  test("a budget below the number of finished steps is refused, and nothing changes", async () => {
    const steps = copy("short");
    const config = readFileSync(join(cwd, "short/config.json"), "utf8");
    const { code, stderr } = await run(["train", "--resume", "short", "--allow", "schedule", "--budget", "5"], { cwd });
    expect(code).toBe(1);
    expect(stderr).toContain(`it has made ${steps} steps, this run's budget is 5`);
    expect(readFileSync(join(cwd, "short/config.json"), "utf8")).toBe(config);
    expect(existsSync(join(cwd, "short/changes.jsonl"))).toBe(false);
  });
});

test.each([
  [
    "an unknown word",
    ["--resume", "whole", "--allow", "model"],
    '--allow: expected schedule or data, or both with a comma, got "model"',
  ],
  ["no run to resume", ["--allow", "schedule"], "--allow: expected a run to go on with, named by --resume"],
])("--allow with %s is a usage error", async (_, more, message) => {
  const { code, stderr } = await run(["train", ...more], { cwd });
  expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
});

test("a damaged line of changes.jsonl is an error that names the line", async () => {
  copy("damaged");
  appendFileSync(join(cwd, "damaged/changes.jsonl"), "null\n");
  const { code, stderr } = await run(["train", "--resume", "damaged"], { cwd });
  expect([code, stderr]).toEqual([1, expect.stringContaining("damaged/changes.jsonl:1: ")]);
});
