import { totalmem } from "node:os";
import { machineFacts } from "../bench/index.js";
import { type ProcessOptions, runProcess } from "./child-process.js";
import { findProgram, gpuStates } from "./hardware.js";
import type { CaseReport, CheckReport, GpuState, Rerun, StageReport } from "./report.js";
import { statusOf } from "./report.js";
import { type CaseGroup, defaultLimit, patienceFor, type Stage } from "./stage.js";
import { benchRows } from "./stages/bench.js";

/** What to check. */
export interface CheckPlan {
  /** Name of the device, as `openDevice` takes it. */
  readonly device: string;
  readonly stages: readonly Stage[];
  /** Names of the groups to run; `undefined` for all. */
  readonly only?: readonly string[] | undefined;
  /** Seconds that the whole check may take; `undefined` for no limit. */
  readonly seconds?: number | undefined;
  /** Seconds that a case may take, instead of the limit that its group and the device have. */
  readonly limit?: number | undefined;
  /** Largest number of processes at the same time. */
  readonly jobs: number;
  /** The command, for the report. */
  readonly command: string;
  /** When it is aborted, the check stops. */
  readonly signal: AbortSignal;
}

/** Hears of the progress of a check. */
export interface CheckObserver {
  caseStarted(stage: Stage, group: CaseGroup, name: string): void;
  /** Called with the cases of a group that has ended, and the report so far. */
  groupEnded(stage: Stage, group: CaseGroup, cases: readonly CaseReport[], report: CheckReport): void;
  stageEnded(stage: StageReport): void;
}

/** Runs a check. It does not throw for what it finds; the report has that. */
export async function runCheck(plan: CheckPlan, observer: CheckObserver): Promise<CheckReport> {
  return await new Check(plan, observer).run();
}

/** The groups of a stage that a plan has chosen. */
export function groupsOf(stage: Stage, only: CheckPlan["only"]): readonly CaseGroup[] {
  return stage.groups().filter(({ name }) => only === undefined || only.includes(name));
}

/** Most groups whose failure is run again under compute-sanitizer, which takes many times longer. */
const maxSanitized = 8;

class Check {
  readonly #plan: CheckPlan;
  readonly #observer: CheckObserver;
  readonly #began = performance.now();
  readonly #facts = machineFacts();
  readonly #time = new AbortController();
  readonly #signal: AbortSignal;
  readonly #sanitizer: string | undefined;
  readonly #stages = new Map<Stage, { cases: CaseReport[]; seconds: number }>();
  #device: CheckReport["device"];
  #before: readonly GpuState[] = [];
  #after: readonly GpuState[] = [];
  #state: CheckReport["state"] = "running";
  #opened = false;
  /** Why no further group is started. */
  #givenUp: string | undefined;
  #sanitized = 0;

  constructor(plan: CheckPlan, observer: CheckObserver) {
    this.#plan = plan;
    this.#observer = observer;
    this.#device = { name: plan.device, facts: {} };
    this.#signal = AbortSignal.any([plan.signal, this.#time.signal]);
    this.#sanitizer = this.#isCuda() ? findProgram("compute-sanitizer") : undefined;
  }

