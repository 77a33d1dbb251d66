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
  readonly model: Module;
  readonly optimizer: Optimizer<{ lr: LearningRate }>;
  readonly loss: Loss;
  readonly data: BatchSource;
  /** Number of steps; default: the budget of the optimizer's schedule. */
  readonly budget?: number | undefined;
  /**
   * Batches whose gradients make one step, as if they were one batch: whatever their sizes, each weighs what it counts
   * (see {@link Loss}). Default 1.
   */
  readonly accumulate?: number | undefined;
  /** Saved with every checkpoint; its preprocessing is applied to every batch. Default: none. */
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
 * The training loop, as an asynchronous iterator of step records. In the body of the loop the weights are those after
 * the record's step: it may evaluate, save, load, stop or leave.
 *
 * ```ts
 * for await (const { step, loss, learningRate } of trainer.run()) console.log(step, loss, learningRate);
 * ```
 */
export class Trainer {
  /** Steps made so far: the next one is this number. In the loop body it is one more than the record's. */
  step = 0;
  readonly budget: number;
  readonly device: Device;
  readonly #options: TrainerOptions;
  readonly #preparation: Preparation;
  readonly #accumulate: number;
  readonly #maker: StepMaker;
  #stopping = false;
  /** Where the run that is going on stands; `undefined` if there is none. */
  #standing: Standing | undefined;
  /** Pending while a step is being made: model and optimizer are not those of any number of steps then. */
  #making: Promise<void> | undefined;
  /** Checkpoints that are being written. */
  readonly #saving = new Set<Promise<void>>();
  readonly #turns = new Turns();
  /** Checkpoints that were loaded: each makes batches and steps of before obsolete. */
  #loads = 0;
  #best: BestEvaluation | undefined;
  readonly #soundness = new Soundness();
  readonly #records: StepRecords;
  #digest: Promise<string> | undefined;

  /** @throws StepsizeError `invalid-argument` where no budget is given and the learning rate has none. */
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

  /** The best of the evaluations that `evaluateEvery` made so far, if there was one; part of a checkpoint. */
  get best(): BestEvaluation | undefined {
    return this.#best;
  }

  /** The checkpoint that was last written or loaded, and how many steps it was made after. */
  get lastCheckpoint(): CheckpointPlace | undefined {
    return this.#soundness.checkpoint;
  }

  /**
   * Ends {@link run}: in its loop body or in `onStep` after the record's step, elsewhere after the step that is being
   * made. With `runAhead` the records of all steps that were made already come first. `run` may be called again.
   */
  stop(): void {
    this.#stopping = true;
  }

  /**
   * Trains from the current step to the budget, or to `until`. In the loop body the weights are those after the record's
   * step, and `evaluate`, `save`, `load`, `stop` and `break` act on them; with `runAhead`, which lets the device go on
   * meanwhile, only the options act at exact steps. Neither that nor `capture` changes a record. Calling `run` again
   * goes on with the same bits, however the loop was left.
   *
   * ```ts
   * const evaluateEvery = { steps: 100, data: validation.batches({ size: 500 }) };
   * const checkpointEvery = { steps: 500, path: (step: number) => `run/checkpoint-${step}.safetensors` };
   * for await (const { step, loss, evaluation } of trainer.run({ evaluateEvery, checkpointEvery, capture: true })) {
   *   if (evaluation) console.log(`after ${step + 1} steps: ${evaluation.loss}`);
   *   if (loss < 0.01) break;
   * }
   * ```
   *
   * @throws StepsizeError `invalid-argument` for an option; `invalid-state` if another run of this trainer has not ended;
   * `non-finite` if a loss, or a gradient that the optimizer checks, is not finite and the optimizer does not skip such
   * steps. With `nonFinite: "stop"` the parameters are those before that step. The trainer then neither saves nor goes
   * on until a checkpoint is loaded: what the step left behind belongs to no number of steps.
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
        // The consumer has left. A failure among these steps must not stay unknown.
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

  /** The records of the first steps that are pending, each with what was asked for after its step. */
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

  /** Does what was asked for after a step; the record with what was found. */
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
      // Of which of the steps under way is not known.
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

  /** Looks at the steps whose records are not yielded any more, so that a failure among them is known. */
  async #examineRest(pending: readonly StepsUnderWay[], measured: readonly MeasuredStep[]): Promise<void> {
    try {
      for (const steps of [measured, ...pending])
        for (const one of await this.#arrived(Promise.resolve(steps))) this.#examine(one);
    } catch {
      // It is kept as the reason why the trainer does not go on.
    }
    await Promise.allSettled(pending);
  }

