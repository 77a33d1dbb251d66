#!/usr/bin/env node
import { CommanderError } from "commander";
import { exitCode, reportFailure } from "./failure.js";
import { tell } from "./output/terminal.js";
import { createProgram, namedByFlag } from "./program.js";

async function main(argv: readonly string[]): Promise<number> {
  const program = await createProgram(argv);
  try {
    await program.parseAsync(argv, { from: "user" });
    return exitCode.ok;
  } catch (error) {
    // Commander has already printed its message.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
    return reportFailure(namedByFlag(error, program, argv));
  }
}

// Errors of standard error are ignored. A closed terminal or pipe or a full disk under a log does not end a run.
process.stderr.on("error", () => {});
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // A reader that closes the pipe (`| head`) is not a failure.
  if (error.code === "EPIPE") process.exit(exitCode.ok);
  tell(`error: cannot write to standard output (${error.message})`);
  process.exit(exitCode.failed);
});

process.exitCode = await main(process.argv.slice(2));
