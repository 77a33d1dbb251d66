import type { Batch } from "../data/index.js";
import type { Device } from "../native/index.js";
import type { Loss, Module, Preparation } from "../nn/index.js";
import type { LearningRate, Optimizer } from "../optim/index.js";
import { rowsOf } from "../optim/options.js";
import { type Tensor, tidy } from "../tensor/index.js";
import { BurstLength } from "./burst-length.js";
import { CapturedStep } from "./captured-step.js";
import { type BatchTensors, disposeBatch, lossOf, upload } from "./evaluate.js";
import { ForwardState } from "./forward-state.js";
import { MetricsRing } from "./metrics-ring.js";
import { partsOf, WeightSum, weighed } from "./step-loss.js";
import type { EnqueuedStep, StepMetrics } from "./step-record.js";

/** Steps, or bursts of them, that may be enqueued before the oldest one's result is awaited. */
export const stepsAhead = 2;

/** What steps are made with. */
export interface StepParts {
  readonly model: Module;
  readonly optimizer: Optimizer<{ lr: LearningRate }>;
  readonly loss: Loss;
  readonly preparation: Preparation;
  readonly device: Device;
  /** Batches of a step. */
  readonly accumulate: number;
  /** Steps that may be made. */
  readonly budget: number;
}

/** The batches of one step, on the device. */
export interface DrawnStep {
  readonly inputs: readonly BatchTensors[];
  readonly items: number;
}

/** A step that is done. */
export interface MeasuredStep {
  readonly known: EnqueuedStep;
  readonly metrics: StepMetrics;
}

/** Steps whose results come together, in order. A failure shows when they are awaited. */
export type StepsUnderWay = Promise<readonly MeasuredStep[]>;

/** Makes the steps of training: operation by operation, or by replaying a captured one. */
export class StepMaker {
  readonly #parts: StepParts;
  readonly #forwardState: ForwardState;
  #captured: CapturedStep | undefined;
  /** Whether a step was made, which leaves what a captured one must find. */
  #warm = false;
  /** Steps that were replayed and whose metrics were not asked for yet. */
  readonly #inRing: EnqueuedStep[] = [];
  readonly #burst = new BurstLength(MetricsRing.rows);

  constructor(parts: StepParts) {
    this.#parts = parts;
    this.#forwardState = new ForwardState(parts.model);
  }

