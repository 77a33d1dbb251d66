import type { Batch } from "../data/index.js";
import { itemAt } from "../lookup.js";
import type { Device } from "../native/index.js";
import type { Loss, Module, Preparation } from "../nn/index.js";
import type { LearningRate, Optimizer } from "../optim/index.js";
import { rowsOf } from "../optim/options.js";
import { type Tensor, tidy } from "../tensor/index.js";
import { CapturedStep } from "./captured-step.js";
import { type BatchTensors, disposeBatch, lossOf, upload } from "./evaluate.js";
import { ForwardState } from "./forward-state.js";
import { partsOf, WeightSum, weighed } from "./step-loss.js";
import { type EagerStep, type MadeStep, quiet, stepsAhead } from "./step-queue.js";
import type { EnqueuedStep } from "./step-record.js";

/** What steps are made with. */
export interface StepParts {
  readonly model: Module;
  readonly optimizer: Optimizer<{ lr: LearningRate }>;
  readonly loss: Loss;
  readonly preparation: Preparation;
  readonly device: Device;
  /** Number of batches per step. */
  readonly accumulate: number;
  /** Largest number of steps. */
  readonly budget: number;
}

/** The batches of one step, on the device. */
export interface DrawnStep {
  readonly inputs: readonly BatchTensors[];
  /** Number of items in all batches. */
  readonly items: number;
}

/** Makes training steps, either operation by operation (eager) or by replaying a captured step. */
export class StepMaker {
  readonly #parts: StepParts;
  readonly #forwardState: ForwardState;
  #captured: CapturedStep | undefined;
  /** Whether a step was made. A capture needs the optimizer state that the first step creates. */
  #warm = false;

  constructor(parts: StepParts) {
    this.#parts = parts;
    this.#forwardState = new ForwardState(parts.model);
  }

  /**
   * Draws all batches of a step before any work of the step begins. The wait for data and a failure of the data then
   * leave the model unchanged.
   */
  async draw(next: () => Promise<Batch>, capture: boolean): Promise<DrawnStep> {
    const inputs: BatchTensors[] = [];
    let items = 0;
    try {
      for (let i = 0; i < this.#parts.accumulate; i++) {
        const batch = await next();
        // The batch is uploaded before the next one is drawn, which may reuse its memory.
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

  /** Frees the memory of drawn batches. The inputs of the captured step are kept. */
  discard({ inputs }: DrawnStep): void {
    for (const batch of inputs) if (!this.#isCaptured(batch)) disposeBatch(batch);
  }

  /**
   * Makes a step. After a failure, call {@link undo}.
   *
   * @param step index of the step
   * @param capture whether the step may be captured and replayed
   */
  async make(step: number, drawn: DrawnStep, capture: boolean): Promise<MadeStep> {
    const { model, optimizer } = this.#parts;
    this.#forwardState.mark();
    const known = { step, learningRate: itemAt(optimizer.learningRates(), 0), items: drawn.items };
    // The loop body may have changed the mode of the model.
    if (!model.training) model.train();
    optimizer.zeroGrad();
    const replays = capture && this.#warm ? this.#replay(drawn) : undefined;
    const made = replays ? { known, replays } : await this.#makeEagerly(known, drawn);
    this.#warm = true;
    return made;
  }

  /**
   * Undoes the part of a failed step that was made.
   *
   * @returns whether model and optimizer are in the state before the step
   */
  undo(): boolean {
    return this.#forwardState.restore();
  }

  /** Frees the memory of the captured step. */
  dispose(): void {
    this.#captured?.dispose();
    this.#captured = undefined;
  }

  #isCaptured(tensors: BatchTensors): boolean {
    return this.#captured?.inputs.includes(tensors) ?? false;
  }

  /** Makes a step operation by operation. */
  async #makeEagerly(known: EnqueuedStep, { inputs }: DrawnStep): Promise<EagerStep> {
    const { optimizer } = this.#parts;
    const reads: Promise<number[]>[] = [];
    const weight = new WeightSum();
    try {
      for (const batch of inputs) {
        const loss = tidy(() => this.#differentiate(batch, weight));
        const parts = partsOf(loss, inputs.length);
        reads.push(quiet(Promise.all(parts.map((part) => part.item()))));
        loss.dispose();
        if (!this.#isCaptured(batch)) disposeBatch(batch);
        // The host gets no further ahead of the device than with steps of one batch.
        await reads.at(-1 - stepsAhead);
      }
      this.#update(weight);
    } finally {
      // This also runs after a failure. The step is then repeated from the start, not added to a partial gradient.
      optimizer.zeroGrad();
      weight.dispose();
    }
    const stats = optimizer.checksGradients ? optimizer.stats() : undefined;
    const metrics = Promise.all([Promise.all(reads), stats]);
    return {
      known,
      metrics: quiet(metrics.then(([parts, measured]) => ({ losses: parts.flat(), stats: measured }))),
    };
  }

  /**
   * Makes a step by replaying the captured one. The first call captures it.
   *
   * @returns the captured step; `undefined` if nothing was done, because the batches have other shapes than its inputs,
   * as the last batch of an epoch may have
   */
  #replay({ inputs }: DrawnStep): CapturedStep | undefined {
    this.#captured ??= this.#capture(inputs);
    if (!inputs.every((batch) => this.#isCaptured(batch))) return undefined;
    this.#captured.replay();
    return this.#captured;
  }

  #capture(inputs: readonly BatchTensors[]): CapturedStep {
    const { device, optimizer, budget } = this.#parts;
    const planned = optimizer.groups.map(({ options: { lr } }) => rowsOf(lr) ?? 0);
    optimizer.tabulate(Math.max(budget, ...planned));
    try {
      return new CapturedStep(device, inputs, optimizer, () => {
        const weight = new WeightSum();
        try {
          const losses = inputs.map((batch) => tidy(() => this.#differentiate(batch, weight)));
          this.#update(weight);
          return losses;
        } finally {
          optimizer.zeroGrad();
          weight.dispose();
        }
      });
    } catch (error) {
      // The work recorded so far was not executed.
      this.#forwardState.restore();
      this.#forwardState.mark();
      throw error;
    }
  }

  /**
   * Computes the loss of one batch, adds its gradient to those of the parameters, and adds its weight to the step's.
   */
  #differentiate({ x, y, moves }: BatchTensors, weight: WeightSum): Tensor {
    const { model, loss, preparation, accumulate } = this.#parts;
    const result = lossOf(loss, model.forward(preparation.apply(x, moves)), y);
    if (accumulate === 1) {
      result.backward();
    } else {
      // The gradients of the sums are added, and the step divides by the total weight.
      const { totals } = weighed(result, y);
      weight.add(totals.weight);
      result.backward(totals.weight);
    }
    return result;
  }

  #update(weight: WeightSum): void {
    this.#parts.optimizer.step({ totalWeight: weight.tensor });
  }
}
