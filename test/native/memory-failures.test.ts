// Memory that is short is an error of the call or of the result, and nothing ends, hangs or is lost.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { runProgram } from "../support/child.js";
import { injectAllocationFailures, whyNoInjection } from "./support/inject.js";

// test/native/support/failing-run.ts says what a run is. All allocations take minutes: `npm run test:faults`.
for (const { device, steps } of [
  { device: "cpu", steps: [83, 347] },
  { device: "cuda:emulated", steps: [331, 887] },
]) {
  const why = whyNoInjection(device);
  const [alone, together] = steps;
  describe.skipIf(why)(`an allocation on ${device} that fails${why && ` (skipped: ${why})`}`, () => {
    it.each([
      { begins: "alone", step: alone, more: 0 },
      { begins: "together with the next five", step: together, more: 5 },
    ])("$begins, ends the run with a StepsizeError or does not end it", async ({ step = 1, more }) => {
      const { count, runs, wrong } = await injectAllocationFailures({ device, step, more });
      expect(wrong).toEqual([]);
      expect(runs).toHaveLength(Math.ceil(count / step));
      // Otherwise nothing was injected.
      expect(runs.filter(({ outcome }) => outcome === "out-of-memory").length).toBeGreaterThan(runs.length / 2);
    });
  });
}

describe("reading a tensor", () => {
  it.each([1_500_000, 3_000_000])(
    "eventually fails with an error if the process has %d KiB of memory",
    async (limit) => {
      const program = fileURLToPath(new URL("support/read-short.mjs", import.meta.url));
      const command = `ulimit -v ${limit}; exec "$0" "$1"`;
      const { stdout } = await promisify(execFile)("bash", ["-c", command, process.execPath, program]);
      expect(stdout).toMatch(/^ok \d+\n$/);
    },
  );
});

describe("a loop that never lets the event loop turn", () => {
  it("gets the memory of unreachable tensors if its device has none left", async () => {
    const ended = await runProgram(new URL("support/never-yield.ts", import.meta.url));
    expect(ended).toMatchObject({ code: 0, stdout: "ok\n", stderr: "" });
  });
});
