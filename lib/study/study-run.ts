import { isNotFound, StepsizeError } from "../errors.js";
import { itemAt } from "../lookup.js";
import type { Device } from "../native/index.js";
import { centeredMean, smoothingSpan } from "../report/smooth.js";
import { assembleRun, type SplitName, type Task } from "../tasks/index.js";
import type { Trainer } from "../train/index.js";
import { withCheckpoint } from "../weights/checkpoint-file.js";
import type { PlannedRun } from "./plan.js";
import type { RunRecord, SplitResult } from "./records.js";
import { moveDamaged, type RunState, readState, writeState } from "./run-state.js";

/** The surroundings of a run. They do not affect its numbers. */
export interface RunEnvironment {
  readonly task: Task;
  readonly fingerprint: string;
  readonly device: Device;
  readonly version: string;
  /** Path of the checkpoint of the unfinished run. */
  readonly checkpoint: string;
  /** Seconds of wall time between checkpoints. */
  readonly checkpointEvery: number;
  /** Number of evaluations on the validation split during a final run, the last one after its last step. */
  readonly evaluations: number;
  /** Stops the run, which then saves a checkpoint and throws the signal's reason. */
  readonly signal: AbortSignal;
  readonly note: (message: string) => void;
  readonly onStep: (step: number, loss: number) => void;
}

/** Largest number of points of a record's curves. */
const maxPoints = 50;
/** Share of the steps, at the end of the run, over which the training loss is averaged. */
const lastShare = 0.05;

/**
 * Makes one training run, or continues it from its checkpoint. The caller removes the checkpoint after it has written the
 * record.
 *
 * @throws the signal's reason
 * @throws StepsizeError for any failure except divergence, which is a result
 */
export async function makeRun(run: PlannedRun, environment: RunEnvironment): Promise<RunRecord> {
  const { spec, schedule } = run;
  const { task, device } = environment;
  const { name: optimizer, ...rates } = spec.optimizer;
  const settings = { ...spec, optimizer, ...rates, nonFinite: "stop" as const };
  const parts = assembleRun(settings, { task, device, schedule });
  try {
    return await new StudyRun(run, environment, parts.trainer).make();
  } finally {
    await parts.close();
  }
}

class StudyRun {
  readonly #run: PlannedRun;
  readonly #environment: RunEnvironment;
  readonly #trainer: Trainer;
  /** Steps after which a final run is evaluated, except the last step. */
  readonly #evaluationSteps: readonly number[];
  #state: RunState = { losses: [], onTheWay: [], seconds: 0 };
  #since = performance.now();
  #savedAt = performance.now();

  constructor(run: PlannedRun, environment: RunEnvironment, trainer: Trainer) {
    this.#run = run;
    this.#environment = environment;
    this.#trainer = trainer;
    const { budget } = trainer;
    const evaluations = run.spec.purpose === "final" ? environment.evaluations : 1;
    const steps = Array.from({ length: evaluations - 1 }, (_, i) => Math.round(((i + 1) * budget) / evaluations));
    this.#evaluationSteps = steps.filter((step) => step > 0 && step < budget);
  }

  async make(): Promise<RunRecord> {
    await this.#restore();
    this.#since = performance.now() - 1000 * this.#state.seconds;
    let results: Pick<RunRecord, "status" | "validation" | "test">;
    try {
      results = await this.#trainAndEvaluate();
    } catch (error) {
      // If the state cannot be saved, for instance because the disk is full, the first error is the one to report.
      await this.#save().catch(() => {});
      throw error;
    }
    return this.#record(results);
  }

