import type { SingleBar } from "cli-progress";
import { printable, printableLines } from "../../quoting.js";
import { Smoother } from "../../report/smooth.js";
import type { StepRecord } from "../../train/index.js";
import { count, duration, short } from "./text.js";

/** Display of the progress of a run. */
export interface Progress {
  /** Adds a finished step. */
  step(record: StepRecord): void;
  /** Writes a line of text above the progress. */
  note(text: string): void;
  /** Excludes the time until the next step from the speed, for an evaluation or a checkpoint. */
  pause(): void;
  /** Ends the display. Its last state stays visible. */
  close(): void;
}

/** The part of a stream that progress is written to. */
export interface ProgressStream {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
}

/** The unit of speed, and how many units an item has, such as tokens per window. */
export interface Counted {
  readonly unit: string;
  readonly unitsPerItem: number;
}

const images: Counted = { unit: "images", unitsPerItem: 1 };

/** Starts the progress of a run: a live bar on a terminal, otherwise lines. */
export async function showProgress(
  budget: number,
  firstStep: number,
  stream: ProgressStream & NodeJS.WritableStream = process.stderr,
  counted: Counted = images,
): Promise<Progress> {
  const measure = new Measure(budget, firstStep, counted);
  if (!stream.isTTY) return new ProgressLines(budget, firstStep, stream, measure);
  return new ProgressBar(await startBar(budget, firstStep, stream), stream, measure);
}

/** Returns a line of text with the control characters that keep a progress bar intact. */
export function noteOver(text: string, isBar: boolean): string {
  const line = `${printableLines(text)}\n`;
  // The text replaces the bar, which is drawn again on the next line. The bar returns to a cursor position that it saved
  // in the terminal. `\x1b7` saves the new position, one line further down.
  return isBar ? `\r\x1b[K${line}\x1b7` : line;
}

const barFormat = " {bar} {value}/{total}  {state}";

/** Starts a bar of `total` steps, `done` of which are finished. Update it with `{ state }`, a text beside the bar. */
export async function startBar(total: number, done: number, stream: NodeJS.WritableStream): Promise<SingleBar> {
  const { default: cliProgress } = await import("cli-progress");
  const bar = new cliProgress.SingleBar({
    // The state may contain names from files or arguments, so control characters are escaped.
    format: (options, params, { state }: { state: string }) =>
      cliProgress.Format.Formatter({ ...options, format: barFormat }, params, { state: printable(state) }),
    stream,
    barsize: 16,
    barCompleteChar: "━",
    barIncompleteChar: "─",
    hideCursor: true,
    fps: 8,
    // The command handles signals itself, so that it can finish its step and save.
    gracefulExit: false,
    linewrap: false,
  });
  bar.start(total, done, { state: "" });
  return bar;
}

/** The numbers of a progress line, smoothed over the last steps for legibility. */
class Measure {
  readonly #budget: number;
  readonly #counted: Counted;
  readonly #loss = new Smoother(20);
  readonly #secondsPerStep = new Smoother(40);
  #step: number;
  #items = 0;
  #learningRate = 0;
  #last: number | undefined = performance.now();

  constructor(budget: number, firstStep: number, counted: Counted) {
    this.#budget = budget;
    this.#counted = counted;
    this.#step = firstStep;
  }

  add({ step, loss, items, learningRate }: StepRecord): void {
    const now = performance.now();
    if (this.#last !== undefined) this.#secondsPerStep.add((now - this.#last) / 1000);
    this.#last = now;
    this.#step = step + 1;
    this.#items = items;
    this.#learningRate = learningRate;
    this.#loss.add(loss);
  }

  pause(): void {
    this.#last = undefined;
  }

  toString(): string {
    const perStep = this.#secondsPerStep.value;
    const { unit, unitsPerItem } = this.#counted;
    const perSecond = (this.#items * unitsPerItem) / perStep;
    const rate = Number.isFinite(perStep) && perStep > 0 ? `${count(Math.round(perSecond))} ${unit}/s` : "";
    const left = duration((this.#budget - this.#step) * perStep);
    return `loss ${this.#loss.value.toFixed(4)}  lr ${short(this.#learningRate)}  ${rate}  ${left} left`;
  }
}

class ProgressBar implements Progress {
  readonly #bar: SingleBar;
  readonly #measure: Measure;
  readonly #stream: ProgressStream;

  constructor(bar: SingleBar, stream: ProgressStream, measure: Measure) {
    this.#bar = bar;
    this.#measure = measure;
    this.#stream = stream;
  }

  step(record: StepRecord): void {
    this.#measure.add(record);
    this.#bar.update(record.step + 1, { state: this.#measure.toString() });
  }

  note(text: string): void {
    this.#stream.write(noteOver(text, true));
  }

  pause(): void {
    this.#measure.pause();
  }

  close(): void {
    this.#bar.stop();
  }
}

/**
 * When a line is due: after this share of the budget, but at least `minSeconds` and at most `maxSeconds` after the
 * last one.
 */
const lineAfter = { share: 0.05, minSeconds: 1, maxSeconds: 10 };

class ProgressLines implements Progress {
  readonly #budget: number;
  readonly #measure: Measure;
  readonly #stream: ProgressStream;
  #shownStep: number;
  #shownAt = performance.now();

  constructor(budget: number, firstStep: number, stream: ProgressStream, measure: Measure) {
    this.#budget = budget;
    this.#measure = measure;
    this.#stream = stream;
    this.#shownStep = firstStep;
  }

  step(record: StepRecord): void {
    this.#measure.add(record);
    const step = record.step + 1;
    const seconds = (performance.now() - this.#shownAt) / 1000;
    const share = (step - this.#shownStep) / this.#budget;
    const due = seconds >= (share >= lineAfter.share ? lineAfter.minSeconds : lineAfter.maxSeconds);
    if (!due && step < this.#budget) return;
    this.#shownStep = step;
    this.#shownAt = performance.now();
    this.note(`step ${step}/${this.#budget}  ${this.#measure}`);
  }

  note(text: string): void {
    this.#stream.write(noteOver(text, false));
  }

  pause(): void {
    this.#measure.pause();
  }

  close(): void {}
}
