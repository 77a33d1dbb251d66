import { printable } from "../../quoting.js";
import type { Task } from "../../tasks/index.js";
import type { Evaluation } from "../../train/index.js";

/** Formats a whole number with separators: 60,000. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** Formats a number with a noun: `1 image`, `2 images`. */
export function some(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** Formats a share from 0 to 1 as a percentage: `12.34 %`. */
export function percent(share: number, decimals = 2): string {
  return `${(100 * share).toFixed(decimals)} %`;
}

/** Formats a number of bytes: `512 B`, `8.2 kB`, `85.1 MB`, `12.3 GB`. */
export function bytes(value: number): string {
  const units = ["kB", "MB", "GB", "TB"];
  if (value < 1000) return `${value} B`;
  const power = Math.min(units.length, Math.floor(Math.log10(value) / 3));
  return `${Number((value / 1000 ** power).toPrecision(3))} ${units[power - 1]}`;
}

/** Formats a learning rate or a loss with at most four digits: `0.01234`, `1.5e-6`, `∞`. */
export function short(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "∞";
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5) return String(Number(value.toPrecision(4)));
  return value.toExponential(2).replace(/\.?0+e/, "e");
}

/** Formats a time in seconds: `45 s`, `2 min 05 s`, `3 h 10 min`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return seconds > 0 && seconds < 9.95 ? `${seconds.toFixed(1)} s` : `${whole} s`;
  const twoDigits = (value: number) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${twoDigits(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${twoDigits(Math.floor((whole % 3600) / 60))} min`;
}

type Score = Pick<Evaluation, "loss" | "accuracy">;

/**
 * Describes an evaluation. For text, the loss is in nats per token, and the accuracy is that of the next token. For a
 * target of numbers, the error is in the target's unit.
 */
export function scoreInWords(
  { loss, accuracy = Number.NaN }: Score,
  { unit, regression }: Pick<Task, "unit" | "regression">,
): string {
  if (regression) return `RMSE ${short(rmse(loss, regression.std))}, loss ${short(loss)}`;
  if (unit !== "tokens") return `accuracy ${percent(accuracy)}, loss ${short(loss)}`;
  const right = `the next token right in ${percent(accuracy)}`;
  return `loss ${short(loss)} nats per token, perplexity ${short(perplexity(loss))}, ${right}`;
}

/** Returns the perplexity, e to the mean loss in nats per token. */
export function perplexity(loss: number): number {
  return Math.exp(loss);
}

/** Returns the root of a mean squared error in the unit of a target, from a loss in units of the target's variance. */
export function rmse(loss: number, std: number): number {
  return Math.sqrt(loss) * std;
}

/**
 * Formats rows as a table with aligned columns. Line breaks and control characters in a cell are escaped.
 * @param right indices of the columns that are aligned to the right, for numbers
 */
export function table(cells: readonly (readonly string[])[], right: readonly number[] = []): string {
  const rows = cells.map((row) => row.map(printable));
  const widths = (rows[0] ?? []).map((_, column) =>
    rows.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), 0),
  );
  return rows
    .map((row) =>
      row
        .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Breaks text into lines of at most `width` characters, at spaces. Lines after the first are indented by `indent`. */
export function wrap(text: string, { width = 80, indent = 0 }: { width?: number; indent?: number } = {}): string {
  let line = "";
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    if (line.length + 1 + word.length > width && line.trim() !== "") {
      lines.push(line);
      line = " ".repeat(indent) + word;
    } else {
      line = lines.length + line.length === 0 ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].join("\n");
}

/** Quotes a word for a shell if necessary. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Returns the flag of a field: `maxLr` → `--max-lr`. */
export function flagOf(field: string): string {
  return `--${field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Returns how this program was started, for a command that the user can copy. */
export function thisProgram(): string {
  const script = process.argv[1] ?? "";
  if (!script.endsWith(".js")) return "npx stepsize";
  return `node ${shellWord(script.startsWith(`${process.cwd()}/`) ? script.slice(process.cwd().length + 1) : script)}`;
}

/** Returns the command with which this process was started, as a user would type it. */
export function commandLine(): string {
  return ["stepsize", ...process.argv.slice(2)].map(shellWord).join(" ");
}
