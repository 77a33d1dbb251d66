import { itemAt } from "../lookup.js";
import { execute, type Tensor, type Totals, withWeight } from "../tensor/index.js";

/** A loss with its total weight. */
export type WeighedLoss = Tensor & { totals: Totals };

/** Adds the total weight to a loss that has none. Such a loss counts as a mean over the labels of its batch. */
export function weighed(loss: Tensor, labels: Tensor): WeighedLoss {
  return (loss.totals ? loss : withWeight(loss, labels.size)) as WeighedLoss;
}

/** Returns how many values a step's loss is computed from: one for a single batch, two per batch for several. */
export function partsIn(batches: number): number {
  return batches === 1 ? 1 : 2 * batches;
}

/**
 * Returns the values on the device that a step's loss is computed from: the loss of a single batch, or the sum and the
 * weight of each of several.
 */
export function partsOf(loss: Tensor, batches: number): Tensor[] {
  return batches === 1 || !loss.totals ? [loss] : [loss.totals.sum, loss.totals.weight];
}

/** Returns a batch's summand of Σ weight·loss. It is 0 for a batch without weight, whose mean is 0/0. */
export function addend(sum: number, weight: number): number {
  return weight === 0 && Number.isNaN(sum) ? 0 : sum;
}

/**
 * Returns the mean loss of a step.
 *
 * @param parts values of {@link partsOf}, batch after batch
 */
export function lossFrom(parts: readonly number[]): number {
  if (parts.length === 1) return itemAt(parts, 0);
  let [sum, weight] = [0, 0];
  for (let i = 0; i < parts.length; i += 2) {
    const [batchSum, batchWeight] = [itemAt(parts, i), itemAt(parts, i + 1)];
    sum += addend(batchSum, batchWeight);
    weight += batchWeight;
  }
  return sum / weight;
}

/**
 * The sum of the batches' weights in a step, on the device. It is summed in a fixed order, so that its bits are
 * reproducible.
 */
export class WeightSum {
  #sum: Tensor | undefined;

  /** The sum so far; `undefined` before the first batch. */
  get tensor(): Tensor | undefined {
    return this.#sum;
  }

  /** Adds the weight of a batch. */
  add(weight: Tensor): void {
    const before = this.#sum;
    this.#sum = before ? execute("add", [before, weight])[0] : weight.detach();
    this.#sum.keep();
    before?.dispose();
  }

  /** Frees the memory of the sum. */
  dispose(): void {
    this.#sum?.dispose();
    this.#sum = undefined;
  }
}
