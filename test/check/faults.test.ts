// Faults that are planted in an operation of the emulated GPU: each is found, and named in the report.
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import type { CaseReport } from "#lib/check/index.js";
import { findAddon } from "#lib/native/index.js";
import { temporaryFolders } from "../support/folders.js";
import { check } from "./support.js";

const folder = temporaryFolders();
const faulty = resolve(import.meta.dirname, "../../build-cuda-emulated/Release/planted-faults");
const isThere = { skip: findAddon("cuda-emulated").addon === undefined };

/** Checks two operations, one of which has a fault. */
function checkWith(fault: string, operation: string, more: readonly string[] = [], before = "true") {
  const planted = `export STEPSIZE_ADDONS='${faulty}' STEPSIZE_PLANTED_FAULT='${fault} ${operation}'; ${before}`;
  const args = ["--device", "cuda:emulated", "--stage", "operations", "--only", `${operation},square`];
  return check(folder(), [...args, "--jobs", "1", ...more], { before: planted });
}

/** The failed cases, without those that only the other ones' failure prevented. */
function failedOf(cases: Readonly<Record<string, CaseReport>>): string[] {
  return Object.entries(cases)
    .filter(([, { status }]) => status === "failed")
    .map(([name]) => name);
}

/** Expects the fault in every float32 case of the operation, and all other cases to pass. */
function expectFound(cases: Readonly<Record<string, CaseReport>>, operation: string, expected: object): void {
  const names = Object.keys(cases);
  expect(names.filter((name) => name.startsWith("operations square:")).length).toBe(6);
  const float32 = ["aligned", "ragged", "large"].map((shape) => `operations ${operation}: ${shape}, float32`);
  expect(failedOf(cases)).toEqual(float32);
  for (const name of float32) expect(cases[name]).toMatchObject(expected);
  for (const name of names.filter((name) => !float32.includes(name))) expect(cases[name]?.status, name).toBe("passed");
}

// Together, because a hanging kernel is waited for.
describe.concurrent("a planted fault is found and named", isThere, () => {
  test("without a fault the same addon passes", async () => {
    const { code, report, stderr } = await checkWith("none", "gelu");
    expect(code, stderr).toBe(0);
    expect(report.passed).toBe(true);
  });

  test("a wrong kernel", async () => {
    const { code, stdout, cases, report } = await checkWith("wrong", "gelu");
    expect(code).toBe(1);
    expect(report).toMatchObject({ passed: false, state: "finished" });
    expectFound(cases, "gelu", { fault: "wrong", error: expect.any(Number) });
    expect(cases["operations gelu: ragged, float32"]?.message).toMatch(/^result 0 \[1003\]: element 1002 is .* instead of .* tolerances$/); // biome-ignore format: one line
    expect(stdout).toContain("FAILED operations gelu: aligned, float32: wrong, result 0 [4096]: element 4095");
    // The first failure of the operation is run again.
    expect(cases["operations gelu: aligned, float32"]?.reruns).toMatchObject([
      { with: "CUDA_LAUNCH_BLOCKING=1", status: "failed", fault: "wrong" },
    ]);
    expect(cases["operations gelu: ragged, float32"]?.reruns).toBeUndefined();
  });

  test("a kernel that gives other bits in every run", async () => {
    const { code, cases } = await checkWith("unstable", "silu");
    expect(code).toBe(1);
    expectFound(cases, "silu", { fault: "unstable", message: expect.stringMatching(/in one run and .* in the next$/) });
  });

  test("a kernel that hangs; its process is gone afterwards", async () => {
    const { code, cases } = await checkWith("hang", "tanh", ["--limit", "15"]);
    expect(code).toBe(1);
    const message = "it took longer than 15 s; the process was killed";
    expectFound(cases, "tanh", { fault: "hung", message });
    const left = readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => commandOf(pid))
      .filter((command) => command.includes('"group":"tanh"') && command.includes(resolve(faulty, "../../..")));
    expect(left).toEqual([]);
  });

  test("a kernel that the driver stops", async () => {
    const { code, cases } = await checkWith("stop", "exp");
    expect(code).toBe(1);
    expectFound(cases, "exp", { fault: "error", message: expect.stringContaining("__trap()") });
  });

  test("a kernel that ends the process", async () => {
    const { code, cases } = await checkWith("crash", "sigmoid");
    expect(code).toBe(1);
    expectFound(cases, "sigmoid", { fault: "crashed", message: expect.stringContaining("SIGSEGV") });
  });

  test("a kernel that leaves its output unwritten, also in bfloat16", async () => {
    const { code, cases } = await checkWith("unwritten", "relu");
    expect(code).toBe(1);
    expect(failedOf(cases).length).toBe(6);
    for (const storage of ["float32", "bfloat16"])
      expect(cases[`operations relu: ragged, ${storage}`]).toMatchObject({
        fault: "unwritten",
        message: "result 0 [1003]: 1003 of 1003 elements are not written, the first at 0",
      });
  });

  test("compute-sanitizer, if it is on the PATH, runs the failed case too, and its output is in the report", async () => {
    const bin = folder();
    const tool = join(bin, "compute-sanitizer");
    writeFileSync(tool, '#!/bin/sh\necho "sanitizer $1 $2"\nshift 2\nexec "$@"\n');
    chmodSync(tool, 0o755);
    const { cases } = await checkWith("wrong", "gelu", [], `export PATH='${bin}':$PATH`);
    expect(cases["operations gelu: aligned, float32"]?.reruns).toMatchObject([
      { with: "CUDA_LAUNCH_BLOCKING=1" },
      { with: "compute-sanitizer", status: "failed", fault: "wrong", output: ["sanitizer --tool memcheck"] },
    ]);
  });
});

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}
