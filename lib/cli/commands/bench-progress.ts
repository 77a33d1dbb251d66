import type { SingleBar } from "cli-progress";
import type { Row } from "../../bench/index.js";
import { startBar } from "../output/progress.js";
import { tell } from "../output/terminal.js";
import { benchLine } from "./bench-table.js";

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
