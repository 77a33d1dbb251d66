import { tick } from "../../report/tick.js";

/** Shown for a value that does not exist. */
export const none = "–";

/** Formats a loss or a rate with four digits. */
export function number(value: number | null | undefined): string {
  return value === null || value === undefined || !Number.isFinite(value) ? none : tick(Number(value.toPrecision(4)));
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const compactNumber = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** Formats a whole number with separators: 60,000. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? none : whole.format(value);
}

/** Formats a number with a noun: `1 run`, `2 runs`. */
export function some(value: number, noun: string, plural = `${noun}s`): string {
  return `${count(value)} ${value === 1 ? noun : plural}`;
}

/** Formats a large number for an axis: 12K. */
export function compact(value: number): string {
  if (Math.abs(value) >= 10_000) return compactNumber.format(value);
  return Math.abs(value) >= 1000 ? whole.format(value) : number(value);
}

/** Formats a share from 0 to 1: `97.31 %`. */
export function percent(share: number | null | undefined): string {
  return share === null || share === undefined ? none : `${(100 * share).toFixed(2)} %`;
}

/** Formats a share for an axis: `97 %`, `97.5 %`. */
export function percentTick(share: number): string {
  return `${Number((100 * share).toPrecision(4))} %`;
}

/** Formats a time in seconds: `45 s`, `2:05 min`, `3:10 h`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return none;
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const [unit, parts] = seconds < 3600 ? ["min", seconds] : ["h", seconds / 60];
  const rounded = Math.round(Number(parts));
  return `${Math.floor(rounded / 60)}:${String(rounded % 60).padStart(2, "0")} ${unit}`;
}

/** Formats bytes: `1.2 GB`. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, Math.abs(value))) / 3)));
  return `${Number((value / 1000 ** power).toPrecision(3))} ${units[power]}`;
}

/** Shortens a setting for a label: numbers to four digits, paths to their last part. */
export function setting(value: string): string {
  if (value !== "" && Number.isFinite(Number(value))) return number(Number(value));
  return value.replace(/[^:/]*\/(?:[^/]*\/)*(?=[^/])/, "");
}