  /**
   * Draws the batches of a step, before any of its work is begun: while the data are waited for, no step is half made,
   * and a failure of the data changes nothing.
   */
  async draw(next: () => Promise<Batch>, capture: boolean): Promise<DrawnStep> {
    const inputs: BatchTensors[] = [];
    let items = 0;
    try {
      for (let i = 0; i < this.#parts.accumulate; i++) {
        const batch = await next();
        // Before the next one is drawn, which may use its memory again.
        const written = capture ? this.#captured?.write(i, batch) : undefined;
        inputs.push(written ?? upload(this.#parts.device, batch));
        items += batch.size;
      }
    } catch (error) {
      this.discard({ inputs, items });
      throw error;
    }
    return { inputs, items };
  }

  /** Gives back the memory of batches that were drawn; a captured step keeps its own. */
  discard({ inputs }: DrawnStep): void {
    for (const one of inputs) if (!this.#isCaptured(one)) disposeBatch(one);
  }

  /**
   * Makes the step of this number; returns the steps whose records come next. If it fails, see {@link undo}.
   *
   * @param capture whether it may be made by replaying the captured step
   */
  async make(step: number, drawn: DrawnStep, capture: boolean): Promise<StepsUnderWay[]> {
    const { model, optimizer } = this.#parts;
    this.#forwardState.mark();
    const learningRate = optimizer.learningRates()[0] as number;
    // The loop body may have used the model by itself.
    if (!model.training) model.train();
    optimizer.zeroGrad();
    const { metrics } = await (capture && this.#warm ? this.#replay(drawn) : this.#makeEagerly(drawn));
    this.#warm = true;
    const known = { step, learningRate, items: drawn.items };
    if (metrics) return [...this.readRing(), quiet(metrics.then((own) => [{ known, metrics: own }]))];
    this.#inRing.push(known);
    return this.#inRing.length >= this.#burst.steps ? this.readRing() : [];
  }

  /**
   * Undoes the part of a step that was made before it failed.
   * @returns whether the model and the optimizer are those from before it
   */
  undo(): boolean {
    return this.#forwardState.restore();
  }

  /** The steps whose metrics wait in the captured step's ring, read together. */
  readRing(): StepsUnderWay[] {
    const steps = this.#inRing.splice(0);
    if (steps.length === 0) return [];
    const read = async (captured: CapturedStep) => {
      const rows = await captured.metrics();
      this.#burst.arrived(steps.length, performance.now());
      return steps.map((known, i) => ({ known, metrics: rows[i] as StepMetrics }));
    };
    return [quiet(read(this.#captured as CapturedStep))];
  }

  /** Gives back the memory of the captured step. */
  dispose(): void {
    this.#captured?.dispose();
    this.#captured = undefined;
  }

  #isCaptured(tensors: BatchTensors): boolean {
    return this.#captured?.inputs.includes(tensors) ?? false;
  }

  /** Makes a step operation by operation. */
  async #makeEagerly({ inputs }: DrawnStep): Promise<MadeStep> {
    const { optimizer } = this.#parts;
    const reads: Promise<number[]>[] = [];
    const weight = new WeightSum();
    try {
      for (const one of inputs) {
        const loss = tidy(() => this.#differentiate(one, weight));
        const parts = partsOf(loss, inputs.length);
        reads.push(quiet(Promise.all(parts.map((part) => part.item()))));
        loss.dispose();
        if (!this.#isCaptured(one)) disposeBatch(one);
        // Not further ahead of the device than with steps of one batch.
        await reads.at(-1 - stepsAhead);
      }
      this.#update(weight);
    } finally {
      // Also after a failure: the step is made again from the start, not added to half a gradient.
      optimizer.zeroGrad();
      weight.dispose();
    }
    const stats = optimizer.checksGradients ? optimizer.stats() : undefined;
    const metrics = Promise.all([Promise.all(reads), stats]);
    return { metrics: metrics.then(([parts, measured]) => ({ losses: parts.flat(), stats: measured })) };
  }

  /** Makes a step by replaying the captured one, which is captured here the first time. */
  async #replay(drawn: DrawnStep): Promise<MadeStep> {
    this.#captured ??= this.#capture(drawn.inputs);
    // A batch of another size: at the end of an epoch, say.
    if (!drawn.inputs.every((one) => this.#isCaptured(one))) return this.#makeEagerly(drawn);
    this.#captured.replay();
    return {};
  }

  #capture(inputs: readonly BatchTensors[]): CapturedStep {
    const { device, optimizer, budget } = this.#parts;
    const planned = optimizer.groups.map(({ options: { lr } }) => rowsOf(lr) ?? 0);
    optimizer.tabulate(Math.max(budget, ...planned));
    try {
      return new CapturedStep(device, inputs, optimizer, () => {
        const weight = new WeightSum();
        try {
          const losses = inputs.map((one) => tidy(() => this.#differentiate(one, weight)));
          this.#update(weight);
          return losses;
        } finally {
          optimizer.zeroGrad();
          weight.dispose();
        }
      });
    } catch (error) {
      // What was recorded until then is not done.
      this.#forwardState.restore();
      this.#forwardState.mark();
      throw error;
    }
  }

  /** The loss of one batch, whose gradient is added to the parameters', and what it counts to the step's. */
  #differentiate({ x, y, moves }: BatchTensors, weight: WeightSum): Tensor {
    const { model, loss, preparation, accumulate } = this.#parts;
    const result = lossOf(loss, model.forward(preparation.apply(x, moves)), y);
    if (accumulate === 1) {
      result.backward();
    } else {
      // The gradients of the sums add up, and the step divides by the weight of all.
      weight.add(weighed(result, y));
      result.backward(result.totals?.weight);
    }
    return result;
  }

  #update(weight: WeightSum): void {
    this.#parts.optimizer.step({ totalWeight: weight.tensor });
  }
}

/** What came of making a step; without metrics if they wait in the captured step's ring. */
interface MadeStep {
  readonly metrics?: Promise<StepMetrics>;
}

/** It is awaited later; until then a failure must not count as unhandled. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
