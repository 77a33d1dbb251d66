import { printableJson, printableLines } from "../../quoting.js";

// All output of the commands except generated text goes through these functions. They escape control characters, because
// names and values may come from files and arguments.

/** Writes text and a line break to standard output. */
export function print(text: string): void {
  process.stdout.write(`${printableLines(text)}\n`);
}

/** Writes text and a line break to standard error, for anything that is not a result. */
export function tell(text: string): void {
  process.stderr.write(`${printableLines(text)}\n`);
}

/** Writes a result as JSON on one line of standard output. */
export function printJson(value: object): void {
  process.stdout.write(`${printableJson(value)}\n`);
}
