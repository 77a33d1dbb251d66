import type { SingleBar } from "cli-progress";
import { shown } from "../quoting.js";
import type { PlannedRun, RunRecord, StudyListener, StudyProgress } from "../study/index.js";
import { noteOver, type ProgressStream, startBar } from "./progress.js";
import { duration, percent, short } from "./text.js";

/** A line is due after so many seconds within one run. */
const lineEvery = 60;

/** How far a study is: a live bar on a terminal, a line for each run elsewhere. */
export class CompareProgress implements StudyListener {
  readonly #stream: ProgressStream & NodeJS.WritableStream;
  #bar: SingleBar | undefined;
  #progress: StudyProgress = { done: 0, left: 0, secondsLeft: undefined };
  #began = performance.now();
  #told = performance.now();

  constructor(stream: ProgressStream & NodeJS.WritableStream = process.stderr) {
    this.#stream = stream;
  }

  async open(): Promise<void> {
    if (this.#stream.isTTY) this.#bar = await startBar(1, 0, this.#stream);
  }

  started(progress: StudyProgress): void {
    this.#update(progress);
    this.note([`${progress.done} runs done, ${progress.left} to make`, this.#timeLeft()].join("  ").trimEnd());
  }

  runStarted(run: PlannedRun): void {
    this.#began = performance.now();
    this.#told = this.#began;
    this.#bar?.update(this.#progress.done, { state: `${this.#timeLeft()}  ${inWords(run)}` });
  }

  step(run: PlannedRun, step: number, loss: number): void {
    const state = () => `step ${step + 1}/${run.cell.steps}  loss ${short(loss)}`;
    // The end of a long line is cut off: what matters most comes first.
    if (this.#bar) this.#bar.update(this.#progress.done, { state: `${this.#timeLeft()}  ${state()}  ${inWords(run)}` });
    else if (performance.now() - this.#told > 1000 * lineEvery) {
      this.#told = performance.now();
      this.note(`${inWords(run)}  ${state()}  ${this.#timeLeft()}`);
    }
  }

  runFinished(run: PlannedRun, record: RunRecord, progress: StudyProgress): void {
    this.#update(progress);
    const { done, left } = progress;
    const line = `[${done}/${done + left}] ${inWords(run)}: ${result(record)}  ${this.#timeLeft()}`;
    if (!this.#bar) this.note(line.trimEnd());
  }

  /** Tells of solved quadratics. */
  solved(done: number, problems: number): void {
    this.#bar?.setTotal(problems);
    this.#bar?.update(done);
    if (!this.#bar && (done % 10 === 0 || done === problems)) this.note(`${done} of ${problems} problems solved`);
  }

  note(message: string): void {
    // Over the bar, which draws itself again on the next line; see the progress of a run.
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

  /** Less what has passed of the run that is being made. */
  #timeLeft(): string {
    const { secondsLeft, left } = this.#progress;
    if (secondsLeft === undefined || left === 0) return "";
    const passed = (performance.now() - this.#began) / 1000;
    return `about ${duration(Math.max(0, secondsLeft - passed))} left`;
  }
}

/** A run in a few words: what is compared, then what was chosen for it. */
function inWords({ cell, spec, schedule }: PlannedRun): string {
  const { maxLr, phi } = schedule.options as { maxLr: number; phi?: number };
  const choice = `${short(maxLr)}${phi === undefined ? "" : ` φ ${short(phi)}`}`;
  // A study names its data as it likes.
  return `${cell.model} ${shown(cell.data.name)} ${spec.optimizer.name} ${cell.steps} steps, ${spec.purpose}: ${schedule.name} ${choice} seed ${spec.seed}`;
}

function result({ status, steps, validation, test, seconds }: RunRecord): string {
  if (status === "diverged") return `diverged after ${steps} steps`;
  const { loss, accuracy } = test ?? validation ?? { loss: Number.NaN };
  const share = accuracy === undefined ? "" : `, accuracy ${percent(accuracy)}`;
  return `${test ? "test" : "validation"} loss ${loss.toFixed(4)}${share}, ${duration(seconds)}`;
}
