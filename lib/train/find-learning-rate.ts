import { expectFunction, expectModule } from "../arguments.js";
import type { BatchSource } from "../data/index.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import { itemAt } from "../lookup.js";
import type { Loss, Module } from "../nn/index.js";
import type { LearningRate, LearningRateFunction, Optimizer } from "../optim/index.js";
import { expectOptions, optionNames } from "../options.js";
import type { ModelCard } from "../weights/index.js";
import { Trainer } from "./trainer.js";

/** Options of {@link findLearningRate}. */
export interface FindLearningRateOptions {
  /** The model. Its weights and statistics are the same after the sweep as before. */
  readonly model: Module;
  /**
   * Makes an optimizer of the model's parameters with the learning rate of the sweep. The sweep disposes of it.
   *
   * ```ts
   * optimizer: (lr) => new AdamW(model.parameters(), { lr, weightDecay: 0.1 })
   * ```
   */
  readonly optimizer: (lr: LearningRateFunction) => Optimizer<{ lr: LearningRate }>;
  /** The loss, from the model's outputs and the labels to a tensor with one element. */
  readonly loss: Loss;
  /** The training batches, such as `dataset.batches({ size: 128 })`, with the size of the training to come. */
  readonly data: BatchSource;
  /** Number of batches per step, as for `Trainer`. Default 1. */
  readonly accumulate?: number | undefined;
  /** Description of the model. Its preprocessing is applied to every batch. Default: none. */
  readonly card?: ModelCard | undefined;
  /** Rate of the first step, a number above 0. Default 1e-6. */
  readonly from?: number | undefined;
  /** Rate of the last step, above `from`. The sweep ends before if the loss diverges. Default 10. */
  readonly to?: number | undefined;
  /** Number of steps, at least 20. Default 100. */
  readonly steps?: number | undefined;
  /** Called after each step with its point, the number of steps so far and in total. Default: nothing is called. */
  readonly onStep?: ((point: SweepStep, done: number, steps: number) => void) | undefined;
  /** Ends the sweep when it is aborted. The result is that of the steps so far. Default: no signal. */
  readonly signal?: AbortSignal | undefined;
}

const names = optionNames<FindLearningRateOptions>({
  model: true,
  optimizer: true,
  loss: true,
  data: true,
  accumulate: true,
  card: true,
  from: true,
  to: true,
  steps: true,
  onStep: true,
  signal: true,
});

/** A step of a sweep. */
export interface SweepStep {
  /** Learning rate of the step. */
  readonly learningRate: number;
  /** Loss before the step. */
  readonly loss: number;
}

/** A point of the curve of a sweep. */
export interface SweepPoint extends SweepStep {
  /** Mean of the losses of the steps around this one: a twentieth of the sweep's steps, fewer at its ends. */
  readonly smoothed: number;
}

/** The result of {@link findLearningRate}. */
export interface LearningRateSweep {
  /** The steps in order. A step whose loss is not finite is left out. */
  readonly points: readonly SweepPoint[];
  /** The rate of the step at which the loss had diverged. `undefined` if it did not diverge. */
  readonly divergence: number | undefined;
  /**
   * The rate at which the smoothed loss is lowest. Steps with higher rates make the loss worse. `undefined` if the loss
   * never fell or did not diverge.
   */
  readonly lowest: number | undefined;
  /**
   * The rate at which the smoothed loss falls most steeply over the logarithm of the rate. `undefined` if it never fell.
   */
  readonly steepest: number | undefined;
  /**
   * A start value for the highest rate of a schedule: {@link lowest} or a tenth of {@link divergence}, whichever is less.
   * `undefined` if the loss never fell or did not diverge.
   */
  readonly suggestion: number | undefined;
}

