import { expectFunction, expectMethods, expectModule, expectObject, expectSignal } from "../arguments.js";
import type { Batch, BatchSource, Labels } from "../data/index.js";
import { invalidArgument } from "../errors.js";
import { ignoredLabel } from "../ignored-label.js";
import { type Device, expectDevice } from "../native/index.js";
import type { Loss, Module } from "../nn/index.js";
import { checkedOptions, optionNames } from "../options.js";
import { isInt32Array } from "../realms.js";
import { correctCount, noGrad, Tensor, tensor, tidy } from "../tensor/index.js";
import { addend, weighed } from "./step-loss.js";

/** The result of {@link evaluate}: one pass over data. */
export interface Evaluation {
  /**
   * Weighted mean of the loss over all labels that are not ignored, independent of the batch size. NaN if no label
   * counts.
   */
  readonly loss: number;
  /**
   * Fraction of counted labels for which the largest output is the label's, from 0 to 1. Absent unless labels are
   * classes.
   */
  readonly accuracy?: number;
  /** Number of items in the pass. */
  readonly items: number;
}

/** @internal A batch on the device. */
export interface BatchTensors {
  /** The inputs. */
  readonly x: Tensor;
  /** The labels. */
  readonly y: Tensor;
  /** Shifts and mirroring of the images `x`; see `Batch.moves`. */
  readonly moves?: Tensor;
}

/** @internal Returns labels as values with their shape. */
export function shaped(labels: Labels): { data: Int32Array | Float32Array; shape: readonly number[] } {
  return isInt32Array(labels) ? { data: labels, shape: [labels.length] } : labels;
}

/** @internal Uploads a batch to a device. */
export function upload(device: Device, batch: Batch): BatchTensors {
  expectObject("batch", batch, "a batch, as a dataset's batches give it");
  expectObject("batch.inputs", batch.inputs, "{ data, shape }");
  expectObject("batch.labels", batch.labels, "an Int32Array or { data, shape }");
  const { inputs, labels, moves, size } = batch;
  const { data, shape } = shaped(labels);
  return {
    x: tensor(device, inputs.data, inputs.shape),
    y: tensor(device, data, shape),
    ...(moves && { moves: tensor(device, moves, [size, 3]) }),
  };
}

/** @internal Disposes of the tensors of a batch. */
export function disposeBatch({ x, y, moves }: BatchTensors): void {
  x.dispose();
  y.dispose();
  moves?.dispose();
}

/** @internal Returns the loss of a batch, and checks the result of the given loss function. */
export function lossOf(loss: Loss, outputs: Tensor, targets: Tensor): Tensor {
  const result = loss(outputs, targets);
  if (!(result instanceof Tensor) || result.size !== 1)
    invalidArgument("loss", "a function that returns a tensor with one element", result);
  return result;
}

/** Options to observe and to end one pass over data. */
export interface PassOptions {
  /** Called after each batch, with the number of items so far and in total. Default: nothing is called. */
  readonly onProgress?: ((done: number, items: number) => void) | undefined;
  /**
   * Ends the pass before the next batch when it is aborted. The promise rejects with the signal's reason, because the
   * result of a part could be mistaken for that of the whole. The model returns to its former mode. Default: no signal.
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * @internal Called with the outputs for each batch. They are disposed of after the call. The batch is valid until the
   * promise resolves, for which the pass waits.
   */
  readonly onOutputs?: ((outputs: Tensor, batch: Batch) => Promise<void>) | undefined;
}

/** @internal Names of the options of a pass. */
export const passNames = optionNames<PassOptions>({ onProgress: true, signal: true, onOutputs: true });

/** Options of {@link evaluate}. */
export interface EvaluateOptions extends PassOptions {
  /** The model to evaluate. It returns to its former mode afterwards. */
  readonly model: Module;
  /** Device of the model. */
  readonly device: Device;
  /** The loss, from outputs and labels to a tensor with one element. */
  readonly loss: Loss;
  /** Converts raw inputs to what the model takes, such as the `prepare` of {@link loadModel}. */
  readonly prepare: (raw: Tensor) => Tensor;
}

