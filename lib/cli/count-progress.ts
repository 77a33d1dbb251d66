import type { SingleBar } from "cli-progress";
import { startBar } from "./progress.js";
import { tell } from "./terminal.js";
import { count, duration } from "./text.js";

/** Seconds between two lines where there is no terminal. */
const secondsBetweenLines = 10;

/** How much of a known number is done, on standard error: a bar on a terminal, a line now and then elsewhere. */
export class CountProgress {
  readonly #bar: SingleBar | undefined;
  readonly #what: string;
  readonly #start = performance.now();
  #shown = this.#start;

  private constructor(what: string, bar: SingleBar | undefined) {
    this.#what = what;
    this.#bar = bar;
  }

  /** @param what what is counted, such as `document` */
  static async start(what: string): Promise<CountProgress> {
    return new CountProgress(what, process.stderr.isTTY ? await startBar(1, 0, process.stderr) : undefined);
  }

  /**
   * Tells how far it is.
   * @param share of the work that is done, from which the time that is left is estimated
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

  /** Shows a line of text beside it. */
  note(text: string): void {
    if (this.#bar) process.stderr.write("\r\x1b[K");
    tell(text);
  }

  close(): void {
    this.#bar?.stop();
  }
}
