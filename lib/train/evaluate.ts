import { expectFunction, expectMethods, expectModule, expectObject, expectSignal } from "../arguments.js";
import type { Batch, BatchSource, Labels } from "../data/index.js";
import { invalidArgument } from "../errors.js";
import { ignoredLabel } from "../ignored-label.js";
import { type Device, expectDevice } from "../native/index.js";
import type { Loss, Module } from "../nn/index.js";
import { checkedOptions, optionNames } from "../options.js";
import { isInt32Array } from "../realms.js";
import { correctCount, noGrad, Tensor, type Totals, tensor, tidy } from "../tensor/index.js";
import { addend, weighed } from "./step-loss.js";

/** What {@link evaluate} found over one pass of the data. */
export interface Evaluation {
  /** The mean over all that counts, with its weights: over labels that are not ignored, whatever the batches' sizes. */
  readonly loss: number;
  /** Share of the labels that count that the largest output is at, 0 to 1; absent where labels are not classes. */
  readonly accuracy?: number;
  readonly items: number;
}

/** @internal A batch on the device. */
export interface BatchTensors {
  readonly x: Tensor;
  readonly y: Tensor;
  /** What is to be done to images x; see `Batch.moves`. */
  readonly moves?: Tensor;
}

/** @internal Labels as values with their shape. */
export function shaped(labels: Labels): { data: Int32Array | Float32Array; shape: readonly number[] } {
  return isInt32Array(labels) ? { data: labels, shape: [labels.length] } : labels;
}

/** @internal Puts a batch on the device. */
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

/** @internal */
export function disposeBatch(batch: BatchTensors): void {
  for (const one of Object.values(batch) as Tensor[]) one.dispose();
}

/** @internal The loss of a batch, which somebody else's function computes. */
export function lossOf(loss: Loss, outputs: Tensor, targets: Tensor): Tensor {
  const result = loss(outputs, targets);
  if (!(result instanceof Tensor) || result.size !== 1)
    invalidArgument("loss", "a function that returns a tensor with one element", result);
  return result;
}

/** How one pass over data is watched and ended. */
export interface PassOptions {
  /** Called after each batch with the items done so far. */
  readonly onProgress?: ((done: number, items: number) => void) | undefined;
  /**
   * Ends the pass once it is aborted, before the next batch. There is no result then, since that of a part could be
   * taken for the whole's: the promise rejects with the signal's reason, and the model is in its former mode.
   */
  readonly signal?: AbortSignal | undefined;
}

/** @internal */
export const passNames = optionNames<PassOptions>({ onProgress: true, signal: true });

/** What {@link evaluate} works with. */
export interface EvaluateOptions extends PassOptions {
  readonly model: Module;
  readonly device: Device;
  readonly loss: Loss;
  /** Raw inputs to what the model takes. */
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
 * One pass over the data in evaluation mode; the model is back in its former mode afterwards.
 * @throws StepsizeError `invalid-argument`; the reason of `signal` if it is aborted before the end
 */
export async function evaluate(source: BatchSource, options: EvaluateOptions): Promise<Evaluation> {
  expectMethods("source", source, ["once"], "batches, such as dataset.batches({ size: 128 })");
  const { model, device, loss, prepare, onProgress, signal } = checkedOptions("evaluate", evaluateNames, options);
  expectModule("model", model);
  expectDevice("device", device);
  for (const [name, one] of Object.entries({ loss, prepare })) expectFunction(name, one, "a function of tensors");
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
      const results = noGrad(() =>
        tidy(() => {
          const { x, y } = upload(device, batch);
          const outputs = model.forward(prepare(x));
          const value = weighed(lossOf(loss, outputs, y), y);
          const { sum, weight, ignoreIndex } = value.totals as Totals;
          const options = ignoreIndex === undefined ? {} : { ignoreIndex };
          return { value, sum, weight, ...(y.dtype === "int32" && { correct: correctCount(outputs, y, options) }) };
        }),
      );
      const ignored = results.value.totals?.ignoreIndex ?? ignoredLabel;
      const reads = Promise.all([results.sum.item(), results.weight.item(), results.correct?.item()]);
      results.value.dispose();
      results.correct?.dispose();
      const [batchSum, batchWeight, batchCorrect] = await reads;
      items += batch.size;
      labels += countedIn(batch, ignored);
      lossSum += addend(batchSum, batchWeight);
      weight += batchWeight;
      correct += batchCorrect ?? 0;
      classes &&= batchCorrect !== undefined;
      onProgress?.(items, source.items);
      // A pass that is complete has its result.
      if (items < source.items) signal?.throwIfAborted();
    }
  } finally {
    model.train(wasTraining);
  }
  return { loss: lossSum / weight, ...(classes && { accuracy: correct / labels }), items };
}

/** How many of the labels count. */
function countedIn({ labels }: Batch, ignored: number): number {
  let counted = 0;
  for (const label of shaped(labels).data) if (label !== ignored) counted++;
  return counted;
}
