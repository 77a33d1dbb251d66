import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // vm pools give each file its own globals, which breaks `instanceof RangeError` on errors thrown by an addon.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    // Hooks make training runs, and two cores may be shared.
    hookTimeout: 60_000,
    reporters: ["default", "./test/support/closing-line-reporter.ts"],
  },
});
