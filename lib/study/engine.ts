import { StepsizeError } from "../errors.js";
import { valueAt } from "../lookup.js";
import { type Device, openDevice } from "../native/index.js";
import { hasValidation, openTask, readOptionsOf, type Task } from "../tasks/index.js";
import type { StudyData, TrainingStudy } from "./config.js";
import type { StudyFolder } from "./folder.js";
import { type CellPlan, type PlannedRun, planOf, validationSeed } from "./plan.js";
import { type RunRecord, RunRecords } from "./records.js";
import { makeRun, type RunEnvironment } from "./study-run.js";

/** Options of {@link runStudy}. They do not affect the results. */
export interface EngineOptions {
  readonly folder: StudyFolder;
  /** New locations of data sets that are not where the study says, by the name of the data set. */
  readonly sources?: ReadonlyMap<string, string> | undefined;
  readonly device?: string | undefined;
  readonly threads?: number | undefined;
  /** Which runs to make; default all. */
  readonly only?: "tuning" | "final" | undefined;
  /** Time in seconds after which no new run is started; default no limit. */
  readonly maxSeconds?: number | undefined;
  /** Seconds between the checkpoints of a run; default 60. */
  readonly checkpointEvery?: number | undefined;
  /** Stops the study, if necessary in the middle of a run. The state of that run is saved, so it can continue later. */
  readonly signal: AbortSignal;
  readonly version: string;
  readonly listener: StudyListener;
}

/** Callbacks for the progress of a study. */
export interface StudyListener {
  /** Called before the first run. */
  started(progress: StudyProgress): void;
  runStarted(run: PlannedRun): void;
  step(run: PlannedRun, step: number, loss: number): void;
  runFinished(run: PlannedRun, record: RunRecord, progress: StudyProgress): void;
  note(message: string): void;
}

/** Progress of a study, in runs. Trials that tuning may still add to a grid are not counted. */
export interface StudyProgress {
  readonly done: number;
  readonly left: number;
  /** Estimated from the finished runs; `undefined` before the first one. */
  readonly secondsLeft: number | undefined;
}

/**
 * Makes the runs of a study that have no record yet, one after the other. The record of a run is written to `runs.jsonl`
 * before the next run begins.
 *
 * @returns `complete`: whether all requested runs are finished; false if `maxSeconds` has passed
 * @throws the signal's reason, after the state of the current run is saved
 * @throws StepsizeError for missing or unsuitable data, models or devices, before any run; `invalid-state` if records of
 * the folder were made with other data; any error of a run
 */
export async function runStudy(study: TrainingStudy, options: EngineOptions): Promise<{ complete: boolean }> {
  const { folder, listener } = options;
  await folder.removePartial();
  const records = await RunRecords.open(folder.runs, (message) => listener.note(message));
  const engine = new Engine(study, options, records);
  try {
    return await engine.run();
  } finally {
    records.close();
    await engine.close();
  }
}

class Engine {
  readonly #study: TrainingStudy;
  readonly #options: EngineOptions;
  readonly #records: RunRecords;
  readonly #tasks = new Map<string, { task: Task; fingerprint: string }>();
  #device: Device | undefined;

  constructor(study: TrainingStudy, options: EngineOptions, records: RunRecords) {
    this.#study = study;
    this.#options = options;
    this.#records = records;
  }

