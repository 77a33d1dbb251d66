import { expectSignal, isListOf, isSafeInteger } from "../arguments.js";
import type { BatchSource } from "../data/index.js";
import { invalidArgument } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import type { BestMetric } from "../weights/index.js";
import type { StepRecord } from "./step-record.js";

/**
 * Steps after which something happens, counted from the beginning of the budget.
 *
 * - A number n means after every n steps: 100 means after 100, 200, 300 and so on.
 * - A list has the numbers of steps: [1, 10, 100].
 * - A function returns whether it happens after a number of steps.
 */
export type Steps = number | readonly number[] | ((steps: number) => boolean);

/** Evaluation during a run; see {@link RunOptions.evaluateEvery}. */
export interface EvaluateEvery {
  /** Steps after which to evaluate. */
  readonly steps: Steps;
  /** The data to evaluate on, in one pass, such as `validation.batches({ size: 500 })`. */
  readonly data: BatchSource;
  /**
   * Called after each batch of an evaluation, with the number of items so far and in total. An error that it throws
   * ends the run.
   */
  readonly onProgress?: ((done: number, items: number) => void) | undefined;
  /** What evaluations are compared by: a lower loss or a higher accuracy is better. Default `"loss"`. */
  readonly metric?: BestMetric | undefined;
  /** Path of the checkpoint of the best evaluation so far. Default: no such checkpoint is written. */
  readonly best?: string | undefined;
  /**
   * Number of evaluations in a row without an improvement that ends the run (early stopping), a whole number ≥ 1.
   * Default: no early stopping.
   */
  readonly patience?: number | undefined;
  /** Smallest improvement of the metric that counts, a number ≥ 0. Default 0. */
  readonly minDelta?: number | undefined;
}

/** Checkpoints during a run; see {@link RunOptions.checkpointEvery}. */
export interface CheckpointEvery {
  /** Steps after which to write a checkpoint. */
  readonly steps: Steps;
  /**
   * Path of the file. Every checkpoint replaces it. A function of the number of steps so far gives each its own path.
   */
  readonly path: string | ((step: number) => string);
}

/** A function that is called with the record of a step. The run waits for a promise that it returns. */
export type StepCallback = (record: StepRecord) => void | Promise<void>;

/** Options of `Trainer.run`. */
export interface RunOptions {
  /**
   * Number of steps after which the run pauses, counted from the beginning of the budget, a whole number ≥ 0. Default:
   * the budget.
   */
  readonly until?: number | undefined;
  /**
   * Whether to capture the trainer's second step and to replay it for later steps whose batches have the same shapes.
   * Default false.
   *
   * The results have the same bits, and the host has almost no work per step. A captured step takes the memory of one
   * more step. It calls `optimizer.tabulate()`.
   */
  readonly capture?: boolean | undefined;
  /**
   * Whether to make later steps while the loop body works on a record, so that the device does not wait for the loop
   * body. Default false: the weights in the loop body are those of its record.
   *
   * This helps if a step takes less than a millisecond. The records are the same, and the options below act after exact
   * steps. The loop body sees weights of later steps than its record's. `evaluate`, `save` and `load` are refused
   * there. After `break` or `stop()`, the trainer has made a few more steps; see `trainer.step`.
   */
  readonly runAhead?: boolean | undefined;
  /**
   * With `runAhead`, the steps after which the run waits for the loop body. The body then sees the weights of its
   * record and may evaluate, save, load or leave. Default: the steps after which one of the options below acts.
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
   * const trainer = new Trainer({ model, optimizer, loss: nn.crossEntropy, data: batches, budget: 500 });
   * for await (const { step } of trainer.run({ runAhead: true, capture: true, exactEvery: 100 }))
   *   if ((step + 1) % 100 === 0) console.log(await trainer.evaluate(batches));
   * ```
   */
  readonly exactEvery?: Steps | undefined;
  /**
   * Evaluates after these steps. The record of the step has the result as `evaluation`. Default: no evaluation.
   *
   * ```ts
   * const evaluateEvery = { steps: 100, data: validation.batches({ size: 500 }), best: "best.safetensors", patience: 5 };
   * for await (const { step, evaluation } of trainer.run({ evaluateEvery }))
   *   if (evaluation) console.log(step + 1, evaluation.loss);
   * await trainer.load("best.safetensors"); // the run may have ended five evaluations later
   * ```
   */
  readonly evaluateEvery?: EvaluateEvery | undefined;
  /**
   * Writes a checkpoint after these steps, when the loop body is done with the record of the step. Whatever the loop
   * body stores about its records is then at least as new as the newest checkpoint. Default: no checkpoint.
   *
   * ```ts
   * trainer.run({ checkpointEvery: { steps: 500, path: (step) => `run/checkpoint-${step}.safetensors` } });
   * ```
   */
  readonly checkpointEvery?: CheckpointEvery | undefined;
  /**
   * Called with the record after every step, or after some steps. The weights are those of that step. `evaluate`,
   * `save`, `load` and `stop` act on them. Default: nothing is called.
   *
   * ```ts
   * trainer.run({ onStep: { steps: [1, 10, 100], callback: ({ step }) => trainer.save(`run/${step + 1}.safetensors`) } });
   * ```
   */
  readonly onStep?: StepCallback | { readonly steps: Steps; readonly callback: StepCallback } | undefined;
  /**
   * Ends the run when it is aborted, as `stop()` does: after the step in progress, without an error. An evaluation in
   * progress is finished. `run` may be called again. If the signal is aborted before the run, no step is made. Default:
   * no signal.
   *
   * ```ts
   * const signal = AbortSignal.timeout(3_600_000);
   * for await (const { step, loss } of trainer.run({ signal })) console.log(step, loss);
   * await trainer.save("after-an-hour.safetensors");
   * ```
   */
  readonly signal?: AbortSignal | undefined;
}