  async #trainAndEvaluate(): Promise<Pick<RunRecord, "status" | "validation" | "test">> {
    const { spec } = this.#run;
    try {
      await this.#train();
    } catch (error) {
      if (error instanceof StepsizeError && error.code === "non-finite") return { status: "diverged" };
      throw error;
    }
    const validation = await this.#evaluate("validation");
    if (!Number.isFinite(validation.loss)) return { status: "diverged" };
    if (spec.purpose === "tuning") return { status: "completed", validation };
    const test = await this.#evaluate("test");
    return Number.isFinite(test.loss) ? { status: "completed", validation, test } : { status: "diverged" };
  }

  async #train(): Promise<void> {
    const { signal, checkpointEvery } = this.#environment;
    const trainer = this.#trainer;
    const options = { runAhead: true, exactEvery: this.#evaluationSteps, signal };
    while (trainer.step < trainer.budget) {
      signal.throwIfAborted();
      // A run that was stopped during an evaluation makes this evaluation now.
      if (this.#evaluationSteps.includes(trainer.step)) await this.#evaluateDuringRun();
      let failure: { readonly error: unknown } | undefined;
      for await (const { step, loss } of trainer.run(options)) {
        this.#state.losses.push(loss);
        try {
          this.#environment.onStep(step, loss);
          if (this.#evaluationSteps.includes(step + 1) && !failure) await this.#evaluateDuringRun();
        } catch (error) {
          // The loop continues, because later steps may already be done, and a checkpoint needs their losses.
          failure ??= { error };
        }
        // This finishes the steps in flight. The outer loop then continues.
        if (failure || performance.now() - this.#savedAt > 1000 * checkpointEvery) trainer.stop();
      }
      if (failure) throw failure.error;
      signal.throwIfAborted();
      if (performance.now() - this.#savedAt > 1000 * checkpointEvery) await this.#save();
    }
  }

  async #evaluateDuringRun(): Promise<void> {
    // A run that was stopped after this evaluation already has its result.
    if (this.#state.onTheWay.some(([at]) => at === this.#trainer.step)) return;
    const { loss, accuracy } = await this.#evaluate("validation");
    if (Number.isFinite(loss))
      this.#state.onTheWay.push(shortened([this.#trainer.step, loss, ...(accuracy === undefined ? [] : [accuracy])]));
  }

  async #evaluate(split: SplitName): Promise<SplitResult> {
    const { task, signal } = this.#environment;
    const batches = task.evaluationBatches(split, this.#run.spec.evaluationItems);
    try {
      const { loss, accuracy } = await this.#trainer.evaluate(batches, { signal });
      return { loss, ...(accuracy !== undefined && { accuracy }) };
    } finally {
      await batches.close();
    }
  }

  /** Saves the state and then the checkpoint. The state may have more steps than the checkpoint, but not fewer. */
  async #save(): Promise<void> {
    const { checkpoint } = this.#environment;
    if (this.#trainer.step === 0) return;
    await writeState(`${checkpoint}.json`, { ...this.#state, seconds: this.#seconds });
    await this.#trainer.save(checkpoint);
    this.#savedAt = performance.now();
  }

  async #restore(): Promise<void> {
    const { checkpoint, note } = this.#environment;
    const statePath = `${checkpoint}.json`;
    try {
      const step = await withCheckpoint(checkpoint, async ({ info }) => info.step);
      const state = await readState(statePath, step);
      // The checkpoint is loaded last, because a failed load changes nothing.
      await this.#trainer.load(checkpoint);
      this.#state = state;
    } catch (error) {
      if (isNotFound(error)) return;
      if (!(error instanceof StepsizeError)) throw error;
      note(`${error.message}. It is set aside as ${await moveDamaged([checkpoint, statePath])}; the run starts again`);
    }
  }

  get #seconds(): number {
    return (performance.now() - this.#since) / 1000;
  }

  #record(results: Pick<RunRecord, "status" | "validation" | "test">): RunRecord {
    const { id, spec, schedule } = this.#run;
    const { device, fingerprint, version } = this.#environment;
    const { losses, onTheWay } = this.#state;
    const last = losses.slice(-Math.max(1, Math.round(lastShare * schedule.budget)));
    const smooth = centeredMean(losses, smoothingSpan(losses.length));
    const points = Math.min(maxPoints, losses.length);
    const step = Array.from({ length: points }, (_, i) =>
      points === 1 ? 0 : Math.round((i * (losses.length - 1)) / (points - 1)),
    );
    const { kernels } = device.describe();
    return {
      id,
      run: spec,
      ...results,
      steps: losses.length,
      trainLoss: results.status === "diverged" ? null : last.reduce((sum, loss) => sum + loss, 0) / last.length,
      ...(onTheWay.length > 0 && { onTheWay }),
      curve: {
        step,
        learningRate: shortened(step.map((at) => schedule(at))),
        loss: shortened(step.map((at) => itemAt(smooth, at))),
      },
      seconds: Math.round(100 * this.#seconds) / 100,
      fingerprint,
      device: kernels === undefined ? device.name : `${device.name} (${kernels})`,
      version,
    };
  }
}

/** Rounds to five digits, which is enough for figures. */
function shortened(values: readonly number[]): number[] {
  return values.map((value) => Number(value.toPrecision(5)));
}
