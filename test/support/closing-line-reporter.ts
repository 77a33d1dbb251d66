import type { Reporter, TestModule } from "vitest/node";

/**
 * Ends the run with one line per failure and a line `N passed, N failed, N skipped`, so that the end of a long log
 * shows what failed. A module that failed to load counts as a failure, and so does a run without tests. Both would
 * otherwise look like success in the counts.
 */
export default class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly { message: string }[]): void {
    let passed = 0;
    let skipped = 0;
    const failures = unhandledErrors.map(({ message }) => `an error outside of tests: ${firstLine(message)}`);
    for (const module of modules) {
      let ran = 0;
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result();
        if (state === "passed") passed++;
        else if (state === "failed")
          failures.push(`${module.relativeModuleId} > ${test.fullName}: ${firstLine(errors[0]?.message)}`);
        else skipped++;
        ran++;
      }
      const [error] = module.errors();
      if (error || (ran === 0 && module.state() === "failed"))
        failures.push(`${module.relativeModuleId}: ${firstLine(error?.message)}`);
    }
    if (passed + failures.length === 0) failures.push("no test ran");
    if (failures.length > 0) process.exitCode = 1;
    const lines = failures.map((failure) => `FAILED ${failure}\n`).join("");
    const counts = `${passed} passed, ${failures.length} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
    process.on("exit", () => {
      process.stdout.write(`\n${lines}${counts}\n`);
    });
  }
}

function firstLine(text: string | undefined): string {
  return text?.split("\n", 1)[0] ?? "no message";
}
