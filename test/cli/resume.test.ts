import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { readCheckpoint } from "#lib/weights/index.js";
import { lossesOf, metricsOf, run, start } from "./support/cli.js";
import { budget, wholeRun } from "./support/whole-run.js";

const { cwd, args, interrupted, checkpointsOf } = wholeRun();

describe.each(["SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU"] as const)("%s", (signal) => {
  const name = `stopped-by-${signal}`;

  test("finishes the step, writes a checkpoint, prints how to continue, and exits with 130", async () => {
    const { code, stderr } = await interrupted(name, signal);
    expect(code).toBe(130);
    const steps = metricsOf(join(cwd, name)).length;
    expect(steps).toBeLessThan(budget);
    expect(stderr).toContain(`interrupted after step ${steps} of ${budget}; continue with:\n  node `);
    expect(stderr).toMatch(new RegExp(`main\\.js train --resume ${name}\n$`));
    expect((await readCheckpoint(join(cwd, name, `checkpoints/step-${steps}.safetensors`))).info.step).toBe(steps);
    const result = JSON.parse(readFileSync(join(cwd, name, "result.json"), "utf8"));
    expect(result).toMatchObject({ status: "interrupted", steps, testAccuracy: null });
    expect(readFileSync(join(cwd, name, "report.html"), "utf8")).toContain("Interrupted after");
  });

  test("is followed by a resumed run with the bits of an uninterrupted one", async () => {
    const { code, stdout } = await run(["train", "--resume", name], { cwd });
    expect(code).toBe(0);
    expect(lossesOf(join(cwd, name))).toEqual(lossesOf(join(cwd, "whole")));
    expect(stdout).toContain("test accuracy");
    const accuracy = (run: string) => JSON.parse(readFileSync(join(cwd, run, "result.json"), "utf8")).testAccuracy;
    expect(accuracy(name)).toBe(accuracy("whole"));
  });
});

test("a second signal ends it at once", async () => {
  // A step of so many batches takes longer than this test may: it cannot be finished in between.
  const { child, done } = start([...args, "--accumulate", "65536", "--run", "twice"], { cwd });
  const from = (text: string) =>
    new Promise<void>((resolve) => child.stderr?.on("data", (bytes) => String(bytes).includes(text) && resolve()));
  await from("run folder twice");
  await wait(200);
  const notified = from("interrupt again to exit at once");
  child.kill("SIGINT");
  await notified;
  // Two signals of one key press come sooner than this.
  await wait(300);
  child.kill("SIGINT");
  const { code, stderr } = await done;
  expect(code).toBe(130);
  expect(stderr).not.toContain("continue with");
  expect(readdirSync(join(cwd, "twice"))).toEqual(["config.json"]);
});

test("a run that is killed repeatedly at any moment still ends with the same bits", async () => {
  const metrics = join(cwd, "killed/metrics.jsonl");
  expect((await interrupted("killed", "SIGKILL")).signal).toBe("SIGKILL");
  for (let attempt = 0; attempt < 4; attempt++) {
    // Records that the kill before left may make this come true at once: a process that has hardly begun is killed too.
    const lines = 45 + Math.floor(Math.random() * 40 * (attempt + 1));
    const interrupt = { signal: "SIGKILL", file: metrics, lines, delay: Math.random() * 20 } as const;
    expect((await run(["train", "--resume", "killed"], { cwd, interrupt })).signal).toBe("SIGKILL");
    // The newest is whole, not only one of them.
    expect((await readCheckpoint(checkpointsOf("killed")[0] as string)).info.step).toBeGreaterThan(0);
  }
  expect((await run(["train", "--resume", "killed"], { cwd })).code).toBe(0);
  expect(lossesOf(join(cwd, "killed"))).toEqual(lossesOf(join(cwd, "whole")));
  expect(readdirSync(join(cwd, "killed/checkpoints")).filter((name) => name.includes("partial"))).toEqual([]);
});

test("a finished run that is resumed makes no further step", async () => {
  const before = readFileSync(join(cwd, "whole/metrics.jsonl"));
  const { code, stdout } = await run(["train", "--resume", "whole"], { cwd });
  expect(code).toBe(0);
  expect(stdout).toContain("test accuracy");
  expect(readFileSync(join(cwd, "whole/metrics.jsonl")).equals(before)).toBe(true);
});

test.each([
  ["a folder without a run", ["--resume", "."], "--resume: expected the folder of a run, . has no config.json"],
  ["another budget", ["--resume", "whole", "--budget", "500"], "--budget: the run to resume has 250"],
  ["a configuration", ["--resume", "whole", "--config", "c.json"], "--config: a resumed run has"],
  ["another folder", ["--resume", "whole", "--run", "other"], "--run: a resumed run stays in"],
])("resuming with %s is a usage error", async (_, more, message) => {
  const { code, stderr } = await run(["train", ...more], { cwd });
  expect(code).toBe(2);
  expect(stderr).toContain(message);
});

test("a finished run says that it has made all its steps", async () => {
  const { code, stderr } = await run(["train", "--resume", "whole"], { cwd });
  expect(code).toBe(0);
  expect(stderr).toContain(`the run has made all its ${budget} steps; it is evaluated again`);
});
