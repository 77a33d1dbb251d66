import { expectFunction, expectMethods, expectModule, expectText } from "../arguments.js";
import type { Batch, BatchSource } from "../data/index.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import { deviceSource, hostSource, Uploads } from "../files/device-parts.js";
import { areAllFinite } from "../files/finite.js";
import { type HostTensor, readTensors, writeSources } from "../files/safetensors.js";
import type { StoredTensor } from "../files/safetensors-file.js";
import { fillSame } from "../files/stored-floats.js";
import type { Device } from "../native/index.js";
import { type Loss, type Module, Preparation } from "../nn/index.js";
import type { LearningRate, Optimizer } from "../optim/index.js";
import { learningRateJson } from "../optim/options.js";
import { checkedOptions, expectOptions, optionNames } from "../options.js";
import { messageOf } from "../realms.js";
import type { Tensor } from "../tensor/index.js";
import { type BestEvaluation, bestOf } from "./best-evaluation.js";
import { customRates, differencesOfRates } from "./custom-rates.js";
import { type Evaluation, evaluate, type PassOptions, passNames } from "./evaluate.js";
import {
  type Allowed,
  allowedBy,
  type Difference,
  differencesOf,
  expectAllowed,
  type LoadOptions,
  type RunIdentity,
} from "./run-identity.js";
import { type EvaluateEvery, type RunOptions, RunPlan } from "./run-options.js";
import {
  type CheckpointInfo,
  checkpointNames,
  describeAll,
  expectCard,
  fillWeights,
  inFile,
  type ModelCard,
  type OpenCheckpoint,
  verifyAll,
  withCheckpoint,
} from "./saved-model.js";
import { type CheckpointPlace, Soundness } from "./soundness.js";
import { type DrawnStep, type MeasuredStep, StepMaker, type StepsUnderWay, stepsAhead } from "./step-maker.js";
import { type StepRecord, StepRecords } from "./step-record.js";
import { Turns } from "./turns.js";

/** Options of {@link Trainer}. */
export interface TrainerOptions {
  /** The model to train. */
  readonly model: Module;
  /** The optimizer of the model's parameters. */
  readonly optimizer: Optimizer<{ lr: LearningRate }>;
  /** The loss, from the model's outputs and the labels to a tensor with one element. */
  readonly loss: Loss;
  /** The training batches, such as `dataset.batches({ size: 128 })`. The trainer does not close them. */
  readonly data: BatchSource;
  /** Number of steps to train, a whole number ≥ 1. Default: the budget of the optimizer's schedule. */
  readonly budget?: number | undefined;
  /**
   * Number of batches per step, from 1 to 65536. Default 1.
   *
   * With several batches, a step has the gradient of one large batch. Each batch is weighted by the total weight of its
   * labels; see {@link Loss}. All batches of a step are in memory at once.
   */
  readonly accumulate?: number | undefined;
  /**
   * Description of the model that is saved with every checkpoint. Its preprocessing is applied to every batch. Default:
   * none.
   */
  readonly card?: ModelCard | undefined;
}

