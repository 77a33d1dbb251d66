// Devices together with the event loop, the garbage collector, worker threads and the end of the process.
import { describe, expect, it } from "vitest";
import { runProgram } from "../support/child.js";

const program = (name: string): URL => new URL(`support/${name}.ts`, import.meta.url);

describe("worker threads", () => {
  it("exit cleanly with queued work, ten of ten times", async () => {
    expect(await runProgram(program("terminate-workers"))).toMatchObject({ code: 0, stdout: "ok\n", stderr: "" });
  });
});

describe("endless replays", () => {
  // The replays would take days. If they do not end, the test's time limit stops them.
  it("end with their worker thread, even if it waits for a place in the queue", async () => {
    const ended = await runProgram(program("terminate-replay"), ["cpu"]);
    expect(ended).toMatchObject({ code: 0, stdout: "ok\n", stderr: "" });
  });
});

describe("a loop that enqueues without waiting", () => {
  // races_test.cc counts the operations.
  it("is blocked before 480 MB of arrays are queued", async () => {
    const { code, stdout, stderr } = await runProgram(program("never-wait"));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    // A quarter of a gigabyte, plus memory that the C library's allocator keeps.
    expect(Number(stdout)).toBeLessThan(400e6);
  });
});

describe("the process", () => {
  it.each([
    { way: "exit", code: 7, seen: "" },
    { way: "throw", code: 1, seen: "on purpose" },
    { way: "nothing", code: 0, seen: "" },
  ])("exits at once with work in flight ($way)", async ({ way, code, seen }) => {
    // The work would take days. If the process waits for it, the program's time limit stops it.
    const ended = await runProgram(program("exit-early"), [way]);
    expect(ended).toMatchObject({ code, signal: null });
    expect(ended.stderr).toContain(seen);
  });
});

describe("the garbage collector", () => {
  it("does not collect a device with a pending promise", async () => {
    const ended = await runProgram(program("collect"), [], ["--expose-gc"]);
    expect(ended).toMatchObject({ code: 0, stdout: "ok 160\n", stderr: "" });
  });

  it("limits the memory of a loop that never disposes but awaits one value per step", async () => {
    const { code, stdout, stderr } = await runProgram(program("never-dispose"));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { largest, resident } = JSON.parse(stdout);
    // The loop allocates 2.4 GB. The reported external memory makes V8 collect long before.
    expect(largest).toBeLessThan(600e6);
    expect(resident).toBeLessThan(900e6);
  });
});