  /** Throws in the body of a loop whose record is behind the weights. */
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
   * One pass over other data in evaluation mode. Steps of a run that goes on wait for it.
   *
   * @param options a function is its `onProgress`
   * @throws StepsizeError `invalid-state` in the loop body of a run with `runAhead`; the reason of `signal` if it is
   * aborted before the end
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
   * Writes a checkpoint: one safetensors file with its JSON in the metadata, written beside, flushed and renamed, so that
   * there is a loadable file at every moment. It has the state after as many steps as it says, whenever it is asked for:
   * in the loop body after the record's step; while a step is being made, after that. Later steps, and the loading of
   * another checkpoint, wait until it is written.
   *
   * Values are read from the device and written in blocks: at most 64 MiB are in memory at once, however large the state.
   *
   * @throws StepsizeError `invalid-file` if it cannot be written; `non-finite` if a step or a weight was not finite;
   * `invalid-state` in the loop body of a run with `runAhead`, and after a step that failed halfway. The file that was
   * there before is kept. If there is no good state to save, the message names the last good checkpoint.
   */
  async save(path: string): Promise<void> {
    expectText("path", path, "the path of a file");
    this.#expectExact("save", "checkpointEvery");
    while (this.#making) await this.#making;
    this.#soundness.expect("save: nothing was written");
    // A step, or the loading of a checkpoint, waits until the file is there: what it reads is of one moment.
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
    // They know the versions of the tensors, so that a change by somebody else is noticed.
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
        // Found meanwhile, in a step that is part of what was read.
        end: () => this.#soundness.expect("save: nothing was written", step),
      },
    );
    this.#soundness.checkpoint = { path, step };
  }

  /** Throws because of what was read for a checkpoint: nothing that a run could go on with. */
  #refuseToSave(step: number, problem: string): never {
    this.#soundness.expect("save: nothing was written", step);
    const message = `save: nothing was written: ${problem}. ${this.#soundness.lastGood}`;
    this.#soundness.lose(new StepsizeError("non-finite", problem), step - 1);
    throw new StepsizeError("non-finite", message);
  }

  /**
   * Continues from a checkpoint: the following losses are the bits that an uninterrupted run would have given. In the
   * body of a loop, the next record is that of the step after the checkpoint. With `allow` a run goes on with another
   * schedule, a longer budget or other data, and keeps the optimizer's state.
   *
   * ```ts
   * await trainer.load("run/checkpoint-600.safetensors", { allow: ["schedule"] }); // this trainer's budget is 1200
   * ```
   *
   * The file is read twice, in blocks: to compare it with its checksums before anything changes, and to load it.
   *
   * @throws StepsizeError `not-found`; `invalid-file` if the file is damaged, or of another model, optimizer, schedule or
   * data (what differs); `invalid-state` while a run makes a step, and in the loop body of one with `runAhead`. Nothing
   * has changed then.
   */
  async load(path: string, options: LoadOptions = {}): Promise<void> {
    const allowed = allowedBy(options);
    await this.#takeOver((load) => withCheckpoint(path, load), allowed);
  }

  /**
   * @internal {@link load} from a checkpoint that is open. What was compared with its checksums since then is not read
   * again for that.
   */
  async loadOpen(checkpoint: OpenCheckpoint, allow: readonly Allowed[] = []): Promise<void> {
    await this.#takeOver((load) => load(checkpoint), new Set(allow));
  }

  /** @param open calls what it is given with a checkpoint that is open */
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
    // All that can be wrong with it is known before anything changes.
    await inFile(path, () => {
      model.checkStateDict(describeAll(checkpoint.model));
      optimizer.checkStateDict(describeAll(checkpoint.optimizer));
    });
    await verifyAll([checkpoint.model, checkpoint.optimizer]);
    await this.#whileMaking(() => this.#fill(checkpoint));
    this.#records.skipped = (await optimizer.stats()).skipped;
  }

  /** Takes over the state of a checkpoint that fits. */
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
      // The file changed since it was looked at, or could not be read any more.
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

  /** Hashes the data once; `undefined` if they cannot be. */
  #dataDigest(): Promise<string> | undefined {
    this.#digest ??= this.#options.data.digest?.();
    return this.#digest;
  }

  /** Gives back the memory that the trainer itself holds; the model and the optimizer are their owner's. */
  dispose(): void {
    this.#preparation.dispose();
    this.#maker.dispose();
  }

  /** What determines the losses to come, besides the state: a resumed run must have the same. */
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

  /** Draws the batches of a step and makes it; the steps whose records come next, in order. */
  async #nextStep({ batches, loads }: OpenData, capture: boolean): Promise<StepsUnderWay[]> {
    const drawn = await this.#maker.draw(() => this.#nextBatch(batches), capture);
    try {
      // An evaluation may be under way, or a checkpoint being loaded, which makes these batches obsolete.
      return await this.#turns.take(() =>
        loads === this.#loads && !this.#stopping ? this.#makeStep(drawn, capture) : [],
      );
    } finally {
      this.#maker.discard(drawn);
    }
  }

  /** Makes a step; returns the steps whose records come next. Nothing has changed if it fails, or no run goes on. */
  async #makeStep(drawn: DrawnStep, capture: boolean): Promise<StepsUnderWay[]> {
    while (this.#saving.size > 0) await Promise.allSettled(this.#saving);
    // What was asked for meanwhile.
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

  /** Does what leaves model and optimizer in no state of any number of steps until it is done. */
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

/** Where a run stands: at work, or at a record that the loop body works on. */
type Standing =
  | { readonly at: "work" }
  | {
      readonly at: "record";
      readonly step: number;
      /** Whether later steps were made already. */
      readonly isAhead: boolean;
    };

/** The batches of a run, from the step that it goes on with. */
interface OpenData {
  readonly batches: AsyncIterator<Batch>;
  /** Checkpoints that had been loaded when they were opened. */
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

/** The names by themselves. */
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
