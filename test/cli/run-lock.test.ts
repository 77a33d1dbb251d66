// A run's folder belongs to one process at a time; who only reads in it is not in the way, nor disturbed.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { RunFolder } from "#lib/cli/run-folder.js";
import { readTensors } from "#lib/files/safetensors.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { linesIn, lossesOf, metricsOf, run, start } from "./support/cli.js";
import { tinyData, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();
const cwd = folder();
const data = tinyData(folder());
/** Far more steps than the run makes before it is stopped. */
const long = trainTiny(data, "--budget", "1000000", "--checkpoint-every", "10");

test("a second --resume of a live run is refused with the owner of its lock, and the run is not disturbed", async () => {
  const { child, done } = start([...long, "--run", "live"], { cwd });
  await linesIn(join(cwd, "live/metrics.jsonl"), 30);
  const second = await run(["train", "--resume", "live"], { cwd });
  expect(second.code).toBe(1);
  expect(second.stderr).toContain(
    `error: live/lock: process ${child.pid} on ${hostname()} works in this folder since 20`,
  );
  expect(second.stderr).toContain("Wait for it, or name another folder; if it is gone, remove this file");
  child.kill("SIGINT");
  expect((await done).code).toBe(130);
  expect(metricsOf(join(cwd, "live")).every(({ step }, i) => step === i)).toBe(true);
  expect(existsSync(join(cwd, "live/lock"))).toBe(false);
});

test("the lock of a killed run is taken over", async () => {
  const whole = trainTiny(data, "--budget", "60", "--checkpoint-every", "10");
  const file = join(cwd, "killed/metrics.jsonl");
  const interrupt = { signal: "SIGKILL", file, lines: 30 } as const;
  expect((await run([...whole, "--run", "killed"], { cwd, interrupt })).signal).toBe("SIGKILL");
  expect(existsSync(join(cwd, "killed/lock"))).toBe(true);
  expect((await run(["train", "--resume", "killed"], { cwd })).code).toBe(0);
  expect(existsSync(join(cwd, "killed/lock"))).toBe(false);
  expect((await run([...whole, "--run", "whole"], { cwd })).code).toBe(0);
  expect(lossesOf(join(cwd, "killed"))).toEqual(lossesOf(join(cwd, "whole")));
});

test("of two new runs with one --run, one gets the folder", async () => {
  const seeds = ["1", "2"];
  const outcomes = await Promise.all(
    seeds.map((seed) => run(trainTiny(data, "--budget", "40", "--seed", seed, "--run", "both"), { cwd })),
  );
  const won = outcomes.findIndex(({ code }) => code === 0);
  const { code, stderr } = outcomes[1 - won] as (typeof outcomes)[0];
  // Refused by the lock of the one that works, or because the folder is full already.
  expect([1, 2]).toContain(code);
  expect(stderr).toMatch(/both\/lock: process \d+ on|--run: expected an empty or new folder, got both/);
  expect(metricsOf(join(cwd, "both"))).toHaveLength(40);
  expect(JSON.parse(readFileSync(join(cwd, "both/config.json"), "utf8")).seed).toBe(Number(seeds[won]));
});

test("evaluate reads the newest checkpoint of a run that continues and prunes", async () => {
  const { child, done } = start([...long, "--checkpoint-every", "1", "--run", "pruning"], { cwd });
  await linesIn(join(cwd, "pruning/metrics.jsonl"), 5);
  for (let i = 0; i < 4; i++) {
    const { code, stderr } = await run(["evaluate", "--checkpoint", "pruning"], { cwd });
    expect(code, stderr).toBe(0);
    expect(stderr).not.toContain("damaged");
  }
  child.kill("SIGINT");
  expect((await done).code).toBe(130);
});

describe("a checkpoint that is pruned", () => {
  /** A run's folder, its newest checkpoint, and what reading it gives. */
  function prunable(name: string) {
    cpSync(join(cwd, "whole"), join(cwd, name), { recursive: true });
    const folder = new RunFolder(join(cwd, name));
    const notes: string[] = [];
    const read = (before: (path: string) => void = () => {}) =>
      folder.withNewest(
        async ({ path, model }) => {
          before(path);
          return { path, tensors: (await readTensors(model)).size };
        },
        { parts: ["model"], damaged: (message) => notes.push(message) },
      );
    return { folder, notes, read };
  }

  test("between listing and reading does not count as damaged: the next newest is read", async () => {
    const { folder, notes, read } = prunable("pruned");
    const [newest = 0, ...older] = await folder.checkpointSteps();
    const listed = folder.checkpointSteps.bind(folder);
    let tries = 0;
    folder.checkpointSteps = async () => (tries++ === 0 ? [newest + 1, newest, ...older] : listed());
    expect(await read()).toMatchObject({ path: folder.checkpoint(newest) });
    expect(notes).toEqual([]);
  });

  test("during a read is read to its end", async () => {
    const { folder, notes, read } = prunable("pruned-later");
    const [newest = 0] = await folder.checkpointSteps();
    const whole = await read();
    expect(whole?.path).toBe(folder.checkpoint(newest));
    expect(await read((path) => rmSync(path))).toEqual(whole);
    expect(notes).toEqual([]);
  });
});

test("a folder that contains only the lock of another machine is refused and stays unchanged", async () => {
  const other = join(folder(), "taken");
  cpSync(join(cwd, "whole"), other, { recursive: true });
  const lock = JSON.stringify({ token: "t", pid: 1, began: "1", host: "elsewhere" });
  writeFileSync(join(other, "lock"), lock);
  await expectError(() => new RunFolder(other).take(), "invalid-state", "process 1 on elsewhere works in this folder");
  const { code, stderr } = await run(["train", "--resume", other], { cwd });
  expect([code, stderr]).toEqual([1, expect.stringContaining("if it is gone, remove this file")]);
  expect(readFileSync(join(other, "lock"), "utf8")).toBe(lock);
  expect(readdirSync(other).filter((name) => name.startsWith("lock"))).toEqual(["lock"]);
});