const trainerNames = optionNames<TrainerOptions>({
  model: true,
  optimizer: true,
  loss: true,
  data: true,
  budget: true,
  accumulate: true,
  card: true,
});

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
  readonly #options: TrainerOptions;
  readonly #preparation: Preparation;
  readonly #accumulate: number;
  readonly #maker: StepMaker;
  #stopping = false;
  /** State of the current run; `undefined` if there is none. */
  #standing: Standing | undefined;
  /** Pending while a step is made or a checkpoint is loaded. Model and optimizer are in an intermediate state then. */
  #making: Promise<void> | undefined;
  /** Writes of checkpoints that are in progress. */
  readonly #saving = new Set<Promise<void>>();
  readonly #turns = new Turns();
  /** Number of checkpoints loaded so far. Batches that were drawn before a load are obsolete after it. */
  #loads = 0;
  #best: BestEvaluation | undefined;
  readonly #soundness = new Soundness();
  readonly #records: StepRecords;
  #digest: Promise<string> | undefined;

  /**
   * Creates a trainer.
   *
   * @throws StepsizeError `invalid-argument` if an option is unknown or invalid, or if neither `budget` nor the
   * optimizer's learning rate gives the number of steps
   */
  constructor(options: TrainerOptions) {
    expectOptions("Trainer", trainerNames, options);
    if (options.card !== undefined) expectCard(options.card);
    this.#options = options;
    const { model, optimizer, loss, accumulate = 1, card, data } = options;
    expectModule("model", model);
    expectMethods("optimizer", optimizer, ["step", "stateDict", "learningRates"], "an optimizer, such as an AdamW");
    expectFunction("loss", loss, "a function from outputs and targets to a tensor with one element");
    if (typeof data?.from !== "function")
      invalidArgument("data", "batches, such as dataset.batches({ size: 128 }) or data.fromIterable(…)", data);
    const lr = optimizer.groups[0]?.options.lr;
    const budget = options.budget ?? (typeof lr === "function" ? lr.budget : undefined);
    if (budget === undefined || !Number.isSafeInteger(budget) || budget < 1)
      invalidArgument("budget", "a whole number of steps ≥ 1, or a learning rate that is a schedule", budget);
    // All batches of a step are in memory at once.
    if (!Number.isSafeInteger(accumulate) || accumulate < 1 || accumulate > 65_536)
      invalidArgument("accumulate", "a whole number of batches ≥ 1, at most 65536", accumulate);
    this.budget = budget;
    this.#accumulate = accumulate;
    this.#records = new StepRecords(optimizer.skipsNonFinite);
    this.device = (model.parameters()[0] as Tensor).device;
    this.#preparation = new Preparation(model, card?.preprocessing);
    const { device } = this;
    this.#maker = new StepMaker({ model, optimizer, loss, preparation: this.#preparation, device, accumulate, budget });
  }

  /** The best evaluation of `evaluateEvery` so far; `undefined` if there is none. Checkpoints contain it. */
  get best(): BestEvaluation | undefined {
    return this.#best;
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
    const pending: StepsUnderWay[] = [];
    const measured: MeasuredStep[] = [];
    let failure: { error: unknown } | undefined;
    let source: OpenData | undefined;
    try {
      await this.#turns.take(() => this.#options.model.train());
      while (this.step < plan.end && !this.#stopping) {
        try {
          if (source?.loads !== this.#loads) {
            await source?.batches.return?.();
            source = this.#openData();
          }
          pending.push(...(await this.#nextStep(source, plan.capture)));
        } catch (error) {
          // Thrown after the records of the steps before it.
          failure = { error };
          break;
        }
        const exact = plan.isExactAfter(this.step);
        if (exact) pending.push(...this.#maker.readRing());
        while (pending.length > (exact ? 0 : stepsAhead)) yield* this.#recordsOf(pending, measured, plan);
      }
      pending.push(...this.#maker.readRing());
      while (pending.length > 0) yield* this.#recordsOf(pending, measured, plan);
      if (failure) throw failure.error;
    } finally {
      plan.signal?.removeEventListener("abort", stop);
      try {
        await source?.batches.return?.();
      } finally {
        // The loop was left. A failure among these steps must still be found.
        await this.#examineRest([...pending, ...this.#maker.readRing()], measured);
        this.#standing = undefined;
      }
    }
  }

  #beginRun(): void {
    const standing = this.#standing;
    if (standing)
      throw new StepsizeError(
        "invalid-state",
        `run: another run of this trainer has not ended (${standing.at === "record" ? `it is at the record of step ${standing.step}` : "it is making a step"}); leave its loop first, or call return() of its iterator`,
      );
    this.#soundness.expect("run: the run cannot go on");
    this.#standing = { at: "work" };
    this.#stopping = false;
  }

  #openData(): OpenData {
    const { data } = this.#options;
    return { batches: data.from(this.step * this.#accumulate, { reuse: true }), loads: this.#loads };
  }

  /** Yields the records of the oldest pending steps, after the work that is due after each step. */
  async *#recordsOf(
    pending: StepsUnderWay[],
    measured: MeasuredStep[],
    plan: RunPlan,
  ): AsyncGenerator<StepRecord, void, undefined> {
    measured.push(...(await this.#arrived(pending.shift())));
    for (let next = measured.shift(); next; next = measured.shift()) {
      const record = this.#examine(next);
      const { step } = record;
      if (step + 1 !== this.step) {
        this.#standing = { at: "record", step, isAhead: true };
        yield record;
        this.#standing = { at: "work" };
        continue;
      }
      this.#standing = { at: "record", step, isAhead: false };
      const loads = this.#loads;
      const complete = await this.#afterStep(record, plan);
      const path = plan.checkpointAfter(step + 1);
      try {
        yield complete;
      } finally {
        this.#standing = { at: "work" };
        if (path !== undefined && loads === this.#loads) await this.save(path);
      }
    }
  }

  /** Does the work that is due after a step. Returns the record with the results. */
  async #afterStep(record: StepRecord, plan: RunPlan): Promise<StepRecord> {
    const done = record.step + 1;
    const isEvaluated = plan.evaluation?.isDue(done) ?? false;
    const complete = isEvaluated ? { ...record, ...(await this.#evaluateAfter(done, plan)) } : record;
    await plan.callbackAfter(done)?.(complete);
    return complete;
  }

  async #evaluateAfter(step: number, plan: RunPlan): Promise<Pick<StepRecord, "evaluation" | "best">> {
    const { data, onProgress, metric = "loss", minDelta = 0, best: path, patience } = plan.evaluation as EvaluateEvery;
    const evaluation = await this.evaluate(data, onProgress);
    this.#best = bestOf(this.#best, evaluation, { step, metric, minDelta });
    const best = this.#best?.step === step;
    if (best && path !== undefined) await this.save(path);
    if (patience !== undefined && this.#best && this.#best.since >= patience) this.stop();
    return { evaluation, best };
  }

  async #arrived(steps: StepsUnderWay | undefined): Promise<readonly MeasuredStep[]> {
    try {
      return (await steps) ?? [];
    } catch (error) {
      // It is unknown which of the pending steps failed.
      this.#soundness.lose(error, 0);
      throw error;
    }
  }

  #examine({ known, metrics }: MeasuredStep): StepRecord {
    try {
      return this.#records.next(known, metrics);
    } catch (error) {
      this.#soundness.lose(error, known.step);
      throw error;
    }
  }

  /** Examines steps whose records are no longer yielded, so that a failure among them is found. */
  async #examineRest(pending: readonly StepsUnderWay[], measured: readonly MeasuredStep[]): Promise<void> {
    try {
      for (const steps of [measured, ...pending])
        for (const one of await this.#arrived(Promise.resolve(steps))) this.#examine(one);
    } catch {
      // `#soundness` keeps the error as the reason why the trainer does not continue.
    }
    await Promise.allSettled(pending);
  }

  /** Throws in a loop body whose record is behind the weights. */
  #expectExact(what: string, option: string): void {
    const standing = this.#standing;
    if (standing?.at !== "record" || !standing.isAhead) return;
    throw new StepsizeError(
      "invalid-state",
      `${what}: the record is that of step ${standing.step}, but the run is ahead and has made ${this.step} steps. ` +
        `Use the option ${option} of run, which acts after exact steps, name this step in exactEvery, or leave out runAhead`,
    );
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
    const { onProgress, signal } =
      typeof options === "function" ? { onProgress: options } : checkedOptions("evaluate", passNames, options);
    this.#expectExact("evaluate", "evaluateEvery");
    const { model, loss } = this.#options;
    const prepare = (raw: Tensor) => this.#preparation.apply(raw);
    return this.#turns.take(() => evaluate(source, { model, device: this.device, loss, prepare, onProgress, signal }));
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
    this.#expectExact("save", "checkpointEvery");
    while (this.#making) await this.#making;
    this.#soundness.expect("save: nothing was written");
    // Steps and loads wait for it, so that all values that it reads are of one moment.
    const saving = this.#save(path);
    this.#saving.add(saving);
    try {
      await saving;
    } finally {
      this.#saving.delete(saving);
    }
  }

  async #save(path: string): Promise<void> {
    const { model, optimizer, card } = this.#options;
    const { step } = this;
    const info = {
      format: "stepsize-checkpoint-1" as const,
      step,
      counters: model.counters(),
      precision: model.precision,
      ...(this.#best && { best: this.#best }),
      ...card,
    };
    const run = this.#identity();
    // The sources know the versions of the tensors, so that a change by other code is noticed.
    const state = optimizer.stateDict();
    const weights = model.stateDict();
    const sources = checkpointNames({
      model: mapValues(weights, (one, name) => deviceSource(name, one)),
      optimizer: mapValues(state, (one, name) => deviceSource(name, one)),
      rates: mapValues(customRates(optimizer, this.budget), ({ dtype, shape, data }) => hostSource(dtype, shape, data)),
    });
    const [{ iteration, stoppedAt }, digest] = await Promise.all([optimizer.stats(), this.#dataDigest()]);
    if (stoppedAt !== undefined)
      this.#refuseToSave(
        step,
        `the gradient of step ${stoppedAt} was not finite, and nothing is updated since (nonFinite: "stop")`,
      );
    const parameters = model.namedParameters();
    const trained = [...weights.keys()].filter((name) => parameters.get(name)?.requiresGrad);
    const kept = [...state.keys()].filter((name) => name !== "state");
    const checked = checkpointNames({ model: named(trained), optimizer: named(kept), rates: new Map() });
    await writeSources(
      path,
      sources,
      { stepsize: JSON.stringify({ ...info, iteration, run: withDigest(run, digest) }) },
      {
        values: async (stored, { dtype }, values) => {
          const name = checked.get(stored);
          if (name === undefined || (await areAllFinite(dtype, values))) return;
          const advice = `nonFinite: "stop" or "skip" keeps such gradients out`;
          this.#refuseToSave(step, `${name} has a value that is not finite; ${advice}`);
        },
        // A step whose values were read may have been found to be non-finite in the meantime.
        end: () => this.#soundness.expect("save: nothing was written", step),
      },
    );
    this.#soundness.checkpoint = { path, step };
  }

  /** Throws because the values read for a checkpoint are not a state that a run could continue from. */
  #refuseToSave(step: number, problem: string): never {
    this.#soundness.expect("save: nothing was written", step);
    const message = `save: nothing was written: ${problem}. ${this.#soundness.lastGood}`;
    this.#soundness.lose(new StepsizeError("non-finite", problem), step - 1);
    throw new StepsizeError("non-finite", message);
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
    this.#expectExact("load", "onStep");
    if (this.#standing?.at === "work")
      throw new StepsizeError(
        "invalid-state",
        "load: a run is making a step; call it in the body of its loop, or after it",
      );
    await this.#turns.take(() => open((checkpoint) => this.#load(checkpoint, allowed)));
  }

  async #load(checkpoint: OpenCheckpoint, allowed: ReadonlySet<Allowed>): Promise<void> {
    const { path, info } = checkpoint;
    const { model, optimizer } = this.#options;
    const rates = await readTensors(checkpoint.rates);
    expectAllowed(path, await this.#differencesFrom(info, rates), allowed);
    // Everything about the checkpoint is checked before anything changes.
    await inFile(path, () => {
      model.checkStateDict(describeAll(checkpoint.model));
      optimizer.checkStateDict(describeAll(checkpoint.optimizer));
    });
    await verifyAll([checkpoint.model, checkpoint.optimizer]);
    await this.#whileMaking(() => this.#fill(checkpoint));
    this.#records.skipped = (await optimizer.stats()).skipped;
  }

  /** Loads the state of a checkpoint that fits. */
  async #fill(checkpoint: OpenCheckpoint): Promise<void> {
    while (this.#saving.size > 0) await Promise.allSettled(this.#saving);
    const { model, optimizer } = this.#options;
    const { path, info } = checkpoint;
    try {
      await fillWeights(model, checkpoint.model);
      const uploads = new Uploads(this.device);
      await optimizer.fillState(describeAll(checkpoint.optimizer), checkpoint.counters, (name, to) =>
        fillSame(uploads, to, checkpoint.optimizer.get(name) as StoredTensor),
      );
    } catch (error) {
      // The file changed after it was checked, or can no longer be read.
      this.#soundness.lose(halfLoaded(path, error), 0);
      throw halfLoaded(path, error);
    }
    model.loadCounters(info.counters);
    this.step = info.step;
    this.#loads++;
    this.#best = info.best;
    this.#soundness.regain({ path, step: info.step });
  }

  async #differencesFrom(info: CheckpointInfo, rates: ReadonlyMap<string, HostTensor>): Promise<Difference[]> {
    const knowsContent = typeof (info.run["data"] as { digest?: unknown } | undefined)?.digest === "string";
    const own = withDigest(this.#identity(), knowsContent ? await this.#dataDigest() : undefined);
    const differentRates = differencesOfRates(rates, customRates(this.#options.optimizer, this.budget));
    return [
      ...differencesOf(info.run, plainJson(own)),
      ...differentRates.map((words): Difference => ({ words, allowedAs: "schedule" })),
      ...(info.step <= this.budget
        ? []
        : [{ words: `it has made ${info.step} steps, this run's budget is ${this.budget}`, allowedAs: undefined }]),
    ];
  }

  /** Returns the hash of the data, which is computed once; `undefined` if the data have none. */
  #dataDigest(): Promise<string> | undefined {
    this.#digest ??= this.#options.data.digest?.();
    return this.#digest;
  }

  /** Frees the memory of the trainer itself. The model and the optimizer stay usable. */
  dispose(): void {
    this.#preparation.dispose();
    this.#maker.dispose();
  }

  /** Returns everything besides the state that determines the losses to come. A resumed run must have the same. */
  #identity(): Record<string, unknown> {
    const { model, optimizer, data } = this.#options;
    const { lr } = optimizer.groups[0]?.options ?? {};
    return {
      ...(model.precision !== "float32" && { precision: model.precision }),
      schedule: lr === undefined ? undefined : learningRateJson(lr),
      ...optimizer.toJSON(),
      data: data.toJSON(),
      accumulate: this.#accumulate,
    };
  }

  /** Returns the next batch. Adds the step to errors of the data. */
  async #nextBatch(batches: AsyncIterator<Batch>): Promise<Batch> {
    const { value, done } = await batches.next().catch((error: unknown) => {
      if (!(error instanceof StepsizeError)) throw error;
      const where = `the data of step ${this.step} of ${this.budget}`;
      throw new StepsizeError(error.code, `${where}: ${error.message}`, { cause: error });
    });
    if (done)
      throw new StepsizeError(
        "invalid-state",
        `the data ended at step ${this.step} of ${this.budget}; give an iterable that goes on, or a smaller budget`,
      );
    return value;
  }

  /** Draws the batches of a step and makes it. Returns the steps whose records come next, in order. */
  async #nextStep({ batches, loads }: OpenData, capture: boolean): Promise<StepsUnderWay[]> {
    const drawn = await this.#maker.draw(() => this.#nextBatch(batches), capture);
    try {
      // An evaluation may be in progress, or a load, which makes these batches obsolete.
      return await this.#turns.take(() =>
        loads === this.#loads && !this.#stopping ? this.#makeStep(drawn, capture) : [],
      );
    } finally {
      this.#maker.discard(drawn);
    }
  }

  /**
   * Makes a step and returns the steps whose records come next. Nothing has changed if it fails or if the run is
   * stopping.
   */
  async #makeStep(drawn: DrawnStep, capture: boolean): Promise<StepsUnderWay[]> {
    while (this.#saving.size > 0) await Promise.allSettled(this.#saving);
    // `stop` may have been called in the meantime.
    if (this.#stopping) return [];
    return await this.#whileMaking(async () => {
      try {
        const next = await this.#maker.make(this.step, drawn, capture);
        this.step++;
        return next;
      } catch (error) {
        if (!this.#maker.undo()) this.#soundness.lose(halfMade(this.step, error), this.step);
        throw error;
      }
    });
  }

  /** Does work during which model and optimizer are in an intermediate state. */
  async #whileMaking<T>(work: () => Promise<T>): Promise<T> {
    let made: () => void = () => {};
    this.#making = new Promise((resolve) => {
      made = resolve;
    });
    try {
      return await work();
    } finally {
      this.#making = undefined;
      made();
    }
  }
}