  async run(): Promise<{ complete: boolean }> {
    const { maxSeconds = Number.POSITIVE_INFINITY, signal, listener } = this.#options;
    signal.throwIfAborted();
    const began = performance.now();
    let plans = this.#plan();
    if (nextRun(plans)) {
      await this.#openTasks();
      listener.started(this.#progress(plans));
    }
    for (let next = nextRun(plans); next; next = nextRun(plans)) {
      signal.throwIfAborted();
      if (performance.now() - began > 1000 * maxSeconds) return { complete: false };
      listener.runStarted(next);
      const record = await this.#make(next);
      this.#records.add(record);
      await this.#options.folder.removeRunning(next.id);
      plans = this.#plan();
      listener.runFinished(next, record, this.#progress(plans));
    }
    if (this.#options.only === "final") this.#noteUntuned();
    return { complete: true };
  }

  #noteUntuned(): void {
    const untuned = planOf(this.#study, this.#records.all).filter(({ waiting }) => waiting > 0).length;
    if (untuned > 0)
      this.#options.listener.note(`${untuned} of the comparisons are not tuned yet; run their tuning first`);
  }

  async close(): Promise<void> {
    await this.#device?.close();
  }

  async #make(run: PlannedRun): Promise<RunRecord> {
    const { folder, device, threads, checkpointEvery = 60, signal, version, listener } = this.#options;
    this.#device ??= await openDevice(device, { threads });
    const { task, fingerprint } = valueAt(this.#tasks, run.cell.data.name);
    const environment: RunEnvironment = {
      task,
      fingerprint,
      device: this.#device,
      version,
      checkpoint: folder.running(run.id),
      checkpointEvery,
      evaluations: this.#study.evaluations,
      signal,
      note: (message) => listener.note(message),
      onStep: (step, loss) => listener.step(run, step, loss),
    };
    try {
      return await makeRun(run, environment);
    } catch (error) {
      if (!(error instanceof StepsizeError)) throw error;
      const subject = `${run.cell.model} on ${run.cell.data.name}, ${run.schedule.name}, seed ${run.spec.seed}`;
      const message = `${subject}: ${error.message}. The records of finished runs are kept`;
      throw new StepsizeError(error.code, message, { cause: error });
    }
  }

  /** Opens all data and checks all models before the first run, so that a mistake is found at once and not after hours. */
  async #openTasks(): Promise<void> {
    const { data, models, validation: share, batch } = this.#study;
    for (const dataSet of data) {
      this.#options.signal.throwIfAborted();
      const task = await openTask(this.#options.sources?.get(dataSet.name) ?? dataSet.source, {
        ...readOptionsOf(dataSet),
        signal: this.#options.signal,
        note: (message) => this.#options.listener.note(message),
        ...(!hasValidation(dataSet.source) && { validation: { share, seed: validationSeed } }),
      });
      for (const model of models) task.modelConfig(model);
      if (batch > task.lengths.train)
        throw new StepsizeError(
          "invalid-argument",
          `batch: expected at most ${task.lengths.train}, the number of training items of ${dataSet.name}, got ${batch}`,
        );
      const fingerprint = await task.fingerprint();
      this.#expectSameData(dataSet, fingerprint);
      this.#tasks.set(dataSet.name, { task, fingerprint });
    }
  }

  #expectSameData({ name }: StudyData, fingerprint: string): void {
    const { runs } = this.#options.folder;
    for (const record of this.#records.all.values())
      if (record.run.data.name === name && record.fingerprint !== fingerprint)
        throw new StepsizeError(
          "invalid-state",
          `${runs}: expected the data of its runs on ${name} (fingerprint ${record.fingerprint}), got other data (${fingerprint});` +
            " use the same data, or give the other data another name or the study another folder",
        );
  }

  #plan(): CellPlan[] {
    const { only } = this.#options;
    return planOf(this.#study, this.#records.all).map(({ outstanding, waiting, ...plan }) => ({
      ...plan,
      outstanding: outstanding.filter(({ spec }) => only === undefined || spec.purpose === only),
      waiting: only === undefined ? waiting : 0,
    }));
  }

  #progress(plans: readonly CellPlan[]): StudyProgress {
    const left = plans.reduce((sum, { outstanding, waiting }) => sum + outstanding.length + waiting, 0);
    const perStep = secondsPerStep([...this.#records.all.values()]);
    const seconds = plans.reduce((sum, { cell, outstanding, waiting }) => {
      const secondsOf = (purpose: string) => perStep(cell.model, cell.data.name, purpose) * cell.steps;
      return (
        sum + outstanding.reduce((total, { spec }) => total + secondsOf(spec.purpose), 0) + waiting * secondsOf("final")
      );
    }, 0);
    const done = plans.reduce((sum, plan) => sum + plan.done, 0);
    return { done, left, secondsLeft: Number.isFinite(seconds) ? seconds : undefined };
  }
}

function nextRun(plans: readonly CellPlan[]): PlannedRun | undefined {
  return plans.find(({ outstanding }) => outstanding.length > 0)?.outstanding[0];
}

/**
 * Returns a function that estimates the seconds per step for a model, data and purpose. It averages over the most
 * similar runs that have records; NaN if there are none.
 */
function secondsPerStep(records: readonly RunRecord[]) {
  return (model: string, data: string, purpose: string): number => {
    const likenesses: ((run: RunRecord["run"]) => boolean)[] = [
      (run) => run.model === model && run.data.name === data && run.purpose === purpose,
      (run) => run.model === model && run.data.name === data,
      () => true,
    ];
    const alike =
      likenesses.map((isAlike) => records.filter(({ run }) => isAlike(run))).find(({ length }) => length > 0) ?? [];
    const sum = (pick: (record: RunRecord) => number) => alike.reduce((total, record) => total + pick(record), 0);
    return sum(({ seconds }) => seconds) / sum(({ steps }) => steps);
  };
}
