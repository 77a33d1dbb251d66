import { isDeepStrictEqual } from "node:util";
import type { Batch, BatchSource } from "../data/index.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import type { Device } from "../native/index.js";
import { type Loss, type Module, Preparation } from "../nn/index.js";
import type { LearningRate, Optimizer } from "../optim/index.js";
import { type Tensor, tidy } from "../tensor/index.js";
import { BurstLength } from "./burst-length.js";
import { CapturedStep } from "./captured-step.js";
import { type BatchTensors, disposeBatch, type Evaluation, evaluate, upload } from "./evaluate.js";
import { MetricsRing } from "./metrics-ring.js";
import { writeSafetensors } from "./safetensors.js";
import {
  type CheckpointInfo,
  checkpointNames,
  inFile,
  type ModelCard,
  onDevice,
  onHost,
  readCheckpoint,
} from "./saved-model.js";
import { type EnqueuedStep, type StepMetrics, type StepRecord, StepRecords } from "./step-record.js";

/** Steps, or bursts of them, that are enqueued before the oldest one's result is awaited: the device stays busy. */
const runAhead = 2;

/** Options of {@link Trainer}. */
export interface TrainerOptions {
  readonly model: Module;
  readonly optimizer: Optimizer<{ lr: LearningRate }>;
  readonly loss: Loss;
  readonly data: BatchSource;
  /** Number of steps; default: the budget of the optimizer's schedule. */
  readonly budget?: number | undefined;
  /** Batches whose gradients are averaged into one step; default 1. */
  readonly accumulate?: number | undefined;
  /** Saved with every checkpoint; its preprocessing is applied to every batch. Default: none. */
  readonly card?: ModelCard | undefined;
}

/**
 * The training loop, as an asynchronous iterator of step records. It runs ahead of the device by two steps and reads
 * nothing that the device has not finished, so the loop around it decides what else happens: progress, evaluation,
 * checkpoints.
 *
 * ```ts
 * for await (const { step, loss, learningRate } of trainer.run()) console.log(step, loss, learningRate);
 * ```
 */
export class Trainer {
  /** Steps enqueued so far: the next one is this number. */
  step = 0;
  readonly budget: number;
  readonly device: Device;
  readonly #options: TrainerOptions;
  readonly #preparation: Preparation;
  readonly #accumulate: number;
  #captured: CapturedStep | undefined;
  /** Whether a step was made, which leaves what a captured one must find. */
  #warm = false;
  #stopping = false;
  /** Steps that were replayed and whose metrics were not asked for yet. */
  readonly #inRing: EnqueuedStep[] = [];
  readonly #burst = new BurstLength(MetricsRing.rows);
  readonly #records: StepRecords;

  /** @throws StepsizeError `invalid-argument` where no budget is given and the learning rate has none. */
  constructor(options: TrainerOptions) {
    this.#options = options;
    const { model, optimizer, accumulate = 1, card, data } = options;
    if (typeof data?.from !== "function")
      invalidArgument("data", "batches, such as dataset.batches({ size: 128 }) or data.fromIterable(…)", data);
    const lr = optimizer.groups[0]?.options.lr;
    const budget = options.budget ?? (typeof lr === "function" ? lr.budget : undefined);
    if (budget === undefined || !Number.isSafeInteger(budget) || budget < 1)
      invalidArgument("budget", "a whole number of steps ≥ 1, or a learning rate that is a schedule", budget);
    if (!Number.isSafeInteger(accumulate) || accumulate < 1)
      invalidArgument("accumulate", "a whole number of batches ≥ 1", accumulate);
    this.budget = budget;
    this.#accumulate = accumulate;
    this.#records = new StepRecords(optimizer.skipsNonFinite);
    this.device = (model.parameters()[0] as Tensor).device;
    this.#preparation = new Preparation(model, card?.preprocessing);
  }

  /** Lets the step that is being made finish and ends {@link run} after it; `run` may be called again. */
  stop(): void {
    this.#stopping = true;
  }