const evaluateNames = optionNames<EvaluateOptions>({
  model: true,
  device: true,
  loss: true,
  prepare: true,
  ...passNames,
});

/**
 * Evaluates a model in one pass over data, in evaluation mode and without gradients.
 *
 * @param source the data, such as `test.batches({ size: 500 })`
 * @returns the mean loss, the number of items and, for class labels, the accuracy
 * @throws StepsizeError `invalid-argument` if an argument is invalid; `device-failed` or `out-of-memory` if an
 * operation fails. If `signal` is aborted before the end, the promise rejects with its reason. Errors of the data, the
 * loss and `onProgress` are passed on.
 *
 * @example
 * ```ts
 * import { data, evaluate, models, nn, openDevice, type Tensor } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const set = data.fromArrays({ inputs: [[0, 0], [0, 1], [1, 0], [1, 1]], labels: [0, 1, 1, 0] });
 * const model = models.mlp({ inputs: 2, hidden: [8], classes: 2, device, seed: 0 });
 * const options = { model, device, loss: nn.crossEntropy, prepare: (raw: Tensor) => raw };
 * const { loss, accuracy, items } = await evaluate(set.batches({ size: 4 }), options);
 * ```
 */
export async function evaluate(source: BatchSource, options: EvaluateOptions): Promise<Evaluation> {
  expectMethods("source", source, ["once"], "batches, such as dataset.batches({ size: 128 })");
  const { model, device, loss, prepare, onProgress, signal, onOutputs } = checkedOptions(
    "evaluate",
    evaluateNames,
    options,
  );
  expectModule("model", model);
  expectDevice("device", device);
  for (const [name, value] of Object.entries({ loss, prepare })) expectFunction(name, value, "a function of tensors");
  if (onProgress !== undefined) expectFunction("onProgress", onProgress);
  expectSignal("signal", signal);
  signal?.throwIfAborted();
  const wasTraining = model.training;
  let items = 0;
  let labels = 0;
  let lossSum = 0;
  let weight = 0;
  let correct = 0;
  let classes = true;
  model.eval();
  try {
    for await (const batch of source.once({ reuse: true })) {
      let observed: Promise<void> | undefined;
      const results = noGrad(() =>
        tidy(() => {
          const { x, y } = upload(device, batch);
          const outputs = model.forward(prepare(x));
          observed = onOutputs?.(outputs, batch);
          const value = weighed(lossOf(loss, outputs, y), y);
          const { sum, weight, ignoreIndex } = value.totals;
          return {
            value,
            sum,
            weight,
            ...(y.dtype === "int32" && { correct: correctCount(outputs, y, { ignoreIndex }) }),
          };
        }),
      );
      const ignored = results.value.totals?.ignoreIndex ?? ignoredLabel;
      const reads = Promise.all([results.sum.item(), results.weight.item(), results.correct?.item()]);
      results.value.dispose();
      results.correct?.dispose();
      const [[batchSum, batchWeight, batchCorrect]] = await Promise.all([reads, observed]);
      items += batch.size;
      labels += countedIn(batch, ignored);
      lossSum += addend(batchSum, batchWeight);
      weight += batchWeight;
      correct += batchCorrect ?? 0;
      classes &&= batchCorrect !== undefined;
      onProgress?.(items, source.items);
      // A complete pass has a result.
      if (items < source.items) signal?.throwIfAborted();
    }
  } finally {
    model.train(wasTraining);
  }
  return { loss: lossSum / weight, ...(classes && { accuracy: correct / labels }), items };
}

/** Returns the number of labels that are not ignored. */
function countedIn({ labels }: Batch, ignored: number): number {
  let counted = 0;
  for (const label of shaped(labels).data) if (label !== ignored) counted++;
  return counted;
}
