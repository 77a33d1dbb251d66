import { copyFileSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readCheckpoint } from "#lib/weights/index.js";
import { lossesOf, metricsOf, run } from "./support/cli.js";
import { wholeRun } from "./support/whole-run.js";

const { cwd, args, interrupted, checkpointsOf } = wholeRun();

describe("a run with checkpoints that cannot be used", () => {
  const copy = async (name: string) => {
    expect((await interrupted(name)).code).toBe(130);
    return checkpointsOf(name);
  };

  test("reports that the newest is truncated, and uses the one before", async () => {
    const [newest = "", before = ""] = await copy("cut");
    truncateSync(newest, 5000);
    const { code, stderr } = await run(["train", "--resume", "cut"], { cwd });
    expect(code).toBe(0);
    expect(stderr).toContain(`damaged checkpoint, trying the previous one: ${newest.slice(cwd.length + 1)}`);
    expect(stderr).toContain("it is cut short");
    expect(stderr).toContain(`continuing ${before.slice(cwd.length + 1)}`);
    expect(lossesOf(join(cwd, "cut"))).toEqual(lossesOf(join(cwd, "whole")));
  });

  test("fails if none can be read, and starts from the first step if there is none", async () => {
    const all = await copy("gone");
    const records = readFileSync(join(cwd, "gone/metrics.jsonl"), "utf8");
    for (const path of all) truncateSync(path, 100);
    const refused = await run(["train", "--resume", "gone"], { cwd });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`expected a checkpoint that can be read, found ${all.length} damaged`);
    expect(readFileSync(join(cwd, "gone/metrics.jsonl"), "utf8")).toBe(records);
    for (const path of all) rmSync(path);
    expect((await run(["train", "--resume", "gone"], { cwd })).stderr).toContain("starting again from the first step");
    expect(lossesOf(join(cwd, "gone"))).toEqual(lossesOf(join(cwd, "whole")));
  });

  test("refuses one of another model or another run, and names the difference", async () => {
    const [newest = ""] = await copy("foreign");
    const data = args.slice(args.indexOf("--data"), args.indexOf("--batch"));
    const resnet = ["train", "--model", "resnet8", ...data, "--batch", "16", "--budget", "1", "--run", "resnet"];
    expect((await run(resnet, { cwd })).code).toBe(0);
    copyFileSync(join(cwd, "resnet/checkpoints/step-1.safetensors"), newest);
    const other = await run(["train", "--resume", "foreign"], { cwd });
    expect(other.code).toBe(1);
    expect(other.stderr).toContain("the checkpoint is of another run: the schedule was");
    expect(other.stderr).not.toContain("cut short");

    // The same run but for the model, which only the weights can tell.
    const config = JSON.parse(readFileSync(join(cwd, "foreign/config.json"), "utf8"));
    const [, before = ""] = checkpointsOf("foreign");
    copyFileSync(before, newest);
    writeFileSync(join(cwd, "foreign/config.json"), JSON.stringify({ ...config, model: "resnet8" }));
    const model = await run(["train", "--resume", "foreign"], { cwd });
    expect(model.code).toBe(1);
    expect(model.stderr).toMatch(/step-\d+\.safetensors: the state does not fit the model: .*stem\.weight is missing/);
  });

  test("a full disk is an error, and the previous checkpoint stays", async () => {
    const [newest = ""] = await copy("full");
    const bytes = readFileSync(newest);
    // Files above 64 KiB cannot be written: the records can, a checkpoint cannot.
    const limit = "trap '' XFSZ; ulimit -f 128";
    const failed = await run(["train", "--resume", "full"], { cwd, before: limit });
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(/error: full\/checkpoints\/step-\d+\.safetensors: could not be written \(EFBIG/);
    expect(failed.stderr).toContain(`The last checkpoint is ${newest.slice(cwd.length + 1)}`);
    expect(failed.stderr).not.toMatch(/^\s+at /m);
    expect(checkpointsOf("full")[0]).toBe(newest);
    expect(readFileSync(newest).equals(bytes)).toBe(true);
    expect((await run(["train", "--resume", "full"], { cwd })).code).toBe(0);
    expect(lossesOf(join(cwd, "full"))).toEqual(lossesOf(join(cwd, "whole")));
  });
});

test("a non-finite loss stops the run at its step, and the last checkpoint is from before it", async () => {
  const wild = ["--optimizer", "sgd", "--max-lr", "1e8", "--warmup", "0", "--budget", "30", "--checkpoint-every", "1"];
  const base = args.slice(0, args.indexOf("--max-lr"));
  const { code, stderr } = await run([...base, ...wild, "--run", "wild"], { cwd });
  expect(code).toBe(1);
  const steps = metricsOf(join(cwd, "wild")).length;
  expect(steps).toBeLessThan(30);
  expect(stderr).toMatch(new RegExp(`error: step ${steps}: the (loss|gradient's norm) is (NaN|Infinity)`));
  expect(stderr).toContain(`The last checkpoint is wild/checkpoints/step-${steps}.safetensors.`);
  await readCheckpoint(join(cwd, `wild/checkpoints/step-${steps}.safetensors`));
  expect(readFileSync(join(cwd, "wild/report.html"), "utf8")).toContain("Failed after");

  const skipping = await run([...base, ...wild, "--run", "skipping", "--non-finite", "skip"], { cwd });
  expect(skipping.code).toBe(0);
  expect(metricsOf(join(cwd, "skipping"))).toHaveLength(30);
  expect(skipping.stdout).toMatch(/skipped +\d+ steps/);
});

test("a run whose every step is skipped does not end as completed", async () => {
  const skip = ["--non-finite", "skip", "--checkpoint-every", "1", "--run"];
  const base = args.slice(0, args.indexOf("--max-lr"));
  // One step makes weights so large that no gradient of a run that begins with them is finite.
  const wild = ["--optimizer", "sgd", "--max-lr", "1e38", "--warmup", "0", "--momentum", "0", "--budget", "1"];
  expect((await run([...base, ...wild, ...skip, "large"], { cwd })).code).toBe(0);
  const weights = ["--weights", "large/checkpoints/step-1.safetensors", "--budget", "3", "--max-lr", "0.1"];
  const { code, stderr } = await run([...base, ...weights, ...skip, "skipped"], { cwd });
  expect({ code, steps: metricsOf(join(cwd, "skipped")).length }).toEqual({ code: 1, steps: 3 });
  expect(stderr).toContain("error: every step was skipped, because no gradient was finite");
  const result = JSON.parse(readFileSync(join(cwd, "skipped/result.json"), "utf8"));
  expect(result).toMatchObject({ status: "failed", steps: 3, skipped: 3, testAccuracy: null });
});
