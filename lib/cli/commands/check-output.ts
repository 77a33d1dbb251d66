import type { CaseGroup, CaseReport, CheckReport, Stage, StageReport } from "../../check/index.js";
import { printable } from "../../quoting.js";
import { noteOver, type ProgressStream } from "../output/progress.js";
import { count, duration, short, table } from "../output/text.js";

/** A stage of the display, with its chosen groups. */
interface PlannedStage {
  readonly stage: Stage;
  readonly groups: readonly CaseGroup[];
}

/** The part of a stream that progress is written to. */
interface CheckStream extends ProgressStream {
  readonly columns?: number | undefined;
}

interface Counts {
  passed: number;
  failed: number;
  notRun: number;
  /** Largest error in units of the tolerance. */
  error: number;
  seconds: number;
}

/** Milliseconds between two states of the live table. */
const refreshTime = 200;

/** Seconds between two lines of progress without a terminal. */
const secondsBetweenLines = 10;

/** Progress of a check on standard error: a live table on a terminal, otherwise lines. Failures are told at once. */
export class CheckProgress {
  readonly #planned: readonly PlannedStage[];
  readonly #counts = new Map<string, Counts>();
  /** The case that each running group is at. */
  readonly #running = new Map<CaseGroup, string>();
  readonly #stream: CheckStream;
  readonly #timer: NodeJS.Timeout | undefined;
  #began = new Map<string, number>();
  #lines = 0;
  #told = performance.now();

  constructor(planned: readonly PlannedStage[], stream: CheckStream = process.stderr) {
    this.#planned = planned;
    this.#stream = stream;
    for (const { stage } of planned)
      this.#counts.set(stage.name, { passed: 0, failed: 0, notRun: 0, error: 0, seconds: 0 });
    if (this.#stream.isTTY) this.#timer = setInterval(() => this.draw(), refreshTime);
  }

  caseStarted(stage: Stage, group: CaseGroup, name: string): void {
    if (!this.#began.has(stage.name)) this.#began.set(stage.name, performance.now());
    this.#running.set(group, `${stage.name} ${group.name}: ${name}`);
  }

  groupEnded(stage: Stage, group: CaseGroup, cases: readonly CaseReport[]): void {
    this.#running.delete(group);
    const counts = this.#counts.get(stage.name);
    if (counts) add(counts, cases);
    for (const one of cases) if (one.status === "failed") this.#note(`FAILED ${stage.name} ${one.name}: ${one.fault}`);
    if (this.#stream.isTTY || performance.now() - this.#told < 1000 * secondsBetweenLines) return;
    this.#told = performance.now();
    const { done, total } = this.#progressOf(stage);
    this.#note(`${stage.name} ${count(done)}/${count(total)} cases`);
  }

  stageEnded({ name, status, seconds }: StageReport): void {
    const counts = this.#counts.get(name);
    if (counts) counts.seconds = seconds;
    if (!this.#stream.isTTY)
      this.#note(`${name}: ${status}${counts ? `, ${countsInWords(counts)}` : ""} in ${duration(seconds)}`);
  }

  close(): void {
    clearInterval(this.#timer);
    if (this.#stream.isTTY) this.#erase();
  }

  #note(text: string): void {
    this.#erase();
    this.#stream.write(noteOver(text, false));
  }

  #erase(): void {
    if (this.#lines > 0) this.#stream.write(`\x1b[${this.#lines}A\x1b[J`);
    this.#lines = 0;
  }

  /** Draws the table again. A timer calls this. */
  draw(): void {
    const now = performance.now();
    const rows = this.#planned.map(({ stage }) => {
      const { done, total, counts } = this.#progressOf(stage);
      const began = this.#began.get(stage.name);
      const time = counts.seconds > 0 ? counts.seconds : began === undefined ? 0 : (now - began) / 1000;
      return [
        ` ${stage.name}`,
        `${count(done)}/${count(total)}`,
        counts.failed > 0 ? `${count(counts.failed)} failed` : "",
        began === undefined ? "" : duration(time),
      ];
    });
    const lines = [...table(rows, [1, 3]).split("\n"), ...[...this.#running.values()].map((name) => ` … ${name}`)];
    const width = this.#stream.columns || 80;
    this.#erase();
    this.#stream.write(lines.map((line) => `${printable(line).slice(0, width - 1)}\n`).join(""));
    this.#lines = lines.length;
  }

  #progressOf(stage: Stage) {
    const counts = this.#counts.get(stage.name) ?? { passed: 0, failed: 0, notRun: 0, error: 0, seconds: 0 };
    const groups = this.#planned.find((one) => one.stage === stage)?.groups ?? [];
    const total = groups.reduce((sum, { cases }) => sum + cases.length, 0);
    return { counts, done: counts.passed + counts.failed + counts.notRun, total };
  }
}

function add(counts: Counts, cases: readonly CaseReport[]): void {
  for (const { status, error } of cases) {
    if (status === "passed") counts.passed++;
    else if (status === "failed") counts.failed++;
    else counts.notRun++;
    // The errors of failed cases are in their messages.
    if (status === "passed" && error !== undefined) counts.error = Math.max(counts.error, error);
  }
}

function countsInWords({ passed, failed, notRun }: Counts): string {
  const words = [`${count(passed)} passed`];
  if (failed > 0) words.push(`${count(failed)} failed`);
  if (notRun > 0) words.push(`${count(notRun)} not run`);
  return words.join(", ");
}

function failureInWords(stage: string, { name, fault, message, reruns = [] }: CaseReport): string {
  const again = reruns.map(
    (rerun) => `\n    with ${rerun.with}: ${rerun.status}${rerun.message ? `, ${rerun.message}` : ""}`,
  );
  return `FAILED ${stage} ${name}: ${fault}${message ? `, ${message}` : ""}${again.join("")}`;
}

/** Formats the result of a check: a table of its stages, and every failure. */
export function checkSummary({ device, stages, state, passed }: CheckReport): string {
  const rows = stages.map(({ name, status, cases, seconds }) => {
    const counts: Counts = { passed: 0, failed: 0, notRun: 0, error: 0, seconds };
    add(counts, cases);
    const { error } = counts;
    return [
      name,
      status,
      count(counts.passed),
      count(counts.failed),
      count(counts.notRun),
      error > 0 ? short(error) : "",
      duration(seconds),
    ];
  });
  const head = ["stage", "result", "passed", "failed", "not run", "error/tolerance", "time"];
  const failures = stages.flatMap(({ name, cases }) =>
    cases.filter(({ status }) => status === "failed").map((one) => failureInWords(name, one)),
  );
  const verdict = passed ? "passed" : state === "interrupted" ? "interrupted" : "not passed";
  const hardware = device.facts["name"] ?? device.facts["kernels"];
  return [
    `check of ${device.name}${hardware ? ` (${hardware})` : ""}: ${verdict}`,
    table([head, ...rows], [2, 3, 4, 5, 6]),
    ...failures,
  ].join("\n");
}
