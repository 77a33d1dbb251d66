import type { Reporter, TestModule } from "vitest/node";

/**
 * Ends the run with `N passed, N failed, N skipped` alone on a line. A module that failed to load counts as a failure,
 * and so does a run in which nothing ran: both would otherwise look like success to whoever reads only the counts.
 */
export default class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    let passed = 0;
    let failed = unhandledErrors.length;
    let skipped = 0;
    for (const module of modules) {
      let ran = 0;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === "passed") passed++;
        else if (state === "failed") failed++;
        else skipped++;
        ran++;
      }
      if (module.errors().length > 0 || (ran === 0 && module.state() === "failed")) failed++;
    }
    if (passed + failed === 0) failed = 1;
    if (failed > 0) process.exitCode = 1;
    process.on("exit", () => {
      process.stdout.write(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`);
    });
  }
}
