// The command: its report, limits, interruption and errors.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseGpuStates } from "#lib/check/hardware.js";
import type { CaseGroup, CheckReport, Stage } from "#lib/check/index.js";
import { CheckProgress } from "#lib/cli/commands/check-output.js";
import { run } from "../cli/support/cli.js";
import { temporaryFolders } from "../support/folders.js";
import { check } from "./support.js";

const folder = temporaryFolders();

describe("a check of the CPU", () => {
  test("passes, prints a table, and writes a report with versions, device and cases", async () => {
    const args = ["--device", "cpu", "--stage", "device,training"];
    const { code, stdout, stderr, report, cases } = await check(folder(), args);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^check of cpu \(\w+\): passed\nstage .*\ndevice +passed +4 +0 +0 /);
    expect(report).toMatchObject({
      format: "stepsize-check-1",
      passed: true,
      state: "finished",
      command: expect.stringMatching(/^npx stepsize check --device cpu --stage device,training --report /),
      versions: { stepsize: expect.stringMatching(/^\d/), node: process.version },
      device: { name: "cpu", facts: { kernels: expect.any(String) } },
      gpus: { before: [], after: [] },
      stages: [
        { name: "device", status: "passed" },
        { name: "training", status: "passed" },
      ],
    });
    const olmo = cases["training olmo-adamw: losses and bits"];
    expect(olmo?.error).toBeLessThan(1);
    expect(olmo?.measured?.["losses"]).toHaveLength(20);
    for (const one of Object.values(cases)) expect(one.milliseconds).toBeGreaterThan(0);
  });

  test("without --report writes stepsize-check-<device>-<date>.json", async () => {
    const cwd = folder();
    const { code, stdout } = await run(["check", "--device", "cpu", "--stage", "operations", "--only", "fill"], {
      cwd,
    });
    expect(code).toBe(0);
    const name = `stepsize-check-cpu-${new Date().toISOString().slice(0, 10)}.json`;
    expect(stdout).toContain(`report: ${name}`);
    expect(existsSync(join(cwd, name))).toBe(true);
  });

  test("that has no time left states which cases were not run", async () => {
    const { code, report, cases } = await check(folder(), ["--device", "cpu", "--stage", "operations", "--seconds", "0.01"]); // biome-ignore format: one line
    expect(code).toBe(1);
    expect(report).toMatchObject({ passed: false, state: "finished", stages: [{ status: "not run" }] });
    const all = Object.values(cases);
    expect(all.length).toBeGreaterThan(300);
    for (const one of all) expect(one).toMatchObject({ status: "not run", message: "time" });
  });

  test("that is interrupted exits with 130, and its report has the results so far", async () => {
    const args = ["--device", "cpu", "--stage", "device,optimizer"];
    const interrupt = { signal: "SIGINT", says: "device: passed" } as const;
    const { code, report, cases } = await check(folder(), args, { interrupt });
    expect(code).toBe(130);
    expect(report).toMatchObject({ passed: false, state: "interrupted", stages: [{ status: "passed" }, {}] });
    const last = Object.values(cases).at(-1);
    expect(last).toMatchObject({ status: "not run", message: "interrupted" });
  });
});

test("a device that cannot be opened fails at once, and the other cases are not run", async () => {
  const { code, stdout, cases } = await check(folder(), ["--device", "cuda:99"]);
  expect(code).toBe(1);
  expect(stdout).toContain("FAILED device device: opening the device: error, ");
  expect(cases["device device: opening the device"]).toMatchObject({ status: "failed", fault: "error" });
  expect(cases["operations add: aligned, float32"]).toMatchObject({
    status: "not run",
    message: "the device could not be opened",
  });
});

describe("a wrong call", () => {
  test.each([
    [["--stage", "operation"], "--stage: expected names among device, operations, ", "did you mean operations?"],
    [["--only", "matmull"], 'got "matmull"', "did you mean matmul?"],
    [["--seconds", "0"], "--seconds: expected a number of seconds above 0, got 0", ""],
    [["--device", "gpu"], "--device: expected auto, cpu, cuda or cuda:<number>", ""],
  ])("%s exits with 2", async (args, ...words) => {
    const { code, stdout, stderr } = await run(["check", ...args], { cwd: folder() });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    for (const word of words) expect(stderr).toContain(word);
  });

  test("a report that cannot be written is an error before anything runs", async () => {
    const { code, stdout, stderr } = await run(["check", "--device", "cpu", "--report", "/proc/report.json"]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error: \/proc\/report\.json: could not be written/);
  });

  test("a full disk is an error before anything runs", async () => {
    const file = join(folder(), "report.json");
    // No file may grow, as on a full disk.
    const { code, stdout, stderr } = await run(["check", "--device", "cpu", "--report", file], {
      before: "ulimit -f 0",
    });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/could not be written .*; it needs .* MB/);
  });
});

test("the report of a check that is killed has the stages that ended", async () => {
  const file = join(folder(), "report.json");
  const args = ["check", "--device", "cpu", "--stage", "device,optimizer", "--report", file];
  const { signal } = await run(args, { interrupt: { signal: "SIGKILL", file, lines: 40 } });
  expect(signal).toBe("SIGKILL");
  const report: CheckReport = JSON.parse(readFileSync(file, "utf8"));
  expect(report).toMatchObject({ state: "running", passed: false, stages: [{ name: "device", status: "passed" }] });
});

test("on a terminal the progress is a table that is drawn again", () => {
  const group: CaseGroup = { name: "gelu", cases: [{ name: "a", run: async () => ({}) }, { name: "b", run: async () => ({}) }] }; // biome-ignore format: one line
  const stage: Stage = { name: "operations", title: "", groups: () => [group] };
  let text = "";
  const progress = new CheckProgress([{ stage, groups: [group] }], {
    isTTY: true,
    columns: 60,
    write: (more) => {
      text += more;
    },
  });
  progress.caseStarted(stage, group, "a");
  progress.draw();
  expect(text).toMatch(/^ operations {2}0\/2 .*\n … operations gelu: a\n$/);
  text = "";
  progress.groupEnded(stage, group, [
    { name: "gelu: a", status: "passed" },
    { name: "gelu: b", status: "failed", fault: "wrong" },
  ]);
  expect(text).toBe("\x1b[2A\x1b[JFAILED operations gelu: b: wrong\n");
  text = "";
  progress.draw();
  expect(text).toMatch(/^ operations {2}2\/2 {2}1 failed .*\n$/);
  progress.close();
  expect(text.endsWith("\x1b[1A\x1b[J")).toBe(true);
});

test("the lines of nvidia-smi are read by its fields", () => {
  const line = "0, NVIDIA H200, 580.65.06, 143771 MiB, 0 MiB, Default, 345 MHz, 3201 MHz, 1980 MHz, 3201 MHz, 30, 76.11 W, 700.00 W, 0x0000000000000001"; // biome-ignore format: one line
  expect(parseGpuStates(`${line}\n`)).toMatchObject([
    { index: "0", name: "NVIDIA H200", driver_version: "580.65.06", "clocks.sm": "345 MHz", "temperature.gpu": "30" },
  ]);
});