/** State of a run: at work, or suspended at a record while the loop body runs. */
type Standing =
  | { readonly at: "work" }
  | {
      readonly at: "record";
      readonly step: number;
      /** Whether later steps were made already. */
      readonly isAhead: boolean;
    };

/** The batches of a run, from the step at which it continues. */
interface OpenData {
  readonly batches: AsyncIterator<Batch>;
  /** Number of checkpoints that had been loaded when the batches were opened. */
  readonly loads: number;
}

function halfMade(step: number, cause: unknown): StepsizeError {
  const message = messageOf(cause);
  return new StepsizeError(
    cause instanceof StepsizeError ? cause.code : "invalid-state",
    `step ${step} failed after it had changed the model's running statistics: ${message}`,
    { cause },
  );
}

function halfLoaded(path: string, cause: unknown): StepsizeError {
  const code = cause instanceof StepsizeError ? cause.code : "invalid-state";
  const message = `${path}: was loaded in part, so that model and optimizer have the state of no step: ${messageOf(cause)}`;
  return new StepsizeError(code, message, { cause });
}

function mapValues<T, R>(all: ReadonlyMap<string, T>, change: (value: T, name: string) => R): Map<string, R> {
  return new Map([...all].map(([name, value]) => [name, change(value, name)]));
}

/** Returns a map from each name to itself. */
function named(names: readonly string[]): Map<string, string> {
  return new Map(names.map((name) => [name, name]));
}

function withDigest(identity: RunIdentity, digest: string | undefined): RunIdentity {
  if (digest === undefined) return identity;
  return { ...identity, data: { ...(identity["data"] as object), digest } };
}

function plainJson(value: RunIdentity): Record<string, unknown> {
  return JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
}
