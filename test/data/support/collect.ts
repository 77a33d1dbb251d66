import type { Batch } from "#lib/data/index.js";

/** A batch as plain values of its own, for comparing after its memory was used again. */
export function snapshot({ inputs, labels, moves, size, epoch, index }: Batch) {
  return {
    inputs: { data: Array.from(inputs.data), shape: [...inputs.shape], dtype: inputs.dtype },
    labels: "data" in labels ? { data: Array.from(labels.data), shape: [...labels.shape] } : Array.from(labels),
    ...(moves && { moves: Array.from(moves) }),
    size,
    epoch,
    index,
  };
}

/** The first `count` batches, or all; leaves the loop then. */
export async function take(batches: AsyncIterable<Batch>, count = Infinity) {
  const taken: ReturnType<typeof snapshot>[] = [];
  for await (const batch of batches) {
    taken.push(snapshot(batch));
    if (taken.length >= count) break;
  }
  return taken;
}
