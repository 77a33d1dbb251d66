import type { SingleBar } from "cli-progress";
import { shown } from "../../quoting.js";
import { numberIn, optionalNumberIn } from "../../schedule/option.js";
import type { PlannedRun, RunRecord, StudyListener, StudyProgress } from "../../study/index.js";
import { noteOver, type ProgressStream, startBar } from "../output/progress.js";
import { duration, percent, short } from "../output/text.js";

/** Seconds between two progress lines within a run, if there is no terminal. */
const secondsBetweenLines = 60;

/** Progress of a study on standard error: a live bar on a terminal, otherwise one line per run. */
export class CompareProgress implements StudyListener {
  readonly #stream: ProgressStream & NodeJS.WritableStream;
  #bar: SingleBar | undefined;
  #progress: StudyProgress = { done: 0, left: 0, secondsLeft: undefined };
  #began = performance.now();
  #shownAt = performance.now();

  constructor(stream: ProgressStream & NodeJS.WritableStream = process.stderr) {
    this.#stream = stream;
  }

  async open(): Promise<void> {
    if (this.#stream.isTTY) this.#bar = await startBar(1, 0, this.#stream);
  }

  started(progress: StudyProgress): void {
    this.#update(progress);
    this.note([`${progress.done} runs done, ${progress.left} to run`, this.#timeLeft()].join("  ").trimEnd());
  }

  runStarted(run: PlannedRun): void {
    this.#began = performance.now();
    this.#shownAt = this.#began;
    this.#bar?.update(this.#progress.done, { state: `${this.#timeLeft()}  ${inWords(run)}` });
  }

  step(run: PlannedRun, step: number, loss: number): void {
    const state = () => `step ${step + 1}/${run.cell.steps}  loss ${short(loss)}`;
    // A terminal cuts off the end of a long line, so the most important part comes first.
    if (this.#bar) this.#bar.update(this.#progress.done, { state: `${this.#timeLeft()}  ${state()}  ${inWords(run)}` });
    else if (performance.now() - this.#shownAt > 1000 * secondsBetweenLines) {
      this.#shownAt = performance.now();
      this.note(`${inWords(run)}  ${state()}  ${this.#timeLeft()}`);
    }
  }

  runFinished(run: PlannedRun, record: RunRecord, progress: StudyProgress): void {
    this.#update(progress);
    const { done, left } = progress;
    const line = `[${done}/${done + left}] ${inWords(run)}: ${result(record)}  ${this.#timeLeft()}`;
    if (!this.#bar) this.note(line.trimEnd());
  }

  /** Shows how many quadratic problems are solved. */
  solved(done: number, problems: number): void {
    this.#bar?.setTotal(problems);
    this.#bar?.update(done);
    if (!this.#bar && (done % 10 === 0 || done === problems)) this.note(`${done} of ${problems} problems solved`);
  }

  note(message: string): void {
    // The note replaces the bar, which is drawn again on the next line; see `noteOver`.
    this.#stream.write(noteOver(message, this.#bar !== undefined));
  }

  close(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #update(progress: StudyProgress): void {
    this.#progress = progress;
    this.#bar?.setTotal(progress.done + progress.left);
    this.#bar?.update(progress.done);
  }

  /** Describes the time left, less the time already spent on the current run. */
  #timeLeft(): string {
    const { secondsLeft, left } = this.#progress;
    if (secondsLeft === undefined || left === 0) return "";
    const passed = (performance.now() - this.#began) / 1000;
    return `about ${duration(Math.max(0, secondsLeft - passed))} left`;
  }
}

/** Describes a run in one line: its cell first, then its schedule, rate and seed. */
function inWords({ cell, spec, schedule }: PlannedRun): string {
  const maxLr = numberIn(schedule.options, "maxLr");
  const phi = optionalNumberIn(schedule.options, "phi");
  const choice = `${short(maxLr)}${phi === undefined ? "" : ` φ ${short(phi)}`}`;
  // The name of a data set comes from a file and may contain control characters.
  return `${cell.model} ${shown(cell.data.name)} ${spec.optimizer.name} ${cell.steps} steps, ${spec.purpose}: ${schedule.name} ${choice} seed ${spec.seed}`;
}

function result({ status, steps, validation, test, seconds }: RunRecord): string {
  if (status === "diverged") return `diverged after ${steps} steps`;
  const { loss, accuracy } = test ?? validation ?? { loss: Number.NaN };
  const share = accuracy === undefined ? "" : `, accuracy ${percent(accuracy)}`;
  return `${test ? "test" : "validation"} loss ${loss.toFixed(4)}${share}, ${duration(seconds)}`;
}