const runNames = optionNames<RunOptions>({
  until: true,
  capture: true,
  runAhead: true,
  exactEvery: true,
  evaluateEvery: true,
  checkpointEvery: true,
  onStep: true,
  signal: true,
});
const evaluateEveryNames = optionNames<EvaluateEvery>({
  steps: true,
  data: true,
  onProgress: true,
  metric: true,
  best: true,
  patience: true,
  minDelta: true,
});
const checkpointEveryNames = optionNames<CheckpointEvery>({ steps: true, path: true });
const onStepNames = optionNames<{ readonly steps: Steps; readonly callback: StepCallback }>({
  steps: true,
  callback: true,
});

/** Checked options of a run. */
export class RunPlan {
  /** Number of steps after which the run ends. */
  readonly end: number;
  /** Whether steps are captured and replayed. */
  readonly capture: boolean;
  /** Whether steps are made while the loop body works on a record. */
  readonly runAhead: boolean;
  /** The signal that ends the run. */
  readonly signal: AbortSignal | undefined;
  readonly #evaluation: (EvaluateEvery & { readonly isDue: Due }) | undefined;
  readonly #checkpoint: (CheckpointEvery & { readonly isDue: Due }) | undefined;
  readonly #isExact: Due;
  readonly #callback: { readonly isDue: Due; readonly callback: StepCallback } | undefined;

  /**
   * Checks the options.
   *
   * @param budget number of steps of the whole training
   * @throws StepsizeError `invalid-argument` for an unknown or invalid option
   */
  constructor(options: RunOptions, budget: number) {
    expectOptions("run", runNames, options);
    const {
      until = budget,
      capture = false,
      runAhead = false,
      exactEvery,
      evaluateEvery,
      checkpointEvery,
      onStep,
      signal,
    } = options;
    if (until !== Number.POSITIVE_INFINITY && !(Number.isSafeInteger(until) && until >= 0))
      invalidArgument("run.until", "a whole number of steps ≥ 0", until);
    for (const [name, value] of Object.entries({ capture, runAhead }))
      if (typeof value !== "boolean") invalidArgument(`run.${name}`, "true or false", value);
    expectSignal("run.signal", signal);
    this.end = Math.min(until, budget);
    this.capture = capture;
    this.runAhead = runAhead;
    this.signal = signal;
    this.#isExact = exactEvery === undefined ? () => false : dueAt("run.exactEvery", exactEvery);
    this.#evaluation = evaluateEvery && checkEvaluation(evaluateEvery);
    this.#checkpoint = checkpointEvery && checkCheckpoint(checkpointEvery);
    this.#callback = onStep && checkCallback(onStep);
  }

