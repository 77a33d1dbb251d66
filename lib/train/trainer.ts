import { expectText } from "../arguments.js";
import type { BatchSource } from "../data/index.js";
import type { Device } from "../native/index.js";
import { Preparation } from "../nn/index.js";
import { checkedOptions } from "../options.js";
import type { Tensor } from "../tensor/index.js";
import { type OpenCheckpoint, withCheckpoint } from "../weights/checkpoint-file.js";
import type { BestEvaluation } from "../weights/index.js";
import { bestOf } from "./best-evaluation.js";
import { DataWait } from "./data-wait.js";
import { type Evaluation, evaluate, type PassOptions, passNames } from "./evaluate.js";
import { MetricsRing } from "./metrics-ring.js";
import { RunBatches } from "./run-batches.js";
import { type Allowed, allowedBy, type LoadOptions } from "./run-identity.js";
import { type EvaluateEvery, type RunOptions, RunPlan } from "./run-options.js";
import { RunState } from "./run-state.js";
import { type CheckpointPlace, Soundness } from "./soundness.js";
import { type DrawnStep, StepMaker } from "./step-maker.js";
import { StepQueue } from "./step-queue.js";
import { type StepRecord, StepRecords } from "./step-record.js";
import { TrainerCheckpoints } from "./trainer-checkpoints.js";
import { type TrainerOptions, type TrainerParts, trainerParts } from "./trainer-options.js";
import { Turns } from "./turns.js";

/**
 * The training loop: an asynchronous iterator of step records, with evaluation, checkpoints and resuming.
 *
 * In the loop body, the weights are those after the step of the record. The body may evaluate, save, load, stop or
 * leave the loop.
 *
 * @example
 * ```ts
 * import { AdamW, data, models, nn, openDevice, schedule, Trainer } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const set = data.fromArrays({ inputs: [[0, 0], [0, 1], [1, 0], [1, 1]], labels: [0, 1, 1, 0] });
 * const model = models.mlp({ inputs: 2, hidden: [16], classes: 2, device, seed: 0 });
 * const optimizer = new AdamW(model.parameters(), { lr: schedule.uba({ budget: 100, maxLr: 0.05 }) });
 * const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: set.batches({ size: 4 }) });
 * for await (const { step, loss, learningRate } of trainer.run()) console.log(step, loss, learningRate);
 * ```
 */
export class Trainer {
  /**
   * Number of steps so far, which is the index of the next step. In the loop body it is one more than the record's
   * `step`.
   */
  step = 0;
  /** Number of steps of the whole training. */
  readonly budget: number;
  /** Device of the model. */
  readonly device: Device;
  readonly #parts: TrainerParts;
  readonly #preparation: Preparation;
  readonly #maker: StepMaker;
  /** The steps of the current run whose records were not yielded yet. */
  readonly #queue = new StepQueue({ maxBurst: MetricsRing.rows });
  readonly #dataWait = new DataWait(this.#queue);
  readonly #records: StepRecords;
  readonly #soundness = new Soundness();
  readonly #checkpoints: TrainerCheckpoints;
  readonly #turns = new Turns();
  readonly #runState = new RunState();
  #stopping = false;
  /** Number of checkpoints loaded so far. Batches that were drawn before a load are obsolete after it. */
  #loads = 0;
  #best: BestEvaluation | undefined;

  /**
   * Creates a trainer.
   *
   * @throws StepsizeError `invalid-argument` if an option is unknown or invalid, or if neither `budget` nor the
   * optimizer's learning rate gives the number of steps
   */
  constructor(options: TrainerOptions) {
    const parts = trainerParts(options);
    this.#parts = parts;
    this.budget = parts.budget;
    this.device = parts.device;
    this.#preparation = new Preparation(parts.model, parts.card?.preprocessing);
    this.#maker = new StepMaker({ ...parts, preparation: this.#preparation });
    this.#records = new StepRecords(parts.optimizer.skipsNonFinite);
    this.#checkpoints = new TrainerCheckpoints(parts, this.#soundness);
  }

  /** The best evaluation of `evaluateEvery` so far; `undefined` if there is none. Checkpoints contain it. */
  get best(): BestEvaluation | undefined {
    return this.#best;
  }

