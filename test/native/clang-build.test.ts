// vitest.config.ts runs some tests again on the addons that clang compiled. This test checks that those addons are
// loaded.
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { findAddon } from "#lib/native/index.js";

const hasClang = spawnSync("clang++", ["--version"]).status === 0;
const why = hasClang ? "" : " (skipped: clang++ is not installed)";
const folder = process.env["STEPSIZE_ADDONS"];

test.skipIf(!hasClang)(`every addon is loaded from the build under test${why}`, () => {
  for (const name of ["cpu", "cuda-emulated"]) {
    const { file, problem } = findAddon(name);
    expect(problem).toBeUndefined();
    expect(file?.includes("build-clang")).toBe(folder !== undefined);
  }
});
