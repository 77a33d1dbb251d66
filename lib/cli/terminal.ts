import { printableJson, printableLines } from "../quoting.js";

// All that the commands write goes through here, but for text that a model makes: names and values in it may come from
// files and arguments, and must not act on the terminal.

/** Writes text and a line's end to standard output. */
export function print(text: string): void {
  process.stdout.write(`${printableLines(text)}\n`);
}

/** Writes text and a line's end to standard error: what is no result. */
export function tell(text: string): void {
  process.stderr.write(`${printableLines(text)}\n`);
}

/** Writes a result as JSON on one line of standard output. */
export function printJson(value: object): void {
  process.stdout.write(`${printableJson(value)}\n`);
}
