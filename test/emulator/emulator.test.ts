// The emulator's own tests: what it promises holds, and kernels with a planted fault are found.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { build, command, programs, type Variant, whyNot } from "./build.mjs";

const root = resolve(import.meta.dirname, "../..");
const [semantics, examples, runtime] = programs as [string, string, string];

const needs = (variant: Variant) => (whyNot(variant) ? ` (skipped: ${whyNot(variant)})` : "");
const has = async (tool: string) => (await command(tool, ["--version"])).status === 0;

async function run(source: string, variant: Variant, args: readonly string[]) {
  return command(await build(source, variant), args);
}

async function expectPass(source: string, variant: Variant, args: readonly string[]) {
  const { status, output } = await run(source, variant, args);
  expect(output).toMatch(/^\d+ tests, 0 failures\n$/);
  expect(status).toBe(0);
}

// Each build in orders of its own, so that most orders are seen here. All of them in every build take many minutes:
// `npm run test:emulator`.
describe.concurrent.each(programs)("%s", (source) => {
  test.skipIf(whyNot("plain"))(`passes${needs("plain")}`, () =>
    expectPass(source, "plain", ["--orders=greedy,random 1"]),
  );
  test.skipIf(whyNot("sanitized"))(`passes under sanitizers${needs("sanitized")}`, () =>
    expectPass(source, "sanitized", ["--orders=forward"]),
  );
  test.skipIf(whyNot("clang"))(`passes as clang compiles it${needs("clang")}`, () =>
    expectPass(source, "clang", ["--orders=greedy reverse"]),
  );
  test.skipIf(whyNot("races"))(`passes with the race detector${needs("races")}`, () =>
    expectPass(source, "races", ["--orders=reverse"]),
  );
});

test.skipIf(whyNot("plain"))(`an order of threads is chosen by its name${needs("plain")}`, async () => {
  const { output } = await run(semantics, "plain", ["failsAnExpectation", "--orders=reverse,random 1"]);
  expect([...output.matchAll(/in failsAnExpectation, (.*)$/gm)].map(([, order]) => order)).toEqual([
    "reverse order, 1 workers",
    "random 1 order, 2 workers",
  ]);
});

// Faults that the programs find by themselves (a missing barrier, a divergent one, a lost tail, a deadlock, a race) are
// among their tests, as errors expected. Those below must end the program.
describe.skipIf(whyNot("sanitized"))(`sanitizers stop${needs("sanitized")}`, () => {
  test.each([
    ["a write beyond the end of a tensor", "writesBeyondEnd", /heap-buffer-overflow[\s\S]*faults\.cuh:\d+/],
    ["a write beyond shared memory", "writesBeyondShared", /faults\.cuh:\d+:\d+: runtime error: index 128 out of/],
    ["a write beyond dynamic shared memory", "writesBeyondDynamicShared", /use-after-poison[\s\S]*faults\.cuh:\d+/],
    ["a misaligned vector store", "storesMisaligned", /faults\.cuh:\d+:\d+: runtime error: store to misaligned/],
  ])("%s", async (_, fault, report) => {
    const { status, output } = await run(examples, "sanitized", [fault]);
    expect(output).toMatch(report);
    expect(status).not.toBe(0);
  });

  test.each([
    ["the use of device memory that was freed", "usesFreedDeviceMemory", /heap-use-after-free/],
    ["an access beyond an allocation", "usesMemoryBeyondAnAllocation", /heap-buffer-overflow/],
  ])("%s", async (_, fault, report) => {
    const { status, output } = await run(runtime, "sanitized", [fault]);
    expect(output).toMatch(report);
    expect(status).not.toBe(0);
  });
});

describe.skipIf(whyNot("plain"))(`a program of kernel tests fails${needs("plain")}`, () => {
  test.each([
    ["when an expectation does not hold", "failsAnExpectation", /semantics_test\.cc:\d+: 1 \+ 1 == 3/],
    ["when an expected error stays away", "missesAnError", /expected "deadlock", got: no error at all/],
    ["when a launch throws", "throwsFromATest", /invalid block \(2000,1,1\)/],
    ["when no test has the name", "noSuchTest", /no test has that name/],
  ])("%s", async (_, name, report) => {
    const { status, output } = await run(semantics, "plain", [name]);
    expect(output).toMatch(report);
    expect(output).toMatch(/1 failures\n$/);
    expect(status).toBe(1);
  });
});

// What runs comes to its end, what waits is dropped: it would use memory that is gone by then.
test.skipIf(whyNot("sanitized"))(`a program may end while streams work${needs("sanitized")}`, () =>
  expectPass(runtime, "sanitized", ["leavesStreamsBehind"]),
);

const nvcc = await has("nvcc");
const scratch = mkdtempSync(join(tmpdir(), "stepsize-nvcc-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe.skipIf(!nvcc)(`nvcc${nvcc ? "" : " (skipped: nvcc is not installed)"}`, () => {
  const compile = (define: string[]) => {
    const targets = [80, 90].flatMap((sm) => ["-gencode", `arch=compute_${sm},code=sm_${sm}`]);
    const strict = ["-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-Werror"];
    const output = ["-c", "test/emulator/examples.cu", "-o", join(scratch, "examples.o")];
    return command("nvcc", ["-std=c++17", "-O3", "-fmad=false", ...targets, ...strict, ...define, ...output]);
  };

  test("compiles the example kernels for sm_80 and sm_90 without warnings", async () => {
    const { status, output } = await compile([]);
    expect(output).toBe("");
    expect(status).toBe(0);
  });

  test("would stop at a warning", async () => {
    const { status, output } = await compile(["-DSTEPSIZE_PLANT_WARNING"]);
    expect(output).toMatch(/"unused" was declared but never referenced/);
    expect(status).not.toBe(0);
  });
});

const formatter = await has("clang-format");
const unformatted = formatter ? "" : " (skipped: clang-format is not installed)";

test.skipIf(!formatter)(`the emulator is formatted${unformatted}`, async () => {
  const files = readdirSync(import.meta.dirname).filter((name) => /\.(h|cc|cuh|cu)$/.test(name));
  const paths = [...files.map((name) => join(import.meta.dirname, name)), join(root, "native/cuda/platform.cuh")];
  const { status, output } = await command("clang-format", ["--dry-run", "-Werror", ...paths]);
  expect(output).toBe("");
  expect(status).toBe(0);
});
