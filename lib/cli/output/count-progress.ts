import type { SingleBar } from "cli-progress";
import { startBar } from "./progress.js";
import { tell } from "./terminal.js";
import { count, duration } from "./text.js";

/** Seconds between two progress lines if there is no terminal. */
const secondsBetweenLines = 10;

/** Progress through a known number of items on standard error: a bar on a terminal, otherwise a line every 10 s. */
export class CountProgress {
  readonly #bar: SingleBar | undefined;
  readonly #what: string;
  readonly #start = performance.now();
  #shown = this.#start;

  private constructor(what: string, bar: SingleBar | undefined) {
    this.#what = what;
    this.#bar = bar;
  }

  /** @param what the name of an item in the singular, such as `document` */
  static async start(what: string): Promise<CountProgress> {
    return new CountProgress(what, process.stderr.isTTY ? await startBar(1, 0, process.stderr) : undefined);
  }

  /**
   * Shows how many items are done and the time left.
   *
   * @param share the part of the work that is done, from 0 to 1; the time left is estimated from it
   * @param more text before the time left
   */
  at(done: number, total: number, share: number, more = ""): void {
    const now = performance.now();
    const left = duration(((now - this.#start) / 1000) * (1 / share - 1));
    const state = `${more}${left} left`;
    this.#bar?.setTotal(total);
    this.#bar?.update(done, { state: `${this.#what}s  ${state}` });
    if (this.#bar || now - this.#shown < 1000 * secondsBetweenLines) return;
    this.#shown = now;
    tell(`${this.#what} ${count(done)}/${count(total)}  ${state}`);
  }

  /** Writes a line of text above the progress. */
  note(text: string): void {
    if (this.#bar) process.stderr.write("\r\x1b[K");
    tell(text);
  }

  close(): void {
    this.#bar?.stop();
  }
}
