import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // vm pools give each file its own globals, which breaks `instanceof RangeError` on errors thrown by an addon.
    pool: "forks",
    maxWorkers: 2,
    // Limits are for hangs. Other work on the machine may slow a test down ten times.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    reporters: ["default", "./test/support/closing-line-reporter.ts"],
  },
});
