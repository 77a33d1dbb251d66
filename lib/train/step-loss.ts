import { execute, type Tensor, withWeight } from "../tensor/index.js";

/** A loss that says how much it counts: one that says nothing is a mean over as many items as the batch has labels. */
export function weighed(loss: Tensor, labels: Tensor): Tensor {
  return loss.totals ? loss : withWeight(loss, labels.size);
}

/** How many numbers a step's loss is computed from: one of a single batch, two of each of several. */
export function partsIn(batches: number): number {
  return batches === 1 ? 1 : 2 * batches;
}

/** The numbers on the device that a step's loss is computed from: of several batches each sum and its weight. */
export function partsOf(loss: Tensor, batches: number): Tensor[] {
  return batches === 1 || !loss.totals ? [loss] : [loss.totals.sum, loss.totals.weight];
}

/** What a batch adds to Σ weight·loss: nothing if it counts nothing, so that its mean is 0/0. */
export function addend(sum: number, weight: number): number {
  return weight === 0 && Number.isNaN(sum) ? 0 : sum;
}

/** The mean over all that counts in a step, from the values of {@link partsOf} of its batches, one after the other. */
export function lossFrom(parts: readonly number[]): number {
  if (parts.length === 1) return parts[0] as number;
  let [sum, weight] = [0, 0];
  for (let i = 0; i < parts.length; i += 2) {
    const [ownSum, ownWeight] = parts.slice(i, i + 2) as [number, number];
    sum += addend(ownSum, ownWeight);
    weight += ownWeight;
  }
  return sum / weight;
}

/** Adds up on the device what the batches of a step count, in one order, which gives the same bits every time. */
export class WeightSum {
  #sum: Tensor | undefined;

  /** The sum so far. */
  get tensor(): Tensor | undefined {
    return this.#sum;
  }

  add(loss: Tensor): void {
    const weight = loss.totals?.weight as Tensor;
    const before = this.#sum;
    this.#sum = before ? (execute("add", [before, weight])[0] as Tensor) : weight.detach();
    this.#sum.keep();
    before?.dispose();
  }

  dispose(): void {
    this.#sum?.dispose();
    this.#sum = undefined;
  }
}
