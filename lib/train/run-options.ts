import { expectSignal, isListOf } from "../arguments.js";
import type { BatchSource } from "../data/index.js";
import { invalidArgument } from "../errors.js";
import { expectOptions, optionNames } from "../options.js";
import type { BestMetric } from "./best-evaluation.js";
import type { StepRecord } from "./step-record.js";

/**
 * After which steps something happens, counted from the beginning of the budget. A number n means after every n steps:
 * 100 means after 100, 200, 300. A list holds the numbers of steps themselves: [1, 10, 100]. A function says whether it
 * happens after so many.
 */
export type Steps = number | readonly number[] | ((steps: number) => boolean);

/** Evaluation during a run: see {@link RunOptions.evaluateEvery}. */
export interface EvaluateEvery {
  readonly steps: Steps;
  /** The data to evaluate on, in one pass: `validation.batches({ size: 500 })`. */
  readonly data: BatchSource;
  /** Called after each batch of an evaluation with the items done so far. What it throws ends the run. */
  readonly onProgress?: ((done: number, items: number) => void) | undefined;
  /** What makes an evaluation better than another: a lower loss or a higher accuracy. Default `"loss"`. */
  readonly metric?: BestMetric | undefined;
  /** Where to keep the checkpoint of the best evaluation so far; default: nowhere. */
  readonly best?: string | undefined;
  /** Early stopping: the run ends after so many evaluations in a row that were not better. Default: it does not. */
  readonly patience?: number | undefined;
  /** By how much an evaluation must be better to count; default 0. */
  readonly minDelta?: number | undefined;
}

/** Checkpoints during a run: see {@link RunOptions.checkpointEvery}. */
export interface CheckpointEvery {
  readonly steps: Steps;
  /** Where to write it: one file that each checkpoint replaces, or a function of the number of steps made. */
  readonly path: string | ((step: number) => string);
}

/** What is called after a step. The run waits for a promise that it returns. */
export type StepCallback = (record: StepRecord) => void | Promise<void>;

/** Options of `Trainer.run`. */
export interface RunOptions {
  /** Pause after so many steps, counted from the beginning of the budget; default: the budget. */
  readonly until?: number | undefined;
  /**
   * Records the second step and makes the following ones by replaying it, where their batches have the same shapes: to
   * the same bits, with next to nothing left for the host. Takes the memory of a step once more, and calls
   * `optimizer.tabulate()`. Default false.
   */
  readonly capture?: boolean | undefined;
  /**
   * Makes later steps while the loop body still works on a record, so that the device never waits for the loop: worth it
   * for steps of less than a millisecond. The records and the options below are the same, and as exact. But a loop body
   * sees weights of later steps than its record's: `evaluate`, `save` and `load` are refused there, and after `break` or
   * `stop()` the trainer has made a few steps more, as `trainer.step` says. Default false: the weights in the loop body
   * are those of its record.
   */
  readonly runAhead?: boolean | undefined;
  /**
   * With `runAhead`, the steps after which the run waits all the same, so that the loop body sees the weights of its
   * record and may evaluate, save, load or leave. Default: where one of the options below does something.
   *
   * ```ts
   * for await (const { step } of trainer.run({ runAhead: true, capture: true, exactEvery: 100 }))
   *   if ((step + 1) % 100 === 0) console.log(await sampleOf(model));
   * ```
   */
  readonly exactEvery?: Steps | undefined;
  /**
   * Evaluates after these steps. The record of the last of them has the result as `evaluation`.
   *
   * ```ts
   * const evaluateEvery = { steps: 100, data: validation.batches({ size: 500 }), best: "best.safetensors", patience: 5 };
   * for await (const { step, evaluation } of trainer.run({ evaluateEvery }))
   *   if (evaluation) console.log(step + 1, evaluation.loss);
   * await trainer.load("best.safetensors"); // the run may have ended five evaluations after it
   * ```
   */
  readonly evaluateEvery?: EvaluateEvery | undefined;
  /**
   * Writes a checkpoint after these steps, once the loop body is done with the record of the last of them: what the
   * body keeps of its records never lags behind the newest checkpoint.
   *
   * ```ts
   * trainer.run({ checkpointEvery: { steps: 500, path: (step) => `run/checkpoint-${step}.safetensors` } });
   * ```
   */
  readonly checkpointEvery?: CheckpointEvery | undefined;
  /**
   * Called with the record after every step, or after some: the weights are those of that step, and `evaluate`, `save`,
   * `load` and `stop` act on them.
   *
   * ```ts
   * trainer.run({ onStep: { steps: [1, 10, 100], callback: ({ step }) => trainer.save(`run/${step + 1}.safetensors`) } });
   * ```
   */
  readonly onStep?: StepCallback | { readonly steps: Steps; readonly callback: StepCallback } | undefined;
  /**
   * Ends the run once it is aborted, exactly as `stop()` does: after the step that is being made, without an error; an
   * evaluation that has begun is finished. `trainer.step` says how far it came, and `run` may be called again. If it is
   * aborted already, no step is made.
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

/** Options of a run, checked. */
export class RunPlan {
  /** Steps after which the run ends. */
  readonly end: number;
  readonly capture: boolean;
  readonly runAhead: boolean;
  readonly signal: AbortSignal | undefined;
  readonly evaluation: (EvaluateEvery & { readonly isDue: Due }) | undefined;
  readonly #checkpoint: (CheckpointEvery & { readonly isDue: Due }) | undefined;
  readonly #isExact: Due;
  readonly #callback: { readonly isDue: Due; readonly callback: StepCallback } | undefined;

  /** @throws StepsizeError `invalid-argument` */
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
    this.evaluation = evaluateEvery && checkEvaluation(evaluateEvery);
    this.#checkpoint = checkpointEvery && checkCheckpoint(checkpointEvery);
    this.#callback = onStep && checkCallback(onStep);
  }

  /** Whether the run must not be ahead of its records after so many steps. */
  isExactAfter(steps: number): boolean {
    if (!this.runAhead || steps >= this.end || this.#isExact(steps)) return true;
    return [this.evaluation, this.#checkpoint, this.#callback].some((each) => each?.isDue(steps));
  }

  /** Where a checkpoint is written after so many steps, if one is. */
  checkpointAfter(steps: number): string | undefined {
    if (!this.#checkpoint?.isDue(steps)) return undefined;
    const { path } = this.#checkpoint;
    return typeof path === "string" ? path : path(steps);
  }

  /** What is called after so many steps, if anything. */
  callbackAfter(steps: number): StepCallback | undefined {
    return this.#callback?.isDue(steps) ? this.#callback.callback : undefined;
  }
}

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
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 1;
  if (Array.isArray(steps) && isListOf(steps, isCount)) {
    const listed = new Set(steps);
    return (done) => listed.has(done);
  }
  if (typeof steps === "function") return steps;
  if (!isCount(steps))
    invalidArgument(name, "a whole number of steps ≥ 1, a list of such numbers, or a function of one", steps);
  return (done) => done % (steps as number) === 0;
}