  /**
   * Time in seconds for which the device had nothing to do because the data of a step were not there, in all runs of this
   * trainer. If it is a large part of the training time, faster data make the training faster. The first batch of a run
   * always takes a moment.
   */
  get dataWait(): number {
    return this.#dataWait.seconds;
  }

  /** Path and step of the checkpoint that was last written or loaded; `undefined` if there is none. */
  get lastCheckpoint(): CheckpointPlace | undefined {
    return this.#soundness.checkpoint;
  }

  /**
   * Ends {@link run} early. `run` may be called again.
   *
   * In the loop body or in `onStep`, the run ends after the step of the record. Elsewhere, it ends after the step in
   * progress. With `runAhead`, the records of all steps made so far are yielded first.
   */
  stop(): void {
    this.#stopping = true;
  }

  /**
   * Trains from the current step to the budget, or to `until`, and yields one record per step.
   *
   * In the loop body, the weights are those after the step of the record. `evaluate`, `save`, `load`, `stop` and
   * `break` act on these weights. With `runAhead`, the device continues in the meantime, and only the options of `run`
   * act after exact steps. Neither `runAhead` nor `capture` changes the records. After the loop was left in any way,
   * another call of `run` continues with the same bits as an uninterrupted run.
   *
   * If a step leaves an invalid state, the trainer neither saves nor continues until a checkpoint is loaded. This is
   * the case after a non-finite step and after a step that failed when it had changed running statistics.
   *
   * @throws StepsizeError `invalid-argument` for an unknown or invalid option, at the call. The iterator throws
   * `invalid-state` if another run of this trainer has not ended, or if the data end before the budget; `non-finite` if
   * a loss, or a gradient that the optimizer checks, is not finite and the optimizer does not skip such steps (with
   * `nonFinite: "stop"`, the parameters are those before that step); `device-failed` or `out-of-memory` if a step
   * fails; with `capture`, the errors of `optimizer.tabulate`; and the code of the earlier failure if it left an
   * invalid state. Errors of the data, the loss and the callbacks are passed on.
   *
   * @example
   * ```ts
   * import { AdamW, data, models, nn, openDevice, schedule, Trainer } from "stepsize";
   *
   * const device = await openDevice("cpu");
   * const inputs = Float32Array.from({ length: 400 }, (_, i) => Math.sin(i * i));
   * const labels = Int32Array.from({ length: 200 }, (_, i) => Number(inputs[2 * i]! > inputs[2 * i + 1]!));
   * const { train, validation } = data.fromArrays({ inputs, labels, shape: [2] }).split({ validation: 0.2 });
   * const model = models.mlp({ inputs: 2, hidden: [16], classes: 2, device, seed: 0 });
   * const optimizer = new AdamW(model.parameters(), { lr: schedule.uba({ budget: 100, maxLr: 0.05 }) });
   * const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: train.batches({ size: 40 }) });
   *
   * const evaluateEvery = { steps: 20, data: validation.batches({ size: 40 }) };
   * const checkpointEvery = { steps: 50, path: (step: number) => `run/checkpoint-${step}.safetensors` };
   * for await (const { step, loss, evaluation } of trainer.run({ evaluateEvery, checkpointEvery, capture: true })) {
   *   if (evaluation) console.log(`after ${step + 1} steps: ${evaluation.loss}`);
   *   if (loss < 0.01) break;
   * }
   * ```
   */
  run(options: RunOptions = {}): AsyncGenerator<StepRecord, void, undefined> {
    return this.#run(new RunPlan(options, this.budget));
  }

  async *#run(plan: RunPlan): AsyncGenerator<StepRecord, void, undefined> {
    this.#beginRun();
    const stop = () => this.stop();
    plan.signal?.addEventListener("abort", stop);
    if (plan.signal?.aborted) stop();
    let failure: { error: unknown } | undefined;
    let batches: RunBatches | undefined;
    try {
      await this.#turns.take(() => this.#parts.model.train());
      while (this.step < plan.end && !this.#stopping) {
        try {
          if (batches?.loads !== this.#loads) {
            await batches?.close();
            batches = this.#openBatches();
          }
          await this.#nextStep(batches, plan.capture);
        } catch (error) {
          // Thrown after the records of the steps before it.
          failure = { error };
          break;
        }
        const exact = plan.isExactAfter(this.step);
        if (exact) this.#queue.flush();
        while (exact ? !this.#queue.isEmpty : this.#queue.isFull) yield* this.#nextRecord(plan);
      }
      this.#queue.flush();
      while (!this.#queue.isEmpty) yield* this.#nextRecord(plan);
      if (failure) throw failure.error;
    } finally {
      plan.signal?.removeEventListener("abort", stop);
      try {
        await batches?.close();
      } finally {
        await this.#examineRest();
        this.#runState.end();
      }
    }
  }

  #beginRun(): void {
    this.#runState.expectNoRun();
    this.#soundness.expect("run: the run cannot go on");
    this.#runState.work();
    this.#stopping = false;
  }