/**
 * Finds a learning rate by a sweep: the rate rises exponentially from step to step, until the loss diverges. This is the
 * learning rate range test of Smith (2017, [Cyclical learning rates](https://arxiv.org/abs/1506.01186)).
 *
 * The suggestion is the rate with the lowest loss, which ends Smith's range, or a tenth of the rate at which the loss
 * diverges if that is less. The loss has diverged if it is not finite, or if its running mean over about five steps is
 * above the lowest one by more than three times the lowest and by more than a tenth of what it had fallen. If neither
 * happens, as with batch norm, the loss has diverged when the running mean is back where it began. The suggestion is a
 * start value for a search, not a result: it is as random as the batches, and a good rate also depends on the budget and
 * the schedule.
 *
 * @returns the curve of the sweep, its marks and the suggestion
 * @throws StepsizeError `invalid-argument` if an option is unknown or invalid; `invalid-state` if the data end before the
 * sweep; `device-failed` or `out-of-memory`. Errors of the data, the loss and the callbacks are passed on. The model is
 * restored in each case.
 *
 * @example
 * ```ts
 * import { AdamW, data, findLearningRate, models, nn, openDevice, schedule, Trainer } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const inputs = Float32Array.from({ length: 400 }, (_, i) => Math.sin(i * i));
 * const labels = Int32Array.from({ length: 200 }, (_, i) => Number(inputs[2 * i]! > inputs[2 * i + 1]!));
 * const batches = data.fromArrays({ inputs, labels, shape: [2] }).batches({ size: 40 });
 * const model = models.mlp({ inputs: 2, hidden: [16], classes: 2, device, seed: 0 });
 *
 * const { suggestion = 0.01 } = await findLearningRate({
 *   model,
 *   optimizer: (lr) => new AdamW(model.parameters(), { lr }),
 *   loss: nn.crossEntropy,
 *   data: batches,
 * });
 * const optimizer = new AdamW(model.parameters(), { lr: schedule.uba({ budget: 200, maxLr: suggestion }) });
 * const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: batches });
 * for await (const { step, loss } of trainer.run()) console.log(step, loss);
 * ```
 */
export async function findLearningRate(options: FindLearningRateOptions): Promise<LearningRateSweep> {
  const { model, optimizer: make, loss, data, accumulate, card, from, to, steps, onStep, signal } = checked(options);
  const rateOf = (step: number) => from * (to / from) ** (step / (steps - 1));
  const restore = await stateOf(model);
  const made: SweepStep[] = [];
  let divergence: number | undefined;
  let back: number | undefined;
  let optimizer: Optimizer<{ lr: LearningRate }> | undefined;
  let trainer: Trainer | undefined;
  try {
    optimizer = make(Object.assign(rateOf, { budget: steps }));
    trainer = new Trainer({ model, optimizer, loss, data, accumulate, card, budget: steps });
    if (optimizer.learningRates()[0] !== from)
      throw new StepsizeError(
        "invalid-argument",
        "findLearningRate.optimizer: expected an optimizer whose lr is the argument of the function, got another rate",
      );
    const curve = new RunningLoss();
    for await (const record of trainer.run({ signal })) {
      const step = { learningRate: record.learningRate, loss: record.loss };
      const finite = Number.isFinite(step.loss);
      if (finite) made.push(step);
      curve.add(step.loss);
      onStep?.(step, record.step + 1, steps);
      if (curve.isBack) back ??= step.learningRate;
      if (finite && !curve.isFarAbove) continue;
      divergence = step.learningRate;
      break;
    }
    divergence ??= back;
  } catch (error) {
    if (!(error instanceof StepsizeError) || error.code !== "non-finite") throw error;
    // The record of this step was not yielded.
    divergence = rateOf(made.length);
  } finally {
    trainer?.dispose();
    optimizer?.dispose();
    await restore();
  }
  return resultOf(made, divergence);
}

