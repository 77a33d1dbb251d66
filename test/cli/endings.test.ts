// Whatever ends a run or closes its outputs, the training so far is kept and continues with the same bits.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { endingSignals } from "#lib/cli/interrupts.js";
import { readCheckpoint } from "#lib/weights/index.js";
import { runProgram } from "../support/child.js";
import { lossesOf, metricsOf, run, start } from "./support/cli.js";
import { budget, wholeRun } from "./support/whole-run.js";

const { cwd, args, checkpointsOf } = wholeRun();
const resultOf = (name: string) => JSON.parse(readFileSync(join(cwd, name, "result.json"), "utf8"));
const whole = () => lossesOf(join(cwd, "whole"));

async function expectContinues(name: string): Promise<void> {
  const { code, stderr } = await run(["train", "--resume", name], { cwd });
  expect(code, stderr).toBe(0);
  expect(lossesOf(join(cwd, name))).toEqual(whole());
}

describe("a run whose outputs can no longer be written continues to its end", () => {
  // A note after each evaluation, so that there is something to write.
  const noisy = [...args, "--evaluate-every", "25"];

  test("if the reader closes the pipe", async () => {
    const { child, done } = start([...noisy, "--run", "unread"], { cwd });
    child.stderr?.once("data", () => child.stderr?.destroy());
    expect((await done).code).toBe(0);
    expect(resultOf("unread")).toMatchObject({ status: "completed", steps: budget });
    expect(lossesOf(join(cwd, "unread"))).toEqual(whole());
  });

  test("if both outputs go to head, which exits early", async () => {
    const piped = 'exec 3>&1; { "$@" 2>&1; echo "code $?" >&3; } | head -n 1; exit 0';
    const { stdout } = await run([...noisy, "--run", "headed"], { cwd, before: piped });
    expect(stdout).toContain("mlp, ");
    expect(stdout).toContain("code 0\n");
    expect(resultOf("headed")).toMatchObject({ status: "completed", steps: budget });
  });

  test("if the log is on a full disk", async () => {
    const { code, stdout } = await run([...noisy, "--run", "logged"], { cwd, before: "exec 2>/dev/full" });
    expect(code).toBe(0);
    expect(stdout).toContain("test accuracy");
    expect(lossesOf(join(cwd, "logged"))).toEqual(whole());
  });
});

test("measurements are written to their file even if the table cannot be printed", async () => {
  const measure = [
    "bench",
    "optimizer",
    "--sizes",
    "1e3",
    "--rounds",
    "1",
    "--baseline",
    "loop",
    "--out",
    "measured.json",
  ];
  const { child, done } = start(measure, { cwd });
  child.stdout?.destroy();
  expect((await done).code).toBe(0);
  expect(JSON.parse(readFileSync(join(cwd, "measured.json"), "utf8")).rows).toHaveLength(1);
});

describe("a closed terminal", () => {
  test("sends SIGHUP, and the run writes a checkpoint of its last step and exits with 130", async () => {
    const interrupt = { signal: "SIGHUP", file: join(cwd, "hung/metrics.jsonl"), lines: 45 } as const;
    const { child, done } = start([...args, "--run", "hung"], { cwd, interrupt });
    child.stderr?.once("data", () => child.stderr?.destroy());
    expect((await done).code).toBe(130);
    const steps = metricsOf(join(cwd, "hung")).length;
    expect(steps).toBeLessThan(budget);
    expect((await readCheckpoint(checkpointsOf("hung")[0] as string)).info.step).toBe(steps);
    await expectContinues("hung");
  });
});

describe.each(["exception", "rejection"] as const)("an uncaught %s", (signal) => {
  test("fails the run after a checkpoint was written", async () => {
    const interrupt = { signal, file: join(cwd, signal, "metrics.jsonl"), lines: 45 };
    const { code, stderr } = await run([...args, "--run", signal], { cwd, interrupt });
    expect(code).toBe(1);
    expect(stderr).toContain("error: an error of the test: finishing this step and writing a checkpoint");
    expect(stderr).toContain("error: an error of the test\n");
    const steps = metricsOf(join(cwd, signal)).length;
    expect(steps).toBeLessThan(budget);
    expect(resultOf(signal)).toMatchObject({ status: "failed", steps, error: "an error of the test" });
    expect((await readCheckpoint(checkpointsOf(signal)[0] as string)).info.step).toBe(steps);
    await expectContinues(signal);
  });
});

describe.each(["ENOSPC", "EIO"] as const)("records that cannot be written (%s)", (code) => {
  test("for a while fail the run with a checkpoint, and no record is lost", async () => {
    const name = `once-${code}`;
    const breakWrites = { file: "metrics.jsonl", after: 50, times: 1, code };
    const failed = await run([...args, "--run", name], { cwd, breakWrites });
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain(`error: ${name}/metrics.jsonl: could not be written (${code}: injected, write)`);
    const steps = metricsOf(join(cwd, name)).length;
    expect(failed.stderr).toContain(`The last checkpoint is ${name}/checkpoints/step-${steps}.safetensors.`);
    expect((await readCheckpoint(checkpointsOf(name)[0] as string)).info.step).toBe(steps);
    await expectContinues(name);
  });

  test("from then on fail the run with a checkpoint, from which it continues", async () => {
    const name = `always-${code}`;
    const failed = await run([...args, "--run", name], {
      cwd,
      breakWrites: { file: "metrics.jsonl", after: 50, code },
    });
    expect(failed.code).toBe(1);
    expect(metricsOf(join(cwd, name))).toHaveLength(50);
    const { step } = (await readCheckpoint(checkpointsOf(name)[0] as string)).info;
    expect(step).toBeGreaterThan(50);
    const { code: resumed, stderr } = await run(["train", "--resume", name], { cwd });
    expect(resumed).toBe(0);
    expect(stderr).toContain(`has records of 50 of the ${step} steps made; the others are lost`);
    expect(lossesOf(join(cwd, name))).toEqual([...whole().slice(0, 50), ...whole().slice(step)]);
  });
});

test("an evaluation that cannot be recorded fails the run with a checkpoint of its step", async () => {
  const breakWrites = { file: "evaluations.jsonl", after: 1, code: "ENOSPC" } as const;
  const often = [...args, "--evaluate-every", "30", "--checkpoint-every", "200", "--run", "evaluated"];
  const { code, stderr } = await run(often, { cwd, breakWrites });
  expect(code).toBe(1);
  expect(stderr).toContain("The last checkpoint is evaluated/checkpoints/step-60.safetensors");
  await expectContinues("evaluated");
});

describe("signals", () => {
  test("that end a process and can be caught are handled", () => {
    // The other signals of POSIX and Linux report faults, stop or continue a process, or are used by Node.
    const left = ["SIGKILL", "SIGSTOP", "SIGUSR1", "SIGPIPE", "SIGPROF"];
    expect(endingSignals.filter((signal) => left.includes(signal))).toEqual([]);
    expect(endingSignals.length).toBe(11);
  });

  test("from a person end the process at once if they are repeated", async () => {
    const program = new URL("support/insist.ts", import.meta.url);
    for (const signal of ["SIGHUP", "SIGXCPU"])
      expect(await runProgram(program, [signal])).toMatchObject({ code: 0, stdout: "1 request\n" });
    for (const signal of ["SIGINT", "SIGTERM", "SIGQUIT"])
      expect(await runProgram(program, [signal])).toMatchObject({ code: 130, stdout: "" });
  });
});
