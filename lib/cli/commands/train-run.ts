import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { StepsizeError } from "../../errors.js";
import { JsonLinesFile } from "../../files/json-lines-file.js";
import { version } from "../../package-root.js";
import { messageOf } from "../../realms.js";
import type { RecordedEvaluation } from "../../report/index.js";
import { EventFile } from "../../tensorboard/event-file.js";
import { bestOf, type Evaluation, type StepRecord } from "../../train/index.js";
import type { BestEvaluation } from "../../weights/index.js";
import type { TrainConfig } from "../config/train-config.js";
import { Interrupted } from "../failure.js";
import type { Interrupts } from "../interrupts.js";
import { CountProgress } from "../output/count-progress.js";
import { type Progress, showProgress } from "../output/progress.js";
import { commandLine, count, perplexity, rmse, scoreInWords, short, some } from "../output/text.js";
import type { RunFolder } from "../run-folder.js";
import type { OpenRun } from "../run-setup.js";
import { RunOutputs } from "./run-outputs.js";
import { type Change, changeSchema, evaluationSchema, type Metric, metricSchema } from "./run-records.js";
import { type KeptCheckpoint, type RunResult, type RunSoFar, writeReport } from "./run-result.js";
import { SlowData } from "./slow-data.js";

/** Time between two reports of a run that goes on, as a multiple of the time that the first took. */
const reportPause = 20;

/** What {@link TrainRun} works with. */
export interface TrainRunOptions {
  readonly config: TrainConfig;
  readonly parts: OpenRun;
  readonly folder: RunFolder;
  readonly interrupts: Interrupts;
  /** Writes a line of text for a person. */
  readonly note: (text: string) => void;
}

/** A run in its folder: the training loop with everything that is kept of it. */
export class TrainRun {
  readonly #options: TrainRunOptions;
  readonly #metricsFile: JsonLinesFile<Metric>;
  readonly #evaluationsFile: JsonLinesFile<RecordedEvaluation>;
  readonly #outputs: RunOutputs;
  /** The file for TensorBoard, if the run writes one. */
  readonly #events: EventFile | undefined;
  #metrics: Metric[];
  #evaluations: RecordedEvaluation[];
  readonly #changes: readonly Change[];
  #seconds: number;
  /** Time for which the device waited for data in the earlier processes of this run. */
  readonly #earlierDataWait: number;
  /** Steps of the newest checkpoint of this run. */
  #savedStep: number | undefined;
  #progress: Progress | undefined;
  /** Time from which the report may be written again. */
  #nextReport = 0;