/** Checks the options and adds the defaults. The trainer checks those that it takes. */
function checked(options: FindLearningRateOptions) {
  expectOptions("findLearningRate", names, options);
  const { model, optimizer, from = 1e-6, to = 10, steps = 100, onStep } = options;
  expectModule("findLearningRate.model", model);
  expectFunction("findLearningRate.optimizer", optimizer, "a function from a learning rate to an optimizer");
  if (onStep !== undefined) expectFunction("findLearningRate.onStep", onStep);
  if (!Number.isFinite(from) || from <= 0) invalidArgument("findLearningRate.from", "a finite number above 0", from);
  if (!Number.isFinite(to) || to <= from)
    invalidArgument("findLearningRate.to", `a finite number above \`from\`, ${from}`, to);
  if (!Number.isSafeInteger(steps) || steps < 20 || steps > 1_000_000)
    invalidArgument("findLearningRate.steps", "a whole number from 20 to 1000000", steps);
  return { ...options, from, to, steps };
}

/** Returns a function that restores the present state of a model, and removes its gradients. */
async function stateOf(model: Module): Promise<() => Promise<void>> {
  const counters = model.counters();
  const wasTraining = model.training;
  const tensors = [...model.stateDict().values()];
  const values = await Promise.all(tensors.map((tensor) => tensor.read()));
  return async () => {
    for (const [i, tensor] of tensors.entries()) tensor.write(itemAt(values, i));
    model.loadCounters(counters);
    model.zeroGrad();
    model.train(wasTraining);
  };
}

/** A running mean of the loss over about five steps. */
class RunningLoss {
  #sum = 0;
  #weight = 0;
  #mean = Number.NaN;
  #first = Number.NaN;
  #lowest = Number.POSITIVE_INFINITY;

  /** Adds the loss of a step. */
  add(loss: number): void {
    // Divided by the sum of the weights, the mean does not start near zero.
    this.#sum = 0.8 * this.#sum + loss;
    this.#weight = 0.8 * this.#weight + 1;
    this.#mean = this.#sum / this.#weight;
    if (Number.isNaN(this.#first)) this.#first = this.#mean;
    this.#lowest = Math.min(this.#lowest, this.#mean);
  }

  get #fall(): number {
    return this.#first - this.#lowest;
  }

  /** Whether the mean is far above its lowest value, so that more steps tell nothing. */
  get isFarAbove(): boolean {
    // The second bound keeps the noise of a loss near zero from counting as a divergence.
    return this.#mean - this.#lowest > Math.max(3 * Math.abs(this.#lowest), 0.1 * this.#fall);
  }

  /** Whether the mean is back where it began, after it had fallen by more than a tenth. */
  get isBack(): boolean {
    return this.#mean >= this.#first && this.#fall > 0.1 * Math.abs(this.#first);
  }
}

function resultOf(made: readonly SweepStep[], divergence: number | undefined): LearningRateSweep {
  const reach = Math.ceil(made.length / 40);
  const points = made.map((step, i): SweepPoint => {
    // The window is symmetric at the ends too. Otherwise a fall would look less steep there.
    const half = Math.min(reach, i, made.length - 1 - i);
    const window = made.slice(i - half, i + half + 1);
    return { ...step, smoothed: window.reduce((sum, { loss }) => sum + loss, 0) / window.length };
  });
  const losses = points.map(({ smoothed }) => smoothed);
  const lowest = losses.indexOf(losses.reduce((least, loss) => Math.min(least, loss), Number.POSITIVE_INFINITY));
  const slopes = losses.slice(1, lowest).map((_, i) => itemAt(losses, i + 2) - itemAt(losses, i));
  const steepest = slopes.reduce((least, slope) => Math.min(least, slope), 0);
  const hasFallen = steepest < 0;
  const isKnown = hasFallen && divergence !== undefined;
  const end = isKnown ? points[lowest]?.learningRate : undefined;
  return {
    points,
    divergence,
    lowest: end,
    steepest: hasFallen ? points[slopes.indexOf(steepest) + 1]?.learningRate : undefined,
    suggestion: isKnown && end !== undefined ? Math.min(end, divergence / 10) : undefined,
  };
}
