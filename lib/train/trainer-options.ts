import { expectFunction, expectMethods, expectModule } from "../arguments.js";
import type { BatchSource } from "../data/index.js";
import { invalidArgument } from "../errors.js";
import type { Device } from "../native/index.js";
import type { Loss, Module } from "../nn/index.js";
import type { LearningRate, Optimizer } from "../optim/index.js";
import { expectOptions, optionNames } from "../options.js";
import { expectCard, type ModelCard } from "../weights/checkpoint-info.js";

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

/** Checked options of a trainer, with their defaults. */
export interface TrainerParts extends TrainerOptions {
  readonly budget: number;
  readonly accumulate: number;
  /** Device of the model. */
  readonly device: Device;
}

/**
 * Checks the options of a trainer and adds the defaults.
 *
 * @throws StepsizeError `invalid-argument` if an option is unknown or invalid, or if neither `budget` nor the
 * optimizer's learning rate gives the number of steps
 */
export function trainerParts(options: TrainerOptions): TrainerParts {
  expectOptions("Trainer", trainerNames, options);
  const { model, optimizer, loss, data, accumulate = 1, card } = options;
  if (card !== undefined) expectCard(card);
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
  const [parameter] = model.parameters();
  if (parameter === undefined) invalidArgument("model", "a module with parameters", model);
  return { model, optimizer, loss, data, budget, accumulate, card, device: parameter.device };
}