  constructor(options: TrainRunOptions) {
    this.#options = options;
    const { folder, parts, note } = options;
    const { step } = parts.trainer;
    this.#metricsFile = new JsonLinesFile(folder.metrics);
    this.#evaluationsFile = new JsonLinesFile(folder.evaluations);
    // What an earlier process did after its last checkpoint is done again: there is one record of each step.
    const metrics = this.#metricsFile.cut(metricSchema, (record) => record.step < step);
    const evaluations = this.#evaluationsFile.cut(evaluationSchema, (record) => record.step <= step);
    this.#outputs = new RunOutputs(parts, folder);
    if (options.config.settings.tensorboard) this.#events = new EventFile(folder.path, step);
    this.#changes = new JsonLinesFile<Change>(folder.changes).cut(changeSchema, () => true).values;
    this.#metrics = metrics.values;
    this.#evaluations = evaluations.values;
    if (metrics.wasTorn) note(`${folder.metrics}: its last line was half written and is cut off`);
    if (evaluations.wasTorn) note(`${folder.evaluations}: its last line was half written and is cut off`);
    if (this.#metrics.length !== step)
      note(`${folder.metrics}: has records of ${this.#metrics.length} of the ${step} steps made; the others are lost`);
    this.#seconds = this.#metrics.at(-1)?.seconds ?? 0;
    this.#earlierDataWait = this.#metrics.at(-1)?.dataWait ?? 0;
    this.#savedStep = step > 0 ? step : undefined;
  }

  /**
   * Trains to the end of the budget and evaluates. Whatever happens, `result.json` and `report.html` are written.
   *
   * @throws Interrupted after a signal, once a checkpoint is written
   */
  async run(): Promise<RunResult> {
    try {
      await this.#train();
      this.#expectUpdates();
      const test = await this.#evaluateAtTheEnd("test");
      if (this.#evaluations.length > 0) await this.#outputs.sample(this.#options.interrupts.signal);
      const { lengths } = this.#options.parts.task;
      const validation = lengths.validation === undefined ? undefined : await this.#evaluateAtTheEnd("validation");
      const result: RunResult = { ...this.#result("completed"), ...this.#scores(test, validation) };
      await this.#conclude(result);
      return result;
    } catch (error) {
      const status = error instanceof Interrupted ? "interrupted" : "failed";
      const failure = status === "failed" ? this.#withCheckpoint(error) : error;
      const message = messageOf(failure);
      // A full disk may be why we are here: what cannot be written now must not hide it.
      const code = failure instanceof StepsizeError ? failure.code : undefined;
      const failed = { error: message, ...(code !== undefined && { code }) };
      await this.#conclude({ ...this.#result(status), ...(status === "failed" && failed) }).catch(() => {});
      throw failure;
    } finally {
      this.#metricsFile.close();
      this.#evaluationsFile.close();
      this.#outputs.close();
      this.#events?.close();
    }
  }

  /** Throws `non-finite` if the run made no update, so that its weights are the initial ones. */
  #expectUpdates(): void {
    if (this.#metrics.length === 0 || !this.#metrics.every(({ skipped }) => skipped)) return;
    throw new StepsizeError(
      "non-finite",
      "every step was skipped, because no gradient was finite, so the weights did not change; try a lower --max-lr or another --seed",
    );
  }

  /** Says that the run ends after the step that is being made, with a checkpoint. */
  announceEnd(): void {
    const { reason } = this.#options.interrupts.signal;
    const cause = reason instanceof Interrupted ? "interrupted" : `error: ${messageOf(reason)}`;
    const advice = reason instanceof Interrupted ? "; interrupt again to exit at once" : "";
    this.#progress?.note(`${cause}: finishing this step and writing a checkpoint${advice}`);
  }

  async #train(): Promise<void> {
    const { parts, interrupts } = this.#options;
    const { trainer } = parts;
    if (trainer.step >= trainer.budget) {
      this.#options.note(
        `the run has made all its ${some(trainer.budget, "step")}; it is evaluated again. For more steps: --allow schedule --budget <n>`,
      );
      return;
    }
    if (this.#hasStoppedEarly()) {
      this.#options.note(
        `the run has stopped early after ${some(trainer.step, "step")}; it is evaluated again. To go on: --patience <n>`,
      );
      return;
    }
    const progress = await showProgress(trainer.budget, trainer.step, process.stderr, parts.task);
    this.#progress = progress;
    try {
      await this.#makeSteps(progress);
    } catch (error) {
      await this.#saveBeforeEnd(error);
      throw error;
    } finally {
      this.#progress = undefined;
      progress.close();
    }
    if (this.#savedStep !== trainer.step) await this.#save();
    if (trainer.step < trainer.budget && !this.#hasStoppedEarly())
      interrupts.check(`interrupted after step ${trainer.step} of ${trainer.budget}`);
  }

  async #makeSteps(progress: Progress): Promise<void> {
    const { config, parts, interrupts } = this.#options;
    const { trainer } = parts;
    // An earlier process may have been interrupted in the middle of it.
    if (this.#isEvaluationDue(trainer.step) && this.#evaluations.at(-1)?.step !== trainer.step)
      await this.#evaluateDuringRun(progress);
    const isExact = (step: number) => this.#isEvaluationDue(step) || this.#isCheckpointDue(step);
    const slowData = new SlowData({ unit: parts.task.unit, onCpu: parts.device.name === "cpu" });
    let since = performance.now() - 1000 * this.#seconds;
    let failure: { readonly error: unknown } | undefined;
    const { signal } = interrupts;
    const options = { capture: config.settings.capture, runAhead: true, exactEvery: isExact, signal };
    for await (const record of trainer.run(options)) {
      this.#seconds = (performance.now() - since) / 1000;
      try {
        this.#add(record);
        progress.step(record);
        const hint = slowData.hintAt({ seconds: this.#seconds, waited: trainer.dataWait });
        if (hint !== undefined) progress.note(hint);
        const step = record.step + 1;
        if (!isExact(step) || failure) continue;
        progress.pause();
        const paused = performance.now();
        if (this.#isEvaluationDue(step) && !interrupts.requested) await this.#evaluateDuringRun(progress);
        if (this.#isCheckpointDue(step) && this.#savedStep !== step) await this.#save();
        if (this.#hasStoppedEarly()) {
          progress.note(`stopping early: ${this.#patienceInWords()}`);
          trainer.stop();
        }
        since += performance.now() - paused;
      } catch (error) {
        // Later steps may have been made already: a checkpoint of them needs their records.
        failure ??= { error };
        trainer.stop();
      }
    }
    if (failure) throw failure.error;
  }

  /** Saves what is sound before an error ends the run. */
  async #saveBeforeEnd(reason: unknown): Promise<void> {
    const { trainer } = this.#options.parts;
    if (this.#savedStep === trainer.step) return;
    if (reason instanceof Interrupted) return this.#save();
    if (trainer.step === 0) return;
    // The reason is to be told, and not what comes of it. Removing old checkpoints may have made room for the records.
    await this.#save().catch(() => {});
    try {
      this.#metricsFile.flush();
      this.#evaluationsFile.flush();
    } catch {
      // Those that are lost are told of when the run is resumed.
    }
  }

  /** Whether the model is evaluated after so many steps; the evaluation at the end is another one. */
  #isEvaluationDue(step: number): boolean {
    const { evaluateEvery, budget } = this.#options.config.settings;
    return evaluateEvery !== undefined && step > 0 && step < budget && step % evaluateEvery === 0;
  }

  #isCheckpointDue(step: number): boolean {
    return step % this.#options.config.settings.checkpointEvery === 0;
  }

  #add({ step, loss, learningRate, items, gradientNorm, skipped }: StepRecord): void {
    const { parts } = this.#options;
    const { allocated, cached } = parts.device.memory();
    const metric: Metric = {
      step,
      loss,
      learningRate,
      items,
      ...(gradientNorm !== undefined && { gradientNorm }),
      ...(skipped && { skipped }),
      seconds: rounded(this.#seconds),
      dataWait: rounded(this.#earlierDataWait + parts.trainer.dataWait),
      memory: allocated + cached,
    };
    const before = this.#metrics.at(-1);
    this.#metrics.push(metric);
    this.#metricsFile.add(metric);
    this.#events?.add(step, {
      "train/loss": loss,
      "train/learning rate": learningRate,
      "train/gradient norm": gradientNorm,
      "train/memory": metric.memory,
      // The device runs ahead, so records come in groups. Those that come at once have no rate.
      "train/items per second":
        before && metric.seconds > before.seconds ? items / (metric.seconds - before.seconds) : undefined,
    });
  }

  async #save(): Promise<void> {
    const { folder, parts } = this.#options;
    await parts.trainer.save(folder.checkpoint(parts.trainer.step));
    this.#savedStep = parts.trainer.step;
    await folder.prune(this.#best().map(({ step }) => step));
  }

  /** The evaluation with the lowest loss, and how many came after it; `undefined` if none had a finite loss. */
  #lowest(): BestEvaluation | undefined {
    return this.#evaluations.reduce<BestEvaluation | undefined>(
      (best, { step, loss }) => bestOf(best, { loss, items: 0 }, { step, metric: "loss", minDelta: 0 }),
      undefined,
    );
  }

  /** Whether the last evaluations were without a lower loss, as many as the setting `patience` says. */
  #hasStoppedEarly(): boolean {
    const { patience = Number.POSITIVE_INFINITY } = this.#options.config.settings;
    return (this.#lowest()?.since ?? 0) >= patience;
  }

  #patienceInWords(): string {
    const { since = 0, step = 0, value = Number.NaN } = this.#lowest() ?? {};
    return `${some(since, "evaluation")} without a lower loss than ${short(value)} after step ${count(step)}`;
  }