  #openBatches(): RunBatches {
    const { data, accumulate, budget } = this.#parts;
    return new RunBatches(data, { step: this.step, accumulate, budget, loads: this.#loads });
  }

  /** Draws the batches of a step, makes it and adds it to the queue. */
  async #nextStep(batches: RunBatches, capture: boolean): Promise<void> {
    const next = () => this.#dataWait.during(() => batches.next(this.step));
    const drawn = await this.#maker.draw(next, capture);
    try {
      await this.#turns.take(async () => {
        // An evaluation may have been in progress, or a load, which made these batches obsolete.
        if (batches.loads === this.#loads && !this.#stopping) await this.#makeStep(drawn, capture);
      });
    } finally {
      this.#maker.discard(drawn);
    }
  }

  /** Makes a step and adds it to the queue. Nothing has changed if it fails or if the run is stopping. */
  async #makeStep(drawn: DrawnStep, capture: boolean): Promise<void> {
    while (this.#turns.isBeingRead) await this.#turns.readsInProgress();
    // `stop` may have been called in the meantime.
    if (this.#stopping) return;
    await this.#turns.change(async () => {
      try {
        this.#queue.push(await this.#maker.make(this.step, drawn, capture));
        this.step++;
      } catch (error) {
        if (!this.#maker.undo()) this.#soundness.loseHalfMade(this.step, error);
        throw error;
      }
    });
  }

  /** Yields the record of the oldest step in the queue, after the work that is due after the step. */
  async *#nextRecord(plan: RunPlan): AsyncGenerator<StepRecord, void, undefined> {
    const record = await this.#examineNext();
    if (!record) return;
    const { step } = record;
    const isAhead = step + 1 !== this.step;
    this.#runState.suspend({ step, isAhead });
    if (isAhead) {
      yield record;
      this.#runState.work();
      return;
    }
    const loads = this.#loads;
    const complete = await this.#afterStep(record, plan);
    const path = plan.checkpointAfter(step + 1);
    try {
      yield complete;
    } finally {
      this.#runState.work();
      if (path !== undefined && loads === this.#loads) await this.save(path);
    }
  }

  /** Returns the record of the oldest step in the queue; `undefined` if the queue is empty. */
  async #examineNext(): Promise<StepRecord | undefined> {
    // If a read fails, it is unknown which of the steps in the queue failed.
    let validSteps = 0;
    try {
      const next = await this.#queue.next();
      if (!next) return undefined;
      validSteps = next.known.step;
      return this.#records.next(next.known, next.metrics);
    } catch (error) {
      this.#soundness.lose(error, validSteps);
      throw error;
    }
  }

  /** Examines the steps whose records are no longer yielded, so that a failure among them is found. */
  async #examineRest(): Promise<void> {
    this.#queue.flush();
    try {
      while (!this.#queue.isEmpty) await this.#examineNext();
    } catch {
      // `#soundness` keeps the error as the reason why the trainer does not continue.
    }
    await this.#queue.clear();
  }

  /** Does the work that is due after a step. Returns the record with the results. */
  async #afterStep(record: StepRecord, plan: RunPlan): Promise<StepRecord> {
    const done = record.step + 1;
    const evaluation = plan.evaluationAfter(done);
    const complete = evaluation ? { ...record, ...(await this.#evaluateAfter(done, evaluation)) } : record;
    await plan.callbackAfter(done)?.(complete);
    return complete;
  }

  async #evaluateAfter(step: number, options: EvaluateEvery): Promise<Pick<StepRecord, "evaluation" | "best">> {
    const { data, onProgress, metric = "loss", minDelta = 0, best: path, patience } = options;
    const evaluation = await this.evaluate(data, onProgress);
    this.#best = bestOf(this.#best, evaluation, { step, metric, minDelta });
    const best = this.#best?.step === step;
    if (best && path !== undefined) await this.save(path);
    if (patience !== undefined && this.#best && this.#best.since >= patience) this.stop();
    return { evaluation, best };
  }

  /**
   * Evaluates the model in one pass over other data, without changing it. Steps of a run wait for the evaluation.
   *
   * The inputs are preprocessed as in training. The model is in evaluation mode during the pass and returns to its
   * former mode afterwards.
   *
   * @param source the data, such as `test.batches({ size: 500 })`
   * @param options `onProgress` and `signal`, or a function as `onProgress`
   * @returns the mean loss, the number of items and, for class labels, the accuracy
   * @throws StepsizeError `invalid-argument` if an argument is invalid; `invalid-state` in the loop body of a run with
   * `runAhead`, unless the record is exact; `device-failed` or `out-of-memory` if the evaluation fails. If `signal` is
   * aborted before the end, the promise rejects with its reason.
   *
   * @example
   * ```ts
   * import { data, models, nn, openDevice, SGD, Trainer } from "stepsize";
   *
   * const device = await openDevice("cpu");
   * const set = data.fromArrays({ inputs: [[0, 0], [0, 1], [1, 0], [1, 1]], labels: [0, 1, 1, 0] });
   * const model = models.mlp({ inputs: 2, hidden: [8], classes: 2, device, seed: 0 });
   * const optimizer = new SGD(model.parameters(), { lr: 0.1 });
   * const batches = set.batches({ size: 4 });
   * const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: batches, budget: 10 });
   * const { loss, accuracy } = await trainer.evaluate(batches);
   * ```
   */
  async evaluate(source: BatchSource, options: PassOptions | PassOptions["onProgress"] = {}): Promise<Evaluation> {
    const { onProgress, signal, onOutputs } =
      typeof options === "function" ? { onProgress: options } : checkedOptions("evaluate", passNames, options);
    this.#runState.expectExact("evaluate", "evaluateEvery", this.step);
    const { model, device, loss } = this.#parts;
    const prepare = (raw: Tensor) => this.#preparation.apply(raw);
    return this.#turns.take(() => evaluate(source, { model, device, loss, prepare, onProgress, signal, onOutputs }));
  }

  /**
   * Writes a checkpoint with everything that the run needs to continue.
   *
   * The checkpoint has the state after a whole number of steps. In the loop body, this is the state after the step of
   * the record. While a step is made, the checkpoint is written after it. Later steps and {@link load} wait until the
   * checkpoint is written, also if the promise is not awaited.
   *
   * The checkpoint is one safetensors file, with a JSON object in its metadata. It is written to a temporary file,
   * flushed and renamed, so that there is a loadable file at every moment. Values are read from the device and written
   * in blocks. At most 64 MiB are in memory at once, whatever the size of the state.
   *
   * @param path path of the file. Missing folders are created.
   * @throws StepsizeError `invalid-argument` if `path` is not a text; `invalid-file` if the file cannot be written;
   * `non-finite` if a step or a value was not finite; `invalid-state` in the loop body of a run with `runAhead`, unless
   * the record is exact, and if other code changes the model or the optimizer during the write; `device-failed` or
   * `out-of-memory` if the values cannot be read. After a step that left an invalid state, the code is that of its
   * failure, and the message names the last good checkpoint. The previous file is kept in each case.
   *
   * @example
   * ```ts
   * import { data, models, nn, openDevice, SGD, Trainer } from "stepsize";
   *
   * const device = await openDevice("cpu");
   * const set = data.fromArrays({ inputs: [[0, 0], [0, 1], [1, 0], [1, 1]], labels: [0, 1, 1, 0] });
   * const model = models.mlp({ inputs: 2, hidden: [8], classes: 2, device, seed: 0 });
   * const optimizer = new SGD(model.parameters(), { lr: 0.1 });
   * const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: set.batches({ size: 4 }), budget: 10 });
   * for await (const _ of trainer.run({ until: 5 }));
   * await trainer.save("run/checkpoint-5.safetensors");
   * ```
   */
  async save(path: string): Promise<void> {
    expectText("path", path, "the path of a file");
    this.#runState.expectExact("save", "checkpointEvery", this.step);
    await this.#turns.read(() => this.#checkpoints.save(path, this.step, this.#best));
  }

  /**
   * Loads a checkpoint and continues from it, with the same bits as an uninterrupted run.
   *
   * In the loop body, the next record is that of the step after the checkpoint. With `allow`, a run can continue with
   * another schedule, a longer budget or other data, and keeps the optimizer state.
   *
   * The file is read twice, in blocks: once to verify its checksums before anything changes, and once to load it.
   *
   * @param path path of a checkpoint that {@link save} or `checkpointEvery` wrote
   * @param options differences from the checkpoint's run that are allowed. Default: none.
   * @throws StepsizeError `invalid-argument` for an invalid path or option; `not-found` if there is no file;
   * `invalid-file` if the file is damaged, or if it belongs to another model, optimizer, schedule or data (the message
   * lists the differences); `invalid-state` while a run makes a step, and in the loop body of a run with `runAhead`,
   * unless the record is exact; `out-of-memory`. Nothing has changed then. If the file cannot be read to its end after
   * the verification, the state is partly loaded, and the trainer neither saves nor continues until another checkpoint
   * is loaded.
   *
   * @example
   * ```ts
   * import { data, models, nn, openDevice, SGD, schedule, Trainer } from "stepsize";
   *
   * const device = await openDevice("cpu");
   * const set = data.fromArrays({ inputs: [[0, 0], [0, 1], [1, 0], [1, 1]], labels: [0, 1, 1, 0] });
   * function trainerWith(budget: number): Trainer {
   *   const model = models.mlp({ inputs: 2, hidden: [8], classes: 2, device, seed: 0 });
   *   const optimizer = new SGD(model.parameters(), { lr: schedule.uba({ budget, maxLr: 0.1 }) });
   *   return new Trainer({ model, optimizer, loss: nn.crossEntropy, data: set.batches({ size: 4 }) });
   * }
   * const first = trainerWith(10);
   * for await (const _ of first.run({ until: 5 }));
   * await first.save("run/checkpoint-5.safetensors");
   *
   * const second = trainerWith(20); // the longer budget is another schedule
   * await second.load("run/checkpoint-5.safetensors", { allow: ["schedule"] });
   * for await (const { step, loss } of second.run()) console.log(step, loss); // steps 5 to 19
   * ```
   */
  async load(path: string, options: LoadOptions = {}): Promise<void> {
    const allowed = allowedBy(options);
    await this.#takeOver((load) => withCheckpoint(path, load), allowed);
  }

  /**
   * @internal {@link load} from an open checkpoint. Tensors that were verified since it was opened are not verified
   * again.
   */
  async loadOpen(checkpoint: OpenCheckpoint, allow: readonly Allowed[] = []): Promise<void> {
    await this.#takeOver((load) => load(checkpoint), new Set(allow));
  }

  /**
   * Loads a checkpoint in turn with steps and evaluations.
   *
   * @param open opens a checkpoint and passes it to its argument
   */
  async #takeOver(
    open: (load: (checkpoint: OpenCheckpoint) => Promise<void>) => Promise<void>,
    allowed: ReadonlySet<Allowed>,
  ): Promise<void> {
    this.#runState.expectExact("load", "onStep", this.step);
    this.#runState.expectNoWork("load");
    await this.#turns.take(() => open((checkpoint) => this.#load(checkpoint, allowed)));
  }

  async #load(checkpoint: OpenCheckpoint, allowed: ReadonlySet<Allowed>): Promise<void> {
    await this.#checkpoints.expectFits(checkpoint, allowed);
    await this.#turns.change(async () => {
      while (this.#turns.isBeingRead) await this.#turns.readsInProgress();
      await this.#checkpoints.load(checkpoint);
      this.step = checkpoint.info.step;
      this.#loads++;
      this.#best = checkpoint.info.best;
    });
    this.#records.skipped = (await this.#parts.optimizer.stats()).skipped;
  }

  /** Frees the memory of the trainer itself. The model and the optimizer stay usable. */
  dispose(): void {
    this.#preparation.dispose();
    this.#maker.dispose();
  }
}
