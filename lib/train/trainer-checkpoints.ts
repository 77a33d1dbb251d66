import { StepsizeError } from "../errors.js";
import { deviceSource, hostSource, Uploads } from "../files/device-parts.js";
import { areAllFinite } from "../files/finite.js";
import { type HostTensor, readTensors, writeSources } from "../files/safetensors.js";
import { fillSame } from "../files/stored-floats.js";
import { valueAt } from "../lookup.js";
import { messageOf } from "../realms.js";
import { checkpointNames, type OpenCheckpoint } from "../weights/checkpoint-file.js";
import type { BestEvaluation, CheckpointInfo } from "../weights/checkpoint-info.js";
import { describeAll, fillWeights, inFile, verifyAll } from "../weights/stored-tensors.js";
import { customRates, differencesOfRates } from "./custom-rates.js";
import {
  type Allowed,
  type Difference,
  differencesOf,
  expectAllowed,
  hasDigest,
  identityOf,
  withDigest,
} from "./run-identity.js";
import type { Soundness } from "./soundness.js";
import type { TrainerParts } from "./trainer-options.js";

/** Writes the checkpoints of a trainer and loads them. The trainer decides when the state may be read or changed. */
export class TrainerCheckpoints {
  readonly #parts: TrainerParts;
  readonly #soundness: Soundness;
  #digest: Promise<string> | undefined;

  /** Creates the checkpoints of a trainer, which shares `soundness` with them. */
  constructor(parts: TrainerParts, soundness: Soundness) {
    this.#parts = parts;
    this.#soundness = soundness;
  }

  /**
   * Writes a checkpoint. The state must not change until the promise is settled.
   *
   * @param step number of steps so far
   * @param best the best evaluation so far
   * @throws StepsizeError as `Trainer.save`
   */
  async save(path: string, step: number, best: BestEvaluation | undefined): Promise<void> {
    this.#soundness.expect("save: nothing was written");
    const { model, optimizer, card, budget } = this.#parts;
    const info = {
      format: "stepsize-checkpoint-1" as const,
      step,
      counters: model.counters(),
      precision: model.precision,
      ...(best && { best }),
      ...card,
    };
    const run = identityOf(this.#parts);
    // The sources know the versions of the tensors, so that a change by other code is noticed.
    const state = optimizer.stateDict();
    const weights = model.stateDict();
    const sources = checkpointNames({
      model: mapValues(weights, (tensor, name) => deviceSource(name, tensor)),
      optimizer: mapValues(state, (tensor, name) => deviceSource(name, tensor)),
      rates: mapValues(customRates(optimizer, budget), ({ dtype, shape, data }) => hostSource(dtype, shape, data)),
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

  /**
   * Checks everything about a checkpoint before anything changes.
   *
   * @throws StepsizeError as `Trainer.load`
   */
  async expectFits(checkpoint: OpenCheckpoint, allowed: ReadonlySet<Allowed>): Promise<void> {
    const { path, info } = checkpoint;
    const { model, optimizer } = this.#parts;
    const rates = await readTensors(checkpoint.rates);
    expectAllowed(path, await this.#differencesFrom(info, rates), allowed);
    await inFile(path, () => {
      model.checkStateDict(describeAll(checkpoint.model));
      optimizer.checkStateDict(describeAll(checkpoint.optimizer));
    });
    await verifyAll([checkpoint.model, checkpoint.optimizer]);
  }

  /** Loads the state of a checkpoint that fits. After a failure, the state is invalid. */
  async load({ path, info, model: weights, optimizer: state, counters }: OpenCheckpoint): Promise<void> {
    const { model, optimizer, device } = this.#parts;
    try {
      await fillWeights(model, weights);
      const uploads = new Uploads(device);
      await optimizer.fillState(describeAll(state), counters, (name, to) =>
        fillSame(uploads, to, valueAt(state, name)),
      );
    } catch (error) {
      // The file changed after it was checked, or can no longer be read.
      this.#soundness.lose(halfLoaded(path, error), 0);
      throw halfLoaded(path, error);
    }
    model.loadCounters(info.counters);
    this.#soundness.regain({ path, step: info.step });
  }

  /** Throws because the values read for a checkpoint are not a state that a run could continue from. */
  #refuseToSave(step: number, problem: string): never {
    this.#soundness.expect("save: nothing was written", step);
    const message = `save: nothing was written: ${problem}. ${this.#soundness.lastGood}`;
    this.#soundness.lose(new StepsizeError("non-finite", problem), step - 1);
    throw new StepsizeError("non-finite", message);
  }

  async #differencesFrom(info: CheckpointInfo, rates: ReadonlyMap<string, HostTensor>): Promise<Difference[]> {
    const { optimizer, budget } = this.#parts;
    const identity = identityOf(this.#parts);
    const digest = hasDigest(info.run) ? await this.#dataDigest() : undefined;
    const differentRates = differencesOfRates(rates, customRates(optimizer, budget));
    return [
      ...differencesOf(info.run, withDigest(identity, digest)),
      ...differentRates.map((words): Difference => ({ words, allowedAs: "schedule" })),
      ...(info.step <= budget
        ? []
        : [{ words: `it has made ${info.step} steps, this run's budget is ${budget}`, allowedAs: undefined }]),
    ];
  }

  /** Returns the hash of the data, which is computed once; `undefined` if the data have none. */
  #dataDigest(): Promise<string> | undefined {
    this.#digest ??= this.#parts.data.digest?.();
    return this.#digest;
  }
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