  /**
   * Trains from the current step to the budget, or to `until`. Then nothing is in flight: every step is known to have
   * been finite, and {@link save} writes a state that is. Calling `run` again goes on with the same bits.
   *
   * @param options.until number of steps after which to pause; default: the budget
   * @param options.capture records the second step and makes the following ones by replaying it, where their batches
   * have the same shapes: to the same bits, with next to nothing left for the host. Takes the memory of a step once
   * more, and calls `optimizer.tabulate()`. Default: false
   * @throws StepsizeError `non-finite` where a loss, or a gradient that the optimizer checks, is not finite and the
   * optimizer does not skip such steps. With `nonFinite: "stop"` the parameters are those before that step.
   */
  async *run(
    options: { readonly until?: number; readonly capture?: boolean } = {},
  ): AsyncGenerator<StepRecord, void, undefined> {
    this.#stopping = false;
    const end = Math.min(options.until ?? this.budget, this.budget);
    const { model, data } = this.#options;
    const batches = data.from(this.step * this.#accumulate, { reuse: true });
    const pending: Promise<MeasuredStep[]>[] = [];
    // Thrown once the steps made before it are told.
    let failure: { error: unknown } | undefined;
    model.train();
    try {
      while (this.step < end && !this.#stopping) {
        try {
          pending.push(...(await this.#enqueue(batches, options.capture ?? false)));
        } catch (error) {
          failure = { error };
          break;
        }
        while (pending.length > runAhead) yield* this.#recordsOf(pending);
      }
      pending.push(...this.#readRing());
      while (pending.length > 0) yield* this.#recordsOf(pending);
      if (failure) throw failure.error;
    } finally {
      await batches.return?.();
      // Steps in flight when the consumer leaves: wait, so that nothing is left to fail unnoticed.
      await Promise.allSettled([...pending, ...this.#readRing()]);
    }
  }

  /** The records of the first steps that are pending. */
  async *#recordsOf(pending: Promise<MeasuredStep[]>[]): AsyncGenerator<StepRecord, void, undefined> {
    const steps = (await pending.shift()) ?? [];
    for (const { known, metrics } of steps) yield this.#records.next(known, metrics);
  }

  /** One pass over other data in evaluation mode. */
  evaluate(source: BatchSource, onProgress?: (done: number, items: number) => void): Promise<Evaluation> {
    const { model, loss } = this.#options;
    const prepare = (raw: Tensor) => this.#preparation.apply(raw);
    return evaluate(source, { model, device: this.device, loss, prepare, onProgress });
  }

  /**
   * Writes a checkpoint of the steps enqueued so far: one safetensors file with its JSON in the metadata, written
   * beside, flushed and renamed, so that there is a loadable file at every moment.
   *
   * @throws StepsizeError `invalid-file` where it cannot be written; the file that was there before is kept.
   */
  async save(path: string): Promise<void> {
    const { model, optimizer, card } = this.#options;
    const info: CheckpointInfo = {
      format: "stepsize-checkpoint-1",
      step: this.step,
      counters: model.counters(),
      precision: model.precision,
      run: this.#identity(),
      ...card,
    };
    const tensors = await onHost(checkpointNames(model.stateDict(), optimizer.stateDict()));
    await writeSafetensors(path, tensors, { stepsize: JSON.stringify(info) });
  }

  /**
   * Continues from a checkpoint: the following losses are the bits that an uninterrupted run would have given.
   *
   * @throws StepsizeError `not-found`, or `invalid-file` where the file is damaged, or of another model, optimizer,
   * schedule or data (what differs); nothing has changed then.
   */
  async load(path: string): Promise<void> {
    const { model, optimizer } = this.#options;
    const checkpoint = await readCheckpoint(path);
    const problems: string[] = [];
    const compare = (name: string, saved: unknown, own: unknown) => {
      if (!isDeepStrictEqual(saved, own))
        problems.push(`${name} was ${JSON.stringify(saved)}, this run has ${JSON.stringify(own)}`);
    };
    const own = plainJson(this.#identity());
    for (const key of new Set([...Object.keys(checkpoint.info.run), ...Object.keys(own)]))
      compare(`the ${key}`, checkpoint.info.run[key], own[key]);
    if (problems.length > 0)
      throw new StepsizeError("invalid-file", `${path}: the checkpoint is of another run: ${problems.join("; ")}`);
    onDevice(this.device, checkpoint.model, (weights) =>
      onDevice(this.device, checkpoint.optimizer, (state) => {
        // Both before either is changed.
        inFile(path, () => model.checkStateDict(weights));
        inFile(path, () => optimizer.checkStateDict(state));
        model.loadStateDict(weights);
        optimizer.loadStateDict(state);
      }),
    );
    model.loadCounters(checkpoint.info.counters);
    this.step = checkpoint.info.step;
    optimizer.iteration = checkpoint.info.step;
    this.#records.skipped = (await optimizer.stats()).skipped;
  }

  /** Gives back the memory that the trainer itself holds; the model and the optimizer are their owner's. */
  dispose(): void {
    this.#preparation.dispose();
    this.#captured?.dispose();
    this.#captured = undefined;
  }

  /** What determines the losses to come, besides the state: a resumed run must have the same. */
  #identity(): Record<string, unknown> {
    const { model, optimizer, data } = this.#options;
    const { lr } = optimizer.groups[0]?.options ?? {};
    return {
      ...(model.precision !== "float32" && { precision: model.precision }),
      schedule: typeof lr === "function" ? lr.toJSON() : lr,
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

  /** Draws the batches of one step and enqueues its work; returns the steps that are to be told next, in order. */
  async #enqueue(batches: AsyncIterator<Batch>, capture: boolean): Promise<Promise<MeasuredStep[]>[]> {
    const learningRate = this.#options.optimizer.learningRates()[0] as number;
    const drawn = this.#draw(batches);
    const { items, metrics } = await (capture && this.#warm
      ? this.#replay(drawn)
      : this.#make(drawn, (batch) => upload(this.device, batch)));
    this.#warm = true;
    const known = { step: this.step++, learningRate, items };
    if (metrics) {
      const alone = quiet(metrics.then((own) => [{ known, metrics: own }]));
      return [...this.#readRing(), alone];
    }
    this.#inRing.push(known);
    return this.#inRing.length >= this.#burst.steps ? this.#readRing() : [];
  }

  /** The steps whose metrics wait in the captured step's ring, read together. */
  #readRing(): Promise<MeasuredStep[]>[] {
    const steps = this.#inRing.splice(0);
    if (steps.length === 0) return [];
    const read = async (captured: CapturedStep) => {
      const rows = await captured.metrics();
      this.#burst.arrived(steps.length, performance.now());
      return steps.map((known, i) => ({ known, metrics: rows[i] as StepMetrics }));
    };
    return [quiet(read(this.#captured as CapturedStep))];
  }

  /** The batches of one step. Each must be uploaded before the next one is drawn: its memory is used again then. */
  async *#draw(batches: AsyncIterator<Batch>): AsyncGenerator<Batch> {
    for (let i = 0; i < this.#accumulate; i++) yield await this.#nextBatch(batches);
  }

  /** Makes a step operation by operation. */
  async #make(
    batches: AsyncIterable<Batch> | Iterable<Batch>,
    tensorsOf: (batch: Batch, index: number) => BatchTensors,
  ): Promise<MadeStep> {
    const { optimizer } = this.#options;
    const reads: Promise<number>[] = [];
    let items = 0;
    try {
      for await (const batch of batches) {
        const loss = tidy(() => this.#differentiate(tensorsOf(batch, reads.length)));
        reads.push(quiet(loss.item()));
        loss.dispose();
        items += batch.size;
        // Not further ahead of the device than with steps of one batch.
        await reads.at(-1 - runAhead);
      }
      this.#update();
    } finally {
      // Also after a failure: the step is made again from the start, not added to half a gradient.
      optimizer.zeroGrad();
    }
    const stats = optimizer.checksGradients ? optimizer.stats() : undefined;
    const metrics = Promise.all([Promise.all(reads), stats]);
    return { items, metrics: metrics.then(([losses, measured]) => ({ losses, stats: measured })) };
  }

  /** Makes a step by replaying the captured one, which is captured here the first time. */
  async #replay(batches: AsyncIterable<Batch>): Promise<MadeStep> {
    const drawn: Batch[] = [];
    const inputs: BatchTensors[] = [];
    try {
      for await (const batch of batches) {
        inputs.push(this.#captured?.write(drawn.length, batch) ?? upload(this.device, batch));
        drawn.push(batch);
      }
      this.#captured ??= this.#capture(inputs);
      if (inputs.every((one) => this.#captured?.inputs.includes(one))) {
        this.#captured.replay();
        return { items: drawn.reduce((sum, { size }) => sum + size, 0) };
      }
      // A batch of another size: at the end of an epoch, say.
      return await this.#make(drawn, (_, i) => inputs[i] as BatchTensors);
    } finally {
      for (const one of inputs) if (!this.#captured?.inputs.includes(one)) disposeBatch(one);
    }
  }

  #capture(inputs: readonly BatchTensors[]): CapturedStep {
    const { optimizer } = this.#options;
    optimizer.tabulate();
    return new CapturedStep(this.device, inputs, optimizer, () => {
      try {
        const losses = inputs.map((one) => tidy(() => this.#differentiate(one)));
        this.#update();
        return losses;
      } finally {
        optimizer.zeroGrad();
      }
    });
  }

  /** The loss of one batch, whose gradient is added to the parameters'. */
  #differentiate({ x, y, moves }: BatchTensors): Tensor {
    const { model, loss } = this.#options;
    const result = loss(model.forward(this.#preparation.apply(x, moves)), y);
    result.backward();
    return result;
  }

  #update(): void {
    const { optimizer } = this.#options;
    optimizer.step({ gradientScale: optimizer.gradientScale / this.#accumulate });
  }
}

/** A step that is on its way, or done. */
interface MeasuredStep {
  readonly known: EnqueuedStep;
  readonly metrics: StepMetrics;
}

/** What came of making a step; without metrics where they wait in the captured step's ring. */
interface MadeStep {
  readonly items: number;
  readonly metrics?: Promise<StepMetrics>;
}

/** It is awaited later; until then a failure must not count as unhandled. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

function plainJson(value: Record<string, unknown>): Record<string, unknown> {
  return JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
}