  /**
   * The evaluations with the lowest loss, the best first: as many as the setting `keep` names, by default one if the run
   * may stop early.
   */
  #best(): RecordedEvaluation[] {
    const { keep, patience } = this.#options.config.settings;
    const count = keep === undefined ? Number(patience !== undefined) : Number(keep.slice("best:".length));
    // The sort is stable, so ties are broken by the earlier step.
    return this.#evaluations
      .filter(({ loss }) => Number.isFinite(loss))
      .sort((a, b) => a.loss - b.loss)
      .slice(0, count);
  }

  /** The best evaluations whose checkpoint exists. A run that was resumed with `keep` may lack those of before. */
  #keptBest(): KeptCheckpoint[] {
    return this.#best()
      .map(({ step, loss }) => ({ step, loss, checkpoint: this.#options.folder.checkpoint(step) }))
      .filter(({ checkpoint }) => existsSync(checkpoint));
  }

  async #evaluateDuringRun(progress: Progress): Promise<void> {
    const { parts } = this.#options;
    const split = parts.task.lengths.validation ? "validation" : "test";
    const { evaluationItems } = this.#options.config.settings;
    const score = await this.#evaluate(split, { maxItems: evaluationItems });
    const { loss, accuracy } = score;
    const { step } = parts.trainer;
    const record = { step, split, loss, ...(accuracy !== undefined && { accuracy }) };
    this.#evaluations.push(record);
    this.#evaluationsFile.add(record);
    this.#addToEvents(split, step, score);
    await this.#outputs.sample(this.#options.interrupts.signal);
    await this.#reportSoFar();
    progress.note(`after step ${count(step)}: ${split} ${scoreInWords(score, parts.task)}`);
    if (this.#best().some((best) => best.step === step) && this.#savedStep !== step) await this.#save();
  }

  /** Adds an evaluation to the event file, at the last step before it. */
  #addToEvents(split: string, step: number, { loss, accuracy }: Evaluation): void {
    this.#events?.add(Math.max(0, step - 1), { [`${split}/loss`]: loss, [`${split}/accuracy`]: accuracy });
    this.#events?.flush();
  }

  async #evaluateAtTheEnd(split: "test" | "validation"): Promise<Evaluation> {
    const progress = await CountProgress.start(`evaluating: ${split} item`);
    try {
      const onProgress = (done: number, items: number) => progress.at(done, items, done / items);
      const score = await this.#evaluate(split, { onProgress });
      this.#addToEvents(split, this.#options.parts.trainer.step, score);
      return score;
    } finally {
      progress.close();
    }
  }

  async #evaluate(
    split: "test" | "validation",
    { maxItems, onProgress }: { maxItems?: number | undefined; onProgress?: (done: number, items: number) => void },
  ): Promise<Evaluation> {
    const { parts, interrupts } = this.#options;
    const batches = parts.task.evaluationBatches(split, maxItems);
    try {
      const predictions = this.#outputs.observe();
      const score = await parts.trainer.evaluate(batches, {
        onProgress: (done, items) => {
          interrupts.check("interrupted while evaluating");
          onProgress?.(done, items);
        },
        onOutputs: predictions && ((outputs, batch) => predictions.add(outputs, batch)),
      });
      await this.#outputs.write(split, predictions);
      return score;
    } finally {
      await batches.close();
    }
  }

  #scores(test: Evaluation, validation: Evaluation | undefined): Partial<RunResult> {
    const { unit, regression } = this.#options.parts.task;
    const isText = unit === "tokens";
    return {
      testAccuracy: test.accuracy ?? null,
      testLoss: test.loss,
      ...(isText && { testPerplexity: perplexity(test.loss) }),
      ...(regression && {
        testRmse: rmse(test.loss, regression.std),
        testR2: 1 - test.loss / regression.variance("test"),
      }),
      ...(validation?.accuracy !== undefined && { validationAccuracy: validation.accuracy }),
      ...(validation && { validationLoss: validation.loss }),
      ...(isText && validation && { validationPerplexity: perplexity(validation.loss) }),
      ...(regression && validation && { validationRmse: rmse(validation.loss, regression.std) }),
    };
  }

  #result<S extends RunSoFar["status"]>(status: S): Omit<RunSoFar, "status"> & { readonly status: S } {
    const { config, parts, folder } = this.#options;
    const last = this.#metrics.at(-1);
    const seconds = last?.seconds ?? 0;
    const items = this.#metrics.reduce((sum, metric) => sum + metric.items, 0);
    return {
      status,
      steps: this.#metrics.length,
      budget: config.settings.budget,
      finalLoss: Number.isFinite(last?.loss) ? (last?.loss ?? null) : null,
      testAccuracy: null,
      testLoss: null,
      seconds,
      itemsPerSecond: seconds > 0 ? items / seconds : 0,
      dataWait: last?.dataWait ?? 0,
      peakMemory: parts.device.memory().peak,
      device: parts.device.name,
      kernels: parts.device.describe()["kernels"] ?? "",
      run: folder.path,
      checkpoint: this.#savedStep === undefined ? null : folder.checkpoint(this.#savedStep),
      ...(status === "completed" &&
        last !== undefined &&
        last.step + 1 < config.settings.budget && { stoppedEarly: true }),
      ...((config.settings.keep ?? config.settings.patience) !== undefined && { best: this.#keptBest() }),
      skipped: this.#metrics.filter(({ skipped }) => skipped).length,
      host: hostname(),
      commandLine: commandLine(),
      version,
    };
  }

  async #conclude(result: RunResult): Promise<void> {
    const { folder } = this.#options;
    await folder.writeJson(folder.result, result);
    await this.#writeReport(result);
  }

  /** Writes the report of the run so far, unless too much of the time went into the reports before. */
  async #reportSoFar(): Promise<void> {
    const began = performance.now();
    if (began < this.#nextReport) return;
    await this.#writeReport(this.#result("running"));
    this.#nextReport = performance.now() + reportPause * (performance.now() - began);
  }

  async #writeReport(result: RunSoFar): Promise<void> {
    const { config, folder, parts } = this.#options;
    const [metrics, evaluations, changes] = [this.#metrics, this.#evaluations, this.#changes];
    await writeReport(folder, { ...config, task: parts.task, result, metrics, evaluations, changes });
  }

  /** The error with where the last good state is. */
  #withCheckpoint(error: unknown): unknown {
    if (!(error instanceof StepsizeError)) return error;
    const checkpoint =
      this.#savedStep === undefined
        ? "No checkpoint was written yet"
        : `The last checkpoint is ${this.#options.folder.checkpoint(this.#savedStep)}`;
    return new StepsizeError(error.code, `${error.message}. ${checkpoint}.`, { cause: error });
  }
}

/** Rounds a time in seconds to tenths of a millisecond. */
function rounded(seconds: number): number {
  return Math.round(seconds * 1e4) / 1e4;
}
