// How devices, the event loop, the garbage collector, worker threads and the end of the process get along.
import { describe, expect, it } from "vitest";
import { runProgram } from "../support/child.js";

const program = (name: string): URL => new URL(`support/${name}.ts`, import.meta.url);

describe("worker threads", () => {
  it("end cleanly in the middle of queued work, ten of ten", async () => {
    expect(await runProgram(program("terminate-workers"))).toMatchObject({ code: 0, stdout: "ok\n", stderr: "" });
  });
});

describe("replays without an end", () => {
  // Days of work: what does not end is stopped by the limit of the test.
  it("end with their worker thread, also if it waits for a place in the queue", async () => {
    const ended = await runProgram(program("terminate-replay"), ["cpu"]);
    expect(ended).toMatchObject({ code: 0, stdout: "ok\n", stderr: "" });
  });
});

describe("a loop that enqueues without ever waiting", () => {
  // races_test.cc counts the operations.
  it("is held back before 480 MB of arrays wait", async () => {
    const { code, stdout, stderr } = await runProgram(program("never-wait"));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    // A quarter of a gigabyte, and what the allocator of the C library keeps.
    expect(Number(stdout)).toBeLessThan(400e6);
  });
});

describe("the process", () => {
  it.each([
    { way: "exit", code: 7, seen: "" },
    { way: "throw", code: 1, seen: "on purpose" },
    { way: "nothing", code: 0, seen: "" },
  ])("ends at once with work in flight ($way)", async ({ way, code, seen }) => {
    // Days of work are in flight: what waits for its end is stopped by the limit of the program.
    const ended = await runProgram(program("exit-early"), [way]);
    expect(ended).toMatchObject({ code, signal: null });
    expect(ended.stderr).toContain(seen);
  });
});

describe("the collector", () => {
  it("leaves a device alone that somebody waits for", async () => {
    const ended = await runProgram(program("collect"), [], ["--expose-gc"]);
    expect(ended).toMatchObject({ code: 0, stdout: "ok 160\n", stderr: "" });
  });

  it("bounds a loop that never disposes but waits for one value per step", async () => {
    const { code, stdout, stderr } = await runProgram(program("never-dispose"));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { largest, resident } = JSON.parse(stdout);
    // 2.4 GB were asked for; the reported external memory makes V8 collect long before.
    expect(largest).toBeLessThan(600e6);
    expect(resident).toBeLessThan(900e6);
  });
});
