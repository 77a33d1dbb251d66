// What nvcc makes of the kernels, interpreted: the interpreter's own tests. The library's run on it as the device
// `cuda:ptx` (test/support/devices.ts).
import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { command } from "../emulator/build.mjs";
import { testProgram } from "./build.mjs";

const isThere = existsSync(testProgram);

describe.skipIf(!isThere)(`the interpreter of PTX${isThere ? "" : " (skipped: set-up found no nvcc)"}`, () => {
  // Among them a planted kernel in which g++ and nvcc choose different orders, and the instructions of all kernels.
  test("does what nvcc made of a kernel, and finds what is wrong with one", async () => {
    const { status, output } = await command(testProgram, []);
    expect(output).toMatch(/^\d+ tests, 0 failures\n$/);
    expect(status).toBe(0);
  });
});
