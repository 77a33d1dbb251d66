import type { SingleBar } from "cli-progress";
import type { BaselineName, Row } from "../../bench/index.js";
import type { BandwidthPoint } from "../../report/bandwidth-figure.js";
import { startBar } from "../output/progress.js";
import { tell } from "../output/terminal.js";
import { table } from "../output/text.js";

/** Describes the setting of a row: `float32`, `bfloat16, bfloat16 moments, 2 threads`. */
function settingOf({ dtype, moments, threads }: Row): string {
  const parts = [dtype, ...(moments === "bfloat16" ? ["bfloat16 moments"] : [])];
  if (threads !== null) parts.push(`${threads} thread${threads === 1 ? "" : "s"}`);
  return parts.join(", ");
}

function digits(value: number): string {
  // Measurements are not precise enough for more than three digits.
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

const share = (ratio: number | undefined) => (ratio === undefined ? "" : `${(100 * ratio).toFixed(1)} %`);
const times = (ratio: number | undefined) => (ratio === undefined ? "" : `× ${ratio.toPrecision(3)}`);

/** Formats the rows as an aligned table. Columns of baselines that no row has are left out. */
export function benchTable(rows: readonly Row[]): string {
  const has = (name: BaselineName) => rows.some(({ baselines }) => baselines[name]);
  const columns: readonly (readonly [heading: string, cell: (row: Row) => string, shown?: boolean])[] = [
    ["tensors", ({ name }) => name],
    ["stored as", settingOf],
    ["ms", ({ milliseconds }) => digits(milliseconds.median)],
    ["quartiles", ({ milliseconds: { lower, upper } }) => `${digits(lower)}–${digits(upper)}`],
    ["replayed", ({ replayedMilliseconds }) => digits(replayedMilliseconds.median)],
    ["wall", ({ wallMilliseconds }) => digits(wallMilliseconds.median)],
    ["MB", ({ bytes }) => digits(bytes / 1e6)],
    ["GB/s", ({ gigabytesPerSecond }) => gigabytesPerSecond.toFixed(1)],
    ["of loop", ({ baselines }) => share(baselines.loop?.ratio), has("loop")],
    ["of copy", ({ baselines }) => share(baselines.copy?.ratio), has("copy")],
    ["launches", ({ launches }) => String(launches)],
    ["host µs", ({ hostMicroseconds }) => digits(hostMicroseconds.eager)],
    ["replayed µs", ({ hostMicroseconds }) => digits(hostMicroseconds.replayed)],
    ["per-tensor", ({ baselines }) => times(baselines["per-tensor"]?.ratio), has("per-tensor")],
    ["torch", ({ baselines }) => times(baselines.torch?.ratio), has("torch")],
  ];
  const shown = columns.filter(([, , isShown = true]) => isShown);
  const right = shown.map((_, i) => i).slice(2);
  return table([shown.map(([heading]) => heading), ...rows.map((row) => shown.map(([, cell]) => cell(row)))], right);
}

/** Formats one row as one line, for progress output. */
export function benchLine(row: Row): string {
  const { name, milliseconds, gigabytesPerSecond, baselines } = row;
  const limit = baselines.loop ? `, ${share(baselines.loop.ratio)} of the loop` : "";
  return `${name}, ${settingOf(row)}: ${digits(milliseconds.median)} ms, ${gigabytesPerSecond.toFixed(1)} GB/s${limit}`;
}

/** Returns the points of the bandwidth figure, in GB/s. Each baseline of a row moves as many bytes as the update. */
export function bandwidthPoints(rows: readonly Row[]): BandwidthPoint[] {
  return rows.flatMap((row) => {
    const { name, tensors, elements, bytes, milliseconds, baselines } = row;
    const all = { stepsize: { milliseconds }, ...baselines };
    return Object.entries(all).map(([contender, result]) => ({
      contender,
      panel: settingOf(row),
      tensors,
      elements,
      name,
      gigabytesPerSecond: bytes / result.milliseconds.median / 1e6,
    }));
  });
}

/** Progress of a benchmark on standard error: a bar on a terminal, otherwise one line per row. */
export class BenchProgress {
  readonly notes: string[] = [];
  readonly #bar: SingleBar | undefined;

  private constructor(bar: SingleBar | undefined) {
    this.#bar = bar;
  }

  static async start(total: number): Promise<BenchProgress> {
    return new BenchProgress(process.stderr.isTTY ? await startBar(total, 0, process.stderr) : undefined);
  }

  at(done: number, state: string): void {
    this.#bar?.update(done, { state });
  }

  rowDone(row: Row): void {
    if (!this.#bar) tell(benchLine(row));
  }

  noteOnce(text: string): void {
    if (this.notes.includes(text)) return;
    this.notes.push(text);
    if (!this.#bar) tell(text);
  }

  close(): void {
    this.#bar?.stop();
    // While the bar was drawn, the notes were held back.
    if (this.#bar) for (const note of this.notes) tell(note);
  }
}
