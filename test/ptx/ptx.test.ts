// The tests of the PTX interpreter itself. The library's tests run on it as the device `cuda:ptx`
// (test/support/devices.ts).
import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { command } from "../emulator/build.mjs";
import { testProgram } from "./build.mjs";

const isThere = existsSync(testProgram);

describe.skipIf(!isThere)(`the PTX interpreter${isThere ? "" : " (skipped: set-up found no nvcc)"}`, () => {
  // The program includes a kernel in which g++ and nvcc choose different orders of evaluation, and the instructions of
  // all kernels.
  test("runs kernels as compiled by nvcc, and detects their errors", async () => {
    const { status, output } = await command(testProgram, []);
    expect(output).toMatch(/^\d+ tests, 0 failures\n$/);
    expect(status).toBe(0);
  });
});
