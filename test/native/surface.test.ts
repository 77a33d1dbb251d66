// The addon never crashes the process, whatever JavaScript passes: every call throws an Error or returns. The calls run
// in separate processes, because a mistake would end the process.
import { expect, it } from "vitest";
import { runProgram } from "../support/child.js";
import { attacks } from "./support/attacks.js";

const attacked = runProgram(new URL("support/run-attacks.ts", import.meta.url));

it.each(Object.keys(attacks))("the process survives %s", async (name) => {
  const { stdout, stderr, code, signal } = await attacked;
  const lines = stdout
    .split("\n")
    .filter((line) => line.includes(`{"name":${JSON.stringify(name)},`))
    .map((line) => JSON.parse(line));
  if (lines.length === 0) expect.fail(`not reached: the process ended with ${code ?? signal}`);
  expect(lines.at(-1), stderr).toMatchObject({ expected: true });
});

it("the process ends by itself after all attacks", async () => {
  expect(await attacked).toMatchObject({ code: 0, signal: null });
});

it.each([1, 2, 3])(
  "the process survives random calls of every function, method, accessor and operation (seed %i)",
  async (seed) => {
    const { stdout, stderr, code, signal } = await runProgram(new URL("support/fuzz.ts", import.meta.url), [
      `${seed}`,
      "6000",
      "150",
    ]);
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: "" });
    const counts = JSON.parse(stdout.replace("ok ", ""));
    // Both outcomes must be frequent, because otherwise the calls would fail at the first check.
    expect(counts.returned).toBeGreaterThan(500);
    expect(counts.threw).toBeGreaterThan(5000);
  },
);
