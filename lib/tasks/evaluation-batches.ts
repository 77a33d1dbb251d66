import type { ArrayDataset, BatchSource } from "../data/index.js";

/**
 * Returns batches of a dataset in its order, of at most `size` items. If it has more than `maxItems`, so many are taken,
 * evenly spread.
 */
export function evaluationBatches(whole: ArrayDataset, maxItems: number, size: number): BatchSource {
  const part = maxItems < whole.length ? whole.subset(evenlySpread(maxItems, whole.length)) : whole;
  return part.batches({ size: Math.min(size, part.length), shuffle: false });
}

/** Returns `count` indices below `length`, evenly spread. */
function evenlySpread(count: number, length: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.floor((i * length) / count));
}