  /** Whether the run waits for the loop body after this number of steps. */
  isExactAfter(steps: number): boolean {
    if (!this.runAhead || steps >= this.end || this.#isExact(steps)) return true;
    return [this.#evaluation, this.#checkpoint, this.#callback].some((each) => each?.isDue(steps));
  }

  /** Returns the evaluation to do after this number of steps; `undefined` if none is due. */
  evaluationAfter(steps: number): EvaluateEvery | undefined {
    return this.#evaluation?.isDue(steps) ? this.#evaluation : undefined;
  }

  /** Returns the path of the checkpoint to write after this number of steps; `undefined` if none is due. */
  checkpointAfter(steps: number): string | undefined {
    if (!this.#checkpoint?.isDue(steps)) return undefined;
    const { path } = this.#checkpoint;
    return typeof path === "string" ? path : path(steps);
  }

  /** Returns the function to call after this number of steps; `undefined` if none is due. */
  callbackAfter(steps: number): StepCallback | undefined {
    return this.#callback?.isDue(steps) ? this.#callback.callback : undefined;
  }
}

/** Whether something is due after a number of steps. */
type Due = (steps: number) => boolean;

function checkEvaluation(given: EvaluateEvery) {
  const name = "run.evaluateEvery";
  expectOptions(name, evaluateEveryNames, given);
  const { steps, data, onProgress, metric = "loss", best, patience, minDelta = 0 } = given;
  if (typeof data?.once !== "function") invalidArgument(`${name}.data`, "batches, such as set.batches({ size })", data);
  if (onProgress !== undefined && typeof onProgress !== "function")
    invalidArgument(`${name}.onProgress`, "a function", onProgress);
  if (metric !== "loss" && metric !== "accuracy") invalidArgument(`${name}.metric`, '"loss" or "accuracy"', metric);
  if (best !== undefined && typeof best !== "string") invalidArgument(`${name}.best`, "a path", best);
  if (patience !== undefined && !(Number.isSafeInteger(patience) && patience >= 1))
    invalidArgument(`${name}.patience`, "a whole number of evaluations ≥ 1", patience);
  if (!Number.isFinite(minDelta) || minDelta < 0) invalidArgument(`${name}.minDelta`, "a number ≥ 0", minDelta);
  return { ...given, isDue: dueAt(`${name}.steps`, steps) };
}

function checkCheckpoint(given: CheckpointEvery) {
  const name = "run.checkpointEvery";
  expectOptions(name, checkpointEveryNames, given);
  const { steps, path } = given;
  if (typeof path !== "string" && typeof path !== "function")
    invalidArgument(`${name}.path`, "a path, or a function from the number of steps to one", path);
  return { steps, path, isDue: dueAt(`${name}.steps`, steps) };
}

function checkCallback(given: NonNullable<RunOptions["onStep"]>) {
  if (typeof given === "function") return { isDue: () => true, callback: given };
  const name = "run.onStep";
  if (typeof given !== "object") invalidArgument(name, "a function, or { steps, callback }", given);
  expectOptions(name, onStepNames, given);
  const { steps, callback } = given;
  if (typeof callback !== "function") invalidArgument(`${name}.callback`, "a function of the record", callback);
  return { isDue: dueAt(`${name}.steps`, steps), callback };
}

function dueAt(name: string, steps: Steps): Due {
  const isCount = (value: unknown): value is number => isSafeInteger(value) && value >= 1;
  if (Array.isArray(steps) && isListOf(steps, isCount)) {
    const listed = new Set(steps);
    return (done) => listed.has(done);
  }
  if (typeof steps === "function") return steps;
  if (!isCount(steps))
    invalidArgument(name, "a whole number of steps ≥ 1, a list of such numbers, or a function of one", steps);
  return (done) => done % steps === 0;
}
