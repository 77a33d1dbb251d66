// The tests that vitest.config.ts runs a second time run on what clang compiled, and on nothing else.
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { findAddon } from "#lib/native/index.js";

const hasClang = spawnSync("clang++", ["--version"]).status === 0;
const why = hasClang ? "" : " (skipped: clang++ is not installed)";
const folder = process.env["STEPSIZE_ADDONS"];

test.skipIf(!hasClang)(`each addon comes from the build under test${why}`, () => {
  for (const name of ["cpu", "cuda-emulated"]) {
    const { file, problem } = findAddon(name);
    expect(problem).toBeUndefined();
    expect(file?.includes("build-clang")).toBe(folder !== undefined);
  }
});
