import { StepsizeError } from "../errors.js";
import { isError } from "../realms.js";
import { tell } from "./terminal.js";

/** What the process exits with; part of the interface. */
export const exitCode = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** The command was called wrongly: an unknown or missing argument, a value out of range. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Somebody asked the command to stop. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** Writes an error to standard error, as one message without a stack, and gives the exit code that goes with it. */
export function reportFailure(error: unknown): number {
  const failure = isError(error) ? error : new Error(String(error));
  if (failure instanceof Interrupted) {
    tell(failure.message);
    return exitCode.interrupted;
  }
  tell(`error: ${failure.message}`);
  const stackWanted = process.env["STEPSIZE_DEBUG"] === "1";
  if (stackWanted) tell(`${failure.stack}${causeOf(failure)}`);
  // An error that no part of the library speaks of is a fault of this program: say how to learn more.
  else if (!isExpected(failure)) tell("Set STEPSIZE_DEBUG=1 to see where this came from.");
  const wrongUse =
    failure instanceof UsageError || (failure instanceof StepsizeError && failure.code === "invalid-argument");
  return wrongUse ? exitCode.usage : exitCode.failed;
}

function isExpected(error: Error): boolean {
  return error instanceof StepsizeError || error instanceof UsageError || "syscall" in error;
}

function causeOf({ cause }: Error): string {
  return isError(cause) ? `\ncaused by ${cause.stack}` : "";
}
