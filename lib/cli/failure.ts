import { StepsizeError } from "../errors.js";
import { isError } from "../realms.js";
import { tell } from "./output/terminal.js";

/** Exit codes of the command. They are documented and must not change. */
export const exitCode = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** Thrown if the command was called wrongly: an unknown or missing argument, or a value out of range. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Thrown if a signal stopped the command. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** Writes an error to standard error, as one message without a stack, and returns its exit code. */
export function reportFailure(error: unknown): number {
  const failure = isError(error) ? error : new Error(String(error));
  if (failure instanceof Interrupted) {
    tell(failure.message);
    return exitCode.interrupted;
  }
  tell(`error: ${failure.message}`);
  const stackWanted = process.env["STEPSIZE_DEBUG"] === "1";
  if (stackWanted) tell(`${failure.stack}${causeOf(failure)}`);
  // An error that the library does not throw itself is a defect of this program. The message says how to get a stack.
  else if (!isExpected(failure)) tell("Set STEPSIZE_DEBUG=1 to print the stack trace.");
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
