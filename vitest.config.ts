import { existsSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

const clangBuild = join(import.meta.dirname, "build-clang", "Release");

// What runs on the addons that clang compiled: a short part in every run, all of it with `npm run test:clang`.
const onClangBuild =
  process.env["STEPSIZE_TEST_CLANG"] === "whole"
    ? [
        "native/clang-build.test.ts",
        "tensor/**/*.test.ts",
        "optim/**/*.test.ts",
        "nn/**/*.test.ts",
        "models/**/*.test.ts",
      ]
    : ["native/clang-build.test.ts", "optim/rules.test.ts", "optim/steps.test.ts", "tensor/values.test.ts"];

export default defineConfig({
  test: {
    // vm pools give each file its own globals, which breaks `instanceof RangeError` on errors thrown by an addon.
    pool: "forks",
    // Node loads the compiled library, as it does for users. Vitest would rewrite every module of it for every test file,
    // and each use of an import in it would become the look-up of a property: loops take three times as long.
    server: { deps: { external: [/\/dist\//] } },
    // So that errors point into lib/ and not into dist/.
    execArgv: ["--enable-source-maps"],
    maxWorkers: 2,
    // Limits are for hangs. Other work on the machine may slow a test down ten times.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    reporters: ["default", "./test/support/closing-line-reporter.ts"],
    projects: [
      {
        extends: true,
        test: { name: "stepsize", include: ["test/**/*.test.ts"], globalSetup: "test/support/bundle-cli.ts" },
      },
      ...(existsSync(join(clangBuild, "cpu.node"))
        ? [
            {
              extends: true as const,
              test: {
                name: "clang",
                include: onClangBuild.map((name) => `test/${name}`),
                env: { STEPSIZE_ADDONS: clangBuild },
              },
            },
          ]
        : []),
    ],
  },
});
