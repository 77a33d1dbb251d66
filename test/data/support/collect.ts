import { createHash } from "node:crypto";
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

/** A batch as digests of its numbers: large ones compare a thousand times faster than as plain values. */
export function fingerprint({ inputs, labels, moves, size, epoch, index }: Batch) {
  return {
    inputs: { data: digestOf(inputs.data), shape: [...inputs.shape], dtype: inputs.dtype },
    labels: "data" in labels ? { data: digestOf(labels.data), shape: [...labels.shape] } : digestOf(labels),
    ...(moves && { moves: digestOf(moves) }),
    size,
    epoch,
    index,
  };
}

function digestOf(data: NodeJS.ArrayBufferView): string {
  return createHash("sha1").update(data).digest("hex");
}

/** The first `count` batches, or all; leaves the loop then. */
export async function take(batches: AsyncIterable<Batch>, count = Infinity) {
  return collect(batches, snapshot, count);
}

/** Fingerprints of the first `count` batches, or of all; leaves the loop then. */
export async function takeFingerprints(batches: AsyncIterable<Batch>, count = Infinity) {
  return collect(batches, fingerprint, count);
}

async function collect<T>(batches: AsyncIterable<Batch>, of: (batch: Batch) => T, count: number): Promise<T[]> {
  const taken: T[] = [];
  for await (const batch of batches) {
    taken.push(of(batch));
    if (taken.length >= count) break;
  }
  return taken;
}