  async run(): Promise<CheckReport> {
    const { seconds, stages, device, signal } = this.#plan;
    const timer = seconds === undefined ? undefined : setTimeout(() => this.#time.abort(), 1000 * seconds);
    try {
      this.#before = await gpuStates(device);
      for (const stage of stages) this.#observer.stageEnded(await this.#runStage(stage));
      this.#after = await gpuStates(device);
    } finally {
      clearTimeout(timer);
    }
    this.#state = signal.aborted ? "interrupted" : "finished";
    return this.#report();
  }

  async #runStage(stage: Stage): Promise<StageReport> {
    const began = performance.now();
    const results = { cases: [] as CaseReport[], seconds: 0 };
    this.#stages.set(stage, results);
    const waiting = [...groupsOf(stage, this.#plan.only)];
    const runNext = async () => {
      for (let group = waiting.shift(); group; group = waiting.shift()) {
        const cases = await this.#runGroup(stage, group);
        results.cases.push(...cases);
        results.seconds = (performance.now() - began) / 1000;
        this.#observer.groupEnded(stage, group, cases, this.#report());
      }
    };
    const jobs = stage.parallel ? this.#plan.jobs : 1;
    await Promise.all(Array.from({ length: jobs }, runNext));
    return this.#stageReport(stage, results);
  }

  /** Runs the cases of a group in as few processes as their failures allow. */
  async #runGroup(stage: Stage, group: CaseGroup): Promise<CaseReport[]> {
    const waiting = new Set(group.cases.map(({ name }) => name));
    const reports: CaseReport[] = [];
    while (waiting.size > 0) {
      const reason = this.#reasonToStop();
      if (reason !== undefined) {
        for (const name of waiting) reports.push({ name, status: "not run", message: reason });
        break;
      }
      const { cases, failure } = await this.#runProcess(stage, group, [...waiting]);
      for (const one of cases) waiting.delete(one.name);
      reports.push(...cases);
      if (failure === undefined) continue;
      const when = cases.length > 0 ? "closing the device" : "opening the device";
      reports.push({ name: when, status: "failed", ...failure });
      if (cases.length > 0) continue;
      if (!this.#opened) this.#givenUp = "the device could not be opened";
      for (const name of waiting) reports.push({ name, status: "not run", message: "the device could not be opened" });
      break;
    }
    const failed = reports.findIndex(({ name, status }) => status === "failed" && isCase(group, name));
    const first = reports[failed];
    if (first) reports[failed] = { ...first, reruns: await this.#runAgain(stage, group, first) };
    return reports.map((one) => ({ ...one, name: `${group.name}: ${one.name}` }));
  }

  #runProcess(stage: Stage, group: CaseGroup, cases: readonly string[], more: Partial<ProcessOptions> = {}) {
    const { device, limit = (group.limit ?? defaultLimit) * patienceFor(device) } = this.#plan;
    return runProcess(
      { device, stage: stage.name, group: group.name, cases },
      {
        limit: 1000 * limit,
        timeToOpen: 1000 * defaultLimit * patienceFor(device),
        signal: this.#signal,
        onOpened: (name, facts) => {
          this.#opened = true;
          this.#device = { name, facts };
        },
        onStarted: (name) => this.#observer.caseStarted(stage, group, name),
        ...more,
      },
    );
  }

  /** Runs a failed case again, where the driver reports the failing launch. */
  async #runAgain(stage: Stage, group: CaseGroup, { name, fault }: CaseReport): Promise<Rerun[]> {
    if (!this.#isCuda()) return [];
    const again = async (environment: string, options: Partial<ProcessOptions>): Promise<Rerun> => {
      const reason = this.#reasonToStop();
      if (reason !== undefined) return { with: environment, status: "not run", message: reason };
      const { cases, failure, output } = await this.#runProcess(stage, group, [name], options);
      const { fault, error, message } = cases[0] ?? failure ?? {};
      const found = { ...(fault && { fault }), ...(error !== undefined && { error }), ...(message && { message }) };
      const status = this.#signal.aborted ? "not run" : fault === undefined ? "passed" : "failed";
      return { with: environment, status, ...found, output };
    };
    const reruns = [await again("CUDA_LAUNCH_BLOCKING=1", { env: { CUDA_LAUNCH_BLOCKING: "1" } })];
    // A kernel that hangs would hang there too.
    if (this.#sanitizer === undefined || fault === "hung" || this.#sanitized++ >= maxSanitized) return reruns;
    reruns.push(await again("compute-sanitizer", { launcher: [this.#sanitizer, "--tool", "memcheck"] }));
    return reruns;
  }

  #isCuda(): boolean {
    return this.#plan.device.startsWith("cuda");
  }

  #reasonToStop(): string | undefined {
    if (this.#plan.signal.aborted) return "interrupted";
    return this.#time.signal.aborted ? "time" : this.#givenUp;
  }

  #report(): CheckReport {
    const { date, version, commit, node, cpu, cpus } = this.#facts;
    const reports = [...this.#stages].map(([stage, results]) => this.#stageReport(stage, results));
    const bench = benchRows(reports);
    return {
      format: "stepsize-check-1",
      passed: this.#state === "finished" && reports.every(({ status }) => status === "passed"),
      state: this.#state,
      command: this.#plan.command,
      started: date,
      seconds: (performance.now() - this.#began) / 1000,
      versions: { stepsize: version, node, commit },
      machine: { cpu, cpus, memoryBytes: totalmem() },
      device: this.#device,
      gpus: { before: this.#before, after: this.#after },
      stages: reports,
      ...(bench.length > 0 && { bench }),
    };
  }

  #stageReport({ name, title }: Stage, { cases, seconds }: { cases: readonly CaseReport[]; seconds: number }) {
    return { name, title, status: statusOf(cases), seconds, cases };
  }
}

function isCase(group: CaseGroup, name: string): boolean {
  return group.cases.some((one) => one.name === name);
}
